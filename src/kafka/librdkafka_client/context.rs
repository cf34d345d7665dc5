//! Receives what librdkafka reports on its own threads: errors, log lines, statistics, delivery reports. Stores it for the clients.

use super::causes::Causes;
use super::config::STATISTICS_EVERY;
use super::refused_run::refused_batch_in;
use crate::model::text::one_line;
use crate::sync::lock;
use log::debug;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError as Error;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use rdkafka::statistics::{Broker, Statistics};
use rdkafka::types::RDKafkaErrorCode as Code;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What librdkafka has reported to one client.
#[derive(Default)]
pub(super) struct Context {
    causes: Mutex<Causes>,
    brokers: Mutex<BrokerStates>,
    deliveries: Mutex<Deliveries>,
    delivered: Condvar,
    /// Whether records or errors of assigned partitions were discarded while metadata was read.
    has_discarded: AtomicBool,
    /// The last batch that could not be decompressed, as librdkafka calls it.
    refused_batch: Mutex<Option<i64>>,
}

/// Which brokers can be used, and who leads which partition, by the last statistics.
#[derive(Clone, Debug, Default)]
pub(super) struct BrokerStates {
    /// Address of each known broker, and whether it is connected, by its id.
    pub(super) by_id: BTreeMap<i32, BrokerState>,
    /// Whether any broker is connected, those of the settings included, whose ids are not known.
    pub(super) is_any_up: bool,
    /// The leader's id of each partition; -1 for none.
    pub(super) leaders: BTreeMap<i32, i32>,
    /// When the statistics arrived; none before the first.
    pub(super) at: Option<Instant>,
}

impl BrokerStates {
    /// Whether no broker is connected. Not if the statistics are missing or old.
    pub(super) fn are_all_down(&self) -> bool {
        let are_current = self
            .at
            .is_some_and(|at| at.elapsed() < 3 * STATISTICS_EVERY);
        are_current && !self.is_any_up
    }
}

/// A broker by the last statistics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BrokerState {
    /// `HOST:PORT`.
    pub(super) address: String,
    /// Whether it is connected and answers.
    pub(super) is_up: bool,
}

/// What is known about the messages of one send.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    /// Messages without a delivery report.
    pub(super) pending: usize,
    /// Indices of messages that Kafka has.
    pub(super) acknowledged: Vec<usize>,
    /// Indices of messages that are too large, or were in a batch that is.
    pub(super) too_large: Vec<usize>,
    /// The first error of another message.
    pub(super) failed: Option<Code>,
}

impl Context {
    /// The causes, for reading and clearing.
    pub(super) fn causes(&self) -> MutexGuard<'_, Causes> {
        lock(&self.causes)
    }

    /// The brokers by the last statistics.
    pub(super) fn brokers(&self) -> BrokerStates {
        lock(&self.brokers).clone()
    }

    /// Records or errors of assigned partitions were discarded.
    pub(super) fn note_discarded(&self) {
        self.has_discarded.store(true, Ordering::Relaxed);
    }

    /// Whether any were since the last call.
    pub(super) fn take_discarded(&self) -> bool {
        self.has_discarded.swap(false, Ordering::Relaxed)
    }

    /// The last batch that could not be decompressed since the last call, as librdkafka calls it. Its error for the caller names none.
    pub(super) fn take_refused_batch(&self) -> Option<i64> {
        lock(&self.refused_batch).take()
    }

    /// Begins a send of this many messages.
    pub(super) fn expect(&self, messages: usize) {
        *self.deliveries() = Deliveries {
            pending: messages,
            ..Deliveries::default()
        };
    }

    /// Waits until every message has its report, or `wait` has passed. Returns whether every one has.
    pub(super) fn wait_for_deliveries(&self, wait: Duration) -> bool {
        let deliveries = self.deliveries();
        let (deliveries, _) = self
            .delivered
            .wait_timeout_while(deliveries, wait, |deliveries| deliveries.pending > 0)
            .unwrap_or_else(PoisonError::into_inner);
        deliveries.pending == 0
    }

    /// Whether a message has failed for another reason than its size.
    pub(super) fn has_failed(&self) -> bool {
        self.deliveries().failed.is_some()
    }

    /// Number of messages without a delivery report.
    pub(super) fn pending(&self) -> usize {
        self.deliveries().pending
    }

    /// What is known about the messages of the send, which ends.
    pub(super) fn take_deliveries(&self) -> Deliveries {
        std::mem::take(&mut self.deliveries())
    }

    fn deliveries(&self) -> MutexGuard<'_, Deliveries> {
        lock(&self.deliveries)
    }

    /// The message at `index` has its result, from Kafka or because librdkafka did not queue it.
    pub(super) fn report(&self, index: usize, result: Result<(), Code>) {
        let mut deliveries = self.deliveries();
        match result {
            Ok(()) => deliveries.acknowledged.push(index),
            Err(Code::MessageSizeTooLarge | Code::MessageBatchTooLarge) => {
                deliveries.too_large.push(index);
            }
            Err(code) => {
                deliveries.failed.get_or_insert(code);
            }
        }
        deliveries.pending = deliveries.pending.saturating_sub(1);
        if deliveries.pending == 0 {
            self.delivered.notify_all();
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Context")
    }
}

