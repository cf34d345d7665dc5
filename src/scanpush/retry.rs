//! `scanpush retry`: starts tasks again that failed, were cancelled, or that no server might run, from their checkpoints.
//!
//! An ended task's offset is committed, so a retry must be a new record on Kafka, or a crash would lose it. The record has the same id and a
//! higher `retry`; it does not affect a task that runs or ended in another way.

use super::Command;
use super::control::{CONTROL_POLL_INTERVAL, CONTROL_WAIT};
use super::ids::{AboutTasks, JOB, Named, unknown};
use super::options::{Connection, JSON};
use super::output::Output;
use crate::claim_table::{ClaimTable, ClaimTableError, Retry};
use crate::exit::Failure;
use crate::flags::Reader;
use crate::flags::shared::{GROUP, KAFKA, REDIS, TOPIC};
use crate::kafka::{Messages, Producer};
use crate::model::task::RETRY_MAX;
use crate::model::text::quoted;
use crate::model::{ProbeOrder, State, Targets, Task, TaskId};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

pub(super) const COMMAND: Command = Command {
    name: "retry",
    about: "starts failed, cancelled or refused tasks again from their checkpoints",
    usage: "retry ID… | -job ID [flags]",
    flags: &[JOB, JSON, REDIS, KAFKA, TOPIC, GROUP],
    more: "\
The task keeps its id and what it has found; its attempts are counted anew. A
task that has completed is not retried: push it again. Nor is one that Redis no
longer knows, 7 days after its end. A rejected one is where it is a valid task
that no server might run. With -job, tasks that can't be retried are left as
they are. An ID may be given by its first characters, 4 or more, where only one
has them. -json prints the record of each.
Exit code 0: all are acknowledged by Kafka; 1: for some ID not: it is unknown,
has completed or has not ended (the others are begun anew all the same), or
Kafka or Redis is away; 2: bad flags.

examples:
  scanpush retry Wb3ZtqLk9Xe_fJ2vR0yAc
  scanpush list -state failed -json | jq -r .task_id | xargs scanpush retry
",
    run,
};

fn run(reader: Reader, output: &mut Output<'_>) -> Result<(), Failure> {
    let options = AboutTasks::read(reader, Named::read)?;
    let trouble = |error: ClaimTableError| Failure::Runtime(error.to_string());
    let Connection {
        redis,
        group,
        kafka,
        topic,
    } = &options.connection;
    let mut ledger = ClaimTable::connect(redis, group.as_str()).map_err(trouble)?;
    let found = options.named.find(&mut ledger).map_err(trouble)?;
    let good = found.report(&options.connection, output);
    let (tasks, refused) = choose(&found.tasks, &mut ledger, &options).map_err(trouble)?;
    for line in &refused {
        output.problem(&format!("scanpush: {line}"));
    }
    if tasks.is_empty() {
        if good && refused.is_empty() {
            output.problem("scanpush: no task of the job can be retried: none has failed, was cancelled, or was rejected by all servers");
        }
        return Err(Failure::Said);
    }
    let mut messages = Messages::default();
    for task in &tasks {
        messages.push_task(task);
    }
    let sent = Producer::connect(kafka, topic.as_str(), false)
        .map_err(|error| Failure::Runtime(format!("Kafka: {error}")))?
        .send(&Arc::new(messages));
    let (acknowledged, cause) = match sent {
        Ok(()) => ((0..tasks.len()).collect(), None),
        Err(error) => (error.acknowledged.clone(), Some(error.to_string())),
    };
    let begun: Vec<&Task> = acknowledged.iter().map(|&index| &tasks[index]).collect();
    show(&begun, options.json, output)?;
    if let Some(cause) = cause {
        output.problem(&format!(
            "scanpush: Kafka: {cause}: {} of {} records acknowledged; give the command again for the others",
            begun.len(),
            tasks.len()
        ));
        return Err(Failure::Said);
    }
    let late = wait_taken_in(&begun, &mut ledger).map_err(trouble)?;
    if late > 0 {
        output.problem(&format!(
            "scanpush: Kafka has the records, but no server has taken in {late} of them yet; they are not lost"
        ));
    }
    match good && refused.is_empty() {
        true => Ok(()),
        false => Err(Failure::Said),
    }
}

