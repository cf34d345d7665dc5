//! Converts errors of the `kafka` crate and Kafka's error codes to [`KafkaError`]s.

use crate::kafka::brokers::Brokers;
use crate::kafka::codes;
use crate::kafka::error::{KafkaError, describe_io_error};
use crate::model::text::{one_line, quoted};
use kafka::error::{Error, KafkaCode};
use std::io;

impl KafkaError {
    /// The error for an answer of `brokers` with an error code.
    pub(super) fn code(brokers: &Brokers, doing: &str, code: KafkaCode) -> KafkaError {
        KafkaError::Broker {
            address: brokers.to_string(),
            doing: doing.to_owned(),
            code: describe_code(code),
        }
    }

    /// The error for a failed call of the crate.
    pub(super) fn client(brokers: &Brokers, doing: &str, error: &Error) -> KafkaError {
        match error {
            Error::Kafka(code) => KafkaError::code(brokers, doing, *code),
            Error::TopicPartitionError { error_code, .. } => {
                KafkaError::code(brokers, doing, *error_code)
            }
            other => KafkaError::Io {
                address: brokers.to_string(),
                doing: doing.to_owned(),
                reason: describe_client_error(other),
            },
        }
    }
}

/// Whether the broker closed the connection instead of answering.
pub(super) fn is_closed(error: &Error) -> bool {
    match error {
        Error::Io(error) => matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe
        ),
        Error::UnexpectedEOF => true,
        Error::ArcSelf(inner) => is_closed(inner),
        _ => false,
    }
}

/// The text for an error of the crate about an answer or a connection.
pub(super) fn describe_client_error(error: &Error) -> String {
    match error {
        Error::Io(error) => describe_io_error(error),
        Error::Kafka(code) => describe_code(*code).to_owned(),
        Error::UnexpectedEOF | Error::CodecError | Error::StringDecodeError => {
            "the answer is malformed".to_owned()
        }
        Error::NoHostReachable => "the connection was lost".to_owned(),
        Error::ArcSelf(inner) => describe_client_error(inner),
        other => one_line(&other.to_string()),
    }
}

/// The text for the first bytes of an answer that is not Kafka's.
pub(super) fn describe_answer(first: [u8; 4]) -> String {
    match first {
        // Records of TLS: 21 is an alert, 22 a handshake, then the major version 3.
        [21 | 22, 3, ..] => "the listener uses TLS: add -kafka-tls".to_owned(),
        _ => format!(
            "its answer begins with {}",
            quoted(&String::from_utf8_lossy(&first))
        ),
    }
}

/// The text for an error code; see [`codes`](crate::kafka::codes).
pub(super) fn describe_code(code: KafkaCode) -> &'static str {
    codes::describe_code(code as i16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::brokers::Brokers;
    use crate::kafka::error::Refusal;
    use std::time::Duration;

    #[test]
    fn each_error_is_one_line_for_an_operator() {
        let brokers: Brokers = "a:1,b:2".parse().unwrap();
        let refusal = |address: &str, reason: &str| Refusal {
            address: address.into(),
            reason: reason.into(),
        };
        let down = KafkaError::Unreachable(vec![
            refusal("a:1", "connection refused"),
            refusal("b:2", "name not known"),
        ]);
        for (error, line) in [
            (down.clone(), "a:1: connection refused; b:2: name not known"),
            (
                KafkaError::Advertised(Box::new(down)),
                "a:1: connection refused; b:2: name not known (an address that a broker advertises: see \
                 advertised.listeners in its configuration)",
            ),
            (
                KafkaError::NotKafka {
                    address: "a:1".into(),
                    saw: describe_answer(*b"HTTP"),
                },
                "a:1: does not speak the Kafka protocol: its answer begins with \"HTTP\"",
            ),
            (
                KafkaError::topic_missing(&brokers, "t"),
                "topic t does not exist and Kafka does not create it automatically: kafka-topics.sh --bootstrap-server a:1 \
                 --create --topic t --partitions 1 --replication-factor 1",
            ),
            (
                KafkaError::client(
                    &brokers,
                    "fetch",
                    &Error::Kafka(KafkaCode::NotLeaderForPartition),
                ),
                "a:1,b:2: fetch: the partition's leader has moved",
            ),
            (
                KafkaError::client(
                    &brokers,
                    "fetch",
                    &Error::Io(io::ErrorKind::UnexpectedEof.into()),
                ),
                "a:1,b:2: fetch: the connection was closed before the answer",
            ),
            (KafkaError::Stopped, "cancelled: shutting down"),
            (
                KafkaError::TimedOut {
                    doing: "connect to a:1".into(),
                    waited: Duration::from_millis(2500),
                },
                "connect to a:1: no answer within 2.5 s",
            ),
        ] {
            assert_eq!(error.to_string(), line);
        }
    }

    #[test]
    fn causes_are_plain_text() {
        for (error, words) in [
            (io::Error::from_raw_os_error(111), "connection refused"),
            (io::Error::from_raw_os_error(113), "no route to the host"),
            (io::Error::from_raw_os_error(104), "the connection was lost"),
            (io::Error::from_raw_os_error(1), "Operation not permitted"),
            (
                io::Error::other("failed to lookup address information: Name or service not known"),
                "name not known",
            ),
        ] {
            assert_eq!(describe_io_error(&error), words);
        }
        assert!(describe_answer([21, 3, 3, 0]).contains("TLS"));
        assert_eq!(
            describe_answer([255, 10, 0, 1]),
            "its answer begins with \"\u{fffd}\\n\\0\\u{1}\""
        );
    }
}
