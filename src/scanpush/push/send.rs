//! Sends tasks to Kafka and reports which of them are acknowledged.
//!
//! **Invariant:** an id is printed on stdout only if Kafka has acknowledged the task. An unacknowledged task is listed on stderr or
//! saved in a file that is named there.

use super::unacknowledged;
use crate::connection::Connection;
use crate::exit::Failure;
use crate::flags::shared::{KAFKA, TOPIC};
use crate::kafka::{Messages, PRODUCE_REQUEST_BYTES, Producer};
use crate::model::Task;
use crate::scanpush::output::Output;
use crate::scanpush::task_topic;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// Bytes of encoded records in one batch; more are not held in memory.
const PUSH_BATCH_BYTES: usize = 8 * PRODUCE_REQUEST_BYTES;
/// Tasks that a failed push lists on stderr; the file that it leaves contains all of them.
const FAILED_SHOWN_MAX: usize = 20;
/// Ranges of a task that are shown.
const RANGES_SHOWN_MAX: usize = 4;

/// Sends the tasks of one push.
#[derive(Debug)]
pub struct Sender<'a> {
    /// The broker and topic to send to.
    pub connection: &'a Connection,
    /// Print records instead of ids.
    pub json: bool,
    /// The file for unacknowledged tasks; `None` = one with a random name.
    pub unacknowledged_file: Option<&'a Path>,
    /// `-yes` was given.
    pub yes: bool,
}

/// The result for each task, as indexes into the tasks of the push.
#[derive(Debug, Default, PartialEq)]
pub struct Outcome {
    /// How many are acknowledged.
    pub acknowledged: usize,
    /// Larger than the topic allows: certainly not in the topic.
    pub too_large: Vec<usize>,
    /// Not acknowledged: they may be in the topic or may never have been sent.
    pub unacknowledged: Vec<usize>,
    /// The last error.
    pub error: Option<String>,
}

/// Sends all tasks, batch by batch. `acknowledged` gets the indexes of the tasks of each batch that are acknowledged.
pub fn deliver(
    producer: &mut Producer,
    tasks: &[Task],
    mut acknowledged: impl FnMut(&[usize]),
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut first = 0;
    while first < tasks.len() {
        // After a task that is too large the others can still be sent; after any other error they can't.
        if !outcome.unacknowledged.is_empty() {
            outcome.unacknowledged.extend(first..tasks.len());
            break;
        }
        let messages = next_batch(&tasks[first..]);
        let result = send_batch(producer, &messages);
        acknowledged(&outcome.add(first, messages.len(), result));
        first += messages.len();
    }
    outcome
}

impl Sender<'_> {
    /// Sends all tasks and prints each batch when it is acknowledged. Fails if a task is not acknowledged.
    pub fn send(&self, tasks: &[Task], output: &mut Output<'_>) -> Result<(), Failure> {
        let mut producer = task_topic::connect(self.connection, output)?;
        let mut printed = Ok(());
        let outcome = deliver(&mut producer, tasks, |acknowledged| {
            // If stdout is closed, the remaining tasks are sent all the same.
            let lines = acknowledged.iter().map(|&index| &tasks[index]);
            if printed.is_ok() {
                printed = self.print(lines, output);
            }
        });
        match outcome.error {
            None => printed,
            Some(_) => self.report_failure(tasks, &outcome, output),
        }
    }

    fn print<'a>(
        &self,
        tasks: impl Iterator<Item = &'a Task>,
        output: &mut Output<'_>,
    ) -> Result<(), Failure> {
        for task in tasks {
            match (self.json, output.is_terminal()) {
                (true, _) => output.line(&task.to_record())?,
                (false, true) => output.line(&task_line(task))?,
                (false, false) => output.line(task.task_id.as_str())?,
            }
        }
        output.flush()
    }

    fn report_failure(
        &self,
        tasks: &[Task],
        outcome: &Outcome,
        output: &mut Output<'_>,
    ) -> Result<(), Failure> {
        let error = outcome.error.as_deref().unwrap_or_default();
        output.problem(&format!(
            "scanpush: Kafka: {error}: {} of {} tasks acknowledged{}",
            outcome.acknowledged,
            tasks.len(),
            if outcome.acknowledged > 0 {
                " (listed on standard output)"
            } else {
                ""
            }
        ));
        let select = |indexes: &[usize]| indexes.iter().map(|&index| &tasks[index]).collect();
        let too_large: Vec<&Task> = select(&outcome.too_large);
        let unacknowledged: Vec<&Task> = select(&outcome.unacknowledged);
        list_failed(
            "too large for the topic; push smaller tasks",
            &too_large,
            output,
        );
        list_failed(
            "not acknowledged (may be in the topic nevertheless)",
            &unacknowledged,
            output,
        );
        if !unacknowledged.is_empty()
            && let Some(file) =
                unacknowledged::write(self.unacknowledged_file, &unacknowledged, output)
        {
            output.problem(&format!(
                "scanpush: the unacknowledged tasks are saved; to push only these: {}",
                self.resume_command(&file.to_string_lossy())
            ));
        }
        Err(Failure::Said)
    }

    /// The command line that sends the tasks in `file` to the same topic.
    fn resume_command(&self, file: &str) -> String {
        let mut line = format!("scanpush -resume-push {}", shell_word(file));
        let Connection { kafka, topic, .. } = self.connection;
        for (flag, value) in [(KAFKA, kafka.to_string()), (TOPIC, topic.to_string())] {
            if flag.default() != Some(value.as_str()) {
                line += &format!(" {} {value}", flag.shown());
            }
        }
        for word in self.connection.kafka_security_flags() {
            line += &format!(" {}", shell_word(&word));
        }
        line + if self.yes { " -yes" } else { "" }
    }
}