/// The tasks to start again, and a line for each that cannot be. In a job the others are skipped.
fn choose(
    ids: &[TaskId],
    ledger: &mut ClaimTable,
    options: &AboutTasks,
) -> Result<(Vec<Task>, Vec<String>), ClaimTableError> {
    let (mut tasks, mut refused) = (Vec::new(), Vec::new());
    for (id, retry) in ids.iter().zip(ledger.retries(ids)?) {
        match retry {
            Retry::Task(task) => tasks.push(*task),
            _ if options.named.job.is_some() => {}
            other => refused.push(why_not(id, &other, &options.connection)),
        }
    }
    Ok((tasks, refused))
}

fn why_not(id: &TaskId, retry: &Retry, connection: &Connection) -> String {
    let why = match retry {
        Retry::Unknown => return unknown(id, connection),
        Retry::Open(state) => format!("it has not ended: {state}"),
        Retry::Ended(State::Rejected) => "it is rejected: never a valid task".to_owned(),
        Retry::Ended(state) => format!("it is {state}: push it again to scan again"),
        Retry::TooOften => format!("it was retried {RETRY_MAX} times: push it again"),
        Retry::Task(_) => "it can be".to_owned(),
    };
    format!("retry: {}: {why}", quoted(id.as_str()))
}

fn show(tasks: &[&Task], json: bool, output: &mut Output<'_>) -> Result<(), Failure> {
    for task in tasks {
        match json {
            true => output.line(&task.to_record())?,
            false => output.line(&format!(
                "{}  retry {} from {:.2}%",
                task.task_id,
                task.retry,
                ProbeOrder::new(task, &Targets::default(), task.band_width.pps())
                    .percent_at(task.resume.index)
            ))?,
        }
    }
    output.flush()
}

/// Waits up to [`CONTROL_WAIT`] until a server has ingested the records. Returns the number of those that were not.
fn wait_taken_in(tasks: &[&Task], ledger: &mut ClaimTable) -> Result<usize, ClaimTableError> {
    let give_up = Instant::now() + CONTROL_WAIT;
    let ids: Vec<TaskId> = tasks.iter().map(|task| task.task_id.clone()).collect();
    loop {
        let now = ledger.tasks_of(&ids)?;
        let late = now
            .iter()
            .zip(tasks)
            .filter(|(now, task)| now.as_ref().is_none_or(|now| now.retry < task.retry))
            .count();
        if late == 0 || Instant::now() >= give_up {
            return Ok(late);
        }
        thread::sleep(CONTROL_POLL_INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags;
    use crate::model::Resume;

    #[test]
    fn what_is_not_retried_is_said_with_the_reason() {
        let options = flags::read_line(&["t1"], COMMAND.flags, |reader| {
            AboutTasks::read(reader, Named::read)
        });
        let options = options.unwrap();
        let id = "t1".parse().unwrap();
        for (retry, why) in [
            (
                Retry::Unknown,
                "\"t1\" is not a task of group scanners (no server has taken it in yet, or it ended long ago; the beginning of an id needs 4 characters or more)",
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
                "retry: \"t1\": it is rejected: never a valid task",
            ),
            (
                Retry::TooOften,
                "retry: \"t1\": it was retried 1000 times: push it again",
            ),
        ] {
            assert_eq!(why_not(&id, &retry, &options.connection), why);
        }
    }

    #[test]
    fn a_line_a_task_or_its_record() {
        let task = Task {
            retry: 2,
            resume: Resume {
                index: 64,
                ..Resume::default()
            },
            ..Task::new(
                "t1".parse().unwrap(),
                "172.16.0.0/24".parse().unwrap(),
                "443".parse().unwrap(),
                "800".parse().unwrap(),
            )
        };
        let shown = |json| {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let mut output = Output::new(&mut out, &mut err, None, false);
            show(&[&task], json, &mut output).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(shown(false), "t1  retry 2 from 25.00%\n");
        assert_eq!(
            Task::from_record(shown(true).trim().as_bytes()),
            Ok(task.clone())
        );
    }
}
