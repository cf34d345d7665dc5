//! The work of `scanpush store` between two failures of the database: reads three topics from the positions in the database, and writes batches.
//!
//! Order of a round: findings are read, then status records up to the present end of their topic, then tasks up to theirs. So a status record is
//! never behind findings that came after it, and a task never behind its status.

use super::feed::{Feed, Read};
use super::merge::{Awaited, Merge, Next, Offsets};
use super::options::Options;
use super::progress::Report;
use super::records;
use super::topic::Topic;
use crate::kafka::FETCH_WAIT;
use crate::model::Backoff;
use crate::model::backoff::CLIENT_WAIT;
use crate::scanpush::tasks::now_ms;
use crate::store::{
    Batch, Event, Lease, Position, StoreError, StoreWriter, StoredFinding, TaskAt, WriterOptions,
};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Findings that are written in one transaction, if there are so many.
const BATCH_FINDINGS: usize = 20_000;
/// Events other than findings that are written in one transaction.
const BATCH_EVENTS_MAX: usize = 5_000;
/// Status records of a partition that may wait.
const WAITING_STATUS_MAX: usize = 5_000;
/// How long records are waited for that a topic has, in one round.
const RECORDS_WAIT: Duration = Duration::from_secs(5);
/// How often the lease is renewed if nothing is written.
const LEASE_INTERVAL: Duration = Duration::from_secs(3);
/// How often a store that stands by asks for the lease.
const STANDBY_INTERVAL: Duration = Duration::from_secs(1);
/// How often old rows are deleted.
const RETENTION_INTERVAL: Duration = Duration::from_secs(6 * 3600);
/// An outage's further errors are printed at this interval, if they are others.
pub const OTHER_ERROR_INTERVAL: Duration = Duration::from_secs(60);
/// How long the end of a task waits for a partition of its findings that this program does not know yet.
const NEW_PARTITION_WAIT: Duration = Duration::from_secs(120);

/// Why a session ended.
pub enum End {
    /// `-once`: everything up to the ends at the start was written.
    Done,
    /// The process has to end.
    Stopped,
    /// `-once`: Kafka could not be read for [`CLIENT_WAIT`]; its error.
    Unreadable(String),
}

/// Runs until it is done, has to stop, or the database fails. `has_failed`: the database failed before, and its return is worth a line.
pub fn run(
    options: &Options,
    has_failed: bool,
    reports: &Sender<Report>,
    stop: &Receiver<()>,
) -> Result<End, StoreError> {
    let writer_options = WriterOptions {
        holder: options.holder.clone(),
        closed_after: options.closed_after,
        keeps_findings: options.keep.findings.is_some(),
    };
    let mut writer = StoreWriter::open(&options.database, writer_options, stop)?;
    if !wait_for_lease(&mut writer, options, reports, stop)? {
        return Ok(End::Stopped);
    }
    let positions = writer.positions()?;
    if has_failed {
        say(
            reports,
            format!("database {} can be used again", options.database.url),
        );
    }
    let topics = match Topics::open(options, &positions, reports, stop) {
        Ok(topics) => topics,
        Err(end) => {
            writer.give_lease_back()?;
            return Ok(end);
        }
    };
    let result = Session::new(options, topics, &positions, &mut writer, reports, stop).run();
    match result {
        // In the middle of a batch, which was rolled back.
        Err(StoreError::Stopped) => {
            writer.give_lease_back()?;
            Ok(End::Stopped)
        }
        other => other,
    }
}

/// Waits until this process may write. Returns false if it has to stop before. With `-once` another writer is an error.
fn wait_for_lease(
    writer: &mut StoreWriter,
    options: &Options,
    reports: &Sender<Report>,
    stop: &Receiver<()>,
) -> Result<bool, StoreError> {
    let mut told = false;
    loop {
        match writer.take_lease()? {
            Lease::Held => return Ok(true),
            Lease::HeldBy(holder) if options.once => return Err(StoreError::LeaseLost { holder }),
            Lease::HeldBy(holder) => {
                if !told {
                    told = true;
                    say(
                        reports,
                        format!(
                            "standing by: another scanpush store ({holder}) works on {}",
                            options.database.url
                        ),
                    );
                }
            }
        }
        if stopped_after(stop, STANDBY_INTERVAL) {
            return Ok(false);
        }
    }
}

