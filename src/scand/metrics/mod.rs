//! What this server counts and measures, and where Prometheus reads it. `docs/monitoring.md` lists all metrics.
//!
//! | file | contents |
//! |---|---|
//! | `labels.rs` | the values of labels |
//! | `server_metrics.rs` | what the threads count, in the words of their work |
//! | `peers.rs` | whether Kafka and Redis answer |
//! | `checkpoint_ages.rs` | how old the checkpoints of running scans are |
//! | `derived.rs` | what is computed when it is read |
//! | `http.rs` | the addresses |
//!
//! **Invariant:** counting never waits: a thread that counts takes no lock that is held during a call of the system, Kafka or Redis.

mod checkpoint_ages;
mod derived;
mod http;
mod labels;
mod peers;
mod server_metrics;

pub use checkpoint_ages::CheckpointAge;
pub use derived::Sources;
pub use http::start;
pub use labels::{AttemptEnd, FailureReason, Operation, Peer};
pub use peers::{REACH_KAFKA, REACH_REDIS};
pub use server_metrics::ServerMetrics;
