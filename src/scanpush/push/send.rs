//! Puts tasks on Kafka and says for certain which of them are in.
//!
//! **Invariant:** an id is on stdout only if Kafka has acknowledged its task, and a task that isn't acknowledged is named on
//! stderr or lies in a file that is named there.

use super::rest;
use crate::exit::Failure;
use crate::flags::shared::{KAFKA, TOPIC};
use crate::kafka::PRODUCE_REQUEST_BYTES;
use crate::kafka::{Messages, Producer};
use crate::model::Task;
use crate::scanpush::options::Connection;
use crate::scanpush::output::Output;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

/// Bytes of records that a push holds at a time.
const PUSH_SEND_BYTES: usize = 8 * PRODUCE_REQUEST_BYTES;
/// Unacknowledged tasks that a failed push names on stderr; the file that it leaves has all of them.
const UNACKNOWLEDGED_SHOWN_MAX: usize = 20;

/// Ranges of a target that a person is shown.
const RANGES_SHOWN_MAX: usize = 4;

/// How a push is done, besides its tasks.
#[derive(Debug)]
pub struct Sending<'a> {
    /// Where to.
    pub connection: &'a Connection,
    /// Whether the records are printed, or ids.
    pub json: bool,
    /// Where the rest goes if Kafka fails in the middle; none = a file with a random name.
    pub rest: Option<&'a PathBuf>,
    /// Whether a large push was confirmed beforehand.
    pub yes: bool,
}

/// What is known of the tasks by their place in the push.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    acknowledged: usize,
    /// Too large for the topic: they are not in and never will be.
    refused: Vec<usize>,
    /// Not acknowledged: they may be in, or were never sent.
    rest: Vec<usize>,
    /// Why it isn't all.
    cause: Option<String>,
}

impl Sending<'_> {
    /// Sends all tasks and prints those that are acknowledged as they become so. Errs where one is not.
    pub fn run(&self, tasks: &[Task], output: &mut Output<'_>) -> Result<(), Failure> {
        let Connection { kafka, topic, .. } = self.connection;
        let mut producer = Producer::connect(kafka, topic.as_str(), false)
            .map_err(|error| Failure::Runtime(format!("Kafka: {error}")))?;
        let mut printed = Ok(());
        let mut outcome = Outcome::default();
        let mut first = 0;
        while first < tasks.len() {
            if outcome.cause.is_some() && !outcome.rest.is_empty() {
                outcome.rest.extend(first..tasks.len());
                break;
            }
            let messages = some_messages(&tasks[first..]);
            let acknowledged = outcome.add(first, messages.len(), send(&mut producer, &messages));
            // A reader of stdout that has gone is no reason to send half of the tasks.
            let lines = acknowledged.iter().map(|&index| &tasks[index]);
            printed = printed.and(self.print(lines, output));
            first += messages.len();
        }
        match outcome.cause {
            None => printed,
            Some(_) => self.report_failed(tasks, &outcome, output),
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
                (false, true) => output.line(&in_a_line(task))?,
                (false, false) => output.line(task.task_id.as_str())?,
            }
        }
        output.flush()
    }

    fn report_failed(
        &self,
        tasks: &[Task],
        outcome: &Outcome,
        output: &mut Output<'_>,
    ) -> Result<(), Failure> {
        let cause = outcome.cause.as_deref().unwrap_or_default();
        output.problem(&format!(
            "scanpush: Kafka: {cause}: {} of {} tasks acknowledged{}",
            outcome.acknowledged,
            tasks.len(),
            if outcome.acknowledged > 0 {
                ", those on standard output"
            } else {
                ""
            }
        ));
        self.report(
            "are too large for the topic, push them in parts",
            &outcome.refused,
            tasks,
            output,
        );
        let rest = "are not acknowledged, though they may be in all the same";
        self.report(rest, &outcome.rest, tasks, output);
        let rest: Vec<&Task> = outcome.rest.iter().map(|&index| &tasks[index]).collect();
        let file = match rest.is_empty() {
            true => None,
            false => rest::write(self.rest.map(PathBuf::as_path), &rest, output),
        };
        if let Some(file) = file {
            output.problem(&format!(
                "scanpush: their records are in a file; to send these and no others: {}",
                self.again(&file.to_string_lossy())
            ));
        }
        Err(Failure::Said)
    }

    fn report(&self, what: &str, which: &[usize], tasks: &[Task], output: &mut Output<'_>) {
        if which.is_empty() {
            return;
        }
        output.problem(&format!("scanpush: {} {what}:", which.len()));
        for &index in which.iter().take(UNACKNOWLEDGED_SHOWN_MAX) {
            output.problem(&in_a_line(&tasks[index]));
        }
        if which.len() > UNACKNOWLEDGED_SHOWN_MAX {
            output.problem(&format!(
                "… and {} more",
                which.len() - UNACKNOWLEDGED_SHOWN_MAX
            ));
        }
    }

    /// The command line that sends the rest to the same place.
    fn again(&self, file: &str) -> String {
        let Connection { kafka, topic, .. } = self.connection;
        let mut line = format!("scanpush -resume-push {}", shell_word(file));
        for (flag, value) in [(KAFKA, kafka.to_string()), (TOPIC, topic.to_string())] {
            if flag.default() != Some(value.as_str()) {
                line += &format!(" {} {value}", flag.shown());
            }
        }
        line + if self.yes { " -yes" } else { "" }
    }
}

