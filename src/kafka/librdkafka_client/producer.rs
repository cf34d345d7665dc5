//! Sends messages and reports which of them Kafka certainly has.
//!
//! librdkafka sends a message again until it is acknowledged or [`DELIVERY_WAIT`](super::config::DELIVERY_WAIT) has passed; its
//! retries write no duplicates. A message without an acknowledgement may still have arrived.

use super::config;
use super::connection::{Leaders, Served, bad_settings, call_error, open, topic_leaders};
use super::context::{Context, Deliveries};
use crate::kafka::client::ProducerClient;
use crate::kafka::deadline::pause;
use crate::kafka::error::{KafkaError, SendError};
use crate::kafka::messages::{Message, Messages, PRODUCE_REQUEST_BYTES};
use crate::kafka::plain_client::api_versions::not_accepting;
use crate::kafka::send_tally::SendTally;
use crate::kafka::settings::KafkaSettings;
use crate::model::Backoff;
use crossbeam_channel::never;
use rdkafka::client::Client;
use rdkafka::error::KafkaError as Error;
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode as Code;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Pause while librdkafka's queue is full.
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(5);
/// Interval at which missing reports are checked.
const REPORTS_CHECK_INTERVAL: Duration = Duration::from_millis(200);
/// How much longer than librdkafka's own time-out the delivery reports are waited for.
const REPORT_GRACE: Duration = Duration::from_secs(5);
/// After Kafka refused a batch because of its size, batches get smaller by this factor, down to single messages.
const BATCH_DIVISOR: usize = 8;
/// Sends to one topic with acks=all.
pub(in crate::kafka) struct Producer {
    settings: KafkaSettings,
    topic: String,
    compression: bool,
    batch_bytes: usize,
    client: Option<ThreadedProducer<Context>>,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Producer({})", self.topic)
    }
}

impl Served for ThreadedProducer<Context> {
    fn client(&self) -> &Client<Context> {
        rdkafka::producer::Producer::client(self)
    }

    /// Its own thread does this.
    fn serve(&self) {}
}

impl Producer {
    /// For `topic`. Connects with the first call.
    pub(in crate::kafka) fn new(
        settings: &KafkaSettings,
        topic: &str,
        compression: bool,
    ) -> Producer {
        Producer {
            settings: settings.clone(),
            topic: topic.to_owned(),
            compression,
            batch_bytes: PRODUCE_REQUEST_BYTES,
            client: None,
        }
    }

    /// The connected client. It is put back only after a successful call, so that an error leads to a new connection with new certificates.
    fn take_client(&mut self) -> Result<ThreadedProducer<Context>, KafkaError> {
        if let Some(client) = self.client.take() {
            return Ok(client);
        }
        let client = self.open()?;
        topic_leaders(&client, &self.settings, &self.topic, true, &never())?;
        Ok(client)
    }

    fn open(&self) -> Result<ThreadedProducer<Context>, KafkaError> {
        let config = config::of_producer(&self.settings, self.compression, self.batch_bytes)
            .map_err(bad_settings)?;
        open(&self.settings, &config)
    }

    fn doing(&self) -> String {
        format!("write to {}", self.topic)
    }

    /// Sends the messages at `indices` and waits for the report of each.
    fn deliver(
        &self,
        client: &ThreadedProducer<Context>,
        messages: &Messages,
        indices: &[usize],
    ) -> Deliveries {
        let context = client.context();
        context.expect(indices.len());
        let mut patience = Patience::new(context);
        for &index in indices {
            let Message { key, value } = messages.at(index);
            let mut record = BaseRecord::with_opaque_to(&self.topic, index)
                .key(key)
                .payload(value);
            loop {
                match client.send(record) {
                    Ok(()) => break,
                    Err((Error::MessageProduction(Code::QueueFull), not_queued)) => {
                        record = not_queued;
                        context.wait_for_deliveries(FULL_QUEUE_PAUSE);
                        if context.has_failed() || patience.is_over(context) {
                            return context.take_deliveries();
                        }
                    }
                    Err((error, _)) => {
                        let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
                        context.report(index, Err(code));
                        break;
                    }
                }
            }
        }
        while !context.wait_for_deliveries(REPORTS_CHECK_INTERVAL) && !patience.is_over(context) {}
        context.take_deliveries()
    }

