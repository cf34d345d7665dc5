//! The work of `scanpush results`: reads the topic, writes findings or differences, and reports what may be missing.

use super::collector::Collector;
use super::coverage::{self, ServicesByPasses};
use super::diff::{self, DiffForm};
use super::follow::{Follower, Phase};
use super::options::{self, Mode, Options};
use super::report;
use super::selected::{SelectedTask, SelectedTasks};
use super::topic_reader::TopicReader;
use crate::connection::Connection;
use crate::exit::{Exit, Failure};
use crate::flags::Reader;
use crate::kafka::FETCH_WAIT;
use crate::model::backoff::CLIENT_WAIT;
use crate::model::ports::PortRange;
use crate::model::{Finding, FindingRecord, Invalid, Ports, TaskId};
use crate::scanpush::formats::{Context, Format, PortNames, Printer};
use crate::scanpush::interrupt::Interrupt;
use crate::scanpush::output::Output;
use crate::scanpush::tasks::now_ms;
use crate::scanpush::watch::result_of;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::time::Duration;

/// Longest Kafka outage that `-follow` waits for.
const FOLLOW_OUTAGE_MAX: Duration = Duration::from_secs(10 * 60);
/// Bytes of `/etc/services` that are read.
const SERVICES_MAX_BYTES: u64 = 4 * 1024 * 1024;

/// How reading ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Completion {
    /// Everything was read.
    End,
    /// Stopped by Ctrl-C.
    Interrupted,
}

/// The parts that work together while the topic is read.
struct Session {
    selected: SelectedTasks,
    topic: TopicReader,
    collector: Collector,
    interrupt: Interrupt,
}

/// Runs the command.
pub fn run(reader: Reader, output: &mut Output<'_>) -> Result<(), Failure> {
    let Options {
        connection,
        topic,
        names,
        mode,
    } = options::read(reader)?;
    let interrupt = Interrupt::catch()?;
    let selected = SelectedTasks::find(names, &connection, mode.follows(), output)?;
    let mut collector = Collector::default();
    for task in &selected.tasks {
        collector.add(&task.id);
    }
    let outage_max = match mode.follows() {
        true => FOLLOW_OUTAGE_MAX,
        false => CLIENT_WAIT,
    };
    let topic = TopicReader::open(&connection.kafka, topic.as_str(), &interrupt, outage_max)?;
    let mut session = Session {
        selected,
        topic,
        collector,
        interrupt,
    };
    let completion = match mode {
        Mode::Findings { format, follow } => session.write_findings(format, follow, output)?,
        Mode::Diff(form) => session.write_diff(form, output)?,
    };
    output.flush()?;
    session.report(completion, &connection, mode, output)
}

