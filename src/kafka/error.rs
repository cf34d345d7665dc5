//! Errors of Kafka for operators: one line with the cause and the address. No error type of a client library leaves this room.

use super::brokers::Brokers;
use crate::model::text::system_words;
use std::fmt;
use std::io;
use std::time::Duration;

/// Why a call failed. All but [`TooLarge`](KafkaError::TooLarge) may be temporary: the caller pauses and tries again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KafkaError {
    /// No connection to any address; each with its reason.
    Unreachable(Vec<Refusal>),
    /// The address that a broker advertises cannot be reached from here.
    Advertised(Box<KafkaError>),
    /// The server at the address is not Kafka, or the listener uses TLS.
    NotKafka {
        /// `HOST:PORT`.
        address: String,
        /// What it answered.
        saw: String,
    },
    /// A setting cannot be used, such as a file without a certificate; the text names the flag.
    Settings(String),
    /// The connection needs librdkafka, and this program was built without it.
    WithoutLibrdkafka,
    /// A Kafka whose protocol is too new for the `kafka` crate.
    Incompatible {
        /// `HOST:PORT`.
        address: String,
    },
    /// The topic does not exist, and Kafka does not create it automatically.
    TopicMissing {
        /// Its name.
        topic: String,
        /// The command that creates it.
        command: String,
    },
    /// No partition of the topic has a leader now. Kafka elects new ones within seconds after a broker has died.
    NoLeader {
        /// The brokers asked.
        address: String,
        /// The topic.
        topic: String,
    },
    /// Kafka answered with an error code.
    Broker {
        /// The brokers asked.
        address: String,
        /// The operation.
        doing: String,
        /// The meaning of the code.
        code: &'static str,
    },
    /// The connection failed, or the answer was malformed.
    Io {
        /// The brokers asked.
        address: String,
        /// The operation.
        doing: String,
        /// Why it failed.
        reason: String,
    },
    /// No answer in time. The operation may have been carried out nevertheless.
    TimedOut {
        /// The operation.
        doing: String,
        /// The time-out.
        waited: Duration,
    },
    /// The program is shutting down and does not wait for the answer. The operation may have been carried out nevertheless.
    Stopped,
    /// A call failed inside this process.
    Broken {
        /// The operation.
        doing: String,
        /// The reason.
        reason: String,
    },
    /// A message is larger than the topic accepts. No retry can fix it.
    TooLarge {
        /// The topic.
        topic: String,
        /// Length of the message's value.
        bytes: usize,
    },
}

/// An address that did not accept the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `HOST:PORT`.
    pub address: String,
    /// The reason.
    pub reason: String,
}

impl KafkaError {
    /// The error for a missing topic.
    pub fn topic_missing(brokers: &Brokers, topic: &str) -> KafkaError {
        KafkaError::TopicMissing {
            topic: topic.to_owned(),
            command: create_command(brokers, topic),
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
                "{error} (an address that a broker advertises: see advertised.listeners in its configuration)"
            ),
            KafkaError::NotKafka { address, saw } => {
                write!(f, "{address}: does not speak the Kafka protocol: {saw}")
            }
            KafkaError::Incompatible { address } => write!(
                f,
                "{address}: this broker does not support the protocol versions that the client on the kafka crate needs (Kafka 2.1 to 3.9 does): leave -kafka-client out"
            ),
            KafkaError::Settings(wrong) => f.write_str(wrong),
            KafkaError::WithoutLibrdkafka => f.write_str(
                "TLS, SASL and Kafka 4.0 or newer need librdkafka, and this program was built without it: build it with the cargo feature librdkafka",
            ),
            KafkaError::TopicMissing { topic, command } => write!(
                f,
                "topic {topic} does not exist and Kafka does not create it automatically: {command}"
            ),
            KafkaError::NoLeader { address, topic } => {
                write!(
                    f,
                    "{address}: the partitions of topic {topic} currently have no leader"
                )
            }
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
            KafkaError::Stopped => f.write_str("cancelled: shutting down"),
            KafkaError::TimedOut { doing, waited } => {
                write!(f, "{doing}: no answer within {} s", waited.as_secs_f32())
            }
            KafkaError::Broken { doing, reason } => write!(f, "{doing}: {reason}"),
            KafkaError::TooLarge { topic, bytes } => write!(
                f,
                "a message of {bytes} bytes is larger than topic {topic} accepts (its max.message.bytes, or the broker's message.max.bytes)"
            ),
        }
    }
}

impl std::error::Error for KafkaError {}

/// Why a send stopped, and what is known about each message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendError {
    /// Indices of messages that Kafka certainly has, ascending. The others, except those in `refused`, may have arrived.
    pub acknowledged: Vec<usize>,
    /// Indices of messages that are too large, ascending. They did not arrive and never will.
    pub refused: Vec<usize>,
    /// The reason; [`KafkaError::TooLarge`] if nothing else went wrong.
    pub error: KafkaError,
}

impl SendError {
    /// The error if nothing was sent.
    pub(super) fn before_sending(error: KafkaError) -> SendError {
        SendError {
            acknowledged: Vec::new(),
            refused: Vec::new(),
            error,
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for SendError {}

/// The reason if a listener answers which versions it has, and then closes a plaintext connection.
pub(super) const CLOSED_WITHOUT_LOGIN: &str = "the broker closes the connection: its listener may need a user name (-kafka-sasl) or TLS (-kafka-tls)";

/// The reason for a failed connection, such as "connection refused" or "name not known".
pub(super) fn describe_io_error(error: &io::Error) -> String {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionRefused => "connection refused".to_owned(),
        Kind::ConnectionReset | Kind::BrokenPipe => "the connection was lost".to_owned(),
        Kind::UnexpectedEof => "the connection was closed before the answer".to_owned(),
        Kind::TimedOut | Kind::WouldBlock => "no answer in time".to_owned(),
        Kind::HostUnreachable => "no route to the host".to_owned(),
        Kind::NetworkUnreachable => "network unreachable".to_owned(),
        _ => system_words(&error.to_string()),
    }
}

/// The command that creates `topic`.
fn create_command(brokers: &Brokers, topic: &str) -> String {
    let first = &brokers.addresses()[0];
    format!(
        "kafka-topics.sh --bootstrap-server {first} --create --topic {topic} --partitions 1 --replication-factor 1"
    )
}
