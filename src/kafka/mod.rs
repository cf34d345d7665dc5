//! The one place that knows Kafka.
//!
//! | file | what |
//! |---|---|
//! | `brokers.rs` | the addresses of `-kafka` |
//! | `fetched.rs` | the results of reading |
//! | `messages.rs` | messages to send, in one buffer |
//! | `error.rs` | errors for operators |
//! | `plain_client/` | the client on the `kafka` crate |
//!
//! The rest of the program uses [`Reader`], [`Producer`], [`GroupOffsets`], [`Brokers`] and the errors. A second client would be
//! a folder next to `plain_client/` with the same three types, and this file would choose one for each connection.
//!
//! **Invariants:** every wait has a named bound. After an error the next call connects again, so a caller only pauses
//! ([`Backoff`](crate::model::Backoff)) and repeats. A message that is reported as acknowledged is in Kafka. No record between two
//! cursors is skipped silently.
//!
//! The `kafka` crate logs through `log` under the target `kafka`, at `trace` with complete requests.

mod brokers;
mod error;
mod fetched;
mod messages;
mod plain_client;

pub use brokers::Brokers;
pub use error::{KafkaError, Refusal};
pub use fetched::{FETCH_WAIT, Fetched, LogRange, Record};
pub use messages::{Message, Messages};
pub use plain_client::api_versions::preflight;
pub use plain_client::group_offsets::GroupOffsets;
pub use plain_client::producer::{PRODUCE_REQUEST_BYTES, Producer, SendError};
pub use plain_client::reader::Reader;
