//! Which of the two client libraries connects, and why.

use super::error::KafkaError;
use super::plain_client::api_versions::first_that_answers;
use super::settings::{ClientChoice, KafkaSettings};
use std::fmt;

/// The client library for a connection, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KafkaClient {
    /// The `kafka` crate.
    Crate(Reason),
    /// librdkafka.
    Librdkafka(Reason),
}

/// Why a client library was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// `-kafka-client` names it.
    Named,
    /// This flag needs it.
    NeededBy(&'static str),
    /// The connection is plaintext and the broker supports the crate's protocol versions.
    Supported,
    /// The broker does not support the protocol versions of the client on the crate.
    NotSupported,
}

impl fmt::Display for KafkaClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, reason) = match self {
            KafkaClient::Crate(reason) => ("the kafka crate", reason),
            KafkaClient::Librdkafka(reason) => ("librdkafka", reason),
        };
        match reason {
            Reason::Named => write!(f, "{name} (as -kafka-client says)"),
            Reason::NeededBy(flag) => write!(f, "{name} (needed for {flag})"),
            Reason::Supported => write!(
                f,
                "{name} (plaintext, and the broker supports its protocol versions)"
            ),
            Reason::NotSupported => write!(
                f,
                "{name} (the broker is not Kafka 2.1 to 3.9, which the client on the kafka crate needs)"
            ),
        }
    }
}

/// The client library for `settings`. For `auto` without TLS and SASL, asks the brokers; then it errs if none answers as Kafka.
pub(super) fn choose(settings: &KafkaSettings) -> Result<KafkaClient, KafkaError> {
    let needed = settings.security().needs_librdkafka().map(Reason::NeededBy);
    let chosen = match (settings.client(), needed) {
        (ClientChoice::Crate, _) => return Ok(KafkaClient::Crate(Reason::Named)),
        (ClientChoice::Auto, None) => match first_that_answers(settings.brokers()) {
            Ok(_) => return Ok(KafkaClient::Crate(Reason::Supported)),
            Err(KafkaError::Incompatible { .. }) => KafkaClient::Librdkafka(Reason::NotSupported),
            Err(error) => return Err(error),
        },
        (ClientChoice::Librdkafka, _) => KafkaClient::Librdkafka(Reason::Named),
        (ClientChoice::Auto, Some(reason)) => KafkaClient::Librdkafka(reason),
    };
    match cfg!(feature = "librdkafka") {
        true => Ok(chosen),
        false => Err(KafkaError::WithoutLibrdkafka),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_choice_is_explained() {
        for (client, text) in [
            (
                KafkaClient::Crate(Reason::Supported),
                "the kafka crate (plaintext, and the broker supports its protocol versions)",
            ),
            (
                KafkaClient::Librdkafka(Reason::NeededBy("-kafka-tls")),
                "librdkafka (needed for -kafka-tls)",
            ),
            (
                KafkaClient::Librdkafka(Reason::NotSupported),
                "librdkafka (the broker is not Kafka 2.1 to 3.9, which the client on the kafka crate needs)",
            ),
        ] {
            assert_eq!(client.to_string(), text);
        }
    }
}
