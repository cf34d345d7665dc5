//! `scanpush retry`: starts tasks again that failed, were cancelled, or that no server might run, from their checkpoints.
//!
//! An ended task's offset is committed, so a retry must be a new record on Kafka, or a crash would lose it. The record has the same id and a
//! higher `retry`; it does not affect a task that runs or ended in another way. The checkpoint is not in it: servers know it.

use super::Command;
use super::control::{CONTROL_POLL_INTERVAL, CONTROL_WAIT};
use super::ids::{JOB, TaskNames, TaskOptions, unknown_task};
use super::options::JSON;
use super::output::Output;
use super::task_topic;
use crate::claim_table::{ClaimTable, ClaimTableError, Restart, Retry};
use crate::connection::Connection;
use crate::exit::Failure;
use crate::flags::Reader;
use crate::kafka::Messages;
use crate::model::task::RETRY_MAX;
use crate::model::text::quoted;
use crate::model::{GroupName, ProbeOrder, State, Targets, TaskId};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

pub(super) const COMMAND: Command = Command {
    name: "retry",
    about: "starts failed, cancelled or refused tasks again from their checkpoints",
    usage: "retry ID… | -job ID [flags]",
    flags: &[JOB, JSON],
    more: "\
The task keeps its id and its findings; its attempts are counted from 0 again. A
task that has completed is not retried (push it again), nor one that ended more
than 7 days ago. A rejected task is retried if it is valid, but no server was
able to run it. With -job, tasks that cannot be retried are skipped. An ID may
be abbreviated to its first characters, at least 4, if they are unique. -json
prints the record of each task.
Exit code 0: Kafka has acknowledged all; 1: an ID is unknown, or its task has
completed or has not ended (the others are retried nevertheless), or Kafka or
Redis is unreachable; 2: invalid flags.

examples:
  scanpush retry Wb3ZtqLk9Xe_fJ2vR0yAc
  scanpush list -state failed -json | jq -r .task_id | xargs scanpush retry
",
    run,
};

fn run(reader: Reader, output: &mut Output<'_>) -> Result<(), Failure> {
    let options = TaskOptions::read(reader, TaskNames::read)?;
    let runtime = |error: ClaimTableError| Failure::Runtime(error.to_string());
    let Connection { redis, group, .. } = &options.connection;
    let mut claim_table = ClaimTable::connect(redis, group.as_str()).map_err(runtime)?;
    let found = options.names.find(&mut claim_table).map_err(runtime)?;
    let all_found = found.report(group, output);
    let (restarts, refused) = choose(&found.tasks, &mut claim_table, &options).map_err(runtime)?;
    for line in &refused {
        output.problem(&format!("scanpush: {line}"));
    }
    let all_chosen = all_found && refused.is_empty();
    if restarts.is_empty() {
        if all_chosen {
            output.problem("scanpush: no task of the job can be retried: none has failed, been cancelled or been rejected by all servers");
        }
        return Err(Failure::Said);
    }
    send(&restarts, &options, output)?;
    let late = wait_ingested(&restarts, &mut claim_table, CONTROL_WAIT).map_err(runtime)?;
    if late > 0 {
        output.problem(&late_line(late));
    }
    match all_chosen {
        true => Ok(()),
        false => Err(Failure::Said),
    }
}

/// The tasks to start again, and a line for each that cannot be. In a job the others are skipped.
fn choose(
    ids: &[TaskId],
    claim_table: &mut ClaimTable,
    options: &TaskOptions,
) -> Result<(Vec<Restart>, Vec<String>), ClaimTableError> {
    let (mut restarts, mut refused) = (Vec::new(), Vec::new());
    for (id, retry) in ids.iter().zip(claim_table.retries(ids)?) {
        match restart_of(id, retry, &options.connection.group) {
            Ok(restart) => restarts.push(restart),
            Err(_) if options.names.job.is_some() => {}
            Err(reason) => refused.push(reason),
        }
    }
    Ok((restarts, refused))
}

/// How `id` starts again, or the line that says why it cannot.
fn restart_of(id: &TaskId, retry: Retry, group: &GroupName) -> Result<Restart, String> {
    match startable(retry) {
        Ok(restart) => Ok(restart),
        Err(None) => Err(unknown_task(id, group)),
        Err(Some(why)) => Err(format!("retry: {}: {why}", quoted(id.as_str()))),
    }
}

/// How a task starts again, or why it cannot; no reason for an unknown task.
pub(super) fn startable(retry: Retry) -> Result<Restart, Option<String>> {
    Err(Some(match retry {
        Retry::Again(restart) => return Ok(*restart),
        Retry::Unknown => return Err(None),
        Retry::Open(state) => format!("it has not ended: {state}"),
        Retry::Ended(State::Rejected) => "it was rejected: not a valid task".to_owned(),
        Retry::Ended(state) => format!("it is {state}: push it again to scan again"),
        Retry::TooOften => format!("it was retried {RETRY_MAX} times: push it again"),
    }))
}

