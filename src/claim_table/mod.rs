//! The one place that knows Redis: the claim table of a group, and live progress.
//!
//! **Invariant:** every change is one Lua script (`scripts/`) that checks everything before its first write and may be sent twice. The table can
//! be rebuilt from Kafka; a missing key never means that a task has ended.
//!
//! | file | what |
//! |---|---|
//! | `url.rs` | the address of Redis, shown without the password |
//! | `error.rs` | errors for operators |
//! | `connection.rs` | one connection that is made again after an error; calling scripts |
//! | `fields.rs` | typed reading of untrusted hashes |
//! | `intake.rs` | cursors, ingestion, offsets that may be committed |
//! | `claims.rs` | claim, renew, progress, decide_end, finish, release, refuse, reap |
//! | `control.rs` | cancel, pause, resume, retry; the outbox |
//! | `order.rs` | an operator's order |
//! | `view.rs` | tasks and servers for people to look at |

mod claims;
mod connection;
mod control;
mod error;
mod fields;
mod intake;
mod order;
mod url;
mod view;

pub use claims::{
    Answer, Claim, ClaimState, Claimed, Ending, HEARTBEAT_FRESH, LiveProgress, Load, Reaped,
    Refused, Release, Renewal, Renewed,
};
pub use connection::ClaimTable;
pub use control::{Retry, Steered};
pub use error::ClaimTableError;
pub use intake::{Audit, Beginning, Cursor, Disposition, Ingest, Ingested, NewTask, Outcome, Past};
pub use order::Order;
pub use url::RedisUrl;
pub use view::{LiveServer, LiveTask, REDIS_NEEDED};
