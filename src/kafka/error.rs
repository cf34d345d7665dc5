//! What can go wrong with Kafka, in words for operators: one line with the cause and the address, no Rust debug text.
//!
//! No error leaves this room in another form, and nothing of the `kafka` crate shows through.

use super::brokers::Brokers;
use super::topic::create_command;
use crate::model::text::{one_line, quoted, system_words};
use kafka::error::{Error, KafkaCode};
use std::fmt;
use std::io;
use std::time::Duration;

/// Why something with Kafka failed. All but [`TooLarge`](KafkaError::TooLarge) may go away: the caller pauses and tries again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KafkaError {
    /// No connection to any of the addresses; each with its reason.
    Unreachable(Vec<Refusal>),
    /// A broker names this address of its own to its clients, and it can't be reached from here.
    Advertised(Box<KafkaError>),
    /// What listens at the address isn't Kafka, or not on this listener (TLS).
    NotKafka {
        /// `HOST:PORT`.
        address: String,
        /// What it did instead.
        saw: String,
    },
    /// A Kafka whose protocol is too new for the `kafka` crate.
    Incompatible {
        /// `HOST:PORT`.
        address: String,
    },
    /// The topic doesn't exist and Kafka doesn't make it by itself.
    TopicMissing {
        /// Its name.
        topic: String,
        /// The command that makes it.
        command: String,
    },
    /// Kafka answered with an error code.
    Broker {
        /// The brokers asked.
        address: String,
        /// What was being done.
        doing: String,
        /// The code in words.
        code: &'static str,
    },
    /// The connection failed on the way, or its answer made no sense.
    Io {
        /// The brokers asked.
        address: String,
        /// What was being done.
        doing: String,
        /// Why it failed.
        reason: String,
    },
    /// No answer in time; what was asked for may have been done all the same.
    TimedOut {
        /// What was being done.
        doing: String,
        /// How long was waited.
        waited: Duration,
    },
    /// This program is going down and waits for no answer; what was asked for may have been done all the same.
    Stopped,
    /// A call broke off inside this process.
    Broken {
        /// What was being done.
        doing: String,
        /// Why it broke off.
        reason: String,
    },
    /// One message is larger than the topic takes. No retry can mend it.
    TooLarge {
        /// The topic.
        topic: String,
        /// Length of the message's value.
        bytes: usize,
    },
}

/// An address that didn't take the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `HOST:PORT`.
    pub address: String,
    /// Why, in words.
    pub reason: String,
}

impl KafkaError {
    /// The error for a topic that isn't there.
    pub fn topic_missing(brokers: &Brokers, topic: &str) -> KafkaError {
        KafkaError::TopicMissing {
            topic: topic.to_owned(),
            command: create_command(brokers, topic),
        }
    }

    /// The error for an answer of `brokers` with an error code.
    pub(super) fn code(brokers: &Brokers, doing: &str, code: KafkaCode) -> KafkaError {
        KafkaError::Broker {
            address: brokers.to_string(),
            doing: doing.to_owned(),
            code: code_in_words(code),
        }
    }

    /// The error for a failed call of the `kafka` crate.
    pub(super) fn client(brokers: &Brokers, doing: &str, error: &Error) -> KafkaError {
        match error {
            Error::Kafka(code) => KafkaError::code(brokers, doing, *code),
            Error::TopicPartitionError { error_code, .. } => {
                KafkaError::code(brokers, doing, *error_code)
            }
            other => KafkaError::Io {
                address: brokers.to_string(),
                doing: doing.to_owned(),
                reason: client_error_in_words(other),
            },
        }
    }
}

impl fmt::Display for KafkaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KafkaError::Unreachable(tried) => {
                for (i, Refusal { address, reason }) in tried.iter().enumerate() {
                    let between = if i == 0 { "" } else { "; " };
                    write!(f, "{between}{address}: {reason}")?;
                }
                Ok(())
            }
            KafkaError::Advertised(error) => write!(
                f,
                "{error} (the address that a broker names as its own: see advertised.listeners in its configuration)"
            ),
            KafkaError::NotKafka { address, saw } => {
                write!(f, "{address}: does not speak Kafka's protocol: {saw}")
            }
            KafkaError::Incompatible { address } => write!(
                f,
                "{address}: this Kafka speaks only newer protocol versions than this program (KIP-896): use Kafka 3.9 or older"
            ),
            KafkaError::TopicMissing { topic, command } => write!(
                f,
                "topic {topic} does not exist and Kafka does not create it by itself: {command}"
            ),
            KafkaError::Broker {
                address,
                doing,
                code,
            } => write!(f, "{address}: {doing}: {code}"),
            KafkaError::Io {
                address,
                doing,
                reason,
            } => write!(f, "{address}: {doing}: {reason}"),
            KafkaError::Stopped => f.write_str("given up, since this program ends"),
            KafkaError::TimedOut { doing, waited } => {
                write!(f, "{doing}: no answer within {} s", waited.as_secs_f32())
            }
            KafkaError::Broken { doing, reason } => write!(f, "{doing}: {reason}"),
            KafkaError::TooLarge { topic, bytes } => write!(
                f,
                "a message of {bytes} bytes is larger than topic {topic} takes (its max.message.bytes, or the broker's message.max.bytes)"
            ),
        }
    }
}

impl std::error::Error for KafkaError {}

/// Why a connection failed, in words: "connection refused", "name not known".
pub(super) fn io_in_words(error: &io::Error) -> String {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused => "connection refused".to_owned(),
        Kind::ConnectionReset | Kind::BrokenPipe => "the connection was cut".to_owned(),
        Kind::UnexpectedEof => "the connection was closed before the answer".to_owned(),
        Kind::TimedOut | Kind::WouldBlock => "no answer in time".to_owned(),
        Kind::HostUnreachable => "no route to the host".to_owned(),
        Kind::NetworkUnreachable => "network unreachable".to_owned(),
        _ => system_words(&error.to_string()),
    }
}

