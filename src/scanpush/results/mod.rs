//! `scanpush results`: reads `scan-results` from its beginning and writes what belongs to the tasks named, each finding once.
//! Kafka holds the findings; Redis is asked for the rest: beginnings of ids, jobs, and when a task has ended.
//!
//! **Invariant:** memory grows by a few bytes for each finding and by nothing else: records are read, written and forgotten. A
//! document is ended only where everything was read or a person said that it is enough; where reading fails it stays open, so
//! that no reader takes the half for the whole.
//!
//! | file | what |
//! |---|---|
//! | `wanted.rs` | which tasks, and what Redis tells of them |
//! | `log.rs` | reads the topic |
//! | `gather.rs`, `seen.rs` | records to new findings |
//! | `diff.rs` | what differs between two tasks |
//! | `report.rs` | what is said besides |
//!
//! A followed task is read to the end that the topic had after its end was told: a server acknowledges findings first.

mod diff;
mod gather;
mod log;
mod report;
mod seen;
mod wanted;

use super::Command;
use super::formats::{About, Format, Printer, Services};
use super::ids::{JOB, Named};
use super::interrupt::Interrupt;
use super::options::Connection;
use super::output::Output;
use super::tasks::now_ms;
use super::watch::verdict;
use crate::exit::{Exit, Failure};
use crate::flags;
use crate::flags::Flag;
use crate::flags::shared::{GROUP, KAFKA, REDIS, RESULTS_TOPIC, TOPIC};
use crate::kafka::FETCH_WAIT;
use crate::model::backoff::CLIENT_WAIT;
use crate::model::ports::PortRange;
use crate::model::{Finding, FindingRecord, Invalid, Ports, TopicName};
use diff::{DiffForm, changes};
use gather::Gathered;
use log::{Log, Offsets};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::time::Duration;
use std::time::Instant;
use wanted::Wanted;

/// `scanpush results -follow` asks Redis this often whether the tasks have ended.
const FOLLOW_LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long Kafka may be away while findings are followed.
const FOLLOW_AWAY_WAIT: Duration = Duration::from_secs(10 * 60);
/// What is read of `/etc/services`, in bytes.
const SERVICES_MAX_BYTES: u64 = 4 * 1024 * 1024;

const FORMAT: Flag = Flag::optional(
    "--format",
    "NAME",
    "table (default), ndjson, json, csv, list, grepable or xml",
)
.one_of(&["table", "ndjson", "json", "csv", "list", "grepable", "xml"]);
const JSON: Flag = Flag::switch("--json", "the same as -format ndjson");
const FOLLOW: Flag = Flag::switch(
    "--follow",
    "write findings as they come, until the tasks end",
);
const DIFF: Flag = Flag::switch(
    "--diff",
    "write what opened (+) and what closed (-) from the first task to the second",
);

pub(super) const COMMAND: Command = Command {
    name: "results",
    about: "writes the findings of tasks, each once",
    usage: "results ID… | -job ID | -diff ID ID [flags]",
    flags: &[
        FORMAT,
        JSON,
        FOLLOW,
        DIFF,
        JOB,
        RESULTS_TOPIC,
        KAFKA,
        REDIS,
        GROUP,
        TOPIC,
    ],
    more: "\
An ID may be given by its first characters. json, list, grepable and xml are
what masscan's -oJ, -oL, -oG and -oX write; ndjson has the records as they are.
Kafka is enough for whole ids; -job, -follow and beginnings of ids need Redis
too. -diff writes lines, ndjson or json. Where findings may be missing (a task
still runs, Kafka has removed records) a line on stderr says so. Ctrl-C ends
what was written properly; an error does not, so that a half is not taken for
the whole. Exit code 0: done, with findings or without; 1: no such task, or
Kafka is away; 2: bad flags; 130: Ctrl-C. With -follow also 3: a task failed;
4: one was cancelled.

examples:
  scanpush results Wb3ZtqLk
  scanpush results -job j7Kd0 -format xml >scan.xml
  scanpush results -follow -json Wb3ZtqLk | jq -r '\"\\(.ip):\\(.port)\"'
  scanpush results -diff Wb3ZtqLk Kf93mmQz
",
    run,
};

