//! Reads a topic by explicit assignment at the caller's cursors.
//!
//! If the caller's cursors are not where librdkafka is, it seeks and drops what it has fetched ahead. A different set of partitions gets a new consumer:
//! librdkafka 2.12.1 aborts the process if a partition is assigned again while it is still being stopped (assertion `rktp->rktp_started` in
//! `rdkafka_assignment.c`). An error of a partition arrives without the partition's number, so then each partition is read by a consumer of its
//! own.

use super::config::{self, ANSWER_MAX_BYTES, AWAY_AFTER, METADATA_EVERY, REQUEST_WAIT};
use super::connection::{
    Leaders, bad_settings, call_error, code_of_broker, is_of_a_partition, open, topic_leaders,
};
use super::context::{BrokerStates, Context};
use super::refused_run::RefusedRun;
use crate::kafka::client::ReaderClient;
use crate::kafka::deadline::{DeadlineThread, pause};
use crate::kafka::error::KafkaError;
use crate::kafka::fetched::{Fetched, LogRange, RECORD_OVERHEAD_BYTES, Record};
use crate::kafka::plain_client;
use crate::kafka::settings::KafkaSettings;
use crate::model::text::system_words;
use crossbeam_channel::Receiver;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as Error;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode as Code;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes of records after which one fetch stops; its last record may exceed them.
const FETCHED_MAX_BYTES: usize = 4 * 1024 * 1024;
/// After this time [`Reader::isolate`] starts no further partition.
const ISOLATE_ALL_WAIT: Duration = Duration::from_secs(5);
/// How long a failure is remembered before the partition is read again.
const FAILING_EVERY: Duration = Duration::from_secs(10);
/// Longest time for a seek, which involves no broker.
const SEEK_WAIT: Duration = Duration::from_secs(1);
/// Longest wait for the first answer of each partition after a seek. A fetch in progress is answered first.
const ANSWER_WAIT: Duration = Duration::from_secs(1);
/// How long `isolate` waits for what one partition returns, connecting included.
const ISOLATE_WAIT: Duration = Duration::from_secs(3);
/// Interval at which a waiting read checks `stop`.
const SERVE_EVERY: Duration = Duration::from_millis(100);
/// Longest time for one partition's offsets. All partitions together get this plus [`REQUEST_WAIT`].
const LOG_RANGE_WAIT: Duration = Duration::from_secs(5);

/// Reads one topic.
#[derive(Debug)]
pub(in crate::kafka) struct Reader {
    settings: KafkaSettings,
    topic: String,
    stop: Receiver<()>,
    caller: DeadlineThread,
    session: Option<Session>,
    /// The leader of each partition by the last metadata.
    leaders: Leaders,
    /// Whether all partitions have had a leader. After that, missing leaders are not waited for.
    complete: bool,
    /// Partitions that cannot be read, which are left out for a while.
    failing: BTreeMap<i32, Failing>,
    /// The partition that was last read alone because of an error.
    last_isolated: i32,
    /// Partitions that this program's own fetch reads, because librdkafka has refused a batch there; see
    /// [`Reader::fetch_here`].
    own: BTreeSet<i32>,
}

/// A connected consumer.
struct Session {
    consumer: Arc<BaseConsumer<Context>>,
    /// The assigned partitions, each with the offset at which its next record is expected.
    positions: BTreeMap<i32, i64>,
    /// Partitions that have not answered since they were assigned or moved.
    unanswered: BTreeSet<i32>,
    /// When the metadata was read.
    since: Instant,
    /// Since when no broker is connected.
    all_down_since: Option<Instant>,
    /// Since when the leaders of these partitions are not connected.
    down_since: BTreeMap<i32, Instant>,
}

/// A partition that could not be read.
#[derive(Debug)]
struct Failing {
    cursor: i64,
    answer: Fetched,
    since: Instant,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({:?})", self.positions)
    }
}

