//! The brokers that Kafka itself names.

use super::choice::{KafkaClient, choose};
use super::deadline::within;
use super::error::KafkaError;
#[cfg(feature = "librdkafka")]
use super::librdkafka_client;
use super::plain_client;
use super::settings::KafkaSettings;
use std::time::Duration;

/// The `HOST:PORT` of each broker in Kafka's metadata; with the `kafka` crate, of each that leads a partition of a topic that the user may see. Errs
/// if no broker has answered within `wait`.
pub fn broker_addresses(
    settings: &KafkaSettings,
    wait: Duration,
) -> Result<Vec<String>, KafkaError> {
    let asked = settings.clone();
    let doing = format!("read the brokers of {settings}");
    within(wait, &doing, move || match choose(&asked)? {
        KafkaClient::Crate(_) => plain_client::broker_addresses(asked.brokers()),
        #[cfg(feature = "librdkafka")]
        KafkaClient::Librdkafka(_) => librdkafka_client::broker_addresses(&asked),
        #[cfg(not(feature = "librdkafka"))]
        KafkaClient::Librdkafka(_) => Err(KafkaError::WithoutLibrdkafka),
    })
}