impl Outcome {
    /// Counts a batch of `count` tasks that begins with the task at `first`; gives the acknowledged ones.
    fn add(&mut self, first: usize, count: usize, sent: Sent) -> Vec<usize> {
        let all = first..first + count;
        let place = |index: &usize| first + index;
        let acknowledged: Vec<usize> = match sent.cause {
            None => all.collect(),
            Some(cause) => {
                let acknowledged: Vec<usize> = sent.acknowledged.iter().map(place).collect();
                let refused: Vec<usize> = sent.refused.iter().map(place).collect();
                let known: BTreeSet<&usize> = acknowledged.iter().chain(&refused).collect();
                self.rest.extend(all.filter(|index| !known.contains(index)));
                self.refused.extend(refused);
                self.cause = Some(cause);
                acknowledged
            }
        };
        self.acknowledged += acknowledged.len();
        acknowledged
    }
}

/// What became of one call of the producer.
#[derive(Default)]
struct Sent {
    acknowledged: Vec<usize>,
    refused: Vec<usize>,
    cause: Option<String>,
}

fn send(producer: &mut Producer, messages: &Arc<Messages>) -> Sent {
    match producer.send(messages) {
        Ok(()) => Sent::default(),
        Err(error) => Sent {
            cause: Some(error.error.to_string()),
            acknowledged: error.acknowledged,
            refused: error.refused,
        },
    }
}

/// The records of the first of `tasks`, about [`PUSH_SEND_BYTES`] of them.
fn some_messages(tasks: &[Task]) -> Arc<Messages> {
    let mut messages = Messages::default();
    for task in tasks {
        messages.push_task(task);
        if messages.bytes() >= PUSH_SEND_BYTES {
            break;
        }
    }
    Arc::new(messages)
}

/// A task as a person wants to see it, its target shortened where it is a long list.
fn in_a_line(task: &Task) -> String {
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

/// A file's name as one word of a command line.
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
    use crate::flags::shared::CONNECTION;
    use crate::flags::{self, Asked};
    use std::ffi::OsString;

    fn connection(line: &[&str]) -> Connection {
        let args = line.iter().map(OsString::from).collect();
        let Ok(Asked::Run(mut reader)) = flags::read(args, CONNECTION) else {
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

    fn sending<'a>(
        connection: &'a Connection,
        json: bool,
        rest: Option<&'a PathBuf>,
    ) -> Sending<'a> {
        let yes = false;
        Sending {
            connection,
            json,
            rest,
            yes,
        }
    }

    #[test]
    fn a_pipe_gets_ids_a_terminal_targets_too_and_json_the_records() {
        let (connection, mut two) = (connection(&[]), tasks(2));
        let printed = |tasks: &[Task], json: bool, columns| {
            let print = |output: &mut Output<'_>| {
                sending(&connection, json, None)
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
    fn what_kafka_did_not_acknowledge_is_told_apart() {
        let mut outcome = Outcome::default();
        let sent = |acknowledged: &[usize], refused: &[usize], cause: Option<&str>| Sent {
            acknowledged: acknowledged.to_vec(),
            refused: refused.to_vec(),
            cause: cause.map(str::to_owned),
        };
        assert_eq!(outcome.add(0, 3, sent(&[], &[], None)), [0, 1, 2]);
        assert_eq!(
            outcome.add(3, 3, sent(&[0, 2], &[1], Some("too large"))),
            [3, 5]
        );
        assert!(
            outcome.rest.is_empty(),
            "what is too large for the topic is no rest"
        );
        assert_eq!(outcome.add(6, 3, sent(&[1], &[], Some("gone"))), [7]);
        assert_eq!(outcome.acknowledged, 6);
        assert_eq!(outcome.refused, [4]);
        assert_eq!(outcome.rest, [6, 8]);
        assert_eq!(outcome.cause.as_deref(), Some("gone"));
    }

    #[test]
    fn the_rest_lies_in_a_file_and_the_command_for_it_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("the rest");
        let (connection, all) = (connection(&["-kafka=k:1", "-topic=t"]), tasks(40));
        let outcome = Outcome {
            acknowledged: 10,
            refused: vec![3],
            rest: (11..40).collect(),
            cause: Some("gone".to_owned()),
        };
        let mut sending = sending(&connection, false, Some(&path));
        sending.yes = true;
        let report = |output: &mut Output<'_>| {
            let result = sending.report_failed(&all, &outcome, output);
            assert!(matches!(result, Err(Failure::Said)));
        };
        let (out, err) = streams(report, None);
        assert_eq!(out, "");
        let lines: Vec<&str> = err.lines().collect();
        assert_eq!(
            lines[0],
            "scanpush: Kafka: gone: 10 of 40 tasks acknowledged, those on standard output"
        );
        assert_eq!(
            lines[1],
            "scanpush: 1 are too large for the topic, push them in parts:"
        );
        assert_eq!(lines[2], "t3  10.0.0.3");
        assert_eq!(
            lines[3],
            "scanpush: 29 are not acknowledged, though they may be in all the same:"
        );
        assert_eq!(
            (lines[4], lines[23], lines[24]),
            ("t11  10.0.0.11", "t30  10.0.0.30", "… and 9 more")
        );
        assert_eq!(
            lines[25],
            format!(
                "scanpush: their records are in a file; to send these and no others: scanpush -resume-push '{}' -kafka k:1 -topic t -yes",
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
    fn records_are_held_a_few_megabytes_at_a_time() {
        let all = tasks(100_000);
        let some = some_messages(&all);
        assert!(some.len() < all.len());
        assert!((PUSH_SEND_BYTES..PUSH_SEND_BYTES + 1000).contains(&some.bytes()));
        assert_eq!(some_messages(&all[..3]).len(), 3);
    }

    #[test]
    fn a_file_is_one_word_of_the_shell() {
        for (name, word) in [
            ("scanpush-rest-a1.ndjson", "scanpush-rest-a1.ndjson"),
            ("/tmp/a b", "'/tmp/a b'"),
            ("it's", "'it'\\''s'"),
        ] {
            assert_eq!(shell_word(name), word);
        }
    }
}