impl ClientContext for Context {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        if message.contains("connection closed by peer") || message.contains("Disconnected") {
            self.causes().add_closed();
        }
        debug!("librdkafka: {facility} {}", one_line(message));
    }

    fn stats(&self, statistics: Statistics) {
        // The group's coordinator is listed once more, as a logical broker with the same id.
        let brokers = statistics.brokers.values();
        let brokers = brokers.filter(|broker| broker.source != "logical");
        let is_any_up = brokers.clone().any(is_up);
        let by_id = brokers
            .filter(|broker| broker.nodeid >= 0)
            .map(|broker| {
                let state = BrokerState {
                    address: broker.nodename.clone(),
                    is_up: is_up(broker),
                };
                (broker.nodeid, state)
            })
            .collect();
        let topics = statistics.topics.values();
        let leaders = topics
            .flat_map(|topic| topic.partitions.values())
            .filter(|partition| partition.partition >= 0)
            .map(|partition| (partition.partition, partition.leader))
            .collect();
        let at = Some(Instant::now());
        *lock(&self.brokers) = BrokerStates {
            by_id,
            is_any_up,
            leaders,
            at,
        };
    }

    fn error(&self, error: Error, reason: &str) {
        if let Some(code) = error.rdkafka_error_code() {
            self.causes().add(code, reason);
        }
        if let Some(batch) = refused_batch_in(reason) {
            *lock(&self.refused_batch) = Some(batch);
        }
        debug!("librdkafka: {}", one_line(reason));
    }
}

fn is_up(broker: &Broker) -> bool {
    matches!(broker.state.as_str(), "UP" | "UPDATE")
}

impl ConsumerContext for Context {}

impl ProducerContext for Context {
    /// The index of the message in its send.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, index: usize) {
        let result = match result {
            Ok(_) => Ok(()),
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap_or(Code::Unknown)),
        };
        self.report(index, result);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_gets_its_result() {
        let context = Context::default();
        context.expect(4);
        context.report(2, Ok(()));
        context.report(0, Ok(()));
        context.report(1, Err(Code::MessageSizeTooLarge));
        assert!(!context.wait_for_deliveries(Duration::from_millis(1)));
        context.report(3, Err(Code::MessageTimedOut));
        assert!(context.wait_for_deliveries(Duration::from_millis(1)));
        let deliveries = context.take_deliveries();
        assert_eq!(deliveries.acknowledged, [2, 0]);
        assert_eq!(deliveries.too_large, [1]);
        assert_eq!(deliveries.failed, Some(Code::MessageTimedOut));
    }
}
