//! The one place that knows Redis: the claim table of a group, and live progress.
//!
//! **Invariant:** every change is one Lua script that checks everything before its first write and may be sent twice; the
//! `.lua` files lie beside this one. What is in Redis can be rebuilt from Kafka; a missing key never means "done".
//!
//! | file | what |
//! |---|---|
//! | `url.rs` | where Redis is; hides the password |
//! | `error.rs` | what can go wrong, in an operator's words |
//! | `connection.rs` | one connection that is made again after an error |
//! | `fields.rs` | typed reading of untrusted hashes |
//! | `intake.rs` | cursors, ingest, what may be committed |
//! | `claims.rs` | claim, renew, progress, verdict, finish, release, reap |
//! | `control.rs` | cancel, pause, resume; changes that Kafka has not been told |
//! | `view.rs` | tasks and servers as people look at them |

mod claims;
mod connection;
mod control;
mod error;
mod fields;
mod intake;
mod url;
mod view;

pub use claims::{
    Answer, Claim, ClaimState, Claimed, Ending, HEARTBEAT_FRESH, LiveProgress, Load, Reaped,
    Refused, Release, Renewal, Renewed,
};
pub use connection::ClaimTable;
pub use control::{Order, Retry, Steered};
pub use error::ClaimTableError;
pub use intake::{Audit, Beginning, Cursor, Disposition, Ingest, Ingested, NewTask, Outcome, Past};
pub use url::RedisUrl;
pub use view::{LiveServer, LiveTask, REDIS_NEEDED};
