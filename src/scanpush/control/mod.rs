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

use super::Command;
use super::ids::JOB;
use crate::claim_table::Order;
use crate::flags::Flag;
use crate::flags::shared::{GROUP, KAFKA, REDIS, TOPIC};
use std::time::Duration;

/// How long an order may take to come into force, counted from the last task for which it did, before it is reported as not in force
/// yet.
pub(super) const CONTROL_WAIT: Duration = Duration::from_secs(10);
/// Interval between two checks.
pub(super) const CONTROL_POLL_INTERVAL: Duration = Duration::from_millis(100);

const JSON: Flag = Flag::switch(
    "--json",
    "print what became of each task as one line of JSON",
);

pub(super) const CANCEL: Command = Command {
    name: "cancel",
    about: "ends tasks: masscan stops, what it has found is kept",
    usage: "cancel ID… | -job ID [flags]",
    flags: &[JOB, JSON, REDIS, GROUP, KAFKA, TOPIC],
    more: "\
A running task ends within 2 seconds; the command waits until it has. A task
that no server runs is ended by the next server that looks; where none is up, it
is cancelling until one is, and is not begun. With -job, tasks that have ended
already are left as they are, and those that a server takes in meanwhile are
ordered too. An ID may be given by its first characters, 4 or more, where only
one has them. It needs Redis only.
Exit code 0: done; 1: for some ID not: it is unknown or has ended already (the
others are cancelled all the same), or Redis is away; 2: bad flags.

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
    flags: &[JOB, JSON, REDIS, GROUP, KAFKA, TOPIC],
    more: "\
A running task stops within 2 seconds and waits at its checkpoint; a queued one
is not begun. Both wait until scanpush resume, over any restart. The attempt
does not count. With -job, tasks that have ended already are left as they are.
An ID may be given by its first characters, 4 or more, where only one has them.
It needs Redis only.
Exit code 0: done; 1: for some ID not: it is unknown or has ended (the others
are paused all the same), or Redis is away; 2: bad flags.

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
    flags: &[JOB, JSON, REDIS, GROUP, KAFKA, TOPIC],
    more: "\
A paused task is queued at its old place: its priority, and its turn among its
equals. A task that is not paused is left as it is. With -job, tasks that have
ended already are left as they are. An ID may be given by its first characters,
4 or more, where only one has them. It needs Redis only.
Exit code 0: done; 1: for some ID not: it is unknown or has ended (the others go
on all the same), or Redis is away; 2: bad flags.

examples:
  scanpush resume Wb3ZtqLk9Xe_fJ2vR0yAc
  scanpush resume -job j7Kd0
",
    run: |reader, output| run::run(Order::Resume, reader, output),
};
