//! The work of `scanpush push`: makes the tasks, asks before a large push, sends the tasks, and follows them with `-watch`.

use super::options::{self, Options};
use super::send::Sender;
use super::size::Size;
use super::{confirm, dry_run, plan};
use crate::connection::Connection;
use crate::exit::Failure;
use crate::flags::Reader;
use crate::model::Task;
use crate::scanpush::output::Output;
use crate::scanpush::screen::Place;
use crate::scanpush::watch::Watch;
use std::io::{self, BufRead, IsTerminal};

/// Runs the command.
pub fn run(reader: Reader, output: &mut Output<'_>) -> Result<(), Failure> {
    let options = options::read(reader)?;
    let tasks = plan::tasks(&options.source, output)?;
    if options.dry_run {
        return dry_run::show(&tasks, options.json, output);
    }
    confirm_if_large(&options, &tasks, output)?;
    let sender = Sender {
        connection: &options.connection,
        json: options.json,
        unacknowledged_file: options.unacknowledged_file.as_deref(),
        yes: options.yes,
    };
    sender.send(&tasks, output)?;
    output.remark(&sent_remark(&tasks, &options.connection));
    if !options.watch {
        return Ok(());
    }
    let job = match tasks.len() {
        1 => None,
        _ => tasks.first().and_then(|task| task.job_id.clone()),
    };
    let ids = tasks.into_iter().map(|task| task.task_id);
    Watch::of(ids, job).follow(&options.connection, Place::Stderr, output)
}

/// Where the tasks are, and the command that shows them.
fn sent_remark(tasks: &[Task], Connection { kafka, topic, .. }: &Connection) -> String {
    let subject = match tasks {
        [_] => "the task is".to_owned(),
        tasks => format!("{} tasks are", tasks.len()),
    };
    let command = match (tasks, tasks.first().and_then(|task| task.job_id.as_ref())) {
        ([task], _) => format!("scanpush status {}", task.task_id),
        (_, Some(job)) => format!("scanpush job {job}"),
        _ => "scanpush list".to_owned(),
    };
    format!("{subject} in topic {topic} of Kafka at {kafka}; to see the state: {command}")
}

fn confirm_if_large(
    options: &Options,
    tasks: &[Task],
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let size = Size::of_push(tasks);
    if options.yes || !confirm::is_needed(&size) {
        return Ok(());
    }
    let stdin = io::stdin();
    // If standard input was read as a list, there is nothing left to read an answer from.
    let can_ask = stdin.is_terminal() && io::stderr().is_terminal() && !options.reads_stdin();
    let mut stdin = stdin.lock();
    let terminal = can_ask.then_some(&mut stdin as &mut dyn BufRead);
    confirm::ask(&size, terminal, output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags;
    use crate::scanpush::push::flags::FLAGS;

    #[test]
    fn the_command_that_shows_the_tasks_fits_their_number_and_job() {
        let push = |line: &[&str]| {
            let options = flags::read_line(line, FLAGS, options::read).unwrap();
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let mut output = Output::new(&mut out, &mut err, None, false);
            let tasks = plan::tasks(&options.source, &mut output).unwrap();
            (tasks, options.connection)
        };
        let (mut one, connection) = push(&["-ip=10.0.0.1", "-ports=80", "-id=a"]);
        let place = "in topic scan-tasks of Kafka at localhost:9092; to see the state:";
        assert_eq!(
            sent_remark(&one, &connection),
            format!("the task is {place} scanpush status a")
        );
        one.extend(one.clone());
        assert_eq!(
            sent_remark(&one, &connection),
            format!("2 tasks are {place} scanpush list")
        );
        let (two, connection) = push(&["-ip=10.0.0.1,10.0.0.2", "-ports=80", "-job=j"]);
        assert_eq!(
            sent_remark(&two, &connection),
            format!("2 tasks are {place} scanpush job j")
        );
    }
}