fn say(reports: &Sender<Report>, line: String) {
    // Without a reader the process is ending.
    let _ = reports.send(Report::Line(line));
}

/// Waits; returns true if the process has to stop.
fn stopped_after(stop: &Receiver<()>, pause: Duration) -> bool {
    stop.recv_timeout(pause) != Err(RecvTimeoutError::Timeout)
}

/// The three topics.
struct Topics {
    findings: Feed,
    status: Topic<Awaited>,
    tasks: Topic<TaskAt>,
}

impl Topics {
    /// Connects; repeats it until it succeeds or the process has to stop.
    fn open(
        options: &Options,
        positions: &BTreeMap<(String, i32), Position>,
        reports: &Sender<Report>,
        stop: &Receiver<()>,
    ) -> Result<Topics, End> {
        let kafka = &options.connection.kafka;
        let cursors = |topic: &str| offsets_of(positions, topic);
        let mut outage = Outage::default();
        loop {
            let open = || -> Result<Topics, String> {
                let no_time = |_: &_| None;
                let (tasks, status, results) = options.topics();
                let findings = Topic::open(
                    kafka,
                    results,
                    cursors(results),
                    records::finding,
                    |finding: &StoredFinding| Some(finding.sighting.at),
                    stop,
                )?;
                let status = Topic::open(
                    kafka,
                    status,
                    cursors(status),
                    records::status,
                    no_time,
                    stop,
                )?;
                let no_time = |_: &_| None;
                let tasks =
                    Topic::open(kafka, tasks, cursors(tasks), records::task, no_time, stop)?;
                let findings = Feed::start(findings, stop)
                    .map_err(|error| format!("a thread cannot be started: {error}"))?;
                Ok(Topics {
                    findings,
                    status,
                    tasks,
                })
            };
            match open() {
                Ok(topics) => {
                    outage.over(reports);
                    return Ok(topics);
                }
                Err(_) if stop.try_recv() != Err(TryRecvError::Empty) => return Err(End::Stopped),
                Err(line) if options.once && outage.is_long() => return Err(End::Unreadable(line)),
                Err(line) => {
                    if stopped_after(stop, outage.note(line, reports)) {
                        return Err(End::Stopped);
                    }
                }
            }
        }
    }
}

fn offsets_of(positions: &BTreeMap<(String, i32), Position>, topic: &str) -> Offsets {
    positions
        .iter()
        .filter(|((name, _), _)| name == topic)
        .map(|((_, partition), position)| (*partition, position.next_offset))
        .collect()
}

/// An outage of Kafka: its error is printed once, and its end.
#[derive(Default)]
struct Outage {
    error: Option<String>,
    said_at: Option<Instant>,
    since: Option<Instant>,
    backoff: Backoff,
}

impl Outage {
    /// Prints the first error, and another one if it comes much later: a broker that stops and starts gives several. Returns the pause before the next attempt.
    fn note(&mut self, line: String, reports: &Sender<Report>) -> Duration {
        self.since.get_or_insert_with(Instant::now);
        let is_due = self
            .said_at
            .is_none_or(|at| at.elapsed() >= OTHER_ERROR_INTERVAL);
        if is_due && self.error.as_ref() != Some(&line) {
            say(reports, format!("{line}; trying again"));
            self.error = Some(line);
            self.said_at = Some(Instant::now());
        }
        self.backoff.pause()
    }

    /// Whether it is longer than a command waits for Kafka.
    fn is_long(&self) -> bool {
        self.since
            .is_some_and(|since| since.elapsed() >= CLIENT_WAIT)
    }

    fn over(&mut self, reports: &Sender<Report>) {
        self.since = None;
        self.said_at = None;
        self.backoff.reset();
        if self.error.take().is_some() {
            say(reports, "Kafka can be read again".to_owned());
        }
    }
}

/// Bounds the wait for records that a topic has.
struct Patience {
    topic: String,
    empty_since: Option<Instant>,
}

impl Patience {
    fn new(topic: &str) -> Patience {
        Patience {
            topic: topic.to_owned(),
            empty_since: None,
        }
    }