/// What the command line asks for.
#[derive(Debug)]
struct Options {
    connection: Connection,
    topic: TopicName,
    named: Named,
    form: Asked,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Findings { format: Format, follow: bool },
    Diff(DiffForm),
}

/// How reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reached {
    /// All of it was read.
    End,
    /// Ctrl-C came.
    Interrupt,
}

/// What reading needs and leaves behind.
struct Reading {
    wanted: Wanted,
    log: Log,
    gathered: Gathered,
    interrupt: Interrupt,
}

fn run(reader: flags::Reader, output: &mut Output<'_>) -> Result<(), Failure> {
    let options = resolve(reader)?;
    let follow = matches!(options.form, Asked::Findings { follow: true, .. });
    let interrupt = Interrupt::catch()?;
    let Options {
        connection,
        topic,
        named,
        form,
    } = options;
    let wanted = Wanted::find(named, &connection, follow, output)?;
    let mut gathered = Gathered::default();
    for task in &wanted.tasks {
        gathered.add(&task.id);
    }
    let patience = if follow {
        FOLLOW_AWAY_WAIT
    } else {
        CLIENT_WAIT
    };
    let log = Log::open(&connection.kafka, topic.as_str(), &interrupt, patience)?;
    let mut reading = Reading {
        wanted,
        log,
        gathered,
        interrupt,
    };
    let reached = match form {
        Asked::Findings { format, follow } => reading.write(format, follow, output)?,
        Asked::Diff(form) => reading.compare(form, output)?,
    };
    output.flush()?;
    reading.end(reached, &connection, form, output)
}

fn resolve(mut reader: flags::Reader) -> Result<Options, Invalid> {
    let connection = Connection::read(&mut reader)?;
    let topic = reader.value(&RESULTS_TOPIC, str::parse::<TopicName>)?;
    let format = reader.optional(&FORMAT, str::parse::<Format>)?;
    let format = match (format, reader.switch(&JSON)) {
        (None | Some(Format::Ndjson), true) => Format::Ndjson,
        (Some(_), true) => {
            return Err(Invalid::about(
                "-json is -format ndjson: give one of the two",
            ));
        }
        (format, false) => format.unwrap_or(Format::Table),
    };
    let (follow, diff) = (reader.switch(&FOLLOW), reader.switch(&DIFF));
    let named = Named::read(&mut reader)?;
    reader.finish()?;
    if topic == connection.topic {
        return Err(
            Invalid::new(topic.as_str(), "is the topic of -topic too").of(RESULTS_TOPIC.shown())
        );
    }
    let form = match (diff, follow) {
        (false, follow) => Asked::Findings { format, follow },
        (true, true) => {
            return Err(Invalid::about(
                "-diff compares what is there: without -follow",
            ));
        }
        (true, false) if named.words.len() != 2 => {
            return Err(Invalid::about("-diff compares two tasks: give two ids"));
        }
        (true, false) => Asked::Diff(format.try_into()?),
    };
    Ok(Options {
        connection,
        topic,
        named,
        form,
    })
}

impl Reading {
    fn write(
        &mut self,
        format: Format,
        follow: bool,
        output: &mut Output<'_>,
    ) -> Result<Reached, Failure> {
        let about = About {
            ports: self.ports(),
            services: match format {
                Format::Table | Format::Grepable => services(),
                _ => Services::default(),
            },
            columns: output.columns(),
        };
        let mut printer = Printer::new(format, about);
        let mut has_findings = false;
        let reached = self.read(
            follow,
            |_| true,
            output,
            |found, output| {
                match found {
                    Some(found) => printer.finding(&found),
                    None if printer.text().is_empty() => {}
                    None => {
                        has_findings = true;
                        output.text(printer.text())?;
                        output.flush()?;
                        printer.text().clear();
                    }
                }
                Ok(())
            },
        )?;
        if has_findings || format != Format::Table {
            printer.end(now_ms() / 1000);
            output.text(printer.text())?;
        } else {
            output.remark("no findings");
        }
        Ok(reached)
    }

