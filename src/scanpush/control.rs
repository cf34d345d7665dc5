//! `scanpush cancel`, `pause` and `resume`: gives an order through Redis and waits until it is in force.
//!
//! **Invariant:** an order is reported as done only when it is in force. A running task is cancelled once masscan has ended and Kafka has the
//! terminal record; a task is paused once Kafka has the record, so that it stays paused if Redis loses its data.

use super::Command;
use super::ids::{AboutTasks, JOB, Named, unknown};
use super::options::Connection;
use super::output::Output;
use crate::claim_table::HEARTBEAT_FRESH;
use crate::claim_table::{ClaimTable, ClaimTableError, LiveTask, Order, Steered};
use crate::exit::Failure;
use crate::flags::shared::{GROUP, KAFKA, REDIS, TOPIC};
use crate::flags::{Flag, Reader};
use crate::model::text::quoted;
use crate::model::{State, TaskId};
use serde::Serialize;
use std::collections::HashSet;
use std::thread;
use std::time::Duration;
use std::time::Instant;

/// How long the commands wait for an order to be in force, counted from the last task for which it came into force, before they report that it
/// is not in force yet.
pub(in crate::scanpush) const CONTROL_WAIT: Duration = Duration::from_secs(10);
/// Interval between two checks.
pub(in crate::scanpush) const CONTROL_LOOK_EVERY: Duration = Duration::from_millis(100);
/// If tasks of the job are ingested while an order about it comes into force, the order is complete when none was ingested for
/// this long.
const CONTROL_QUIET: Duration = Duration::from_secs(1);
/// How long an order about a job is repeated for tasks that are ingested meanwhile.
const CONTROL_JOB_MAX: Duration = Duration::from_secs(600);
/// Interval between two progress messages while a person waits for an order.
const CONTROL_TELL_EVERY: Duration = Duration::from_secs(5);
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
    run: |reader, output| run(Order::Cancel, reader, output),
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
    run: |reader, output| run(Order::Pause, reader, output),
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
    run: |reader, output| run(Order::Resume, reader, output),
};

/// The result for one task. Field names are those of `-json`.
#[derive(Debug, Serialize)]
struct Report {
    task_id: TaskId,
    order: Order,
    /// `cancelling` and `pausing` are not in force yet.
    status: &'static str,
    /// Why the order is not, or not yet, in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(skip)]
    failed: bool,
    #[serde(skip)]
    ended: Ended,
}

/// Whether a task ended in another way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    No,
    /// Before the order was given.
    Before,
    /// Before it was in force.
    Meanwhile,
}

fn run(order: Order, reader: Reader, output: &mut Output<'_>) -> Result<(), Failure> {
    let options = AboutTasks::read(reader, Named::read)?;
    let trouble = |error: ClaimTableError| Failure::Runtime(error.to_string());
    let Connection { redis, group, .. } = &options.connection;
    let mut ledger = ClaimTable::connect(redis, group.as_str()).map_err(trouble)?;
    let found = options.named.find(&mut ledger).map_err(trouble)?;
    let good = found.report(&options.connection, output);
    let mut reports = steer(order, &found.tasks, &mut ledger, output).map_err(trouble)?;
    let mut steered = true;
    if let Some(job) = &found.job {
        let late = steer_late(order, job, &mut reports, &mut ledger, output).map_err(trouble)?;
        steered = leave_out_ended(&mut reports, output);
        tell_late(order, job, &late, output);
        steered &= !late.go_on;
    }
    show(&reports, &options, output)?;
    match good && steered && reports.iter().all(|report| !report.failed) {
        true => Ok(()),
        false => Err(Failure::Said),
    }
}

