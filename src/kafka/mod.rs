//! The one place that knows Kafka.
//!
//! | file | what |
//! |---|---|
//! | `settings.rs`, `brokers.rs` | how to connect |
//! | `fetched.rs` | the results of reading |
//! | `messages.rs`, `send_tally.rs` | messages to send, in one buffer; what is known about them |
//! | `error.rs`, `codes.rs` | errors for operators |
//! | `deadline.rs` | a time limit for calls |
//! | `reader.rs`, `producer.rs`, `group_offsets.rs` | what the rest of the program uses, over one of the two clients |
//! | `choice.rs`, `preflight.rs` | which client connects; a check of the connection |
//! | `known_brokers.rs` | the brokers that Kafka itself names |
//! | `client.rs` | what a client must do |
//! | `plain_client/` | the client on the `kafka` crate: plaintext, Kafka 2.1 to 3.9 |
//! | `librdkafka_client/` | the client on librdkafka: all of today's Kafka, TLS, SASL |
//!
//! The rest of the program does not know which client it uses.
//!
//! **Invariants:** every wait has a named bound. After an error the next call connects again, so a caller only pauses
//! ([`Backoff`](crate::model::Backoff)) and repeats. A message that is reported as acknowledged is in Kafka. No record between two
//! cursors is skipped silently.
//!
//! The `kafka` crate logs through `log` under the target `kafka`, at `trace` with complete requests.

mod brokers;
mod choice;
mod client;
mod codes;
mod deadline;
mod error;
mod fetched;
mod group_offsets;
mod known_brokers;
#[cfg(feature = "librdkafka")]
mod librdkafka_client;
mod messages;
mod plain_client;
mod preflight;
mod producer;
mod reader;
mod send_tally;
mod settings;

pub use brokers::Brokers;
pub use choice::{KafkaClient, Reason};
pub use error::{KafkaError, Refusal, SendError};
pub use fetched::{FETCH_WAIT, Fetched, LogRange, Record};
pub use group_offsets::GroupOffsets;
pub use known_brokers::broker_addresses;
pub use messages::{Message, Messages, PRODUCE_REQUEST_BYTES};
pub use preflight::{check_settings, preflight};
pub use producer::Producer;
pub use reader::Reader;
pub use settings::{ClientChoice, KafkaSettings, Sasl, SaslMechanism, Security};
