//! The client on librdkafka, for TLS, SASL and Kafka 4.0 or newer. It uses the blocking types of the `rdkafka` crate.
//!
//! librdkafka connects, retries and follows moved leaders by itself, on threads of its own. What it does not do by itself is done here: a cause
//! for each failure, a deadline for each call, bounded queues, and results for each partition.
//!
//! | file | what |
//! |---|---|
//! | `config.rs` | librdkafka's settings for each kind of client |
//! | `properties.rs` | the file of `-kafka-config` |
//! | `context.rs` | receives librdkafka's errors, statistics and delivery reports |
//! | `causes.rs` | why a broker cannot be used |
//! | `connection.rs` | connects and reads a topic's leaders |
//! | `refused_run.rs` | finds the end of a run of batches that librdkafka cannot decompress |
//! | `reader.rs`, `producer.rs`, `group_offsets.rs` | the three clients |
//!
//! The facts about librdkafka are measured with version 2.12.1 against Kafka 3.9.1 and 4.4.0.

mod causes;
mod config;
mod connection;
mod context;
mod group_offsets;
mod producer;
mod properties;
mod reader;
mod refused_run;

pub(super) use config::check_settings;
pub(super) use connection::{broker_addresses, try_connection};
pub(super) use group_offsets::GroupOffsets;
pub(super) use producer::Producer;
pub(super) use reader::Reader;