impl Reader {
    /// Connects; see [`Reader::connect_until`](crate::kafka::Reader::connect_until).
    pub(in crate::kafka) fn connect(
        settings: &KafkaSettings,
        topic: &str,
        stop: Receiver<()>,
    ) -> Result<Reader, KafkaError> {
        let mut reader = Reader {
            settings: settings.clone(),
            topic: topic.to_owned(),
            caller: DeadlineThread::until(stop.clone()),
            stop,
            session: None,
            leaders: Leaders::new(),
            complete: false,
            failing: BTreeMap::new(),
            last_isolated: -1,
            own: BTreeSet::new(),
        };
        reader.session = Some(reader.take_session()?);
        Ok(reader)
    }

    /// The session with metadata that is up to date. It is put back only after a successful call.
    fn take_session(&mut self) -> Result<Session, KafkaError> {
        let mut session = match self.session.take() {
            Some(session) if session.since.elapsed() < METADATA_EVERY => return Ok(session),
            Some(session) => session,
            None => Session::new(self.open()?),
        };
        self.leaders = topic_leaders(
            session.consumer.as_ref(),
            &self.settings,
            &self.topic,
            !self.complete,
            &self.stop,
        )?;
        self.complete |= self.leaders.values().all(Option::is_some);
        session.since = Instant::now();
        if session.consumer.context().take_discarded() {
            // A new consumer begins at the caller's cursors.
            session.positions.clear();
        }
        Ok(session)
    }

    fn open(&self) -> Result<BaseConsumer<Context>, KafkaError> {
        let config = config::of_reader(&self.settings).map_err(bad_settings)?;
        open(&self.settings, &config)
    }

    /// The results for partitions that do not exist or failed at their cursor a short time ago, and the cursors of the others.
    fn known_answers(
        &mut self,
        cursors: &BTreeMap<i32, i64>,
    ) -> (BTreeMap<i32, Fetched>, BTreeMap<i32, i64>) {
        self.failing.retain(|partition, failing| {
            failing.since.elapsed() < FAILING_EVERY
                && cursors.get(partition) == Some(&failing.cursor)
        });
        let (mut answers, mut readable) = (BTreeMap::new(), BTreeMap::new());
        for (&partition, &cursor) in cursors {
            match self.failing.get(&partition) {
                Some(failing) => drop(answers.insert(partition, failing.answer.clone())),
                None if !self.leaders.contains_key(&partition) => {
                    answers.insert(partition, Fetched::Gone);
                }
                None => drop(readable.insert(partition, cursor)),
            }
        }
        (answers, readable)
    }

    /// Finds which of `cursors` cause `error`: reads each with a separate consumer. If only one partition was assigned (`is_only`), the error is
    /// that partition's.
    fn isolate(
        &mut self,
        cursors: &BTreeMap<i32, i64>,
        is_only: bool,
        error: &Error,
    ) -> Result<BTreeMap<i32, Fetched>, KafkaError> {
        let mut answers = BTreeMap::new();
        let deadline = Instant::now() + ISOLATE_ALL_WAIT;
        // The next call continues with the partitions for which there was no time.
        let (before, after): (Vec<_>, Vec<_>) = cursors
            .iter()
            .partition(|&(&partition, _)| partition <= self.last_isolated);
        for (&partition, &cursor) in after.into_iter().chain(before) {
            if Instant::now() >= deadline {
                break;
            }
            self.last_isolated = partition;
            let own_error = match is_only {
                true => Some(error.clone()),
                false => self.error_of(partition, cursor)?,
            };
            let Some(error) = own_error else { continue };
            let answer = match describe_failure(&self.topic, partition, cursor, &error) {
                Fetched::Refused { .. } => self.refused(partition, cursor, deadline)?,
                other => Some(other),
            };
            let Some(answer) = answer else { continue };
            if !answer.is_urgent() {
                let failing = Failing {
                    cursor,
                    answer: answer.clone(),
                    since: Instant::now(),
                };
                self.failing.insert(partition, failing);
            }
            answers.insert(partition, answer);
        }
        Ok(answers)
    }

