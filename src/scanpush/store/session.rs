//! The work of `scanpush store` between two failures of the database: reads three topics from the positions in the database, and writes batches.
//!
//! Order of a round: findings are read, then status records up to the present end of their topic, then tasks up to theirs. So a status record is
//! never behind findings that came after it, and a task never behind its status.

use super::feed::{Ends, Feed, Read};
use super::merge::{Applied, Awaited, Merge, Next, Offsets};
use super::options::Options;
use super::progress::Report;
use super::records;
use super::topic::Topic;
use crate::kafka::FETCH_WAIT;
use crate::model::backoff::CLIENT_WAIT;
use crate::model::{Backoff, TaskId};
use crate::scanpush::tasks::now_ms;
use crate::store::{
    Batch, Event, Lease, Position, StoreError, StoreWriter, StoredFinding, TaskAt, WriterOptions,
};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Findings that are written in one transaction, if there are so many.
const BATCH_FINDINGS: usize = 50_000;
/// How long findings of one round are collected. Longer than [`FETCH_WAIT`], after which the thread that reads them says that there are none.
const ROUND_MAX: Duration = Duration::from_secs(1);
/// Events other than findings that are written in one transaction.
const BATCH_EVENTS_MAX: usize = 1_000;
/// Status records of a partition that may wait.
const WAITING_STATUS_MAX: usize = 1_000;
/// The pause before findings are read again after too many wait.
const FULL_PAUSE: Duration = Duration::from_millis(200);
/// How long records are waited for that a topic has, in one round.
const RECORDS_WAIT: Duration = Duration::from_secs(5);
/// How often the lease is renewed if nothing is written.
const LEASE_INTERVAL: Duration = Duration::from_secs(3);
/// How long `-once` waits for the lease: a little longer than that of a process that was killed lasts.
const ONCE_LEASE_WAIT: Duration = Duration::from_secs(12);
/// How often a store that stands by asks for the lease.
const STANDBY_INTERVAL: Duration = Duration::from_secs(1);
/// How often old rows are deleted.
const RETENTION_INTERVAL: Duration = Duration::from_secs(6 * 3600);
/// An outage's further errors are printed at this interval, if they are others.
const OTHER_ERROR_INTERVAL: Duration = Duration::from_secs(60);
/// How long the end of a task waits for a partition of its findings that this program does not know yet.
const NEW_PARTITION_WAIT: Duration = Duration::from_secs(120);

/// Why a session ended.
pub enum End {
    /// `-once`: everything up to the ends at the start was written.
    Done,
    /// The process has to end.
    Stopped,
    /// `-once`: Kafka could not be read for [`CLIENT_WAIT`]; its error. Or a thread has ended unexpectedly.
    Unreadable(String),
}

/// Failures of the database in a row.
#[derive(Default)]
pub struct Failures {
    has_worked: bool,
    last_line: String,
    said_at: Option<Instant>,
}

impl Failures {
    /// Whether the database could be used before.
    pub fn has_worked(&self) -> bool {
        self.has_worked
    }

    /// Notes a failure. Returns true if its line should be printed: the first one, and others that come much later.
    pub fn note(&mut self, line: &str) -> bool {
        let is_due = self
            .said_at
            .is_none_or(|at| at.elapsed() >= OTHER_ERROR_INTERVAL);
        if !is_due || line == self.last_line {
            return false;
        }
        self.said_at = Some(Instant::now());
        self.last_line = line.to_owned();
        true
    }

    /// The database can be used. Returns true if it had failed.
    fn is_over(&mut self) -> bool {
        self.has_worked = true;
        self.said_at = None;
        !std::mem::take(&mut self.last_line).is_empty()
    }
}