    /// After a read. Errs if reads have been empty for [`RECORDS_WAIT`], or the process has to stop.
    fn check(&mut self, is_empty: bool, stop: &Receiver<()>) -> Result<(), String> {
        if stop.try_recv() != Err(TryRecvError::Empty) {
            return Err("stopped".to_owned());
        }
        if !is_empty {
            self.empty_since = None;
            return Ok(());
        }
        let since = *self.empty_since.get_or_insert_with(Instant::now);
        match since.elapsed() < RECORDS_WAIT {
            true => Ok(()),
            false => Err(format!("Kafka: no records of {} arrive", self.topic)),
        }
    }
}

/// How far the three topics have to be read before `-once` ends.
struct Goal {
    findings: Option<Offsets>,
    status: Option<Offsets>,
    tasks: Option<Offsets>,
}

struct Session<'a> {
    options: &'a Options,
    topics: Topics,
    merge: Merge,
    writer: &'a mut StoreWriter,
    reports: &'a Sender<Report>,
    stop: &'a Receiver<()>,
    batch: Batch,
    /// Findings of `batch`.
    batch_findings: usize,
    /// How far the topic of findings was applied.
    applied: Offsets,
    /// The ends of the topic of findings when they were last asked for.
    ends: Offsets,
    task_ends: Offsets,
    goal: Goal,
    /// When `ends` were asked for.
    ends_at: Option<Instant>,
    /// When a status record was last read.
    status_read_at: Option<Instant>,
    /// Since when the end of a task waits for its findings.
    awaiting_since: Option<Instant>,
    outage: Outage,
    written_at: Instant,
    deleted_at: Option<Instant>,
}

