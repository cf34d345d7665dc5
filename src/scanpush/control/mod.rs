//! `scanpush cancel`, `pause` and `resume`: gives an order through Redis and waits until it is in force.
//!
//! **Invariant:** an order is reported as done only when it is in force. A running task is cancelled once masscan has ended and Kafka has the
//! terminal record; a task is paused once Kafka has the record, so that it stays paused if Redis loses its data.
//!
//! | file | purpose |
//! |---|---|
//! | `run.rs` | the work, step by step |
//! | `steer.rs` | gives an order to tasks and waits for it |
//! | `report.rs` | what became of an order about one task |
//! | `show.rs` | prints the reports |

mod report;
mod run;
mod show;
mod steer;

pub use report::{Outcome, Report};
pub use steer::{CONTROL_REQUEST_WAIT, Patience, steer, steer_late};

use super::Command;
use super::ids::JOB;
use crate::claim_table::Order;
use crate::flags::Flag;
use std::time::Duration;

/// How long an order may take to come into force, counted from the last task for which it did, before it is reported as not in force
/// yet.
pub(super) const CONTROL_WAIT: Duration = Duration::from_secs(10);
/// Interval between two checks.
pub(super) const CONTROL_POLL_INTERVAL: Duration = Duration::from_millis(100);

const JSON: Flag = Flag::switch(
    "--json",
    "print the result for each task as one line of JSON",
);

pub(super) const CANCEL: Command = Command {
    name: "cancel",
    about: "ends tasks: masscan stops, its findings are kept",
    usage: "cancel ID… | -job ID [flags]",
    flags: &[JOB, JSON],
    more: "\
A running task stops within 2 seconds, and the command waits for that. A task
that no server runs is ended by the next server that reads the order; without a
server it stays cancelling and is never started. With -job, tasks that have
already ended are left unchanged, and tasks that are ingested meanwhile are
cancelled too. An ID may be abbreviated to its first characters, at least 4, if
they are unique. Needs Redis only.
Exit code 0: done; 1: an ID is unknown or its task has already ended (the others
are cancelled nevertheless), or Redis is unreachable; 2: invalid flags.

examples:
  scanpush cancel Wb3ZtqLk9Xe_fJ2vR0yAc
  scanpush cancel -job j7Kd0
  scanpush list -state queued -json | jq -r .task_id | xargs scanpush cancel
",
    run: |reader, output| run::run(Order::Cancel, reader, output),
};

pub(super) const PAUSE: Command = Command {
    name: "pause",
    about: "pauses tasks: masscan stops, the task waits at its checkpoint",
    usage: "pause ID… | -job ID [flags]",
    flags: &[JOB, JSON],
    more: "\
A running task stops within 2 seconds and waits at its checkpoint; a queued one
is not started. Both wait for scanpush resume, across restarts. The attempt does
not count. With -job, tasks that have already ended are left unchanged. An ID
may be abbreviated to its first characters, at least 4, if they are unique.
Needs Redis only.
Exit code 0: done; 1: an ID is unknown or its task has ended (the others are
paused nevertheless), or Redis is unreachable; 2: invalid flags.

examples:
  scanpush pause Wb3ZtqLk9Xe_fJ2vR0yAc
  scanpush pause -job j7Kd0
",
    run: |reader, output| run::run(Order::Pause, reader, output),
};

pub(super) const RESUME: Command = Command {
    name: "resume",
    about: "continues paused tasks from their checkpoints",
    usage: "resume ID… | -job ID [flags]",
    flags: &[JOB, JSON],
    more: "\
A paused task is queued again with its priority and its original position. A
task that is not paused is left unchanged. With -job, tasks that have already
ended are left unchanged. An ID may be abbreviated to its first characters, at
least 4, if they are unique. Needs Redis only.
Exit code 0: done; 1: an ID is unknown or its task has ended (the others are
resumed nevertheless), or Redis is unreachable; 2: invalid flags.

examples:
  scanpush resume Wb3ZtqLk9Xe_fJ2vR0yAc
  scanpush resume -job j7Kd0
",
    run: |reader, output| run::run(Order::Resume, reader, output),
};
