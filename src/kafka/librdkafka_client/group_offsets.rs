//! Reads and commits the offsets of a group with a consumer that never joins it.

use super::config;
use super::connection::{bad_settings, call_error, open, topic_leaders};
use super::context::Context;
use crate::kafka::client::OffsetsClient;
use crate::kafka::deadline::DeadlineThread;
use crate::kafka::error::KafkaError;
use crate::kafka::settings::KafkaSettings;
use crossbeam_channel::never;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::topic_partition_list::Offset;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Longest time for reading offsets, or for a commit. The first use of a new Kafka creates its offsets topic.
const OFFSETS_WAIT: Duration = Duration::from_secs(10);
/// How long partitions are used without reading metadata again.
const PARTITIONS_EVERY: Duration = config::METADATA_EVERY;

/// The offsets of one group on one topic.
#[derive(Debug)]
pub(in crate::kafka) struct GroupOffsets {
    settings: KafkaSettings,
    group: String,
    topic: String,
    caller: DeadlineThread,
    session: Option<Session>,
    /// The consumer of a call that was abandoned. librdkafka's commit has no time-out; with a frozen broker it blocks until the broker resumes. Until
    /// it returns, no new consumer is started, so there is at most one abandoned thread.
    abandoned: Weak<BaseConsumer<Context>>,
}

struct Session {
    consumer: Arc<BaseConsumer<Context>>,
    partitions: Vec<i32>,
    since: Instant,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({:?})", self.partitions)
    }
}

impl GroupOffsets {
    /// For `group` on `topic`. Connects with the first call.
    pub(in crate::kafka) fn new(
        settings: &KafkaSettings,
        group: &str,
        topic: &str,
    ) -> GroupOffsets {
        GroupOffsets {
            settings: settings.clone(),
            group: group.to_owned(),
            topic: topic.to_owned(),
            caller: DeadlineThread::default(),
            session: None,
            abandoned: Weak::new(),
        }
    }

    /// The session, connected. It is put back only after a successful call.
    fn take_session(&mut self) -> Result<Session, KafkaError> {
        match self.session.take() {
            Some(session) if session.since.elapsed() < PARTITIONS_EVERY => Ok(session),
            Some(session) => self.refresh(session.consumer),
            None => {
                let config =
                    config::of_offsets(&self.settings, &self.group).map_err(bad_settings)?;
                let consumer = Arc::new(open(&self.settings, &config)?);
                self.refresh(consumer)
            }
        }
    }

    fn refresh(&self, consumer: Arc<BaseConsumer<Context>>) -> Result<Session, KafkaError> {
        let leaders = topic_leaders(
            consumer.as_ref(),
            &self.settings,
            &self.topic,
            true,
            &never(),
        )?;
        Ok(Session {
            partitions: leaders.into_keys().collect(),
            consumer,
            since: Instant::now(),
        })
    }

    /// Runs `work` with the consumer, for at most [`OFFSETS_WAIT`].
    fn call<T, W>(&mut self, doing: &str, work: W) -> Result<T, KafkaError>
    where
        T: Send + 'static,
        W: FnOnce(&BaseConsumer<Context>, &[i32]) -> Result<T, rdkafka::error::KafkaError>
            + Send
            + 'static,
    {
        let asked = format!("{}: {doing}", self.settings);
        if self.abandoned.strong_count() > 0 {
            return Err(KafkaError::TimedOut {
                doing: asked,
                waited: OFFSETS_WAIT,
            });
        }
        let session = self.take_session()?;
        let consumer = session.consumer.clone();
        let partitions = session.partitions.clone();
        let called = self.caller.within(OFFSETS_WAIT, &asked, move || {
            Ok(work(&consumer, &partitions))
        });
        match called {
            Ok(result) => {
                // The causes of an error arrive only while the consumer is polled.
                session.consumer.poll(Duration::ZERO);
                let context = session.consumer.context();
                let value =
                    result.map_err(|error| call_error(context, &self.settings, doing, &error))?;
                self.session = Some(session);
                Ok(value)
            }
            Err(error) => {
                self.abandoned = Arc::downgrade(&session.consumer);
                Err(error)
            }
        }
    }
}

impl OffsetsClient for GroupOffsets {
    fn partitions(&mut self) -> Result<Vec<i32>, KafkaError> {
        let session = self.take_session()?;
        let partitions = session.partitions.clone();
        self.session = Some(session);
        Ok(partitions)
    }

    fn committed(&mut self) -> Result<BTreeMap<i32, i64>, KafkaError> {
        let topic = self.topic.clone();
        let doing = format!("read the offsets of group {}", self.group);
        self.call(&doing, move |consumer, partitions| {
            let mut asked = TopicPartitionList::new();
            for &partition in partitions {
                asked.add_partition(&topic, partition);
            }
            let committed = consumer.committed_offsets(asked, OFFSETS_WAIT)?;
            let known = committed.elements();
            // An element has an error of its own if, for example, the group's user has no right on the topic.
            if let Some(error) = known.iter().find_map(|element| element.error().err()) {
                return Err(error);
            }
            let offsets = known.iter().filter_map(|element| match element.offset() {
                Offset::Offset(offset) => Some((element.partition(), offset)),
                _ => None,
            });
            Ok(offsets.collect())
        })
    }

    fn commit(&mut self, offsets: &BTreeMap<i32, i64>) -> Result<(), KafkaError> {
        let topic = self.topic.clone();
        let doing = format!("commit the offsets of group {}", self.group);
        let offsets = offsets.clone();
        self.call(&doing, move |consumer, _| {
            let mut commits = TopicPartitionList::new();
            for (&partition, &offset) in &offsets {
                commits.add_partition_offset(&topic, partition, Offset::Offset(offset))?;
            }
            consumer.commit(&commits, CommitMode::Sync)
        })
    }
}