/// What the `kafka` crate says of an answer or a connection, in words.
pub(super) fn client_error_in_words(error: &Error) -> String {
    match error {
        Error::Io(error) => io_in_words(error),
        Error::Kafka(code) => code_in_words(*code).to_owned(),
        Error::UnsupportedCompression => {
            "it is compressed in a way that this program can't read (lz4 or zstd)".to_owned()
        }
        Error::UnsupportedProtocol => {
            "it has a message format that this program can't read".to_owned()
        }
        Error::UnexpectedEOF | Error::CodecError | Error::StringDecodeError => {
            "the answer makes no sense".to_owned()
        }
        Error::NoHostReachable => "the connection was cut".to_owned(),
        Error::ArcSelf(inner) => client_error_in_words(inner),
        other => one_line(&other.to_string()),
    }
}

/// The first bytes of an answer that is none of Kafka's, as a reader of the log can use them.
pub(super) fn answer_in_words(first: [u8; 4]) -> String {
    match first {
        // Records of TLS: 21 is an alert, 22 a handshake, then the major version 3.
        [21 | 22, 3, ..] => "it speaks TLS, this program needs a PLAINTEXT listener".to_owned(),
        _ => format!(
            "its answer begins with {}",
            quoted(&String::from_utf8_lossy(&first))
        ),
    }
}

/// An error code of Kafka in words, with the remedy where there is one (<https://kafka.apache.org/protocol#protocol_error_codes>).
pub(super) fn code_in_words(code: KafkaCode) -> &'static str {
    use KafkaCode as Code;
    match code {
        Code::Unknown => "an error that this program has no word for: see the broker's log",
        Code::OffsetOutOfRange => "the offset is outside the log",
        Code::CorruptMessage => "a message is damaged",
        Code::UnknownTopicOrPartition => "the topic or partition does not exist",
        Code::InvalidMessageSize => "a message has an impossible size",
        Code::LeaderNotAvailable => "the partition has no leader at present",
        Code::NotLeaderForPartition => "the partition's leader has moved",
        Code::RequestTimedOut => "the replicas did not answer the broker in time",
        Code::BrokerNotAvailable => "the broker is not available",
        Code::ReplicaNotAvailable => "a replica is not available",
        Code::MessageSizeTooLarge => "a message is larger than the topic takes (max.message.bytes)",
        Code::StaleControllerEpoch => "the broker is out of date",
        Code::OffsetMetadataTooLarge | Code::InvalidCommitOffsetSize => {
            "the offset's metadata is too large"
        }
        Code::NetworkException => "the broker lost a connection",
        Code::GroupLoadInProgress => "the group is still being loaded",
        Code::GroupCoordinatorNotAvailable => "the group has no coordinator at present",
        Code::NotCoordinatorForGroup => "the group's coordinator has moved",
        Code::InvalidTopic => "the topic's name is not one, or the topic is Kafka's own",
        Code::RecordListTooLarge => "a request is larger than the topic's segment (segment.bytes)",
        Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend => {
            "fewer replicas are in sync than the topic asks for (min.insync.replicas)"
        }
        Code::InvalidRequiredAcks => "the broker does not take acks=all",
        Code::IllegalGeneration
        | Code::UnknownMemberId
        | Code::InconsistentGroupProtocol
        | Code::RebalanceInProgress
        | Code::InvalidSessionTimeout => {
            "other consumers have joined the group: give it a name of its own"
        }
        Code::InvalidGroupId => "the group's name is not one",
        Code::TopicAuthorizationFailed => "not authorised for the topic: see Kafka's ACLs",
        Code::GroupAuthorizationFailed => "not authorised for the group: see Kafka's ACLs",
        Code::ClusterAuthorizationFailed => "not authorised for the cluster: see Kafka's ACLs",
        Code::InvalidTimestamp => "the topic does not take messages without a timestamp",
        Code::UnsupportedSaslMechanism | Code::IllegalSaslState => {
            "the listener asks for a login (SASL), this program needs a PLAINTEXT listener"
        }
        Code::UnsupportedVersion => {
            "the broker refuses this program's protocol version (message.downconversion.enable must be true)"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
                "a:1: connection refused; b:2: name not known (the address that a broker names as its own: see \
                 advertised.listeners in its configuration)",
            ),
            (
                KafkaError::NotKafka {
                    address: "a:1".into(),
                    saw: answer_in_words(*b"HTTP"),
                },
                "a:1: does not speak Kafka's protocol: its answer begins with \"HTTP\"",
            ),
            (
                KafkaError::topic_missing(&brokers, "t"),
                "topic t does not exist and Kafka does not create it by itself: kafka-topics.sh --bootstrap-server a:1 \
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
            (KafkaError::Stopped, "given up, since this program ends"),
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
    fn reasons_are_plain_words() {
        for (error, words) in [
            (io::Error::from_raw_os_error(111), "connection refused"),
            (io::Error::from_raw_os_error(113), "no route to the host"),
            (io::Error::from_raw_os_error(104), "the connection was cut"),
            (io::Error::from_raw_os_error(1), "Operation not permitted"),
            (
                io::Error::other("failed to lookup address information: Name or service not known"),
                "name not known",
            ),
        ] {
            assert_eq!(io_in_words(&error), words);
        }
        assert!(answer_in_words([21, 3, 3, 0]).contains("TLS"));
        assert_eq!(
            answer_in_words([255, 10, 0, 1]),
            "its answer begins with \"\u{fffd}\\n\\0\\u{1}\""
        );
    }
}