/// The messages with which these tasks start again.
pub(super) fn messages_of(restarts: &[Restart]) -> Arc<Messages> {
    let mut messages = Messages::default();
    for restart in restarts {
        messages.push_task(&restart.task);
    }
    Arc::new(messages)
}

/// Sends the records and prints those that Kafka has acknowledged. Fails if it has not acknowledged all.
fn send(
    restarts: &[Restart],
    options: &TaskOptions,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let sent = task_topic::connect(&options.connection, output)?.send(&messages_of(restarts));
    let Err(error) = sent else {
        return show(restarts, options.json, output);
    };
    let acknowledged = error.acknowledged.iter().map(|&index| &restarts[index]);
    show(acknowledged, options.json, output)?;
    output.problem(&format!(
        "scanpush: Kafka: {error}: {} of {} records acknowledged; repeat the command for the others",
        error.acknowledged.len(),
        restarts.len()
    ));
    Err(Failure::Said)
}

fn show<'a>(
    restarts: impl IntoIterator<Item = &'a Restart>,
    json: bool,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    for Restart { task, resume } in restarts {
        match json {
            true => output.line(&task.to_record())?,
            false => output.line(&format!(
                "{}  retry {} from {:.2}%",
                task.task_id,
                task.retry,
                ProbeOrder::new(task, &Targets::default(), task.band_width.pps())
                    .percent_at(resume.position)
            ))?,
        }
    }
    output.flush()
}

/// Waits up to `wait` until a server has ingested the records. Returns the number of those that were not.
pub(super) fn wait_ingested(
    restarts: &[Restart],
    claim_table: &mut ClaimTable,
    wait: Duration,
) -> Result<usize, ClaimTableError> {
    let give_up_at = Instant::now() + wait;
    let ids: Vec<TaskId> = restarts
        .iter()
        .map(|restart| restart.task.task_id.clone())
        .collect();
    loop {
        let states = claim_table.tasks_of(&ids)?;
        let late = states
            .iter()
            .zip(restarts)
            .filter(|(live, restart)| {
                live.as_ref()
                    .is_none_or(|live| live.retry < restart.task.retry)
            })
            .count();
        if late == 0 || Instant::now() >= give_up_at {
            return Ok(late);
        }
        thread::sleep(CONTROL_POLL_INTERVAL);
    }
}

/// That this many records have not started their tasks again. A refused one is known only under its place in Kafka.
fn late_line(late: usize) -> String {
    format!(
        "scanpush: Kafka has the records, but {late} of them have started no task yet; they are not lost: \
         no server has ingested them, or servers have refused them (see their logs)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::resume::Position;
    use crate::model::{Resume, Task};

    #[test]
    fn what_is_not_retried_has_a_reason() {
        let group = "scanners".parse().unwrap();
        let id = "t1".parse().unwrap();
        for (retry, why) in [
            (
                Retry::Unknown,
                "\"t1\" is not a task of group scanners (not ingested yet, or ended more than 7 days ago; an abbreviated id needs at least 4 characters)",
            ),
            (
                Retry::Open(State::Running),
                "retry: \"t1\": it has not ended: running",
            ),
            (
                Retry::Ended(State::Completed),
                "retry: \"t1\": it is completed: push it again to scan again",
            ),
            (
                Retry::Ended(State::Rejected),
                "retry: \"t1\": it was rejected: not a valid task",
            ),
            (
                Retry::TooOften,
                "retry: \"t1\": it was retried 1000 times: push it again",
            ),
        ] {
            assert_eq!(restart_of(&id, retry, &group).unwrap_err(), why);
        }
    }

    #[test]
    fn a_retry_that_does_not_start_may_have_been_refused() {
        let line = late_line(2);
        for part in ["2 of them", "ingested", "refused", "logs"] {
            assert!(line.contains(part), "{line}");
        }
    }

    #[test]
    fn a_line_a_task_or_its_record() {
        let task = Task {
            retry: 2,
            ..Task::new(
                "t1".parse().unwrap(),
                "172.16.0.0/24".parse().unwrap(),
                "443".parse().unwrap(),
                "800".parse().unwrap(),
            )
        };
        let restart = Restart {
            task: task.clone(),
            resume: Resume {
                position: Position { pass: 1, index: 64 },
                ..Resume::default()
            },
        };
        let shown = |json| {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let mut output = Output::new(&mut out, &mut err, None, false);
            show([&restart], json, &mut output).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(shown(false), "t1  retry 2 from 25.00%\n");
        assert_eq!(Task::from_record(shown(true).trim().as_bytes()), Ok(task));
    }
}
