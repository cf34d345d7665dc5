//! The one place that knows Redis: the claim table of a group, and live progress.
//!
//! **Invariant:** every change is one Lua script (`scripts/`) that checks everything before its first write and may be sent twice. The table can
//! be rebuilt from Kafka; a missing key never means that a task has ended.
//!
//! | file | what |
//! |---|---|
//! | `url.rs`, `settings.rs` | how to connect: the address, shown without the password, and the credentials |
//! | `connector.rs`, `sentinel.rs` | opens a connection: reads the credentials, asks Sentinels for the primary |
//! | `error.rs` | errors for operators |
//! | `connection.rs` | a connection that is re-established after an error, and follows a Redis Cluster; calling scripts |
//! | `access.rs` | what Redis is and allows; keys of a wrong type |
//! | `watermark.rs` | the last watermark that a server has seen |
//! | `replicas.rs`, `replication.rs` | waits for a replica after a decision |
//! | `fields.rs` | parsing of untrusted hashes |
//! | `ingest.rs` | cursors, ingestion, offsets that may be committed |
//! | `claims.rs` | claim, renew, progress, decide_end, finish, release, refuse, reap |
//! | `control.rs` | cancel, pause, resume, retry; the outbox |
//! | `order.rs` | an operator's order |
//! | `queue.rs` | counts of the queues; the priority of a task |
//! | `view.rs` | reads tasks and servers for display |

mod access;
mod claims;
mod connection;
mod connector;
mod control;
mod error;
mod fields;
mod ingest;
mod order;
mod queue;
mod replicas;
mod replication;
mod sentinel;
mod settings;
mod url;
mod view;
mod watermark;

#[cfg(test)]
mod fuzzed;

pub use access::{RedisInfo, RedisWarning};
pub use claims::{
    Answer, Claim, ClaimState, Claimed, Ending, HEARTBEAT_FRESH, LiveProgress, Load,
    REFUSED_BY_ALL_WAIT, Reaped, Refused, Release, Renewal, Renewed,
};
pub use connection::ClaimTable;
pub use control::{Restart, Retry, Steered};
pub use error::ClaimTableError;
pub use ingest::{
    Audit, Beginning, Cursor, Disposition, Ingest, Ingested, NewTask, Outcome, Past, Start,
};
pub use order::Order;
pub use queue::{Prioritised, QueueCounts};
pub use settings::RedisSettings;
pub use url::RedisUrl;
pub use view::{LiveServer, LiveTask};
pub use watermark::CallingServer;