/// Runs until it is done, has to stop, or the database fails. `failure` is over once the database can be used.
pub fn run(
    options: &Options,
    failure: &mut Failures,
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
    let (tasks, status, results) = options.topics();
    let mut topics = positions.keys().map(|(topic, _)| topic.as_str());
    if let Some(other) = topics.find(|topic| ![tasks, status, results].contains(topic)) {
        writer.give_lease_back()?;
        return Err(StoreError::Unusable {
            at: options.database.url.to_string(),
            cause: format!(
                "it was filled from other topics (such as {other}): use another database, or -topic, -status-topic and -results-topic"
            ),
        });
    }
    if failure.is_over() {
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

/// Waits until this process may write. Returns false if it has to stop before. With `-once` it waits only as long as the lease of a process that was
/// killed lasts.
fn wait_for_lease(
    writer: &mut StoreWriter,
    options: &Options,
    reports: &Sender<Report>,
    stop: &Receiver<()>,
) -> Result<bool, StoreError> {
    let began = Instant::now();
    let mut is_said = false;
    loop {
        let why = match writer.take_lease() {
            Ok(Lease::Held) => return Ok(true),
            Ok(Lease::HeldBy(holder)) => {
                if options.once && began.elapsed() >= ONCE_LEASE_WAIT {
                    return Err(StoreError::LeaseLost { holder });
                }
                format!(
                    "another scanpush store ({holder}) works on {}",
                    options.database.url
                )
            }
            // The other one is in the middle of a long transaction.
            Err(error) if error.is_locked() && !options.once => error.to_string(),
            Err(error) => return Err(error),
        };
        if !is_said && !options.once {
            is_said = true;
            say(reports, format!("standing by: {why}"));
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
    fn check(
        &mut self,
        is_empty: bool,
        trouble: Option<String>,
        stop: &Receiver<()>,
    ) -> Result<(), String> {
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
            false => {
                Err(trouble
                    .unwrap_or_else(|| format!("Kafka: no records of {} arrive", self.topic)))
            }
        }
    }
}

/// How far the three topics have to be read before `-once` ends.
struct Goal {
    findings: Option<Offsets>,
    status: Option<Offsets>,
    tasks: Option<Offsets>,
}

/// Whether Kafka has answered about findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    Answered,
    Quiet,
}

/// Why a round could not read everything.
enum Trouble {
    /// Kafka, or one of its partitions, cannot be read now.
    Kafka(String),
    /// A thread of this program has ended.
    Dead(String),
}

fn leaderless(topic: &str, partition: i32) -> String {
    format!("Kafka: partition {partition} of {topic} has no leader")
}

fn no_leader(topic: &str, partition: i32) -> Trouble {
    Trouble::Kafka(leaderless(topic, partition))
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
    ends: Ends,
    task_ends: Offsets,
    goal: Goal,
    /// When a status record was last read.
    status_read_at: Option<Instant>,
    /// The task whose end waits for its findings, and since when.
    awaiting: Option<(TaskId, Instant)>,
    /// Since when partitions are awaited that are not known, or have no leader.
    unknown_since: BTreeMap<i32, Instant>,
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
            ends: Ends::default(),
            task_ends: Offsets::new(),
            goal: Goal {
                findings: None,
                status: None,
                tasks: None,
            },
            status_read_at: None,
            awaiting: None,
            unknown_since: BTreeMap::new(),
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
            match self.read() {
                Ok(round) => {
                    if round == Round::Answered {
                        self.outage.over(self.reports);
                    }
                    if self.merge()? {
                        self.delete_old()?;
                        if self.is_done() {
                            self.writer.give_lease_back()?;
                            return Ok(End::Done);
                        }
                    }
                }
                Err(Trouble::Dead(line)) => return Ok(End::Unreadable(line)),
                Err(Trouble::Kafka(_)) if self.stop.try_recv() != Err(TryRecvError::Empty) => {}
                Err(Trouble::Kafka(line)) if self.options.once && self.outage.is_long() => {
                    self.writer.give_lease_back()?;
                    return Ok(End::Unreadable(line));
                }
                Err(Trouble::Kafka(line)) => {
                    let pause = self.outage.note(line, self.reports);
                    stopped_after(self.stop, pause);
                    // What was read of other partitions is applied nevertheless.
                    self.merge()?;
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

    fn read(&mut self) -> Result<Round, Trouble> {
        let round = match self.merge.is_full() {
            true => {
                stopped_after(self.stop, FULL_PAUSE);
                Round::Quiet
            }
            false => self.read_findings()?,
        };
        self.read_status_and_tasks().map_err(Trouble::Kafka)?;
        Ok(round)
    }

    /// Takes what the thread has read, until that is a full batch, or the thread has reached the end of the topic.
    fn read_findings(&mut self) -> Result<Round, Trouble> {
        let deadline = Instant::now() + ROUND_MAX;
        let mut at_end = false;
        let mut round = Round::Quiet;
        let mut received = 0;
        while received < BATCH_FINDINGS {
            match self.topics.findings.reads.recv_deadline(deadline) {
                Ok(Read::Portions(portions, notices)) => {
                    at_end = portions.is_empty();
                    for notice in notices {
                        say(self.reports, notice);
                    }
                    for portion in portions {
                        round = Round::Answered;
                        received += portion.records.len();
                        self.merge.add_findings(portion);
                    }
                }
                Ok(Read::Ends(ends)) => {
                    round = Round::Answered;
                    self.unknown_since
                        .retain(|partition, _| !ends.offsets.contains_key(partition));
                    self.ends = ends;
                    match (self.options.once, self.ends.leaderless) {
                        (true, Some(partition)) => {
                            return Err(no_leader(self.options.topics().2, partition));
                        }
                        _ => self.goal.findings.get_or_insert(self.ends.offsets.clone()),
                    };
                    if at_end {
                        return Ok(round);
                    }
                }
                Ok(Read::Failed(line)) => return Err(Trouble::Kafka(line)),
                Err(RecvTimeoutError::Timeout) => return Ok(round),
                Err(RecvTimeoutError::Disconnected) => {
                    let line = "the thread `findings` has ended unexpectedly".to_owned();
                    return Err(Trouble::Dead(line));
                }
            }
        }
        Ok(round)
    }

    fn read_status_and_tasks(&mut self) -> Result<(), String> {
        let (status, merge) = (&mut self.topics.status, &mut self.merge);
        let ends = status.ends()?;
        if let (true, Some(partition)) = (self.options.once, status.leaderless(&ends)) {
            return Err(leaderless(status.name(), partition));
        }
        let mut patience = Patience::new(status.name());
        loop {
            // A partition with many waiting records must not keep the others from being read.
            let mut wanted = ends.clone();
            wanted.retain(|partition, _| merge.waiting_status(*partition) < WAITING_STATUS_MAX);
            if status.has_reached(&wanted) {
                break;
            }
            let answer = status.read(Some(&wanted), FETCH_WAIT, now_ms() / 1000)?;
            let portions = answer.portions;
            patience.check(portions.is_empty(), answer.trouble, self.stop)?;
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
        if let (true, Some(partition)) = (self.options.once, tasks.leaderless(&ends)) {
            return Err(leaderless(tasks.name(), partition));
        }
        let name = tasks.name().to_owned();
        let mut patience = Patience::new(&name);
        while !tasks.has_reached(&ends) && self.batch.events.len() < BATCH_EVENTS_MAX {
            let answer = tasks.read(Some(&ends), FETCH_WAIT, now_ms() / 1000)?;
            let portions = answer.portions;
            patience.check(portions.is_empty(), answer.trouble, self.stop)?;
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
                        Event::Status(_) | Event::Task(_) => {}
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
        let Some(awaited) = self.merge.awaits() else {
            return false;
        };
        let now = Instant::now();
        let since = match &self.awaiting {
            Some((task_id, since)) if *task_id == awaited.change.task_id => *since,
            _ => {
                self.awaiting = Some((awaited.change.task_id.clone(), now));
                now
            }
        };
        // If no status record was read since, one answer is enough for all that wait.
        let is_answered = self
            .ends
            .asked_at
            .is_some_and(|asked_at| asked_at > since || Some(asked_at) > self.status_read_at);
        if is_answered && self.merge.awaits_more_than(&self.ends.offsets) {
            return true;
        }
        (0..).zip(&awaited.results_end).any(|(partition, end)| {
            let is_unknown = *end > 0 && !self.ends.offsets.contains_key(&partition);
            is_unknown
                && self.unknown_since.entry(partition).or_insert(now).elapsed()
                    >= NEW_PARTITION_WAIT
        })
    }

    /// Writes the batch.
    fn write(&mut self) -> Result<(), StoreError> {
        let (_, status_name, results_name) = self.options.topics();
        let Applied {
            status,
            findings,
            ignored,
        } = self.merge.take_positions();
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
                match self.ends.offsets.get(&partition) {
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
            .offsets
            .iter()
            .map(|(partition, end)| end - self.applied.get(partition).copied().unwrap_or(0))
            .filter(|behind| *behind > 0)
            .sum::<i64>();
        let _ = self
            .reports
            .send(Report::Behind(u64::try_from(behind).unwrap_or(0)));
    }
}
