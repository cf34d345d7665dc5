//! Sends messages and knows for each one whether Kafka has it.
//!
//! **Invariant:** a message counts as acknowledged only if all in-sync replicas have it (acks=all).

use super::choice::{KafkaClient, choose};
use super::client::ProducerClient;
use super::error::{KafkaError, SendError};
#[cfg(feature = "librdkafka")]
use super::librdkafka_client;
use super::messages::Messages;
use super::plain_client;
use super::settings::KafkaSettings;
use std::sync::Arc;
use std::time::Duration;

/// Sends to one topic with acks=all.
#[derive(Debug)]
pub struct Producer {
    settings: KafkaSettings,
    topic: String,
    compression: bool,
    /// None before the first call, and after an error that another client library may not have.
    client: Option<Box<dyn ProducerClient>>,
}

impl Producer {
    /// For `topic`; with `compression`, messages are compressed with snappy. Connects with the first send, at which Kafka creates the topic if it
    /// is allowed to.
    pub fn new(settings: &KafkaSettings, topic: &str, compression: bool) -> Producer {
        Producer {
            settings: settings.clone(),
            topic: topic.to_owned(),
            compression,
            client: None,
        }
    }

    /// Connects, and waits up to `wait` until each partition has a leader that answers: after a broker has died, Kafka needs some seconds to elect
    /// new leaders. Calls `begin_to_wait` once with the reason if it waits. Errs if the topic is missing, no broker answers, or all partitions
    /// are still without a leader. If only some are, the messages for the others can be sent.
    pub fn wait_for_leaders(
        &mut self,
        wait: Duration,
        begin_to_wait: &mut dyn FnMut(&str),
    ) -> Result<(), KafkaError> {
        let result = self.client()?.wait_for_leaders(wait, begin_to_wait);
        self.forget_if_incompatible(result.as_ref().err());
        result
    }

    /// Sends the messages in as many requests as their size needs, one after the other. `Ok` only if all in-sync replicas have every one of
    /// them. Stops at the first failure, except for messages that are too large, which do not affect the others.
    pub fn send(&mut self, messages: &Arc<Messages>) -> Result<(), SendError> {
        let result = self
            .client()
            .map_err(SendError::before_sending)?
            .send(messages);
        self.forget_if_incompatible(result.as_ref().err().map(|failed| &failed.error));
        result
    }

    /// The next offset of each partition of `topic`, which need not be the one that this sends to: whatever was acknowledged before is below it.
    /// Errs if Kafka has not answered for every partition within `wait`; connecting may take longer, as it does for [`Producer::send`].
    pub fn end_offsets(&mut self, topic: &str, wait: Duration) -> Result<Vec<i64>, KafkaError> {
        let result = self.client()?.end_offsets(topic, wait);
        self.forget_if_incompatible(result.as_ref().err());
        result
    }

    fn client(&mut self) -> Result<&mut Box<dyn ProducerClient>, KafkaError> {
        let client = match self.client.take() {
            Some(client) => client,
            None => self.choose_client()?,
        };
        Ok(self.client.insert(client))
    }

    fn choose_client(&self) -> Result<Box<dyn ProducerClient>, KafkaError> {
        match choose(&self.settings)? {
            KafkaClient::Crate(_) => Ok(Box::new(plain_client::Producer::new(
                self.settings.brokers(),
                &self.topic,
                self.compression,
            ))),
            #[cfg(feature = "librdkafka")]
            KafkaClient::Librdkafka(_) => Ok(Box::new(librdkafka_client::Producer::new(
                &self.settings,
                &self.topic,
                self.compression,
            ))),
            #[cfg(not(feature = "librdkafka"))]
            KafkaClient::Librdkafka(_) => Err(KafkaError::WithoutLibrdkafka),
        }
    }

    /// The broker has been upgraded to a version that the client cannot speak to.
    fn forget_if_incompatible(&mut self, error: Option<&KafkaError>) {
        if matches!(error, Some(KafkaError::Incompatible { .. })) {
            self.client = None;
        }
    }
}
