//! The client on the blocking `kafka` crate 0.10.0, for plaintext and Kafka 2.1 to 3.9.
//!
//! It works around the limits of that crate, which does not negotiate versions, has no deadline for a call, and reports some errors as debug text.
//! Records are fetched without it: it decompresses them without a bound, does not read a record that is larger than the fetch, and drops records if
//! one partition of an answer fails.
//!
//! | file | what |
//! |---|---|
//! | `api_versions.rs` | checks that a broker is reachable, is Kafka, and supports the crate's protocol versions |
//! | `connection.rs` | a connection that is re-established after an error |
//! | `reader.rs` | reading from the caller's cursors without loss |
//! | `fetch_request.rs`, `record_batches.rs`, `decompress.rs`, `bytes.rs` | Kafka's protocol: Fetch, and the records in an answer |
//! | `producer.rs`, `batches.rs`, `partitioner.rs` | sending, and what is acknowledged |
//! | `group_offsets.rs` | the offsets of a consumer group |
//! | `errors.rs` | converts the crate's errors |

pub(super) mod api_versions;
mod batches;
mod bytes;
mod connection;
mod decompress;
mod errors;
mod fetch_request;
mod group_offsets;
mod partitioner;
mod producer;
mod reader;
mod record_batches;

pub(super) use connection::broker_addresses;
pub(super) use group_offsets::GroupOffsets;
pub(super) use producer::Producer;
pub(super) use reader::Reader;
#[cfg(feature = "librdkafka")]
pub(super) use reader::fetch_partition;