    /// The result for a batch that librdkafka cannot decompress; none if it can after all.
    fn refused(
        &mut self,
        partition: i32,
        cursor: i64,
        deadline: Instant,
    ) -> Result<Option<Fetched>, KafkaError> {
        match self.settings.security().needs_librdkafka() {
            Some(_) => self.skip_refused(partition, cursor, deadline),
            None => {
                self.own.insert(partition);
                self.fetch_here(partition, cursor)
            }
        }
    }

    /// Reads a partition with this program's own fetch, which decompresses batches up to a limit. Only possible without TLS and a login. None at the end
    /// of the log. The own fetch stays in use while its results are urgent ([`Fetched::is_urgent`]); otherwise librdkafka reads the partition next.
    fn fetch_here(&mut self, partition: i32, cursor: i64) -> Result<Option<Fetched>, KafkaError> {
        let away = |reason: &str| Fetched::away(partition, reason);
        let Some(address) = self.leaders.get(&partition).cloned().flatten() else {
            self.own.remove(&partition);
            return Ok(Some(away("the partition currently has no leader")));
        };
        let topic = self.topic.clone();
        let doing = format!("{address}: read {topic}");
        let fetched = self.caller.within(REQUEST_WAIT, &doing, move || {
            Ok(plain_client::fetch_partition(
                &address, &topic, partition, cursor,
            ))
        });
        let answer = match fetched {
            Err(KafkaError::Stopped) => return Err(KafkaError::Stopped),
            Err(error) => Some(away(&error.to_string())),
            Ok(Err(error)) => {
                let reason = system_words(&error.to_string());
                Some(away(&format!("{doing}: {reason}")))
            }
            Ok(Ok(Some(Fetched::Gone))) => Some(away("the broker does not know the partition")),
            Ok(Ok(fetched)) => {
                fetched.map(|fetched| fetched.located(&self.topic, partition, cursor))
            }
        };
        if !answer.as_ref().is_some_and(Fetched::is_urgent) {
            self.own.remove(&partition);
        }
        Ok(answer)
    }

    /// As [`refused`](Reader::refused) over TLS or with a login: the batch is skipped, and any refused batches after it that are found before
    /// `deadline`.
    fn skip_refused(
        &mut self,
        partition: i32,
        cursor: i64,
        deadline: Instant,
    ) -> Result<Option<Fetched>, KafkaError> {
        let session = self.session_at(partition, cursor)?;
        let (error, batch) = match session.first_answer(&self.stop)? {
            FirstAnswer::Failed { error, batch } => (error, batch),
            FirstAnswer::Readable => return Ok(None),
            FirstAnswer::NoAnswer => {
                return Ok(Some(Fetched::away(partition, "no answer in time")));
            }
        };
        let (reason, next) = match describe_failure(&self.topic, partition, cursor, &error) {
            Fetched::Refused { reason, next } => (reason, next),
            other => return Ok(Some(other)),
        };
        let next = match batch {
            Some(batch) => self.end_of_run(session, partition, cursor, batch, deadline),
            None => Ok(next),
        };
        Ok(Some(match next {
            Ok(next) => Fetched::Refused { reason, next }.located(&self.topic, partition, cursor),
            Err(KafkaError::Stopped) => return Err(KafkaError::Stopped),
            Err(error) => Fetched::away(partition, error),
        }))
    }