/// Lists failed tasks on stderr, at most [`FAILED_SHOWN_MAX`] of them.
fn list_failed(reason: &str, tasks: &[&Task], output: &mut Output<'_>) {
    if tasks.is_empty() {
        return;
    }
    output.problem(&format!("scanpush: {} {reason}:", tasks.len()));
    for task in tasks.iter().take(FAILED_SHOWN_MAX) {
        output.problem(&task_line(task));
    }
    if tasks.len() > FAILED_SHOWN_MAX {
        output.problem(&format!("… and {} more", tasks.len() - FAILED_SHOWN_MAX));
    }
}

impl Outcome {
    /// Adds the result of a batch of `count` tasks that starts at index `first`. Returns the indexes of the acknowledged tasks.
    fn add(&mut self, first: usize, count: usize, result: BatchResult) -> Vec<usize> {
        let all = first..first + count;
        let in_push = |index: &usize| first + index;
        let acknowledged: Vec<usize> = match result.error {
            None => all.collect(),
            Some(error) => {
                let acknowledged: Vec<usize> = result.acknowledged.iter().map(in_push).collect();
                let too_large: Vec<usize> = result.too_large.iter().map(in_push).collect();
                let known: BTreeSet<&usize> = acknowledged.iter().chain(&too_large).collect();
                self.unacknowledged
                    .extend(all.filter(|index| !known.contains(index)));
                self.too_large.extend(too_large);
                self.error = Some(error);
                acknowledged
            }
        };
        self.acknowledged += acknowledged.len();
        acknowledged
    }
}

/// The result of one batch, as indexes into the batch. Without an error all of it is acknowledged.
#[derive(Default)]
struct BatchResult {
    acknowledged: Vec<usize>,
    too_large: Vec<usize>,
    error: Option<String>,
}

fn send_batch(producer: &mut Producer, messages: &Arc<Messages>) -> BatchResult {
    match producer.send(messages) {
        Ok(()) => BatchResult::default(),
        Err(error) => BatchResult {
            error: Some(error.error.to_string()),
            acknowledged: error.acknowledged,
            too_large: error.refused,
        },
    }
}

/// The records of the first tasks, about [`PUSH_BATCH_BYTES`] of them.
fn next_batch(tasks: &[Task]) -> Arc<Messages> {
    let mut messages = Messages::default();
    for task in tasks {
        messages.push_task(task);
        if messages.bytes() >= PUSH_BATCH_BYTES {
            break;
        }
    }
    Arc::new(messages)
}

/// The id and targets of a task, a long list of targets shortened.
fn task_line(task: &Task) -> String {
    let ranges = task.ip_range.ranges();
    let mut line = format!("{}  ", task.task_id);
    for (i, range) in ranges.iter().take(RANGES_SHOWN_MAX).enumerate() {
        line += &format!("{}{range}", if i == 0 { "" } else { "," });
    }
    if ranges.len() > RANGES_SHOWN_MAX {
        line += &format!(",… ({} ranges)", ranges.len());
    }
    match task.shard {
        Some(shard) => format!("{line} shard {shard}"),
        None => line,
    }
}

