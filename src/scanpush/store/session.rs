//! The work of `scanpush store` between two failures of the database: reads three topics from the positions in the database, and writes batches.
//!
//! Order of a round: findings are read, then status records up to the present end of their topic, then tasks up to theirs. So a status record is
//! never behind findings that came after it, and a task never behind its status.

use super::feed::{Ends, Feed, Read};
use super::merge::{Applied, Awaited, Merge, Next, Offsets};
use super::options::Options;
use super::outage::Outage;
use super::progress::{Lag, Need, Report};
use super::records;
use super::stop::{is_stopped, stopped_after};
use super::topic::{Notice, Topic};
use crate::kafka::FETCH_WAIT;
use crate::model::backoff::CLIENT_WAIT;
use crate::model::skip_log::SkipLog;
use crate::model::{Backoff, TaskId};
use crate::scanpush::tasks::now_ms;
use crate::store::{
    Batch, Event, Lease, Position, StoreError, StoreWriter, StoredFinding, TaskAt, WriterOptions,
};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A batch is written once it has this many findings.
const BATCH_FINDINGS: usize = 50_000;
/// How long one round collects findings. Longer than [`FETCH_WAIT`], after which an idle `findings` thread sends an empty read.
const ROUND_MAX: Duration = Duration::from_secs(1);
/// A batch is written once it has this many events.
const BATCH_EVENTS_MAX: usize = 1_000;
/// Status records of a partition that may wait.
const WAITING_STATUS_MAX: usize = 1_000;
/// The pause before findings are read again after too many wait.
const FULL_PAUSE: Duration = Duration::from_millis(200);
/// How long a round waits for records that are known to exist.
const RECORDS_WAIT: Duration = Duration::from_secs(5);
/// How often the lease is renewed if nothing is written.
const LEASE_INTERVAL: Duration = Duration::from_secs(3);
/// How long `-once` waits for the lease: slightly longer than the lease of a killed process stays valid.
const ONCE_LEASE_WAIT: Duration = Duration::from_secs(12);
/// How often a store that stands by asks for the lease.
const STANDBY_INTERVAL: Duration = Duration::from_secs(1);
/// How often old rows are deleted.
const RETENTION_INTERVAL: Duration = Duration::from_secs(6 * 3600);
/// How long the end of a task waits for findings in a partition whose end offset is unknown: it is new, or has no leader.
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

/// What one session hands to the next one.
#[derive(Debug)]
pub struct Handover {
    /// The present outage of the database. It is over once the database can be used.
    pub database_outage: Outage,
    /// Whether a session has used the database.
    pub has_worked: bool,
    /// The lines about skipped batches.
    pub skip_log: SkipLog,
}

/// Runs until it is done, has to stop, or the database fails.
pub fn run(
    options: &Options,
    handover: &mut Handover,
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
    let result = work(options, handover, &mut writer, reports, stop);
    match result {
        Ok(end) => {
            writer.give_lease_back()?;
            Ok(end)
        }
        // In the middle of a batch, which was rolled back.
        Err(StoreError::Stopped) => {
            writer.give_lease_back()?;
            Ok(End::Stopped)
        }
        Err(error) => Err(error),
    }
}

/// What is done while this process has the lease.
fn work(
    options: &Options,
    handover: &mut Handover,
    writer: &mut StoreWriter,
    reports: &Sender<Report>,
    stop: &Receiver<()>,
) -> Result<End, StoreError> {
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
    handover.has_worked = true;
    has(Need::Database, reports);
    if handover.database_outage.end() {
        say(
            reports,
            format!("database {} can be used again", options.database.url),
        );
    }
    match Topics::open(options, &positions, reports, stop) {
        Ok(topics) => {
            let skip_log = &mut handover.skip_log;
            Session::new(options, topics, &positions, writer, skip_log, reports, stop).run()
        }
        Err(end) => Ok(end),
    }
}

