//! `scanpush results`: reads `scan-results` from its beginning and writes each finding of the given tasks once. The findings come
//! from Kafka; Redis is needed to resolve abbreviated ids and jobs, and to know when a task has ended.
//!
//! **Invariant:** memory grows only by a few bytes for each finding: records are read, written and dropped. A document is
//! completed only if everything was read or the user pressed Ctrl-C. After an error it stays incomplete, so that no reader
//! mistakes it for all findings.
//!
//! | file | purpose |
//! |---|---|
//! | `flags.rs` | the flags and the help text |
//! | `options.rs` | the command line, parsed and checked |
//! | `run.rs` | the work, step by step |
//! | `follow.rs` | how far reading goes; polls the tasks with `-follow` |
//! | `selected.rs` | the tasks, and their state in Redis |
//! | `topic_reader.rs` | reads the topic |
//! | `collector.rs`, `endpoints.rs` | from records to new findings |
//! | `coverage.rs` | how complete several passes are |
//! | `diff.rs` | the differences between two tasks |
//! | `report.rs` | warnings about findings that may be missing |

mod collector;
mod coverage;
pub(super) mod diff;
pub(super) mod endpoints;
mod flags;
mod follow;
mod options;
mod report;
mod run;
mod selected;
pub(super) mod topic_reader;

pub use run::Findings;

use super::Command;

pub(super) const COMMAND: Command = Command {
    name: "results",
    about: "writes the findings of tasks, each once",
    usage: "results ID… | -job ID | -diff ID ID [flags]",
    flags: flags::FLAGS,
    more: flags::MORE_HELP,
    run: run::run,
};
