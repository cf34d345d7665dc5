//! `scanpush -ip … -ports …`: makes tasks and sends them to Kafka. Without `-watch` it needs Kafka only.
//!
//! **Invariant:** nothing is sent unless the whole input is valid, and an id is printed only after Kafka has acknowledged the task.
//!
//! stdout gets one line for each task: `ID  TARGET` on a terminal; elsewhere only the id, so that `id=$(scanpush …)` and
//! `scanpush … | xargs scanpush status` work; with `-json` the record. Everything else goes to stderr.
//!
//! | file | purpose |
//! |---|---|
//! | `flags.rs` | the flags and the help text |
//! | `options.rs` | the command line, parsed and checked |
//! | `plan.rs` | from the command line to tasks |
//! | `run.rs` | the work, step by step |
//! | `input_files.rs` | reads files of targets, exclusions and records |
//! | `split.rs` | targets minus exclusions → the addresses of each task |
//! | `size.rs` | addresses, probes and duration of tasks |
//! | `dry_run.rs` | shows tasks instead of sending them |
//! | `confirm.rs` | asks before a large push |
//! | `send.rs` | sends to Kafka, reports which tasks are acknowledged |
//! | `unacknowledged.rs` | the file of unacknowledged tasks |

mod confirm;
mod dry_run;
pub mod flags;
mod input_files;
mod options;
mod plan;
mod run;
mod send;
mod size;
mod split;
mod unacknowledged;

#[cfg(test)]
mod fuzzed;

pub use confirm::{UNCONFIRMED_ADDRESSES_MAX, is_needed as needs_confirmation};
pub use options::read_scan;
pub use send::deliver;
pub use size::Size;

use super::Command;

pub(super) const COMMAND: Command = Command {
    name: "push",
    about: "pushes scan tasks to Kafka for the servers (scand), and prints their ids",
    usage: "[push] -ip TARGETS -ports PORTS [flags]",
    flags: flags::FLAGS,
    more: flags::MORE_HELP,
    run: run::run,
};
