//! What a client library must do for this program.

use super::error::{KafkaError, SendError};
use super::fetched::{Fetched, LogRange};
use super::messages::Messages;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Reads one topic; see [`Reader`](super::Reader) for each method.
pub(super) trait ReaderClient: fmt::Debug + Send {
    fn leading_brokers(&self) -> usize;
    fn partitions(&self) -> Vec<i32>;
    fn log_ranges(&mut self) -> Result<BTreeMap<i32, LogRange>, KafkaError>;
    fn fetch(
        &mut self,
        cursors: &BTreeMap<i32, i64>,
        wait: Duration,
    ) -> Result<BTreeMap<i32, Fetched>, KafkaError>;
}

/// Sends to one topic; see [`Producer`](super::Producer) for each method.
pub(super) trait ProducerClient: fmt::Debug + Send {
    fn wait_for_leaders(
        &mut self,
        wait: Duration,
        begin_to_wait: &mut dyn FnMut(&str),
    ) -> Result<(), KafkaError>;
    fn send(&mut self, messages: &Arc<Messages>) -> Result<(), SendError>;
    fn end_offsets(&mut self, topic: &str, wait: Duration) -> Result<Vec<i64>, KafkaError>;
}

/// The offsets of a group; see [`GroupOffsets`](super::GroupOffsets) for each method.
pub(super) trait OffsetsClient: fmt::Debug + Send {
    fn partitions(&mut self) -> Result<Vec<i32>, KafkaError>;
    fn committed(&mut self) -> Result<BTreeMap<i32, i64>, KafkaError>;
    fn commit(&mut self, offsets: &BTreeMap<i32, i64>) -> Result<(), KafkaError>;
}