    /// Sends all messages; those of batches that were too large again in smaller ones.
    fn send_all(&mut self, messages: &Messages, tally: &mut SendTally) -> Result<(), KafkaError> {
        let mut indices: Vec<usize> = (0..messages.len()).collect();
        let usual_batch_bytes = self.batch_bytes;
        while !indices.is_empty() {
            let client = self.take_client()?;
            let deliveries = self.deliver(&client, messages, &indices);
            let some_fit = !deliveries.acknowledged.is_empty();
            tally.acknowledged.extend(deliveries.acknowledged);
            if let Some(code) = deliveries.failed {
                let context = client.context();
                let error = Error::MessageProduction(cause_of(code, fatal_error(&client)));
                return Err(call_error(context, &self.settings, &self.doing(), &error));
            }
            if deliveries.pending > 0 {
                return Err(self.without_reports(client.context()));
            }
            let was_single = indices.len() == 1;
            indices = deliveries.too_large;
            if indices.is_empty() {
                self.client = Some(client);
                continue;
            }
            if was_single || self.batch_bytes <= config::SINGLE_MESSAGE_BYTES {
                tally.refused.append(&mut indices);
            } else {
                // Another client, with smaller batches.
                self.batch_bytes /= BATCH_DIVISOR;
                indices.sort_unstable();
            }
            if some_fit && indices.is_empty() {
                // Only some messages are too large, not the usual batches.
                self.batch_bytes = usual_batch_bytes;
            }
        }
        Ok(())
    }

    /// The error if messages have no delivery report.
    fn without_reports(&self, context: &Context) -> KafkaError {
        match context.brokers().are_all_down() {
            true => KafkaError::Unreachable(context.causes().refusals(&self.settings)),
            false => KafkaError::TimedOut {
                doing: format!("{}: {}", self.settings, self.doing()),
                waited: config::DELIVERY_WAIT,
            },
        }
    }

    /// Why a partition cannot be written to now, if there is one: it has no leader, or its leader does not accept connections. Errs if that is so for
    /// all of them.
    fn problem_of(&self, leaders: &Leaders) -> Result<Option<String>, KafkaError> {
        let addresses: BTreeSet<String> = leaders.values().flatten().cloned().collect();
        let silent = not_accepting(addresses.into_iter().collect())?;
        let is_silent = |leader: &String| silent.contains_key(leader);
        if let Some(error) = silent.values().next()
            && leaders.values().flatten().all(is_silent)
        {
            return Err(error.clone());
        }
        let problem = leaders.iter().find_map(|(partition, leader)| match leader {
            None => Some(format!(
                "partition {partition} of topic {} currently has no leader",
                self.topic
            )),
            Some(leader) => silent.get(leader).map(ToString::to_string),
        });
        Ok(problem)
    }
}

/// The error after which the client discards all messages, if there was one.
fn fatal_error(client: &ThreadedProducer<Context>) -> Option<Code> {
    Served::client(client).fatal_error().map(|(code, _)| code)
}

/// Why a message failed: the discarded ones fail with an error that says only that.
fn cause_of(failed: Code, fatal: Option<Code>) -> Code {
    match (failed, fatal) {
        // An idempotent producer may begin if its user may write to any topic.
        (
            Code::PurgeQueue | Code::PurgeInflight | Code::Fatal,
            Some(Code::ClusterAuthorizationFailed),
        ) => Code::TopicAuthorizationFailed,
        (Code::PurgeQueue | Code::PurgeInflight | Code::Fatal, Some(fatal)) => fatal,
        _ => failed,
    }
}