/// Gives the order about all tasks, waits until it is in force, and reports the results. Gives up [`CONTROL_WAIT`] after the last task for
/// which it came into force.
fn steer(
    order: Order,
    tasks: &[TaskId],
    ledger: &mut ClaimTable,
    output: &mut Output<'_>,
) -> Result<Vec<Report>, ClaimTableError> {
    let mut give_up = Instant::now() + CONTROL_WAIT;
    let mut tell_at = Instant::now() + CONTROL_TELL_EVERY;
    let answers = ledger.control(order, tasks)?;
    let mut reports: Vec<Option<Report>> = Vec::with_capacity(tasks.len());
    for (id, answer) in tasks.iter().zip(&answers) {
        reports.push(at_once(order, id, *answer));
    }
    loop {
        let open: Vec<usize> = (0..tasks.len()).filter(|&i| reports[i].is_none()).collect();
        if open.is_empty() {
            break;
        }
        let began = Instant::now();
        let late = began >= give_up;
        let ids: Vec<TaskId> = open.iter().map(|&i| tasks[i].clone()).collect();
        let now = ledger.tasks_of(&ids)?;
        // After the states: an entry is in the outbox from the moment at which the state shows the change.
        let unpublished = ledger.are_in_outbox(&ids)?;
        let alone = late && !has_fresh_server(ledger)?;
        for ((&i, task), unpublished) in open.iter().zip(now).zip(unpublished) {
            let not_yet = || not_yet(order, &tasks[i], answers[i], task.as_ref(), alone);
            reports[i] = in_force(order, &tasks[i], task.as_ref(), unpublished)
                .or_else(|| late.then(not_yet));
        }
        if began >= tell_at {
            tell_at = began + CONTROL_TELL_EVERY;
            let settled = reports.iter().flatten().count();
            output.remark(&format!("{order}: {settled} of {} tasks", tasks.len()));
        }
        if open.iter().any(|&i| reports[i].is_some()) {
            give_up = Instant::now() + CONTROL_WAIT;
        }
        if !late {
            thread::sleep(CONTROL_LOOK_EVERY.max(began.elapsed()));
        }
    }
    Ok(reports.into_iter().flatten().collect())
}

fn has_fresh_server(ledger: &mut ClaimTable) -> Result<bool, ClaimTableError> {
    let fresh_ms = HEARTBEAT_FRESH.as_millis() as u64;
    let servers = ledger.servers()?;
    Ok(servers.iter().any(|server| server.age_ms <= fresh_ms))
}

/// Tasks of a job that were ingested while an order about it came into force.
#[derive(Debug)]
struct Late {
    /// Tasks that got the order too.
    tasks: usize,
    /// Whether there were still new ones at the end of the wait.
    go_on: bool,
}

/// Gives the order to tasks of the job that were ingested since `reports` were made, repeatedly until none was ingested for
/// [`CONTROL_QUIET`], and adds their reports: a large push may still be being ingested when its end is ordered.
fn steer_late(
    order: Order,
    job: &TaskId,
    reports: &mut Vec<Report>,
    ledger: &mut ClaimTable,
    output: &mut Output<'_>,
) -> Result<Late, ClaimTableError> {
    let give_up = Instant::now() + CONTROL_JOB_MAX;
    let mut known: HashSet<TaskId> = reports.iter().map(|one| one.task_id.clone()).collect();
    let (mut late, mut quiet) = (0, true);
    loop {
        let mut new = ledger.job(job)?;
        new.retain(|id| known.insert(id.clone()));
        if !new.is_empty() && Instant::now() >= give_up {
            return Ok(Late {
                tasks: late,
                go_on: true,
            });
        }
        match (new.is_empty(), quiet) {
            (true, true) => break,
            (true, false) => {
                thread::sleep(CONTROL_QUIET);
                quiet = true;
            }
            (false, _) => {
                late += new.len();
                reports.extend(steer(order, &new, ledger, output)?);
                quiet = false;
            }
        }
    }
    Ok(Late {
        tasks: late,
        go_on: false,
    })
}

