//! Reads a topic from cursors that the caller keeps, without a consumer group or stored offsets. No record is dropped.
//!
//! **Invariant:** an error of one partition (deleted, without a leader, not decodable) is that partition's result and does not stop the
//! others.

use super::choice::{KafkaClient, choose};
use super::client::ReaderClient;
use super::error::KafkaError;
use super::fetched::{Fetched, LogRange};
#[cfg(feature = "librdkafka")]
use super::librdkafka_client;
use super::plain_client;
use super::settings::KafkaSettings;
use crossbeam_channel::{Receiver, never};
use std::collections::BTreeMap;
use std::time::Duration;

/// Reads one topic. After an error, or if the topic is gone, the next call connects again; the caller only pauses and repeats.
#[derive(Debug)]
pub struct Reader {
    settings: KafkaSettings,
    topic: String,
    stop: Receiver<()>,
    client: Box<dyn ReaderClient>,
    /// Whether the broker has been upgraded to a version that the client cannot speak to.
    is_outdated: bool,
}

impl Reader {
    /// Connects and waits a moment for the topic's leaders. Kafka creates the topic if it is allowed to. Errs if the topic is missing or no broker
    /// answers.
    ///
    /// Once `stop` is closed, each call errs with [`KafkaError::Stopped`] at once, and the process has to end soon.
    pub fn connect_until(
        settings: &KafkaSettings,
        topic: &str,
        stop: &Receiver<()>,
    ) -> Result<Reader, KafkaError> {
        Ok(Reader {
            settings: settings.clone(),
            topic: topic.to_owned(),
            stop: stop.clone(),
            client: connect(settings, topic, stop)?,
            is_outdated: false,
        })
    }

    /// As [`Reader::connect_until`], without `stop`.
    pub fn connect(settings: &KafkaSettings, topic: &str) -> Result<Reader, KafkaError> {
        Reader::connect_until(settings, topic, &never())
    }

    /// How many brokers a fetch asks, one after the other.
    pub fn leading_brokers(&self) -> usize {
        self.client.leading_brokers()
    }

    /// The partitions of the topic, ascending, by the last metadata. Added partitions appear within a minute.
    pub fn partitions(&self) -> Vec<i32> {
        self.client.partitions()
    }

    /// Where each partition's log begins and ends. Partitions without a leader are absent. Errs if a leader does not answer.
    pub fn log_ranges(&mut self) -> Result<BTreeMap<i32, LogRange>, KafkaError> {
        self.call(|client| client.log_ranges())
    }

    /// Reads from `cursors` (the next offset of each partition), waiting up to `wait` for a record. Partitions without a result are absent.
    /// Returns at once with a record or a cursor that is out of range. Otherwise returns after `wait`, so that a caller may simply repeat it.
    pub fn fetch(
        &mut self,
        cursors: &BTreeMap<i32, i64>,
        wait: Duration,
    ) -> Result<BTreeMap<i32, Fetched>, KafkaError> {
        self.call(|client| client.fetch(cursors, wait))
    }

    fn call<T>(
        &mut self,
        work: impl FnOnce(&mut dyn ReaderClient) -> Result<T, KafkaError>,
    ) -> Result<T, KafkaError> {
        if self.is_outdated {
            self.client = connect(&self.settings, &self.topic, &self.stop)?;
            self.is_outdated = false;
        }
        let result = work(self.client.as_mut());
        self.is_outdated = matches!(result, Err(KafkaError::Incompatible { .. }));
        result
    }
}

fn connect(
    settings: &KafkaSettings,
    topic: &str,
    stop: &Receiver<()>,
) -> Result<Box<dyn ReaderClient>, KafkaError> {
    match choose(settings)? {
        KafkaClient::Crate(_) => {
            let client = plain_client::Reader::connect(settings.brokers(), topic, stop.clone())?;
            Ok(Box::new(client))
        }
        #[cfg(feature = "librdkafka")]
        KafkaClient::Librdkafka(_) => {
            let client = librdkafka_client::Reader::connect(settings, topic, stop.clone())?;
            Ok(Box::new(client))
        }
        #[cfg(not(feature = "librdkafka"))]
        KafkaClient::Librdkafka(_) => Err(KafkaError::WithoutLibrdkafka),
    }
}