/// A file name quoted for the shell if necessary.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    match text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::{self, Asked};
    use std::ffi::OsString;

    fn connection(line: &[&str]) -> Connection {
        let args = line.iter().map(OsString::from).collect();
        let Ok(Asked::Run(mut reader)) = flags::read(args, &[], |_| None) else {
            panic!("{line:?}");
        };
        Connection::read(&mut reader).unwrap()
    }

    fn tasks(count: usize) -> Vec<Task> {
        let task = |n: usize| {
            let target = std::net::Ipv4Addr::from((10 << 24) + n as u32).to_string();
            let parts = (
                target.parse().unwrap(),
                "80".parse().unwrap(),
                "1000".parse().unwrap(),
            );
            Task::new(format!("t{n}").parse().unwrap(), parts.0, parts.1, parts.2)
        };
        (0..count).map(task).collect()
    }

    fn streams(act: impl FnOnce(&mut Output<'_>), columns: Option<usize>) -> (String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        act(&mut Output::new(&mut out, &mut err, columns, false));
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(out), text(err))
    }

    fn sender<'a>(
        connection: &'a Connection,
        json: bool,
        unacknowledged_file: Option<&'a Path>,
    ) -> Sender<'a> {
        Sender {
            connection,
            json,
            unacknowledged_file,
            yes: false,
        }
    }

    #[test]
    fn a_pipe_gets_ids_a_terminal_also_targets_and_json_records() {
        let (connection, mut two) = (connection(&[]), tasks(2));
        let printed = |tasks: &[Task], json: bool, columns| {
            let print = |output: &mut Output<'_>| {
                sender(&connection, json, None)
                    .print(tasks.iter(), output)
                    .unwrap();
            };
            streams(print, columns).0
        };
        assert_eq!(printed(&two, false, None), "t0\nt1\n");
        two[1].shard = Some("2/3".parse().unwrap());
        two[0].ip_range = "10.0.0.1,10.0.0.3,10.0.0.5,10.0.0.7,10.0.0.9"
            .parse()
            .unwrap();
        assert_eq!(
            printed(&two, false, Some(80)),
            "t0  10.0.0.1,10.0.0.3,10.0.0.5,10.0.0.7,… (5 ranges)\nt1  10.0.0.1 shard 2/3\n"
        );
        for (line, task) in printed(&two, true, Some(80)).lines().zip(&two) {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(record["task_id"], task.task_id.as_str());
            assert_eq!(record["band_width"], "1000");
        }
    }

    #[test]
    fn too_large_and_unacknowledged_tasks_are_distinguished() {
        let mut outcome = Outcome::default();
        let result =
            |acknowledged: &[usize], too_large: &[usize], error: Option<&str>| BatchResult {
                acknowledged: acknowledged.to_vec(),
                too_large: too_large.to_vec(),
                error: error.map(str::to_owned),
            };
        assert_eq!(outcome.add(0, 3, result(&[], &[], None)), [0, 1, 2]);
        assert_eq!(
            outcome.add(3, 3, result(&[0, 2], &[1], Some("too large"))),
            [3, 5]
        );
        assert!(
            outcome.unacknowledged.is_empty(),
            "a task that is too large must not be sent again"
        );
        assert_eq!(outcome.add(6, 3, result(&[1], &[], Some("gone"))), [7]);
        assert_eq!(outcome.acknowledged, 6);
        assert_eq!(outcome.too_large, [4]);
        assert_eq!(outcome.unacknowledged, [6, 8]);
        assert_eq!(outcome.error.as_deref(), Some("gone"));
    }

    #[test]
    fn unacknowledged_tasks_are_saved_and_the_resume_command_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("the rest");
        let (connection, all) = (connection(&["-kafka=k:1", "-topic=t"]), tasks(40));
        let outcome = Outcome {
            acknowledged: 10,
            too_large: vec![3],
            unacknowledged: (11..40).collect(),
            error: Some("gone".to_owned()),
        };
        let mut sender = sender(&connection, false, Some(&path));
        sender.yes = true;
        let report = |output: &mut Output<'_>| {
            let result = sender.report_failure(&all, &outcome, output);
            assert!(matches!(result, Err(Failure::Said)));
        };
        let (out, err) = streams(report, None);
        assert_eq!(out, "");
        let lines: Vec<&str> = err.lines().collect();
        assert_eq!(
            lines[0],
            "scanpush: Kafka: gone: 10 of 40 tasks acknowledged (listed on standard output)"
        );
        assert_eq!(
            lines[1],
            "scanpush: 1 too large for the topic; push smaller tasks:"
        );
        assert_eq!(lines[2], "t3  10.0.0.3");
        assert_eq!(
            lines[3],
            "scanpush: 29 not acknowledged (may be in the topic nevertheless):"
        );
        assert_eq!(
            (lines[4], lines[23], lines[24]),
            ("t11  10.0.0.11", "t30  10.0.0.30", "… and 9 more")
        );
        assert_eq!(
            lines[25],
            format!(
                "scanpush: the unacknowledged tasks are saved; to push only these: scanpush -resume-push '{}' -kafka k:1 -topic t -yes",
                path.display()
            )
        );
        let records = std::fs::read_to_string(&path).unwrap();
        assert_eq!(records.lines().count(), 29);
        assert_eq!(
            Task::from_record(records.lines().next().unwrap().as_bytes()).as_ref(),
            Ok(&all[11])
        );
    }

    #[test]
    fn a_batch_is_limited_in_bytes() {
        let all = tasks(100_000);
        let some = next_batch(&all);
        assert!(some.len() < all.len());
        assert!((PUSH_BATCH_BYTES..PUSH_BATCH_BYTES + 1000).contains(&some.bytes()));
        assert_eq!(next_batch(&all[..3]).len(), 3);
    }

    #[test]
    fn a_file_name_is_quoted_for_the_shell() {
        for (name, word) in [
            ("scanpush-rest-a1.ndjson", "scanpush-rest-a1.ndjson"),
            ("/tmp/a b", "'/tmp/a b'"),
            ("it's", "'it'\\''s'"),
        ] {
            assert_eq!(shell_word(name), word);
        }
    }
}