/// Reports late tasks of a job, and whether there may be more.
fn tell_late(order: Order, job: &TaskId, late: &Late, output: &mut Output<'_>) {
    if late.tasks > 0 {
        let tasks = late.tasks;
        output.problem(&format!(
            "scanpush: {tasks} more of the job's tasks were taken in meanwhile; the {order} is for them too"
        ));
    }
    if late.go_on {
        output.problem(&format!(
            "scanpush: servers still take in tasks of the job: give the order again, look with scanpush job {job}"
        ));
    } else if late.tasks > 0 {
        output.remark(&format!(
            "one that is taken in from now on is not: look with scanpush job {job}"
        ));
    }
}

/// The report for a task that needs no waiting.
fn at_once(order: Order, id: &TaskId, answer: Steered) -> Option<Report> {
    Some(match (order, answer) {
        (_, Steered::Unknown) => failed(
            order,
            id,
            "unknown",
            "it ended long ago".to_owned(),
            Ended::Before,
        ),
        (_, Steered::Ended(state)) => {
            let note = format!("it had ended already: {state}");
            failed(order, id, state.as_str(), note, Ended::Before)
        }
        (Order::Cancel, Steered::Ending(State::Cancelled)) => return None,
        (_, Steered::Ending(State::Cancelled)) => {
            let note = "it is being cancelled".to_owned();
            failed(order, id, "cancelling", note, Ended::Before)
        }
        (_, Steered::Ending(state)) => {
            let note = format!("it is ending already: {state}");
            failed(order, id, state.as_str(), note, Ended::Before)
        }
        (Order::Resume, Steered::Done(state)) => done(order, id, state),
        (_, Steered::Done(_) | Steered::Ordered) => return None,
    })
}

/// The report once the order is in force, or can no longer come into force.
fn in_force(
    order: Order,
    id: &TaskId,
    task: Option<&LiveTask>,
    unpublished: bool,
) -> Option<Report> {
    // Redis lost its data, and the records from which it is rebuilt do not contain the order.
    let task = task?;
    let ended = task.finished_ms.is_some();
    match (order, task.status) {
        (Order::Cancel, State::Cancelled) if ended => Some(done(order, id, State::Cancelled)),
        (Order::Pause, State::Paused) if !unpublished => Some(done(order, id, State::Paused)),
        (_, state) if ended => {
            let note = format!("it ended before the order was in force: {state}");
            Some(failed(order, id, state.as_str(), note, Ended::Meanwhile))
        }
        _ => None,
    }
}

/// The report at the end of the wait; `alone` if no server is running.
fn not_yet(
    order: Order,
    id: &TaskId,
    answer: Steered,
    task: Option<&LiveTask>,
    alone: bool,
) -> Report {
    let Some(task) = task else {
        let note = "Redis does not know it any more: give the order again once it does".to_owned();
        return failed(order, id, "unknown", note, Ended::No);
    };
    let wait_s = CONTROL_WAIT.as_secs();
    match (order, answer) {
        (Order::Cancel, Steered::Ending(_)) => Report {
            note: Some(match alone {
                true => "no server will begin it; the next one that is up ends it".to_owned(),
                false => format!("not yet ended by a server: look with scanpush status {id}"),
            }),
            status: "cancelling",
            ..done(order, id, task.status)
        },
        (Order::Pause, _) if task.status == State::Paused => Report {
            note: Some(
                "no server has told Kafka yet: until one has, a loss of Redis' data undoes it"
                    .to_owned(),
            ),
            ..done(order, id, task.status)
        },
        _ if task.order.is_none() => {
            let note =
                "the order was lost with Redis' data, or withdrawn: give it again".to_owned();
            failed(order, id, task.status.as_str(), note, Ended::No)
        }
        _ => {
            let note = format!(
                "not in force within {wait_s} s: its server can't be reached, or waits for Kafka; the order stands"
            );
            failed(order, id, super::tasks::state_of(task), note, Ended::No)
        }
    }
}

