//! The bus: the one place that knows Kafka.
//!
//! | file | what |
//! |---|---|
//! | `brokers`, `topic` | addresses as an operator writes them; the command that makes a topic |
//! | `hello` | the first contact with a broker: is it there, is it Kafka, is it ours? |
//! | `within` | a bound on how long a call may take |
//! | `client` | one connection, made anew after any error |
//! | `reader`, `isolate`, `portion` | reads a topic from the caller's own cursors, without loss |
//! | `group` | the offsets of a consumer group |
//! | `messages` | what is sent, many in one piece of memory |
//! | `producer`, `batches`, `partitioner` | sends, and says what is acknowledged |
//! | `error` | what can go wrong, in words |
//!
//! **Invariants:** every wait in here has a named bound. After any error the next call connects anew, so a caller only pauses
//! ([`Backoff`](crate::model::Backoff)) and repeats. What is reported as acknowledged is in Kafka; no record between two cursors
//! is passed over in silence.
//!
//! All of it stands on the blocking `kafka` crate 0.10.0, whose traps are named where they are avoided. It logs through `log`
//! under the target `kafka`, at `trace` with whole requests.

mod batches;
mod brokers;
mod client;
mod error;
mod group;
mod hello;
mod isolate;
mod messages;
mod partitioner;
mod portion;
mod producer;
mod reader;
mod topic;
mod within;

pub use brokers::Brokers;
pub use error::{KafkaError, Refusal};
pub use group::GroupOffsets;
pub use hello::preflight;
pub use messages::{Message, Messages};
pub use producer::{PRODUCE_REQUEST_BYTES, Producer, SendError};
pub use reader::{FETCH_WAIT, Fetched, LogRange, Reader, Record};