/// Waits until this process may write. Returns false if it has to stop before. With `-once` it waits for [`ONCE_LEASE_WAIT`] at most.
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
            Ok(Lease::Held) => {
                has(Need::Lease, reports);
                return Ok(true);
            }
            Ok(Lease::HeldBy(holder)) => {
                if options.once && began.elapsed() >= ONCE_LEASE_WAIT {
                    return Err(StoreError::LeaseLost {
                        holder: Some(holder),
                    });
                }
                has(Need::Database, reports);
                format!(
                    "another scanpush store ({holder}) works on {}",
                    options.database.url
                )
            }
            // The other one is in the middle of a long transaction.
            Err(error) if error.is_locked() && !options.once => error.to_string(),
            Err(error) => return Err(error),
        };
        let _ = reports.send(Report::Awaits(Need::Lease, why.clone()));
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

fn say_all(reports: &Sender<Report>, skip_log: &mut SkipLog, notices: Vec<Notice>) {
    for notice in notices {
        let line = match notice {
            Notice::Line(line) => Some(line),
            Notice::Skipped { records, cause } => skip_log.skipped(records, &cause, Instant::now()),
        };
        if let Some(line) = line {
            say(reports, line);
        }
    }
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
        let mut outage = Outage::new(Backoff::new());
        loop {
            let open = || -> Result<Topics, String> {
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
                    |_| None,
                    stop,
                )?;
                let tasks =
                    Topic::open(kafka, tasks, cursors(tasks), records::task, |_| None, stop)?;
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
                    kafka_answered(&mut outage, reports);
                    return Ok(topics);
                }
                Err(_) if is_stopped(stop) => return Err(End::Stopped),
                Err(line) if options.once && outage.is_longer_than(CLIENT_WAIT) => {
                    return Err(End::Unreadable(line));
                }
                Err(line) => {
                    if stopped_after(stop, note(&mut outage, line, reports)) {
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

/// Reports that something which the work needs is there.
fn has(need: Need, reports: &Sender<Report>) {
    // Without a reader the process is ending.
    let _ = reports.send(Report::Has(need));
}

/// Notes an error of Kafka, and prints it if it is due. Returns the pause before the next attempt.
fn note(outage: &mut Outage, line: String, reports: &Sender<Report>) -> Duration {
    let _ = reports.send(Report::Awaits(Need::Kafka, line.clone()));
    if let Some(line) = outage.note(line) {
        say(reports, line);
    }
    outage.pause()
}

/// Kafka can be read.
fn kafka_answered(outage: &mut Outage, reports: &Sender<Report>) {
    has(Need::Kafka, reports);
    if outage.end() {
        say(reports, "Kafka can be read again".to_owned());
    }
}

/// Limits how long a round waits for records that are known to exist.
struct ReadTimeout {
    topic: String,
    empty_since: Option<Instant>,
}

impl ReadTimeout {
    fn new(topic: &str) -> ReadTimeout {
        ReadTimeout {
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
        if is_stopped(stop) {
            return Err("stopped".to_owned());
        }
        if !is_empty {
            self.empty_since = None;
            return Ok(());
        }
        let since = *self.empty_since.get_or_insert_with(Instant::now);
        match since.elapsed() < RECORDS_WAIT {
            true => Ok(()),
            false => Err(trouble.unwrap_or_else(|| {
                format!("Kafka: timed out waiting for records of {}", self.topic)
            })),
        }
    }
}

/// How far the three topics have to be read before `-once` ends.
struct Goal {
    findings: Option<Offsets>,
    status: Option<Offsets>,
    tasks: Option<Offsets>,
}

/// Whether a round got an answer about findings from Kafka, which ends an outage.
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

struct Session<'a> {
    options: &'a Options,
    topics: Topics,
    merge: Merge,
    writer: &'a mut StoreWriter,
    skip_log: &'a mut SkipLog,
    reports: &'a Sender<Report>,
    stop: &'a Receiver<()>,
    batch: Batch,
    /// Findings of `batch`.
    batch_findings: usize,
    /// The ends of the topic of findings when they were last asked for.
    ends: Ends,
    status_ends: Offsets,
    task_ends: Offsets,
    goal: Goal,
    /// When a status record was last read.
    status_read_at: Option<Instant>,
    /// The task whose end waits for its findings, and since when.
    awaiting: Option<(TaskId, Instant)>,
    /// Since when each partition with an unknown end offset has been awaited.
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
        skip_log: &'a mut SkipLog,
        reports: &'a Sender<Report>,
        stop: &'a Receiver<()>,
    ) -> Session<'a> {
        let (_, status, results) = options.topics();
        Session {
            merge: Merge::new(
                &offsets_of(positions, status),
                &offsets_of(positions, results),
            ),
            options,
            topics,
            writer,
            skip_log,
            reports,
            stop,
            batch: Batch::default(),
            batch_findings: 0,
            ends: Ends::default(),
            status_ends: Offsets::new(),
            task_ends: Offsets::new(),
            goal: Goal {
                findings: None,
                status: None,
                tasks: None,
            },
            status_read_at: None,
            awaiting: None,
            unknown_since: BTreeMap::new(),
            outage: Outage::new(Backoff::new()),
            written_at: Instant::now(),
            deleted_at: None,
        }
    }

    fn run(mut self) -> Result<End, StoreError> {
        loop {
            if is_stopped(self.stop) {
                return Ok(End::Stopped);
            }
            match self.read() {
                Ok(round) => {
                    if round == Round::Answered {
                        kafka_answered(&mut self.outage, self.reports);
                    }
                    if self.merge()? {
                        self.delete_old()?;
                        if self.is_done() {
                            return Ok(End::Done);
                        }
                    }
                }
                Err(Trouble::Dead(line)) => return Ok(End::Unreadable(line)),
                Err(Trouble::Kafka(_)) if is_stopped(self.stop) => {}
                Err(Trouble::Kafka(line))
                    if self.options.once && self.outage.is_longer_than(CLIENT_WAIT) =>
                {
                    return Ok(End::Unreadable(line));
                }
                Err(Trouble::Kafka(line)) => {
                    let pause = note(&mut self.outage, line, self.reports);
                    stopped_after(self.stop, pause);
                    // What was read of other partitions is applied nevertheless.
                    self.merge()?;
                }
            }
            if self.written_at.elapsed() >= LEASE_INTERVAL {
                self.renew_lease()?;
            }
            if let Some(line) = self.skip_log.due(Instant::now()) {
                say(self.reports, line);
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
        self.read_status()
            .and_then(|()| self.read_tasks())
            .map_err(Trouble::Kafka)?;
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
                    say_all(self.reports, self.skip_log, notices);
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
                    if let (true, Some(partition)) = (self.options.once, self.ends.leaderless) {
                        let line = leaderless(self.options.topics().2, partition);
                        return Err(Trouble::Kafka(line));
                    }
                    self.goal
                        .findings
                        .get_or_insert_with(|| self.ends.offsets.clone());
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

    /// Reads status records up to the present end of their topic, as far as they may wait.
    fn read_status(&mut self) -> Result<(), String> {
        let (status, merge) = (&mut self.topics.status, &mut self.merge);
        let ends = status.ends()?;
        if let (true, Some(partition)) = (self.options.once, status.leaderless(&ends)) {
            return Err(leaderless(status.name(), partition));
        }
        let mut timeout = ReadTimeout::new(status.name());
        loop {
            // A partition with many waiting records must not keep the others from being read.
            let mut wanted = ends.clone();
            wanted.retain(|partition, _| merge.waiting_status(*partition) < WAITING_STATUS_MAX);
            if status.has_reached(&wanted) {
                break;
            }
            let answer = status.read(Some(&wanted), FETCH_WAIT, now_ms() / 1000)?;
            say_all(self.reports, self.skip_log, status.take_notices());
            let portions = answer.portions;
            timeout.check(portions.is_empty(), answer.trouble, self.stop)?;
            if !portions.is_empty() {
                self.status_read_at = Some(Instant::now());
            }
            for portion in portions {
                merge.add_status(portion);
            }
        }
        say_all(self.reports, self.skip_log, status.take_notices());
        self.goal.status.get_or_insert_with(|| ends.clone());
        self.status_ends.clone_from(&ends);
        merge.set_status_ends(ends);
        Ok(())
    }

    /// Reads tasks up to the present end of their topic, as far as they fit into the batch.
    fn read_tasks(&mut self) -> Result<(), String> {
        let tasks = &mut self.topics.tasks;
        let ends = tasks.ends()?;
        if let (true, Some(partition)) = (self.options.once, tasks.leaderless(&ends)) {
            return Err(leaderless(tasks.name(), partition));
        }
        let name = tasks.name().to_owned();
        let mut timeout = ReadTimeout::new(&name);
        while !tasks.has_reached(&ends) && self.batch.events.len() < BATCH_EVENTS_MAX {
            let answer = tasks.read(Some(&ends), FETCH_WAIT, now_ms() / 1000)?;
            say_all(self.reports, self.skip_log, tasks.take_notices());
            let portions = answer.portions;
            timeout.check(portions.is_empty(), answer.trouble, self.stop)?;
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
        say_all(self.reports, self.skip_log, tasks.take_notices());
        self.goal.tasks.get_or_insert_with(|| ends.clone());
        self.task_ends = ends;
        Ok(())
    }

    /// Applies what can be applied. Returns whether everything that was read is applied.
    fn merge(&mut self) -> Result<bool, StoreError> {
        let is_drained = loop {
            if !self.may_judge() {
                break false;
            }
            match self.merge.next() {
                Next::Apply(event) => self.add(event)?,
                Next::NeedFindings if self.findings_never_come() => self.merge.give_up_waiting(),
                Next::NeedFindings | Next::NeedStatus => break false,
                Next::Nothing => break true,
            }
        };
        self.write()?;
        Ok(is_drained)
    }

    /// Adds an event to the batch, and writes the batch if it is full.
    fn add(&mut self, event: Event) -> Result<(), StoreError> {
        if let Event::Findings(findings) = &event {
            self.batch_findings += findings.len();
        }
        self.batch.events.push(event);
        match self.batch_findings >= BATCH_FINDINGS || self.batch.events.len() >= BATCH_EVENTS_MAX {
            true => self.write(),
            false => Ok(()),
        }
    }

    /// Whether the record of the task that completed next has been read, or cannot be read.
    fn may_judge(&self) -> bool {
        let Some((partition, offset)) = self.merge.next_completed_record() else {
            return true;
        };
        let cursor = self.topics.tasks.cursor(partition);
        let is_at_end = match self.task_ends.get(&partition) {
            Some(end) => cursor >= *end,
            // A partition without a leader is waited for; one that does not exist is not.
            None => cursor == 0,
        };
        cursor > offset || is_at_end
    }

    /// Whether the findings that the next status record waits for will never come. Only end offsets that were requested after the record was read can
    /// show this.
    fn findings_never_come(&mut self) -> bool {
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
        // One answer serves every waiting record if no status record was read after the request.
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
        let began = Instant::now();
        self.writer.apply(&batch, results_name)?;
        let took = began.elapsed();
        self.written_at = Instant::now();
        // Without a reader the process is ending.
        let _ = self.reports.send(Report::Written {
            findings: self.batch_findings as u64,
            ignored: batch.ignored.values().sum(),
            took,
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
                let applied = self.merge.applied(partition);
                // Past the end: the topic was recreated and has not been read yet.
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
                format!("deleted {deleted} rows that were older than -keep or -keep-findings"),
            );
        }
        Ok(())
    }

    fn report(&self) {
        let (tasks, status, results) = self.options.topics();
        let lags = |topic: &str, ends: &Offsets, applied: &dyn Fn(i32) -> i64| -> Vec<Lag> {
            let lag = |(&partition, end): (&i32, &i64)| Lag {
                topic: topic.to_owned(),
                partition,
                // Past the end: the topic was recreated and has not been read yet.
                records: u64::try_from(end - applied(partition)).unwrap_or(0),
            };
            ends.iter().map(lag).collect()
        };
        let of_results = lags(results, &self.ends.offsets, &|partition| {
            self.merge.applied(partition)
        });
        let findings = of_results.iter().map(|lag| lag.records).sum();
        let of_status = lags(status, &self.status_ends, &|partition| {
            self.topics.status.cursor(partition)
        });
        let of_tasks = lags(tasks, &self.task_ends, &|partition| {
            self.topics.tasks.cursor(partition)
        });
        let partitions = [of_results, of_status, of_tasks].concat();
        let _ = self.reports.send(Report::Behind {
            findings,
            partitions,
        });
    }
}