    /// The offset after the refused `batch` that contains `cursor`, and after any refused batches that follow it and are found before `deadline`.
    fn end_of_run(
        &mut self,
        mut session: Session,
        partition: i32,
        cursor: i64,
        batch: i64,
        deadline: Instant,
    ) -> Result<i64, KafkaError> {
        let ranges = self.ranges_of(&session, vec![partition])?;
        let log_end = ranges.get(&partition).map_or(cursor, |range| range.next);
        let mut run = RefusedRun::new(batch, cursor, log_end);
        // An answer is always about the last seek: librdkafka drops what it fetched before a seek (`rd_kafka_op_version_outdated`).
        while let Some(offset) = run.question() {
            let is_late = Instant::now() >= deadline;
            if is_late || !session.seek(&self.topic, &BTreeMap::from([(partition, offset)])) {
                break;
            }
            match session.first_answer(&self.stop)? {
                FirstAnswer::Failed { batch, .. } => run.answer(offset, batch),
                FirstAnswer::Readable => run.answer(offset, None),
                FirstAnswer::NoAnswer => break,
            }
        }
        Ok(run.end())
    }

    /// The error of one partition at `cursor`; none if it can be read, or does not answer in time.
    fn error_of(&self, partition: i32, cursor: i64) -> Result<Option<Error>, KafkaError> {
        match self
            .session_at(partition, cursor)?
            .first_answer(&self.stop)?
        {
            FirstAnswer::Failed { error, .. } => Ok(Some(error)),
            FirstAnswer::Readable | FirstAnswer::NoAnswer => Ok(None),
        }
    }

    /// A session of its own for one partition.
    fn session_at(&self, partition: i32, cursor: i64) -> Result<Session, KafkaError> {
        let mut session = Session::new(self.open()?);
        session.assign(&self.topic, &BTreeMap::from([(partition, cursor)]))?;
        Ok(session)
    }

    /// The logs of `partitions`, which have leaders.
    fn ranges_of(
        &mut self,
        session: &Session,
        partitions: Vec<i32>,
    ) -> Result<BTreeMap<i32, LogRange>, KafkaError> {
        let doing = format!("look up the offsets of {}", self.topic);
        let (consumer, topic) = (session.consumer.clone(), self.topic.clone());
        let ranges = self.caller.within(
            LOG_RANGE_WAIT + REQUEST_WAIT,
            &format!("{}: {doing}", self.settings),
            move || Ok(log_ranges(&consumer, &topic, &partitions)),
        )?;
        ranges
            .map_err(|error| call_error(session.consumer.context(), &self.settings, &doing, &error))
    }
}

impl ReaderClient for Reader {
    /// librdkafka asks all brokers at the same time.
    fn leading_brokers(&self) -> usize {
        1
    }

    fn partitions(&self) -> Vec<i32> {
        self.leaders.keys().copied().collect()
    }

    fn log_ranges(&mut self) -> Result<BTreeMap<i32, LogRange>, KafkaError> {
        let session = self.take_session()?;
        let led = self
            .leaders
            .iter()
            .filter_map(|(&partition, leader)| leader.as_ref().map(|_| partition))
            .collect();
        let ranges = self.ranges_of(&session, led)?;
        self.session = Some(session);
        Ok(ranges)
    }

    fn fetch(
        &mut self,
        cursors: &BTreeMap<i32, i64>,
        wait: Duration,
    ) -> Result<BTreeMap<i32, Fetched>, KafkaError> {
        let deadline = Instant::now() + wait;
        let mut session = self.take_session()?;
        let (mut answers, mut readable) = self.known_answers(cursors);
        let own = std::mem::take(&mut self.own);
        for partition in own {
            let Some(cursor) = readable.remove(&partition) else {
                continue;
            };
            self.own.insert(partition);
            if let Some(answer) = self.fetch_here(partition, cursor)? {
                answers.insert(partition, answer);
            }
        }
        // If there is already a result, do not wait.
        let deadline = match answers.values().any(Fetched::is_urgent) {
            true => Instant::now(),
            false => deadline,
        };
        if readable.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            pause(&self.stop, left)?;
        } else {
            if !session.seek(&self.topic, &readable) {
                session = Session::new(self.open()?).with_metadata_of(&session);
                session.assign(&self.topic, &readable)?;
            }
            let read = session.read(&self.topic, deadline, &self.stop)?;
            if let Some(error) = read.error {
                // A partition that returned a result is not the cause.
                let is_only = readable.len() == 1;
                session.end();
                let mut suspects = readable;
                suspects.retain(|partition, _| !read.answers.contains_key(partition));
                answers.extend(self.isolate(&suspects, is_only, &error)?);
            }
            answers.extend(read.answers);
            for (partition, reason) in session.away(&self.settings)? {
                answers
                    .entry(partition)
                    .or_insert_with(|| Fetched::Away { reason });
            }
        }
        if answers.values().any(Fetched::is_stale) {
            session.expire_metadata();
        }
        self.session = Some(session);
        Ok(answers)
    }
}

