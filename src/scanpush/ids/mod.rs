//! The tasks that a command line names: by their ids, by abbreviated ids, or as a job. Every command that takes ids uses this.
//!
//! **Invariant:** an abbreviated id stands for a task only if exactly one known task's id starts with it; a complete id always wins.
//!
//! | file | purpose |
//! |---|---|
//! | `options.rs` | ids and `-job` on the command line |
//! | `find.rs` | looks them up in Redis |
//! | `abbreviation.rs` | completes abbreviated ids |

mod abbreviation;
mod find;
mod options;

pub use abbreviation::{
    Match, UNKNOWN_TASK_REASON, ambiguous, complete, is_too_short, unknown_task, with_prefix,
};
pub use find::{FoundJob, FoundTasks, JobError, find_job};
pub use options::{JOB, TaskNames, TaskOptions};
