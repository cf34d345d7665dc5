//! The client on the blocking `kafka` crate 0.10.0, for plaintext brokers up to Kafka 3.9.
//!
//! What exists only because of limits of that crate is here: it does not negotiate versions, has no deadline for a call, does not read a
//! record that is larger than the fetch, drops records when one partition of an answer fails, and reports some errors as debug text.
//!
//! | file | what |
//! |---|---|
//! | `api_versions.rs` | the first contact: is it there, is it Kafka, can this client use it? |
//! | `deadline.rs` | a bound on how long a call may take |
//! | `connection.rs` | one connection that is made again after an error |
//! | `reader.rs`, `fetch_window/` | reading from the caller's cursors without loss |
//! | `producer.rs`, `batches.rs`, `partitioner.rs` | sending, and what is acknowledged |
//! | `group_offsets.rs` | the offsets of a consumer group |
//! | `errors.rs` | the crate's errors as ours |

pub(super) mod api_versions;
mod batches;
mod connection;
mod deadline;
mod errors;
mod fetch_window;
pub(super) mod group_offsets;
mod partitioner;
pub(super) mod producer;
pub(super) mod reader;