/// What one read returned.
struct Read {
    answers: BTreeMap<i32, Fetched>,
    /// The error of an unknown partition. Reading stopped there.
    error: Option<Error>,
}

impl Session {
    fn new(consumer: BaseConsumer<Context>) -> Session {
        Session {
            consumer: Arc::new(consumer),
            positions: BTreeMap::new(),
            unanswered: BTreeSet::new(),
            since: Instant::now(),
            all_down_since: None,
            down_since: BTreeMap::new(),
        }
    }

    /// Takes over the age of `other`'s metadata, so that the new session does not read it sooner.
    fn with_metadata_of(self, other: &Session) -> Session {
        Session {
            since: other.since,
            ..self
        }
    }

    /// Unassigns all partitions, so that the next call opens another consumer. This one would keep decompressing the batch that has failed.
    fn end(&mut self) {
        // It fails only if the consumer is closed.
        let _ = self.consumer.unassign();
        self.positions.clear();
    }

    /// Makes the next call read metadata.
    fn expire_metadata(&mut self) {
        let expired = Instant::now().checked_sub(METADATA_EVERY);
        self.since = expired.unwrap_or(self.since);
    }

    /// Assigns partitions. Only once for each consumer.
    fn assign(&mut self, topic: &str, cursors: &BTreeMap<i32, i64>) -> Result<(), KafkaError> {
        let broken = |error: Error| KafkaError::Broken {
            doing: format!("assign the partitions of {topic}"),
            reason: error.to_string(),
        };
        let mut list = TopicPartitionList::new();
        for (&partition, &cursor) in cursors {
            list.add_partition_offset(topic, partition, Offset::Offset(cursor))
                .map_err(broken)?;
        }
        self.consumer.assign(&list).map_err(broken)?;
        self.positions = cursors.clone();
        self.unanswered = cursors.keys().copied().collect();
        Ok(())
    }

    /// Continues at `cursors`. Returns false if these are not the assigned partitions, or one of them is not being read.
    fn seek(&mut self, topic: &str, cursors: &BTreeMap<i32, i64>) -> bool {
        if !self.positions.keys().eq(cursors.keys()) {
            return false;
        }
        let mut moved = TopicPartitionList::new();
        for (&partition, &cursor) in cursors {
            if self.positions.get(&partition) != Some(&cursor) {
                let added = moved.add_partition_offset(topic, partition, Offset::Offset(cursor));
                if added.is_err() {
                    return false;
                }
                self.unanswered.insert(partition);
            }
        }
        if moved.count() > 0 {
            match self.consumer.seek_partitions(moved, SEEK_WAIT) {
                Ok(list)
                    if list
                        .elements()
                        .iter()
                        .all(|element| element.error().is_ok()) => {}
                _ => return false,
            }
        }
        self.positions = cursors.clone();
        true
    }

