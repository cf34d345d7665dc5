//! The offsets of a consumer group, as Kafka stores them and its tools show them (`kafka-consumer-groups.sh`).
//!
//! Only the group's storage is used, not its membership: Kafka accepts such commits as long as the group has no members.

use super::choice::{KafkaClient, choose};
use super::client::OffsetsClient;
use super::error::KafkaError;
#[cfg(feature = "librdkafka")]
use super::librdkafka_client;
use super::plain_client;
use super::settings::KafkaSettings;
use std::collections::BTreeMap;

/// Reads and commits the offsets of one group on one topic.
#[derive(Debug)]
pub struct GroupOffsets {
    settings: KafkaSettings,
    group: String,
    topic: String,
    /// None before the first call, and after an error that another client library may not have.
    client: Option<Box<dyn OffsetsClient>>,
}

impl GroupOffsets {
    /// For `group` on `topic`. Connects with the first call.
    pub fn new(settings: &KafkaSettings, group: &str, topic: &str) -> GroupOffsets {
        GroupOffsets {
            settings: settings.clone(),
            group: group.to_owned(),
            topic: topic.to_owned(),
            client: None,
        }
    }

    /// The partitions of the topic, ascending, by the last metadata. Connects if that is due.
    pub fn partitions(&mut self) -> Result<Vec<i32>, KafkaError> {
        self.call(|client| client.partitions())
    }

    /// The committed offset of each partition: the next one that the group would read. Absent if there is none.
    pub fn committed(&mut self) -> Result<BTreeMap<i32, i64>, KafkaError> {
        self.call(|client| client.committed())
    }

    /// Commits these offsets (the next one to read, by partition). After an error they may be committed nevertheless, and after
    /// [`KafkaError::TimedOut`] even later than a newer commit. The caller commits again.
    pub fn commit(&mut self, offsets: &BTreeMap<i32, i64>) -> Result<(), KafkaError> {
        self.call(|client| client.commit(offsets))
    }

    fn call<T>(
        &mut self,
        work: impl FnOnce(&mut dyn OffsetsClient) -> Result<T, KafkaError>,
    ) -> Result<T, KafkaError> {
        let client = match self.client.take() {
            Some(client) => client,
            None => self.choose_client()?,
        };
        let result = work(self.client.insert(client).as_mut());
        if matches!(result, Err(KafkaError::Incompatible { .. })) {
            self.client = None;
        }
        result
    }

    fn choose_client(&self) -> Result<Box<dyn OffsetsClient>, KafkaError> {
        match choose(&self.settings)? {
            KafkaClient::Crate(_) => Ok(Box::new(plain_client::GroupOffsets::new(
                self.settings.brokers(),
                &self.group,
                &self.topic,
            ))),
            #[cfg(feature = "librdkafka")]
            KafkaClient::Librdkafka(_) => Ok(Box::new(librdkafka_client::GroupOffsets::new(
                &self.settings,
                &self.group,
                &self.topic,
            ))),
            #[cfg(not(feature = "librdkafka"))]
            KafkaClient::Librdkafka(_) => Err(KafkaError::WithoutLibrdkafka),
        }
    }
}
