//! Sends messages and reports which of them Kafka certainly has.
//!
//! Nothing is sent again here after a failure, because it is unknown whether an unacknowledged message arrived. The caller decides whether a
//! duplicate is better than a loss. The exception is a batch that Kafka refused because of its size: it certainly did not arrive.

use super::batches::{batches, halves, weight};
use super::connection::{Client, Leader};
use super::partitioner::partition_for;
use crate::kafka::brokers::Brokers;
use crate::kafka::client::ProducerClient;
use crate::kafka::error::{KafkaError, SendError};
use crate::kafka::messages::{Message, Messages, PRODUCE_REQUEST_BYTES};
use crate::kafka::send_tally::SendTally;
use crate::model::Backoff;
use kafka::client::{Compression, FetchOffset, KafkaClient, ProduceMessage, RequiredAcks};
use kafka::error::{Error, KafkaCode};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest time for an acknowledgement by all in-sync replicas.
const PRODUCE_ACK_WAIT: Duration = Duration::from_secs(10);
/// Sends to one topic with acks=all.
#[derive(Debug)]
pub(in crate::kafka) struct Producer {
    client: Client,
    request_bytes: usize,
}

impl Producer {
    /// For `topic`; with `compression`, messages are compressed with snappy. Connects with the first send, at which Kafka creates the topic if it
    /// is allowed to.
    pub(in crate::kafka) fn new(brokers: &Brokers, topic: &str, compression: bool) -> Producer {
        let prepare: fn(&mut KafkaClient) = match compression {
            true => |kafka| kafka.set_compression(Compression::SNAPPY),
            false => |kafka| kafka.set_compression(Compression::NONE),
        };
        Producer {
            client: Client::new(brokers, topic, prepare),
            request_bytes: PRODUCE_REQUEST_BYTES,
        }
    }

    /// Why a partition cannot be written to now, if there is one.
    fn partition_without_leader(&self) -> Option<String> {
        (0..)
            .zip(self.client.leaders())
            .find_map(|(partition, leader)| match leader {
                Leader::At(_) => None,
                Leader::Missing => Some(format!(
                    "partition {partition} of topic {} currently has no leader",
                    self.client.topic()
                )),
                Leader::NotAnswering(error) => Some(error.to_string()),
            })
    }

    fn send_all(
        &mut self,
        messages: &Arc<Messages>,
        tally: &mut SendTally,
    ) -> Result<(), KafkaError> {
        if messages.is_empty() {
            return Ok(());
        }
        // All partitions count, including those without a leader: a key's partition must not depend on which brokers are up.
        self.client.refresh()?;
        let partitions = self.client.leaders().len();
        let weights: Vec<usize> = messages.iter().map(weight).collect();
        let mut failed = None;
        let mut waiting: VecDeque<Vec<usize>> = batches(&weights, self.request_bytes).into();
        while let Some(batch) = waiting.pop_front() {
            let mut placed = Placed::new();
            for index in batch {
                let partition = partition_for(messages.at(index).key, partitions);
                placed.entry(partition).or_default().push(index);
            }
            let (placed, silent) = self.answering(placed);
            let outcomes = self.request(messages, &placed)?;
            for (partition, indices) in placed {
                match outcomes.get(&partition) {
                    Some(Ok(())) => tally.acknowledged.extend(indices),
                    Some(Err(KafkaCode::MessageSizeTooLarge | KafkaCode::RecordListTooLarge)) => {
                        match halves(&indices) {
                            None => tally.refused.extend(indices),
                            Some((first, second)) => {
                                // The topic accepts less than a broker does by default: send less at a time from now on.
                                self.request_bytes =
                                    first.iter().map(|&index| weights[index]).sum();
                                waiting.push_front(second);
                                waiting.push_front(first);
                            }
                        }
                    }
                    // They stay unacknowledged; the other partitions of this answer still count.
                    Some(Err(code)) => failed = Some(*code),
                    None => failed = Some(KafkaCode::Unknown),
                }
            }
            let error =
                failed.map(|code| KafkaError::code(self.client.brokers(), &self.doing(), code));
            if let Some(error) = error.or(silent) {
                self.client.forget();
                return Err(error);
            }
        }
        Ok(())
    }

