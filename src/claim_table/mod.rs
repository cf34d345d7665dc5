//! The one place that knows Redis: the claim table of a group, and live progress.
//!
//! **Invariant:** every change is one Lua script (`scripts/`) that checks everything before its first write and may be sent twice. The table can
//! be rebuilt from Kafka; a missing key never means that a task has ended.
//!
//! | file | what |
//! |---|---|
//! | `url.rs` | the address of Redis, shown without the password |
//! | `error.rs` | errors for operators |
//! | `connection.rs` | a connection that is re-established after an error; calling scripts |
//! | `access.rs` | what Redis is and allows; keys of a wrong type |
//! | `watermark.rs` | the last watermark that a server has seen |
//! | `replicas.rs`, `replication.rs` | waits for a replica after a decision |
//! | `fields.rs` | parsing of untrusted hashes |
//! | `ingest.rs` | cursors, ingestion, offsets that may be committed |
//! | `claims.rs` | claim, renew, progress, decide_end, finish, release, refuse, reap |
//! | `control.rs` | cancel, pause, resume, retry; the outbox |
//! | `order.rs` | an operator's order |
//! | `view.rs` | reads tasks and servers for display |

mod access;
mod claims;
mod connection;
mod control;
mod error;
mod fields;
mod ingest;
mod order;
mod replicas;
mod replication;
mod url;
mod view;
mod watermark;

pub use access::{REDIS_NEEDED, RedisInfo};
pub use claims::{
    Answer, Claim, ClaimState, Claimed, Ending, HEARTBEAT_FRESH, LiveProgress, Load, Reaped,
    Refused, Release, Renewal, Renewed,
};
pub use connection::ClaimTable;
pub use control::{Retry, Steered};
pub use error::ClaimTableError;
pub use ingest::{
    Audit, Beginning, Cursor, Disposition, Ingest, Ingested, NewTask, Outcome, Past, Start,
};
pub use order::Order;
pub use url::RedisUrl;
pub use view::{LiveServer, LiveTask};
pub use watermark::Caller;