fn done(order: Order, id: &TaskId, state: State) -> Report {
    Report {
        task_id: id.clone(),
        order,
        status: state.as_str(),
        note: None,
        failed: false,
        ended: Ended::No,
    }
}

fn failed(order: Order, id: &TaskId, status: &'static str, note: String, ended: Ended) -> Report {
    Report {
        status,
        note: Some(note),
        failed: true,
        ended,
        ..done(order, id, State::Queued)
    }
}

/// In a job, tasks that ended before the order was in force are not an error. Returns false if all had ended before it was
/// given.
fn leave_out_ended(reports: &mut Vec<Report>, output: &mut Output<'_>) -> bool {
    let all = reports.len();
    let count = |wanted| reports.iter().filter(|one| one.ended == wanted).count();
    let (before, meanwhile) = (count(Ended::Before), count(Ended::Meanwhile));
    reports.retain(|report| report.ended == Ended::No);
    if before > 0 {
        output.problem(&format!(
            "scanpush: {before} of {all} tasks of the job had ended already"
        ));
    }
    if meanwhile > 0 {
        output.problem(&format!(
            "scanpush: {meanwhile} of {all} tasks of the job ended before the order was in force"
        ));
    }
    all == 0 || before < all
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
            output.problem(&format!("scanpush: {}", unknown(id, &options.connection)));
        } else {
            output.problem(&format!(
                "scanpush: {}: {}: {note}",
                report.order,
                quoted(id.as_str())
            ));
        }
    }
    let more = noted().count().saturating_sub(CONTROL_NOTES_MAX);
    if more > 0 {
        output.problem(&format!("scanpush: … and so for {more} more"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tasks::sample::task;
    use super::*;
    use crate::flags;
    use crate::model::Invalid;

    fn options(line: &[&str]) -> Result<AboutTasks, Invalid> {
        flags::read_line(line, CANCEL.flags, |reader| {
            AboutTasks::read(reader, Named::read)
        })
    }

    fn id() -> TaskId {
        "t1".parse().unwrap()
    }

    fn now(status: State, ended: bool) -> LiveTask {
        LiveTask {
            status,
            finished_ms: ended.then_some(1),
            ..task()
        }
    }

    #[test]
    fn what_is_decided_at_once_is_not_waited_for() {
        use Steered::*;
        for (order, answer, status) in [
            (Order::Cancel, Ended(State::Completed), Some("completed")),
            (Order::Cancel, Ended(State::Cancelled), Some("cancelled")),
            (Order::Cancel, Ending(State::Failed), Some("failed")),
            (Order::Cancel, Ending(State::Cancelled), None),
            (Order::Cancel, Ordered, None),
            (Order::Cancel, Unknown, Some("unknown")),
            (Order::Pause, Ending(State::Cancelled), Some("cancelling")),
            (Order::Pause, Done(State::Paused), None),
            (Order::Pause, Ordered, None),
        ] {
            let report = at_once(order, &id(), answer);
            assert_eq!(report.as_ref().map(|report| report.status), status);
            assert!(report.is_none_or(|report| report.failed && report.note.is_some()));
        }
        let resumed = at_once(Order::Resume, &id(), Done(State::Queued)).unwrap();
        assert!(!resumed.failed && resumed.status == "queued");
    }

    #[test]
    fn an_order_is_in_force_when_its_state_is_there_and_told() {
        for (order, status, ended, unpublished, outcome) in [
            (Order::Cancel, State::Running, false, false, None),
            (Order::Cancel, State::Cancelled, true, false, Some(true)),
            (Order::Cancel, State::Completed, true, false, Some(false)),
            (Order::Pause, State::Paused, false, true, None),
            (Order::Pause, State::Paused, false, false, Some(true)),
            (Order::Pause, State::Completed, true, false, Some(false)),
        ] {
            let report = in_force(order, &id(), Some(&now(status, ended)), unpublished);
            assert_eq!(
                report.map(|report| !report.failed),
                outcome,
                "{order} {status}"
            );
        }
        assert!(in_force(Order::Cancel, &id(), None, false).is_none());
    }

    #[test]
    fn what_is_not_in_force_in_time_is_said() {
        let late = |order, answer, state| {
            let task = LiveTask {
                order: (state != State::Paused).then_some(order),
                ..now(state, false)
            };
            not_yet(order, &id(), answer, Some(&task), true)
        };
        let waits = late(
            Order::Cancel,
            Steered::Ending(State::Cancelled),
            State::Queued,
        );
        assert!(!waits.failed && waits.status == "cancelling" && waits.note.is_some());
        let ending = Steered::Ending(State::Cancelled);
        let busy = not_yet(
            Order::Cancel,
            &id(),
            ending,
            Some(&now(State::Queued, false)),
            false,
        );
        assert_eq!(
            (busy.failed, busy.note.as_deref()),
            (
                false,
                Some("not yet ended by a server: look with scanpush status t1")
            )
        );
        let frozen = late(Order::Cancel, Steered::Ordered, State::Running);
        assert!(frozen.failed && frozen.note.unwrap().contains("not in force within 10 s"));
        let lost = not_yet(
            Order::Cancel,
            &id(),
            Steered::Ordered,
            Some(&now(State::Running, false)),
            true,
        );
        assert!(lost.failed && lost.note.unwrap().contains("was lost"));
        let unpublished = late(Order::Pause, Steered::Done(State::Paused), State::Paused);
        assert!(!unpublished.failed && unpublished.note.unwrap().contains("told Kafka"));
    }

    #[test]
    fn of_a_job_those_that_had_ended_are_no_error_unless_all_had() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut output = Output::new(&mut out, &mut err, None, false);
        let ended = |when| failed(Order::Cancel, &id(), "completed", "x".into(), when);
        let before = || ended(Ended::Before);
        let mut some = vec![before(), done(Order::Cancel, &id(), State::Cancelled)];
        assert!(leave_out_ended(&mut some, &mut output));
        assert_eq!(some.len(), 1);
        assert!(!leave_out_ended(&mut vec![before()], &mut output));
        assert!(leave_out_ended(
            &mut vec![ended(Ended::Meanwhile)],
            &mut output
        ));
        assert_eq!(
            String::from_utf8(err).unwrap(),
            "scanpush: 1 of 2 tasks of the job had ended already\nscanpush: 1 of 1 tasks of the job had ended already\n\
scanpush: 1 of 1 tasks of the job ended before the order was in force\n"
        );
    }

    #[test]
    fn a_line_a_task_and_problems_on_stderr() {
        let reports = [
            done(Order::Cancel, &id(), State::Cancelled),
            failed(
                Order::Cancel,
                &id(),
                "completed",
                "it had ended already: completed".into(),
                Ended::Before,
            ),
        ];
        for (line, expected) in [
            (&["t1"][..], "t1  cancelled\n"),
            (
                &["t1", "-json"],
                "{\"task_id\":\"t1\",\"order\":\"cancel\",\"status\":\"cancelled\"}\n\
{\"task_id\":\"t1\",\"order\":\"cancel\",\"status\":\"completed\",\
\"note\":\"it had ended already: completed\"}\n",
            ),
        ] {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let mut output = Output::new(&mut out, &mut err, None, false);
            show(&reports, &options(line).unwrap(), &mut output).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expected);
            assert_eq!(
                String::from_utf8(err).unwrap(),
                "scanpush: cancel: \"t1\": it had ended already: completed\n"
            );
        }
    }

    #[test]
    fn something_must_be_named() {
        for (line, named) in [
            (&[][..], "which tasks? Give their ids, or -job ID"),
            (&["a", "-job", "b"], "\"a\" stands beside -job"),
            (&["a b"], "\"a b\" is not an id"),
        ] {
            let error = options(line).unwrap_err().to_string();
            assert!(error.starts_with(named), "{line:?}: {error}");
        }
    }
}