    /// Reads until a result is urgent or `deadline` has passed. If partitions have been moved, first waits for the answer of each, up to
    /// [`ANSWER_WAIT`]: before that, an empty queue says nothing about them.
    fn read(
        &mut self,
        topic: &str,
        deadline: Instant,
        stop: &Receiver<()>,
    ) -> Result<Read, KafkaError> {
        let answer_deadline = Instant::now() + ANSWER_WAIT;
        let mut records: BTreeMap<i32, Vec<Record>> = BTreeMap::new();
        let (mut answers, mut bytes, mut error) = (BTreeMap::new(), 0, None);
        while bytes < FETCHED_MAX_BYTES && error.is_none() {
            let has_result = !records.is_empty() || !answers.is_empty();
            let until = match (self.unanswered.is_empty(), has_result) {
                (false, true) => answer_deadline,
                (false, false) => answer_deadline.max(deadline),
                // Drains the queue without waiting.
                (true, true) => Instant::now(),
                (true, false) => deadline,
            };
            let left = until.saturating_duration_since(Instant::now());
            match self.next(topic, left.min(SERVE_EVERY)) {
                Event::Nothing if left.is_zero() => break,
                Event::Nothing => pause(stop, Duration::ZERO)?,
                Event::Record(partition, record) => {
                    bytes += record.value.len() + RECORD_OVERHEAD_BYTES;
                    records.entry(partition).or_default().push(record);
                }
                Event::Skipped { partition, next } => {
                    answers.insert(partition, Fetched::Gap { next });
                }
                Event::Failed(failure) => error = Some(failure),
            }
        }
        let records = records
            .into_iter()
            .map(|(partition, records)| (partition, Fetched::Records(records)));
        answers.extend(records);
        Ok(Read { answers, error })
    }

    /// What the only partition returns at its position.
    fn first_answer(&self, stop: &Receiver<()>) -> Result<FirstAnswer, KafkaError> {
        let context = self.consumer.context();
        let deadline = Instant::now() + ISOLATE_WAIT;
        context.take_refused_batch();
        while Instant::now() < deadline {
            pause(stop, Duration::ZERO)?;
            match self.consumer.poll(SERVE_EVERY) {
                Some(Ok(_) | Err(Error::PartitionEOF(_))) => return Ok(FirstAnswer::Readable),
                Some(Err(error)) if is_of_a_partition(&error) => {
                    let batch = context.take_refused_batch();
                    return Ok(FirstAnswer::Failed { error, batch });
                }
                Some(Err(_)) | None => {}
            }
        }
        Ok(FirstAnswer::NoAnswer)
    }

    /// The next event of the assigned partitions, waiting up to `wait` for it. Handles librdkafka's own events.
    fn next(&mut self, topic: &str, wait: Duration) -> Event {
        let Some(event) = self.consumer.poll(wait) else {
            return Event::Nothing;
        };
        match event {
            Ok(message) => {
                let partition = message.partition();
                let value = message.payload().unwrap_or_default();
                let record = Record::new(message.offset(), value);
                self.positions.insert(partition, record.offset + 1);
                self.unanswered.remove(&partition);
                Event::Record(partition, record)
            }
            Err(Error::PartitionEOF(partition)) => {
                self.unanswered.remove(&partition);
                // Offsets without a record, up to here: transaction markers, aborted records, or what compaction has removed.
                let next = position_of(&self.consumer, topic, partition).unwrap_or(0);
                match self.positions.get_mut(&partition) {
                    Some(position) if next > *position => {
                        *position = next;
                        Event::Skipped { partition, next }
                    }
                    _ => Event::Nothing,
                }
            }
            Err(error) if is_of_a_partition(&error) => Event::Failed(error),
            // A broker's error: its cause is recorded in the context.
            Err(_) => Event::Nothing,
        }
    }

