//! `scanpush cancel`, `pause` and `resume`: gives an order through Redis and waits until it is in force.
//!
//! **Invariant:** an order is reported as done only when it is in force. A running task is cancelled once masscan has ended and Kafka has the
//! terminal record; a task is paused once Kafka has the record, so that it stays paused if Redis loses its data.

mod report;
mod steer;

pub(super) use report::CONTROL_WAIT;
pub(super) use steer::CONTROL_CHECK_EVERY;

use super::Command;
use super::ids::{AboutTasks, JOB, Named, unknown};
use super::options::Connection;
use super::output::Output;
use crate::claim_table::{ClaimTable, ClaimTableError, Order};
use crate::exit::Failure;
use crate::flags::shared::{GROUP, KAFKA, REDIS, TOPIC};
use crate::flags::{Flag, Reader};
use crate::model::TaskId;
use crate::model::text::quoted;
use report::{Ended, Report, leave_out_ended};
use steer::{LateTasks, steer, steer_late_tasks};

/// Problems that are reported in a line each; of the others only the number.
const CONTROL_NOTES_MAX: usize = 20;

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
A running task ends within 2 seconds; the command waits for it. A task that is
not running is ended by the next server; if none is up, it stays cancelling
until one is, and is not started. With -job, tasks that have already ended stay
as they are, and tasks that are ingested meanwhile are cancelled too. An ID may
be abbreviated to its first 4 or more characters if they are unique. It needs
Redis only.
Exit code 0: done; 1: not done for some ID, because it is unknown or has already
ended (the others are cancelled), or Redis is not available; 2: invalid flags.

examples:
  scanpush cancel Wb3ZtqLk9Xe_fJ2vR0yAc
  scanpush cancel -job j7Kd0
  scanpush list -state queued -json | jq -r .task_id | xargs scanpush cancel
",
    run: |reader, output| run(Order::Cancel, reader, output),
};

pub(super) const PAUSE: Command = Command {
    name: "pause",
    about: "pauses tasks: masscan stops, the task waits at its checkpoint",
    usage: "pause ID… | -job ID [flags]",
    flags: &[JOB, JSON, REDIS, GROUP, KAFKA, TOPIC],
    more: "\
A running task stops within 2 seconds and waits at its checkpoint; a queued one
is not started. Both wait until scanpush resume, across restarts of anything.
The attempt does not count. With -job, tasks that have already ended stay as
they are. An ID may be abbreviated to its first 4 or more characters if they are
unique. It needs Redis only.
Exit code 0: done; 1: not done for some ID, because it is unknown or has ended
(the others are paused), or Redis is not available; 2: invalid flags.

examples:
  scanpush pause Wb3ZtqLk9Xe_fJ2vR0yAc
  scanpush pause -job j7Kd0
",
    run: |reader, output| run(Order::Pause, reader, output),
};

pub(super) const RESUME: Command = Command {
    name: "resume",
    about: "continues paused tasks from their checkpoints",
    usage: "resume ID… | -job ID [flags]",
    flags: &[JOB, JSON, REDIS, GROUP, KAFKA, TOPIC],
    more: "\
A paused task is queued with its old priority, and before tasks of the same
priority that were pushed later. Tasks that are not paused stay as they are. An
ID may be abbreviated to its first 4 or more characters if they are unique. It
needs Redis only.
Exit code 0: done; 1: not done for some ID, because it is unknown or has ended
(the others continue), or Redis is not available; 2: invalid flags.

examples:
  scanpush resume Wb3ZtqLk9Xe_fJ2vR0yAc
  scanpush resume -job j7Kd0
",
    run: |reader, output| run(Order::Resume, reader, output),
};