    /// Those of `placed` whose partition has a leader that answers, and the error of one that has not: the messages for the others are sent all
    /// the same. (The crate refuses the whole request if one of its partitions has no leader.)
    fn answering(&self, mut placed: Placed) -> (Placed, Option<KafkaError>) {
        let mut silent = None;
        for (partition, leader) in (0..).zip(self.client.leaders()) {
            let error = match leader {
                Leader::At(_) => continue,
                Leader::NotAnswering(error) => error.clone(),
                Leader::Missing => KafkaError::code(
                    self.client.brokers(),
                    &self.doing(),
                    KafkaCode::LeaderNotAvailable,
                ),
            };
            if placed.remove(&partition).is_some() {
                silent = Some(error);
            }
        }
        (placed, silent)
    }

    /// One produce request: the indices of the messages of each partition. Returns the result for each partition.
    fn request(
        &mut self,
        messages: &Arc<Messages>,
        placed: &Placed,
    ) -> Result<Outcomes, KafkaError> {
        if placed.is_empty() {
            return Ok(Outcomes::new());
        }
        let doing = self.doing();
        let topic = self.client.topic().to_owned();
        let places: Vec<(i32, usize)> = placed
            .iter()
            .flat_map(|(&partition, indices)| indices.iter().map(move |&index| (partition, index)))
            .collect();
        // Shared, because the thread that sends them may outlive this call.
        let messages = messages.clone();
        self.client.call(&doing, PRODUCE_ACK_WAIT, move |kafka| {
            let requests = places.iter().map(|&(partition, index)| {
                let Message { key, value } = messages.at(index);
                ProduceMessage::new(&topic, partition, Some(key), Some(value))
            });
            let confirms = kafka.produce_messages(RequiredAcks::All, PRODUCE_ACK_WAIT, requests)?;
            let partitions = confirms
                .into_iter()
                .flat_map(|confirm| confirm.partition_confirms);
            Ok(partitions
                .map(|confirm| (confirm.partition, confirm.offset.map(drop)))
                .collect())
        })
    }

    fn doing(&self) -> String {
        format!("write to {}", self.client.topic())
    }
}

impl ProducerClient for Producer {
    fn wait_for_leaders(
        &mut self,
        wait: Duration,
        begin_to_wait: &mut dyn FnMut(&str),
    ) -> Result<(), KafkaError> {
        let (deadline, mut backoff, mut waits) = (Instant::now() + wait, Backoff::new(), false);
        loop {
            let problem = match self.client.refresh() {
                Ok(()) => match self.partition_without_leader() {
                    None => return Ok(()),
                    Some(problem) => Ok(problem),
                },
                Err(error @ KafkaError::NoLeader { .. }) => Err(error),
                Err(error) => return Err(error),
            };
            if Instant::now() >= deadline {
                return problem.map(drop);
            }
            if !waits {
                begin_to_wait(&problem.unwrap_or_else(|error| error.to_string()));
                waits = true;
            }
            self.client.forget();
            self.client.pause(backoff.pause())?;
        }
    }

    fn send(&mut self, messages: &Arc<Messages>) -> Result<(), SendError> {
        let mut tally = SendTally::default();
        let outcome = self.send_all(messages, &mut tally);
        tally.finish(outcome, self.client.topic(), messages)
    }

    fn end_offsets(&mut self, topic: &str, wait: Duration) -> Result<Vec<i64>, KafkaError> {
        let doing = format!("look up the ends of {topic}");
        let topic = topic.to_owned();
        self.client.call_within(&doing, wait, move |kafka| {
            // Asked again each time: partitions may have been added.
            kafka.load_metadata(&[&topic])?;
            let topics = kafka.topics();
            let partitions = topics.partitions(&topic).map_or(0, |known| known.len());
            let ends: BTreeMap<i32, i64> = kafka
                .fetch_topic_offsets(&topic, FetchOffset::Latest)?
                .iter()
                // The crate uses -1 for an answer without an offset.
                .filter(|end| end.offset >= 0)
                .map(|end| (end.partition, end.offset))
                .collect();
            // The crate leaves out partitions without a leader.
            (0..)
                .take(partitions)
                .map(|partition| ends.get(&partition).copied())
                .collect::<Option<Vec<i64>>>()
                .ok_or(Error::Kafka(KafkaCode::LeaderNotAvailable))
        })
    }
}

/// The indices of the messages of each partition.
type Placed = BTreeMap<i32, Vec<usize>>;

/// The result for each partition of a request.
type Outcomes = BTreeMap<i32, Result<(), KafkaCode>>;