impl ProducerClient for Producer {
    fn wait_for_leaders(
        &mut self,
        wait: Duration,
        begin_to_wait: &mut dyn FnMut(&str),
    ) -> Result<(), KafkaError> {
        let deadline = Instant::now() + wait;
        let client = match self.client.take() {
            Some(client) => client,
            None => self.open()?,
        };
        let (mut backoff, mut waits) = (Backoff::new(), false);
        loop {
            let leaders = topic_leaders(&client, &self.settings, &self.topic, !waits, &never());
            let problem = match leaders {
                Ok(leaders) => match self.problem_of(&leaders) {
                    Ok(None) => {
                        self.client = Some(client);
                        return Ok(());
                    }
                    Ok(Some(problem)) => Ok(problem),
                    Err(error) => Err(error),
                },
                Err(error @ KafkaError::NoLeader { .. }) => Err(error),
                Err(error) => return Err(error),
            };
            if Instant::now() >= deadline {
                self.client = Some(client);
                return problem.map(drop);
            }
            if !waits {
                begin_to_wait(&problem.unwrap_or_else(|error| error.to_string()));
                waits = true;
            }
            pause(&never(), backoff.pause())?;
        }
    }

    fn send(&mut self, messages: &Arc<Messages>) -> Result<(), SendError> {
        let mut tally = SendTally::default();
        let outcome = self.send_all(messages, &mut tally);
        tally.finish(outcome, &self.topic, messages)
    }

    fn end_offsets(&mut self, topic: &str, wait: Duration) -> Result<Vec<i64>, KafkaError> {
        let client = self.take_client()?;
        let ends =
            end_offsets(Served::client(&client), topic, Instant::now() + wait).map_err(|error| {
                let doing = format!("look up the ends of {topic}");
                call_error(client.context(), &self.settings, &doing, &error)
            });
        // An error says nothing about the connections to the leaders of the own topic.
        self.client = Some(client);
        ends
    }
}

/// The next offset of each partition. Errs if a partition has no leader, or not every answer has arrived at `deadline`.
fn end_offsets(
    client: &Client<Context>,
    topic: &str,
    deadline: Instant,
) -> Result<Vec<i64>, Error> {
    let left = || deadline.saturating_duration_since(Instant::now());
    let metadata = client.fetch_metadata(Some(topic), left())?;
    let mut topics = metadata.topics().iter();
    let partitions = topics
        .find(|known| known.name() == topic)
        .map_or(&[][..], |known| known.partitions());
    if partitions.is_empty() {
        return Err(Error::MetadataFetch(Code::UnknownTopic));
    }
    // The question would wait until there is one.
    if partitions.iter().any(|partition| partition.leader() < 0) {
        return Err(Error::MetadataFetch(Code::LeaderNotAvailable));
    }
    (0..)
        .take(partitions.len())
        .map(|partition| {
            let (_, end) = client.fetch_watermarks(topic, partition, left())?;
            Ok(end)
        })
        .collect()
}

/// How long delivery reports are waited for.
struct Patience {
    down_since: Option<Instant>,
    pending: usize,
    deadline: Instant,
}

impl Patience {
    fn new(context: &Context) -> Patience {
        Patience {
            down_since: None,
            pending: context.pending(),
            deadline: Instant::now() + config::DELIVERY_WAIT + REPORT_GRACE,
        }
    }

    /// Whether to give up: no broker is connected for a while, so that the caller learns why, or no report has arrived long after librdkafka's own
    /// time-out.
    fn is_over(&mut self, context: &Context) -> bool {
        let pending = context.pending();
        if pending < self.pending {
            self.pending = pending;
            self.deadline = Instant::now() + config::DELIVERY_WAIT + REPORT_GRACE;
        }
        if !context.brokers().are_all_down() {
            self.down_since = None;
            return Instant::now() >= self.deadline;
        }
        let since = self.down_since.get_or_insert_with(Instant::now);
        since.elapsed() >= config::AWAY_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_discarded_message_fails_with_the_cause() {
        let denied = Some(Code::ClusterAuthorizationFailed);
        for (failed, fatal, cause) in [
            (Code::PurgeQueue, denied, Code::TopicAuthorizationFailed),
            (Code::PurgeInflight, denied, Code::TopicAuthorizationFailed),
            (
                Code::Fatal,
                Some(Code::OutOfOrderSequenceNumber),
                Code::OutOfOrderSequenceNumber,
            ),
            (Code::PurgeQueue, None, Code::PurgeQueue),
            (Code::MessageTimedOut, denied, Code::MessageTimedOut),
        ] {
            assert_eq!(cause_of(failed, fatal), cause);
        }
    }
}