    fn compare(&mut self, form: DiffForm, output: &mut Output<'_>) -> Result<Reached, Failure> {
        if self.wanted.tasks.len() < 2 {
            let id = self.wanted.tasks[0].id.as_str();
            return Err(Invalid::new(id, "is both tasks of -diff: give two").into());
        }
        let is_open = |finding: &Finding| finding.status.as_str() == "open";
        let reached = self.read(false, is_open, output, |_, _| Ok(()))?;
        if reached == Reached::End {
            let changes = changes(self.gathered.seen(0), self.gathered.seen(1));
            diff::written(form, &changes, |piece| output.text(piece))?;
            if changes.is_empty() {
                output.remark("no difference");
            }
        }
        Ok(reached)
    }

    /// Reads, and hands out each new finding, and none after each batch of them. Without `follow` up to where the topic ends
    /// now, else up to where it ends once the tasks have.
    fn read(
        &mut self,
        follow: bool,
        wanted: fn(&Finding) -> bool,
        output: &mut Output<'_>,
        mut each: impl FnMut(Option<FindingRecord<'_>>, &mut Output<'_>) -> Result<(), Failure>,
    ) -> Result<Reached, Failure> {
        let mut ends = match follow {
            true => None,
            false => Some(self.log.ends()?),
        };
        let mut following = Following::new(self.log.cursors());
        loop {
            if self.interrupt.came() {
                return Ok(Reached::Interrupt);
            }
            if ends.is_none() && following.look(self, output)? {
                ends = Some(self.log.ends()?);
            }
            if ends.as_ref().is_some_and(|ends| self.log.has_reached(ends)) {
                return Ok(Reached::End);
            }
            for (partition, records) in self.log.read(ends.as_ref(), FETCH_WAIT)? {
                for record in &records {
                    if let Some(found) = self.gathered.take(partition, record, wanted) {
                        each(Some(found), output)?;
                    }
                }
                each(None, output)?;
            }
        }
    }

    /// What is to be said at the end, and how the process ends.
    fn end(
        &self,
        reached: Reached,
        connection: &Connection,
        form: Asked,
        output: &mut Output<'_>,
    ) -> Result<(), Failure> {
        let tasks = &self.wanted.tasks;
        let follow = matches!(form, Asked::Findings { follow: true, .. });
        if reached == Reached::Interrupt {
            let going_on = if follow { "; the scan goes on" } else { "" };
            output.problem(&format!("scanpush: stopped reading{going_on}"));
            return Err(Failure::Found(Exit::Interrupted));
        }
        let mut lines = report::gaps(
            self.log.topic(),
            self.log.begins(),
            self.log.lost(),
            &self.gathered,
            tasks,
        );
        match form {
            Asked::Diff(_) => lines.extend(report::doubts(&tasks[0], &tasks[1])),
            Asked::Findings { follow: false, .. } => lines.extend(report::not_completed(tasks)),
            Asked::Findings { follow: true, .. } => {}
        }
        let unknown: Vec<String> = (0..tasks.len())
            .filter(|&n| tasks[n].live.is_none() && self.gathered.seen(n).len() == 0)
            .filter(|_| self.wanted.is_by_id())
            .map(|n| report::unknown(&tasks[n], self.wanted.away.as_deref(), connection))
            .collect();
        for line in lines.iter().chain(&unknown) {
            output.problem(&format!("scanpush: {line}"));
        }
        if !unknown.is_empty() {
            return Err(Failure::Said);
        }
        match follow {
            true => verdict(tasks.iter().filter_map(wanted::WantedTask::state), 0),
            false => Ok(()),
        }
    }

    /// The ports of all tasks, merged; none where those of one are not known.
    fn ports(&self) -> Vec<PortRange> {
        let mut all: BTreeSet<&str> = BTreeSet::new();
        for task in &self.wanted.tasks {
            let Some(live) = &task.live else {
                return Vec::new();
            };
            all.insert(&live.ports);
        }
        // Each list begins with TCP, whatever the one before it ended with.
        let list = all.into_iter().collect::<Vec<_>>().join(",T:");
        list.parse::<Ports>()
            .map(|ports| ports.ranges().to_vec())
            .unwrap_or_default()
    }
}

/// Looks at the tasks from time to time.
struct Following {
    looked: Option<Instant>,
    /// Where reading was at the last look: no task that was not there then has a finding below it.
    cursors_then: Offsets,
    away: bool,
    kafka_away: bool,
    said_unknown: bool,
}