fn run(order: Order, reader: Reader, output: &mut Output<'_>) -> Result<(), Failure> {
    let options = AboutTasks::read(reader, Named::read)?;
    let runtime = |error: ClaimTableError| Failure::Runtime(error.to_string());
    let Connection { redis, group, .. } = &options.connection;
    let mut claim_table = ClaimTable::connect(redis, group.as_str()).map_err(runtime)?;
    let found = options.named.find(&mut claim_table).map_err(runtime)?;
    let mut is_good = found.report(&options.connection, output);
    let mut reports = steer(order, &found.tasks, &mut claim_table, output).map_err(runtime)?;
    if let Some(job) = &found.job {
        let late = steer_late_tasks(order, job, &mut reports, &mut claim_table, output)
            .map_err(runtime)?;
        let (lines, had_open_tasks) = leave_out_ended(&mut reports);
        for line in lines {
            output.notice(&line);
        }
        report_late_tasks(order, job, &late, output);
        is_good &= had_open_tasks && !late.go_on;
    }
    show(&reports, &options, output)?;
    match is_good && reports.iter().all(|report| !report.failed) {
        true => Ok(()),
        false => Err(Failure::Said),
    }
}

fn report_late_tasks(order: Order, job: &TaskId, late: &LateTasks, output: &mut Output<'_>) {
    if late.ordered > 0 {
        output.notice(&format!(
            "{} more tasks of the job were ingested meanwhile and got the {order} too",
            late.ordered
        ));
    }
    if late.go_on {
        output.notice(&format!(
            "servers are still ingesting tasks of the job: repeat the order, and check with scanpush job {job}"
        ));
    } else if late.ordered > 0 {
        output.remark(&format!(
            "tasks that are ingested from now on do not get it: check with scanpush job {job}"
        ));
    }
}

fn show(reports: &[Report], options: &AboutTasks, output: &mut Output<'_>) -> Result<(), Failure> {
    for report in reports {
        if options.json {
            output.json(report)?;
        } else if !report.failed {
            output.line(&format!("{}  {}", report.task_id, report.status))?;
        }
    }
    output.flush()?;
    let noted = || {
        reports
            .iter()
            .filter_map(|report| Some((report, report.note.as_ref()?)))
    };
    for (report, note) in noted().take(CONTROL_NOTES_MAX) {
        let id = &report.task_id;
        if report.status == "unknown" && report.ended == Ended::Before {
            output.notice(&unknown(id, &options.connection));
        } else {
            output.notice(&format!(
                "{}: {}: {note}",
                report.order,
                quoted(id.as_str())
            ));
        }
    }
    let more = noted().count().saturating_sub(CONTROL_NOTES_MAX);
    if more > 0 {
        output.notice(&format!("… and {more} more tasks"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::report::{done, failed};
    use super::*;
    use crate::flags;
    use crate::model::{Invalid, State};

    fn options(line: &[&str]) -> Result<AboutTasks, Invalid> {
        flags::read_line(line, CANCEL.flags, |reader| {
            AboutTasks::read(reader, Named::read)
        })
    }

    fn id() -> TaskId {
        "t1".parse().unwrap()
    }

    #[test]
    fn a_line_a_task_and_problems_on_stderr() {
        let reports = [
            done(Order::Cancel, &id(), State::Cancelled),
            failed(
                Order::Cancel,
                &id(),
                "completed",
                "it had already ended: completed".into(),
                Ended::Before,
            ),
        ];
        for (line, expected) in [
            (&["t1"][..], "t1  cancelled\n"),
            (
                &["t1", "-json"],
                "{\"task_id\":\"t1\",\"order\":\"cancel\",\"status\":\"cancelled\"}\n\
{\"task_id\":\"t1\",\"order\":\"cancel\",\"status\":\"completed\",\
\"note\":\"it had already ended: completed\"}\n",
            ),
        ] {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let mut output = Output::new(&mut out, &mut err, None, false);
            show(&reports, &options(line).unwrap(), &mut output).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expected);
            assert_eq!(
                String::from_utf8(err).unwrap(),
                "scanpush: cancel: \"t1\": it had already ended: completed\n"
            );
        }
    }

    #[test]
    fn something_must_be_named() {
        for (line, named) in [
            (&[][..], "no tasks are named: give their ids, or -job ID"),
            (&["a", "-job", "b"], "\"a\" cannot be combined with -job"),
            (&["a b"], "\"a b\" is not an id"),
        ] {
            let error = options(line).unwrap_err().to_string();
            assert!(error.starts_with(named), "{line:?}: {error}");
        }
    }
}