impl<'a> Session<'a> {
    fn new(
        options: &'a Options,
        topics: Topics,
        positions: &BTreeMap<(String, i32), Position>,
        writer: &'a mut StoreWriter,
        reports: &'a Sender<Report>,
        stop: &'a Receiver<()>,
    ) -> Session<'a> {
        let (_, status, results) = options.topics();
        let applied = offsets_of(positions, results);
        Session {
            merge: Merge::new(&offsets_of(positions, status), &applied),
            options,
            topics,
            writer,
            reports,
            stop,
            batch: Batch::default(),
            batch_findings: 0,
            applied,
            ends: Offsets::new(),
            task_ends: Offsets::new(),
            goal: Goal {
                findings: None,
                status: None,
                tasks: None,
            },
            ends_at: None,
            status_read_at: None,
            awaiting_since: None,
            outage: Outage::default(),
            written_at: Instant::now(),
            deleted_at: None,
        }
    }

    fn run(mut self) -> Result<End, StoreError> {
        loop {
            if self.stop.try_recv() != Err(TryRecvError::Empty) {
                self.writer.give_lease_back()?;
                return Ok(End::Stopped);
            }
            let all = self.read_findings();
            match all.and_then(|at_end| self.read_status_and_tasks().map(|()| at_end)) {
                Ok(at_end) => {
                    self.outage.over(self.reports);
                    let is_drained = self.merge()?;
                    if is_drained && self.is_done() {
                        self.delete_old()?;
                        self.writer.give_lease_back()?;
                        return Ok(End::Done);
                    }
                    if is_drained && at_end {
                        self.delete_old()?;
                    }
                }
                Err(_) if self.stop.try_recv() != Err(TryRecvError::Empty) => continue,
                Err(line) if self.options.once && self.outage.is_long() => {
                    self.writer.give_lease_back()?;
                    return Ok(End::Unreadable(line));
                }
                Err(line) => {
                    let pause = self.outage.note(line, self.reports);
                    stopped_after(self.stop, pause);
                }
            }
            if self.written_at.elapsed() >= LEASE_INTERVAL {
                self.renew_lease()?;
            }
            self.report();
        }
    }

    fn renew_lease(&mut self) -> Result<(), StoreError> {
        self.written_at = Instant::now();
        self.writer.renew_lease()
    }

    /// Takes what the thread has read, up to a full batch. Returns whether it had reached the end of the topic.
    fn read_findings(&mut self) -> Result<bool, String> {
        let mut wait = FETCH_WAIT;
        let mut at_end = false;
        let mut received = 0;
        while received < BATCH_FINDINGS {
            match self.topics.findings.reads.recv_timeout(wait) {
                Ok(Read::Portions(portions, notices)) => {
                    at_end = portions.is_empty();
                    for notice in notices {
                        say(self.reports, notice);
                    }
                    for portion in portions {
                        received += portion.records.len();
                        self.merge.add_findings(portion);
                    }
                    // After the end of the topic its offsets follow at once.
                    wait = if at_end { FETCH_WAIT } else { Duration::ZERO };
                }
                Ok(Read::Ends(ends, asked_at)) => {
                    self.ends_at = Some(asked_at);
                    if self.goal.findings.is_none() {
                        self.goal.findings = Some(ends.clone());
                    }
                    self.ends = ends;
                    if at_end {
                        return Ok(true);
                    }
                }
                Ok(Read::Failed(line)) => return Err(line),
                Err(RecvTimeoutError::Timeout) => return Ok(false),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err("the thread `findings` has ended".to_owned());
                }
            }
        }
        Ok(false)
    }

    fn read_status_and_tasks(&mut self) -> Result<(), String> {
        let (status, merge) = (&mut self.topics.status, &mut self.merge);
        let ends = status.ends()?;
        let mut patience = Patience::new(status.name());
        loop {
            // A partition with many waiting records must not keep the others from being read.
            let mut wanted = ends.clone();
            wanted.retain(|partition, _| merge.waiting_status(*partition) < WAITING_STATUS_MAX);
            if status.has_reached(&wanted) {
                break;
            }
            let portions = status.read(Some(&wanted), FETCH_WAIT, now_ms() / 1000)?;
            patience.check(portions.is_empty(), self.stop)?;
            if !portions.is_empty() {
                self.status_read_at = Some(Instant::now());
            }
            for portion in portions {
                merge.add_status(portion);
            }
        }
        for notice in status.take_notices() {
            say(self.reports, notice);
        }
        self.goal.status.get_or_insert_with(|| ends.clone());
        merge.set_status_ends(ends);

        let tasks = &mut self.topics.tasks;
        let ends = tasks.ends()?;
        let name = tasks.name().to_owned();
        let mut patience = Patience::new(&name);
        while !tasks.has_reached(&ends) && self.batch.events.len() < BATCH_EVENTS_MAX {
            let portions = tasks.read(Some(&ends), FETCH_WAIT, now_ms() / 1000)?;
            patience.check(portions.is_empty(), self.stop)?;
            for portion in portions {
                let position = self
                    .batch
                    .positions
                    .entry((name.clone(), portion.partition))
                    .or_default();
                position.next_offset = portion.next_offset;
                position.records += portion.records.len() as u64;
                position.lost += portion.lost;
                for (_, record) in portion.records {
                    match record {
                        Ok(task) => self.batch.events.push(Event::Task(Box::new(task))),
                        Err(reason) => *self.batch.ignored.entry(reason).or_default() += 1,
                    }
                }
            }
        }
        for notice in tasks.take_notices() {
            say(self.reports, notice);
        }
        self.goal.tasks.get_or_insert_with(|| ends.clone());
        self.task_ends = ends;
        Ok(())
    }

    /// Applies what can be applied. Returns whether everything that was read is applied.
    fn merge(&mut self) -> Result<bool, StoreError> {
        loop {
            if !self.may_judge() {
                self.write()?;
                return Ok(false);
            }
            match self.merge.next() {
                Next::Apply(event) => {
                    match &event {
                        Event::Findings(findings) => self.batch_findings += findings.len(),
                        Event::Status(_) => self.awaiting_since = None,
                        Event::Task(_) => {}
                    }
                    self.batch.events.push(event);
                    if self.batch_findings >= BATCH_FINDINGS
                        || self.batch.events.len() >= BATCH_EVENTS_MAX
                    {
                        self.write()?;
                    }
                }
                Next::NeedFindings if self.is_hopeless() => self.merge.give_up_waiting(),
                Next::NeedFindings => {
                    self.write()?;
                    return Ok(false);
                }
                Next::NeedStatus => {
                    self.write()?;
                    return Ok(false);
                }
                Next::Nothing => {
                    self.write()?;
                    return Ok(true);
                }
            }
        }
    }

    /// Whether the record of the task whose end comes next has been read, or does not exist.
    fn may_judge(&self) -> bool {
        let Some((partition, offset)) = self.merge.next_ended_record() else {
            return true;
        };
        let has_read = self.topics.tasks.cursor(partition) > offset;
        // If the partition has a leader, it was read to its end.
        let is_read = self
            .task_ends
            .get(&partition)
            .is_some_and(|end| self.topics.tasks.cursor(partition) >= *end);
        let is_known = self.task_ends.contains_key(&partition);
        has_read || is_read || (!is_known && self.topics.tasks.cursor(partition) == 0)
    }

    /// Whether the findings that the next status record waits for do not exist. Only offsets say so that were asked for after the record was read.
    fn is_hopeless(&mut self) -> bool {
        let since = *self.awaiting_since.get_or_insert_with(Instant::now);
        let Some(awaited) = self.merge.awaits() else {
            return false;
        };
        let knows_all = (0..)
            .zip(&awaited.results_end)
            .all(|(partition, end)| *end == 0 || self.ends.contains_key(&partition));
        // If no status record was read since, one answer is enough for all that wait.
        let is_answered = self
            .ends_at
            .is_some_and(|asked_at| asked_at > since || Some(asked_at) > self.status_read_at);
        (is_answered && self.merge.awaits_more_than(&self.ends))
            || (!knows_all && since.elapsed() >= NEW_PARTITION_WAIT)
    }

    /// Writes the batch.
    fn write(&mut self) -> Result<(), StoreError> {
        let (_, status_name, results_name) = self.options.topics();
        let (status, findings, ignored) = self.merge.take_positions();
        for (partition, change) in &findings {
            self.applied.insert(*partition, change.next_offset);
        }
        for (name, positions) in [(status_name, status), (results_name, findings)] {
            for (partition, change) in positions {
                self.batch
                    .positions
                    .insert((name.to_owned(), partition), change);
            }
        }
        for (reason, count) in ignored {
            *self.batch.ignored.entry(reason).or_default() += count;
        }
        if self.batch.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        self.writer.apply(&batch, results_name)?;
        self.written_at = Instant::now();
        // Without a reader the process is ending.
        let _ = self.reports.send(Report::Written {
            findings: self.batch_findings as u64,
            ignored: batch.ignored.values().sum(),
        });
        self.batch_findings = 0;
        Ok(())
    }

    fn is_done(&self) -> bool {
        let reached = |goal: &Option<Offsets>, applied: &dyn Fn(i32) -> i64| {
            goal.as_ref().is_some_and(|ends| {
                ends.iter()
                    .all(|(&partition, end)| applied(partition) >= *end)
            })
        };
        self.options.once
            && reached(&self.goal.findings, &|partition| {
                let applied = self.applied.get(&partition).copied().unwrap_or(0);
                // More than there is: the topic was recreated, and was not read yet.
                match self.ends.get(&partition) {
                    Some(end) if applied > *end => -1,
                    _ => applied,
                }
            })
            && reached(&self.goal.status, &|partition| {
                self.topics.status.cursor(partition)
            })
            && reached(&self.goal.tasks, &|partition| {
                self.topics.tasks.cursor(partition)
            })
    }

    /// Deletes what is older than it should be kept, now and then.
    fn delete_old(&mut self) -> Result<(), StoreError> {
        if self
            .deleted_at
            .is_some_and(|at| at.elapsed() < RETENTION_INTERVAL)
        {
            return Ok(());
        }
        self.deleted_at = Some(Instant::now());
        let deleted = self
            .writer
            .delete_old(&self.options.keep, now_ms() / 1000)?;
        if deleted > 0 {
            say(
                self.reports,
                format!(
                    "deleted {deleted} old rows (-keep {})",
                    self.options.keep.history
                ),
            );
        }
        Ok(())
    }

    fn report(&self) {
        let behind = self
            .ends
            .iter()
            .map(|(partition, end)| end - self.applied.get(partition).copied().unwrap_or(0))
            .filter(|behind| *behind > 0)
            .sum::<i64>();
        let _ = self
            .reports
            .send(Report::Behind(u64::try_from(behind).unwrap_or(0)));
    }
}