impl Following {
    fn new(cursors: &Offsets) -> Following {
        Following {
            looked: None,
            cursors_then: cursors.clone(),
            away: false,
            kafka_away: false,
            said_unknown: false,
        }
    }

    /// True where all tasks have ended. Asks Redis at most every [`FOLLOW_LOOK_EVERY`].
    fn look(&mut self, reading: &mut Reading, output: &mut Output<'_>) -> Result<bool, Failure> {
        let due = |at: Instant| at.elapsed() >= FOLLOW_LOOK_EVERY;
        if !self.looked.is_none_or(due) {
            return Ok(false);
        }
        self.looked = Some(Instant::now());
        self.tell_of_kafka(reading.log.trouble(), output);
        match reading.wanted.look() {
            Ok(new) => {
                self.away = false;
                for id in &new {
                    reading.gathered.add(id);
                }
                let cursors = reading.log.cursors().clone();
                if !new.is_empty() {
                    reading.log.go_back(self.cursors_then.clone());
                }
                self.cursors_then = cursors;
            }
            Err(error) => {
                if !self.away {
                    output.problem(&format!("scanpush: {error}; still trying"));
                }
                self.away = true;
                return Ok(false);
            }
        }
        let unknown = reading.wanted.tasks.iter().find(|task| task.live.is_none());
        if let Some(task) = unknown.filter(|_| !self.said_unknown && reading.wanted.is_by_id()) {
            self.said_unknown = true;
            output.remark(&format!("no server has taken in {} yet: waiting", task.id));
        }
        Ok(reading.wanted.are_over())
    }

    fn tell_of_kafka(&mut self, trouble: Option<&str>, output: &mut Output<'_>) {
        if let Some(reason) = trouble.filter(|_| !self.kafka_away) {
            output.problem(&format!("scanpush: {reason}; still trying"));
        }
        self.kafka_away = trouble.is_some();
    }
}

/// The system's names of ports; none where it has no such file.
fn services() -> Services {
    let mut text = String::new();
    if let Ok(file) = File::open("/etc/services") {
        let _ = file.take(SERVICES_MAX_BYTES).read_to_string(&mut text);
    }
    Services::of_text(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &[&str]) -> Result<Options, Invalid> {
        flags::read_line(line, COMMAND.flags, resolve)
    }

    #[test]
    fn what_can_be_asked_for() {
        let findings = |format, follow| Asked::Findings { format, follow };
        for (line, form) in [
            (&["a"][..], findings(Format::Table, false)),
            (&["a", "b", "-json"], findings(Format::Ndjson, false)),
            (
                &["-json", "-format=ndjson", "a"],
                findings(Format::Ndjson, false),
            ),
            (
                &["-follow", "-job", "j", "-format", "xml"],
                findings(Format::Xml, true),
            ),
            (&["-diff", "a", "b"], Asked::Diff(DiffForm::Lines)),
            (
                &["a", "b", "-diff", "-format=json"],
                Asked::Diff(DiffForm::Json),
            ),
        ] {
            assert_eq!(options(line).unwrap().form, form, "{line:?}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (line, named) in [
            (&[][..], "which tasks? Give their ids, or -job ID"),
            (&["a", "-job", "j"], "\"a\" stands beside -job"),
            (
                &["a", "-format", "yaml"],
                "-format: \"yaml\" is no format: there are table",
            ),
            (
                &["a", "-format", "json", "-json"],
                "-json is -format ndjson: give one of the two",
            ),
            (&["a", "-diff"], "-diff compares two tasks"),
            (&["-job", "j", "-diff"], "-diff compares two tasks"),
            (&["a", "b", "-diff", "-follow"], "without -follow"),
            (
                &["a", "b", "-diff", "-format", "csv"],
                "table, ndjson or json",
            ),
            (
                &["a", "-results-topic", "scan-tasks"],
                "-results-topic: \"scan-tasks\" is the topic of -topic too",
            ),
            (&["a", "-folow"], "did you mean -follow?"),
        ] {
            let error = options(line).unwrap_err().to_string();
            assert!(error.contains(named), "{line:?}: {error}");
        }
    }
}