    /// The partitions whose leader is not connected, with the reason. Errs if no broker is.
    fn away(&mut self, settings: &KafkaSettings) -> Result<BTreeMap<i32, String>, KafkaError> {
        let context = self.consumer.context();
        let brokers = context.brokers();
        if !brokers.are_all_down() {
            self.all_down_since = None;
        } else if self
            .all_down_since
            .get_or_insert_with(Instant::now)
            .elapsed()
            >= AWAY_AFTER
        {
            return Err(KafkaError::Unreachable(context.causes().refusals(settings)));
        }
        let mut away = BTreeMap::new();
        for &partition in self.positions.keys() {
            match reason_of(partition, &brokers, context, settings) {
                None => {
                    self.down_since.remove(&partition);
                }
                Some(reason) => {
                    let since = self
                        .down_since
                        .entry(partition)
                        .or_insert_with(Instant::now);
                    if since.elapsed() >= AWAY_AFTER {
                        away.insert(partition, format!("partition {partition}: {reason}"));
                    }
                }
            }
        }
        Ok(away)
    }
}

/// What a partition returned at an offset.
enum FirstAnswer {
    /// A record, or the end of the log.
    Readable,
    Failed {
        error: Error,
        /// The batch that cannot be decompressed, if that is the error, as librdkafka calls it.
        batch: Option<i64>,
    },
    /// Nothing in [`ISOLATE_WAIT`].
    NoAnswer,
}

/// What a consumer returned.
enum Event {
    Nothing,
    Record(i32, Record),
    /// There are no records from the partition's position up to `next`.
    Skipped {
        partition: i32,
        next: i64,
    },
    /// A partition cannot be read; it is unknown which.
    Failed(Error),
}

/// The offset after the last one that librdkafka has passed on, records or not.
fn position_of(consumer: &BaseConsumer<Context>, topic: &str, partition: i32) -> Option<i64> {
    let positions = consumer.position().ok()?;
    match positions.find_partition(topic, partition)?.offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    }
}

/// The result for a partition whose queue returned an error.
fn describe_failure(topic: &str, partition: i32, cursor: i64, error: &Error) -> Fetched {
    let code = error.rdkafka_error_code();
    match code {
        Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => Fetched::OutOfRange,
        Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => {
            Fetched::Gone
        }
        Some(
            Code::BadMessage | Code::InvalidMessage | Code::UnsupportedCompressionType,
        ) => Fetched::Unreadable {
            reason: format!(
                "partition {partition} of {topic}, from offset {cursor} on: {}",
                code.map_or_else(String::new, |code| code.to_string())
            ),
            next: cursor + 1,
        },
        Some(Code::NotImplemented) => Fetched::Refused {
            reason: "compressed with gzip, which is not read over TLS or with a login, because it may expand to any size: use another compression, or \
                     set the topic's compression.type to uncompressed"
                .to_owned(),
            next: cursor + 1,
        },
        Some(Code::BadCompression) => Fetched::Refused {
            reason: format!(
                "a compressed batch that is malformed or expands to more than {} MiB",
                ANSWER_MAX_BYTES / (1024 * 1024)
            ),
            next: cursor + 1,
        },
        _ => match code_of_broker(error) {
            Some(code) => Fetched::away(partition, crate::kafka::codes::describe_code(code)),
            None => Fetched::away(partition, error),
        },
    }
}

/// Why the leader of a partition does not answer; none if it does.
fn reason_of(
    partition: i32,
    brokers: &BrokerStates,
    context: &Context,
    settings: &KafkaSettings,
) -> Option<String> {
    let leader = brokers.leaders.get(&partition)?;
    let Some(broker) = brokers.by_id.get(leader) else {
        return Some("the partition currently has no leader".to_owned());
    };
    if broker.is_up {
        return None;
    }
    let cause = context.causes().of(&broker.address, settings);
    let cause = cause.unwrap_or_else(|| "no answer in time".to_owned());
    Some(format!("{}: {cause}", broker.address))
}

fn log_ranges(
    consumer: &BaseConsumer<Context>,
    topic: &str,
    partitions: &[i32],
) -> Result<BTreeMap<i32, LogRange>, Error> {
    let mut ranges = BTreeMap::new();
    for &partition in partitions {
        let (first, next) = consumer.fetch_watermarks(topic, partition, LOG_RANGE_WAIT)?;
        ranges.insert(partition, LogRange { first, next });
    }
    Ok(ranges)
}