impl Session {
    fn write_findings(
        &mut self,
        format: Format,
        follow: bool,
        output: &mut Output<'_>,
    ) -> Result<Completion, Failure> {
        let context = Context {
            ports: self.ports(),
            port_names: match format {
                Format::Table | Format::Grepable => system_port_names(),
                _ => PortNames::default(),
            },
            columns: output.columns(),
        };
        let mut printer = Printer::new(format, context);
        let mut has_findings = false;
        let completion = self.read(
            follow,
            |_| true,
            output,
            |event, output| {
                match event {
                    ReadEvent::Finding(found) => printer.finding(&found),
                    ReadEvent::BatchEnd if printer.text().is_empty() => {}
                    ReadEvent::BatchEnd => {
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
        Ok(completion)
    }

    fn write_diff(
        &mut self,
        form: DiffForm,
        output: &mut Output<'_>,
    ) -> Result<Completion, Failure> {
        if self.selected.tasks.len() < 2 {
            let id = self.selected.tasks[0].id.as_str();
            return Err(Invalid::new(id, "is given twice: -diff compares two tasks").into());
        }
        let is_open = |finding: &Finding| finding.status.as_str() == "open";
        let completion = self.read(false, is_open, output, |_, _| Ok(()))?;
        if completion == Completion::End {
            let changes = diff::changes(self.collector.endpoints(0), self.collector.endpoints(1));
            diff::write(form, &changes, |piece| output.text(piece))?;
            if changes.is_empty() {
                output.remark("no difference");
            }
        }
        Ok(completion)
    }

    /// Reads the topic and passes each new finding and each end of a batch to `handle`. Without `follow` it reads up to the
    /// present end of the topic; with `follow`, up to its end once all tasks have ended.
    fn read(
        &mut self,
        follow: bool,
        accept: fn(&Finding) -> bool,
        output: &mut Output<'_>,
        mut handle: impl FnMut(ReadEvent<'_>, &mut Output<'_>) -> Result<(), Failure>,
    ) -> Result<Completion, Failure> {
        let mut phase = match follow {
            true => Phase::Following(Follower::new(self.topic.cursors())),
            false => Phase::ReadingTo(self.topic.end_offsets()?),
        };
        loop {
            if self.interrupt.came() {
                return Ok(Completion::Interrupted);
            }
            phase.advance(
                &mut self.selected,
                &mut self.topic,
                &mut self.collector,
                output,
            )?;
            if phase.end().is_some_and(|end| self.topic.has_reached(end)) {
                return Ok(Completion::End);
            }
            for (partition, records) in self.topic.read(phase.end(), FETCH_WAIT)? {
                for record in &records {
                    if let Some(found) = self.collector.take(partition, record, accept) {
                        handle(ReadEvent::Finding(found), output)?;
                    }
                }
                handle(ReadEvent::BatchEnd, output)?;
            }
        }
    }

    /// Reports what may be missing, and determines the exit code.
    fn report(
        &self,
        completion: Completion,
        connection: &Connection,
        mode: Mode,
        output: &mut Output<'_>,
    ) -> Result<(), Failure> {
        let tasks = &self.selected.tasks;
        if completion == Completion::Interrupted {
            let suffix = match mode.follows() {
                true => "; the scan continues",
                false => "",
            };
            output.problem(&format!("scanpush: stopped reading{suffix}"));
            return Err(Failure::Found(Exit::Interrupted));
        }
        let mut lines = report::gaps(
            self.topic.name(),
            self.topic.starts(),
            self.topic.losses(),
            &self.collector,
            tasks,
        );
        match mode {
            Mode::Diff(_) => lines.extend(report::diff_warnings(&tasks[0], &tasks[1])),
            Mode::Findings { follow: false, .. } => lines.extend(report::not_completed(tasks)),
            Mode::Findings { follow: true, .. } => {}
        }
        if matches!(mode, Mode::Findings { .. }) {
            for line in self.coverage() {
                output.notice(&line);
            }
        }
        let unknown = self.unknown_tasks(connection);
        for line in lines.iter().chain(&unknown) {
            output.problem(&format!("scanpush: {line}"));
        }
        if !unknown.is_empty() {
            return Err(Failure::Said);
        }
        match mode.follows() {
            true => result_of(tasks.iter().filter_map(SelectedTask::state), 0),
            false => Ok(()),
        }
    }

    /// What the passes of completed tasks prove. An incomplete task proves nothing.
    fn coverage(&self) -> Vec<String> {
        let mut by_passes: BTreeMap<u32, ServicesByPasses> = BTreeMap::new();
        for (n, task) in self.selected.tasks.iter().enumerate() {
            let passes = task.completed_passes();
            if passes > 1 {
                let services = by_passes.entry(passes).or_default();
                for found_by in self.collector.endpoints(n).passes() {
                    *services.entry(found_by).or_default() += 1;
                }
            }
        }
        by_passes
            .iter()
            .flat_map(|(passes, services)| coverage::report(*passes, services))
            .collect()
    }

    /// A line for each given id that neither Redis nor a finding confirms as a task.
    fn unknown_tasks(&self, connection: &Connection) -> Vec<String> {
        if !self.selected.are_named_by_id() {
            return Vec::new();
        }
        let redis_error = self.selected.redis_error.as_deref();
        let tasks = self.selected.tasks.iter().enumerate();
        tasks
            .filter(|(n, task)| task.live.is_none() && self.collector.endpoints(*n).len() == 0)
            .map(|(_, task)| report::unknown(task, redis_error, connection))
            .collect()
    }

    /// The ports of all tasks, merged; empty if those of any task are unknown.
    fn ports(&self) -> Vec<PortRange> {
        let mut lists: BTreeSet<&str> = BTreeSet::new();
        for task in &self.selected.tasks {
            let Some(live) = &task.live else {
                return Vec::new();
            };
            lists.insert(&live.ports);
        }
        // "T:" because each list starts with TCP, whatever protocol the one before it ended with.
        let list = lists.into_iter().collect::<Vec<_>>().join(",T:");
        list.parse::<Ports>()
            .map(|ports| ports.ranges().to_vec())
            .unwrap_or_default()
    }
}

/// The findings of tasks on Kafka, for another command.
pub struct Findings(Session);

impl Findings {
    /// Connects, and starts at the beginning of the topic. Fails if Kafka cannot be read. `interrupt` ends the reading.
    pub fn open(
        connection: &Connection,
        topic: &str,
        ids: Vec<TaskId>,
        interrupt: &Interrupt,
    ) -> Result<Findings, Failure> {
        let mut collector = Collector::default();
        for id in &ids {
            collector.add(id);
        }
        let topic = TopicReader::open(&connection.kafka, topic, interrupt, CLIENT_WAIT)?;
        Ok(Findings(Session {
            selected: SelectedTasks::of_ids(ids, connection),
            topic,
            collector,
            interrupt: interrupt.clone(),
        }))
    }

    /// Passes each finding to `each` once, up to the present end of the topic. Returns what may be missing, a line each.
    pub fn read(
        mut self,
        each: &mut dyn FnMut(&FindingRecord<'_>) -> Result<(), Failure>,
    ) -> Result<Vec<String>, Failure> {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut output = Output::new(&mut out, &mut err, None, false);
        let completion = self.0.read(
            false,
            |_| true,
            &mut output,
            |event, _| match event {
                ReadEvent::Finding(found) => each(&found),
                ReadEvent::BatchEnd => Ok(()),
            },
        )?;
        if completion == Completion::Interrupted {
            return Err(Failure::Found(Exit::Interrupted));
        }
        Ok(report::gaps(
            self.0.topic.name(),
            self.0.topic.starts(),
            self.0.topic.losses(),
            &self.0.collector,
            &self.0.selected.tasks,
        ))
    }
}

/// What reading the topic yields.
enum ReadEvent<'a> {
    /// A finding that was not read before.
    Finding(FindingRecord<'a>),
    /// All records of a batch were handled.
    BatchEnd,
}

/// The port names of the system; empty if `/etc/services` cannot be read.
fn system_port_names() -> PortNames {
    let mut text = String::new();
    if let Ok(file) = File::open("/etc/services") {
        let _ = file.take(SERVICES_MAX_BYTES).read_to_string(&mut text);
    }
    PortNames::parse(&text)
}
