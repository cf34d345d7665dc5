//! The thread `poll`: reads every partition of `scan-tasks` from the group's shared cursor, validates each record and takes
//! it into the claim table. Every server does this; the compare-and-set on the cursor lets one of them win.
//!
//! **Invariant:** it keeps no position of its own: the cursor is read from Redis for every fetch.

use crate::claim_table::{
    Beginning, Claim, ClaimTable, ClaimTableError, Cursor, Disposition, Ending, Ingest, Ingested,
    NewTask, Outcome, Past,
};
use crate::kafka::{Brokers, Fetched, GroupOffsets, KafkaError, LogRange, Reader, Record};
use crate::model::lease::renew_every;
use crate::model::text::fingerprint;
use crate::model::{Lineage, Resume, State, StatusRecord, Task, TaskId};
use crate::scand::claims::held_claims::HeldClaims;
use crate::scand::finalize::{StateChange, record_of};
use crate::scand::ingest::rebuild::History;
use crate::scand::retry_log::{RetryLog, Stop, stopped};
use crossbeam_channel::Sender;
use log::{debug, error, info, warn};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The same where scand waits for tasks, at most; a fifth of the lease where that is less, since between two fetches it looks whether
/// Redis has lost its data.
const FETCH_TASKS_WAIT_MAX: Duration = Duration::from_secs(3);
/// And where several brokers are asked, one after the other: a record of the first is kept waiting while the others have none.
const FETCH_TASKS_WAIT_SHARED: Duration = Duration::from_secs(1);
/// Records of one ingest call.
const INGEST_BATCH_MAX: usize = 500;
/// The claim table is looked through for keys that were lost by themselves this often …
const AUDIT_EVERY: Duration = Duration::from_secs(10);
/// … so many unfinished tasks of each partition at a time.
const AUDIT_TASKS_MAX: usize = 500;
/// Bytes of records in one ingest call.
const INGEST_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// The thread's own things.
pub struct Poll {
    /// This server's name.
    pub server: String,
    /// Lease of what is taken up for a server, and of rejected records until they are ended.
    pub lease: Duration,
    /// Where Kafka is.
    pub brokers: Brokers,
    /// The topic of tasks.
    pub topic: String,
    /// The topic of changes, read when Redis lost its data.
    pub status_topic: String,
    /// The group's committed offsets.
    pub group_offsets: GroupOffsets,
    /// Its own connection to Redis.
    pub table: ClaimTable,
    /// The claims of this server.
    pub held_claims: Arc<HeldClaims>,
    /// Where changes of state and rejected records go.
    pub finalize: Sender<StateChange>,
    /// Nudges `dispatch`: there may be work.
    pub work: Sender<()>,
    /// Closed = stop.
    pub stop: Stop,
}

/// What the thread keeps from round to round; none of it decides where it reads.
#[derive(Default)]
struct Memory {
    reader: Option<Reader>,
    /// For partitions that are being rebuilt: their epochs, and what `scan-status` told after they were begun.
    history: Option<(BTreeMap<i32, String>, History)>,
    audits: Audits,
    /// From where the last fetch read: where the group has gone on since, there may be work.
    offsets: BTreeMap<i32, i64>,
}

/// How far the audit of each partition has come.
#[derive(Default)]
struct Audits {
    last: Option<Instant>,
    ranks: BTreeMap<i32, usize>,
}

impl Audits {
    /// Whether it is time for the next one, which then counts as made.
    fn is_due(&mut self) -> bool {
        let is_due = self.last.is_none_or(|last| last.elapsed() >= AUDIT_EVERY);
        if is_due {
            self.last = Some(Instant::now());
        }
        is_due
    }
}

/// How long a fetch waits for tasks that are spread over so many brokers.
fn fetch_wait(lease: Duration, brokers: usize) -> Duration {
    let most = match brokers {
        0 | 1 => FETCH_TASKS_WAIT_MAX,
        _ => FETCH_TASKS_WAIT_SHARED,
    };
    renew_every(lease).min(most)
}

/// Any trouble of this thread: the round is given up and begun again.
enum Trouble {
    Bus(KafkaError),
    ClaimTable(ClaimTableError),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Bus(error) => error.fmt(f),
            Trouble::ClaimTable(error) => error.fmt(f),
        }
    }
}

impl From<KafkaError> for Trouble {
    fn from(error: KafkaError) -> Trouble {
        Trouble::Bus(error)
    }
}

impl From<ClaimTableError> for Trouble {
    fn from(error: ClaimTableError) -> Trouble {
        Trouble::ClaimTable(error)
    }
}

impl Poll {
    /// Runs until `stop` is closed.
    pub fn run(mut self) {
        let mut retry_log = RetryLog::new("read tasks");
        let mut memory = Memory::default();
        while !stopped(&self.stop) {
            match self.round(&mut memory) {
                Ok(()) => retry_log.over(),
                Err(Trouble::Bus(KafkaError::Stopped)) => return,
                Err(trouble) => {
                    if !retry_log.pause(&trouble, &self.stop) {
                        return;
                    }
                }
            }
        }
    }

    /// One fetch from every partition, and the ingest of what came.
    fn round(&mut self, memory: &mut Memory) -> Result<(), Trouble> {
        let reader = match &mut memory.reader {
            Some(reader) => reader,
            None => memory.reader.insert(Reader::connect_until(
                &self.brokers,
                &self.topic,
                &self.stop,
            )?),
        };
        let is_due = memory.audits.is_due();
        if is_due {
            self.audit(&reader.partitions(), &mut memory.audits)?;
        }
        let found = self.table.cursors(&reader.partitions())?;
        if found.values().any(Option::is_none) {
            return self.begin(reader, &found);
        }
        let cursors: BTreeMap<i32, Cursor> = found
            .into_iter()
            .filter_map(|(partition, cursor)| Some((partition, cursor?)))
            .collect();
        if is_due && self.check_logs(reader, &cursors)? {
            return Ok(());
        }
        self.load_history(&cursors, &mut memory.history)?;
        let offsets = cursors
            .iter()
            .map(|(&p, cursor)| (p, cursor.next))
            .collect();
        if offsets != memory.offsets {
            let _ = self.work.try_send(());
        }
        memory.offsets.clone_from(&offsets);
        let wait = fetch_wait(self.lease, reader.leading_brokers());
        for (partition, fetched) in reader.fetch(&offsets, wait)? {
            let Some(cursor) = cursors.get(&partition) else {
                continue;
            };
            match fetched {
                Fetched::Records(records) => {
                    let history = memory.history.as_ref().map(|(_, history)| history);
                    self.take_what_follows(reader, partition, cursor, records, history)?;
                }
                Fetched::OutOfRange => self.mend_cursor(reader, partition, cursor)?,
                Fetched::Unreadable { reason, next } => {
                    let lost = next - cursor.next;
                    error!(
                        "{} partition {partition} offset {}: {reason}; {lost} offsets are skipped, the tasks in them are lost",
                        self.topic, cursor.next
                    );
                    self.skip(partition, cursor, next, lost.unsigned_abs())?;
                }
                Fetched::Away { reason } => {
                    warn!("{} partition {partition}: {reason}", self.topic);
                }
                Fetched::Gone => {
                    return Err(KafkaError::topic_missing(&self.brokers, &self.topic).into());
                }
            }
        }
        Ok(())
    }

    /// Begins the partitions whose cursor is missing: a new group, or a Redis that lost its data.
    fn begin(
        &mut self,
        reader: &mut Reader,
        found: &BTreeMap<i32, Option<Cursor>>,
    ) -> Result<(), Trouble> {
        let committed = self.group_offsets.committed()?;
        let ranges = reader.log_ranges()?;
        let epoch = nanoid::nanoid!(10);
        for (&partition, _) in found.iter().filter(|(_, cursor)| cursor.is_none()) {
            let Some(&range) = ranges.get(&partition) else {
                continue;
            };
            let committed = committed.get(&partition).copied();
            let from = begin_at(committed, range);
            let lost =
                committed.map_or(0, |committed| range.first.saturating_sub(committed).max(0));
            let beginning = Beginning {
                from,
                log_end: range.next,
                epoch: &epoch,
                replaces: None,
                lost_records: lost.unsigned_abs(),
            };
            if !self.table.begin(partition, &beginning)? {
                continue;
            }
            info!(
                "{} partition {partition}: begins at offset {from} of {} to {} (committed: {})",
                self.topic,
                range.first,
                range.next,
                committed.map_or("none".to_owned(), |offset| offset.to_string())
            );
            if lost > 0 {
                self.log_lost(partition, range.first - lost, range.first);
            }
        }
        Ok(())
    }

    /// Partitions that are being rebuilt need the history as it was after their beginning; one reading serves all of them.
    fn load_history(
        &self,
        cursors: &BTreeMap<i32, Cursor>,
        history: &mut Option<(BTreeMap<i32, String>, History)>,
    ) -> Result<(), Trouble> {
        let rebuilding = cursors
            .iter()
            .filter(|(_, cursor)| cursor.next < cursor.until);
        let (from, epochs): (BTreeMap<i32, i64>, BTreeMap<i32, String>) = rebuilding
            .map(|(&partition, cursor)| {
                ((partition, cursor.next), (partition, cursor.epoch.clone()))
            })
            .unzip();
        if from.is_empty() {
            *history = None;
            return Ok(());
        }
        let serves = |known: &BTreeMap<i32, String>| {
            epochs
                .iter()
                .all(|(partition, epoch)| known.get(partition) == Some(epoch))
        };
        if !history.as_ref().is_some_and(|(known, _)| serves(known)) {
            let read = History::read(&self.brokers, &self.status_topic, &from, &self.stop)?;
            *history = Some((epochs, read));
        }
        Ok(())
    }

    /// Now and then: has a key of a task been lost by itself? Then its partition is begun anew.
    fn audit(&mut self, partitions: &[i32], audits: &mut Audits) -> Result<(), Trouble> {
        for &partition in partitions {
            let rank = audits.ranks.entry(partition).or_default();
            let audit = self.table.audit(partition, *rank, AUDIT_TASKS_MAX)?;
            *rank = audit.next;
            if let Some(first) = audit.missing.first() {
                error!(
                    "{} partition {partition}: Redis has lost keys of {} tasks that have not ended ({first} …): they are read again from Kafka",
                    self.topic,
                    audit.missing.len()
                );
            }
        }
        Ok(())
    }

    /// Now and then: is each log the one that its cursor belongs to? True where one was begun anew.
    fn check_logs(
        &mut self,
        reader: &mut Reader,
        cursors: &BTreeMap<i32, Cursor>,
    ) -> Result<bool, Trouble> {
        let before: BTreeMap<i32, i64> = cursors
            .iter()
            .filter(|(_, cursor)| cursor.last.is_some())
            .map(|(&partition, cursor)| (partition, cursor.next - 1))
            .collect();
        if before.is_empty() {
            return Ok(false);
        }
        let mut anew = false;
        for (partition, fetched) in reader.fetch(&before, Duration::ZERO)? {
            if let (Some(cursor), Fetched::Records(records)) = (cursors.get(&partition), fetched)
                && behind(cursor, records, Vec::new()).is_none()
            {
                self.begin_anew(reader, partition, cursor)?;
                anew = true;
            }
        }
        Ok(anew)
    }

    /// Takes `records`, once it is certain that they follow what was taken before them. Where the topic was deleted and made
    /// anew, other records lie at the same offsets.
    fn take_what_follows(
        &mut self,
        reader: &mut Reader,
        partition: i32,
        cursor: &Cursor,
        records: Vec<Record>,
        history: Option<&History>,
    ) -> Result<(), Trouble> {
        if cursor.last.is_none() {
            return self.take(partition, cursor, records, history);
        }
        // From the same answer as the record before them.
        let before = BTreeMap::from([(partition, cursor.next - 1)]);
        match reader.fetch(&before, Duration::ZERO)?.remove(&partition) {
            Some(Fetched::Records(again)) => match behind(cursor, again, records) {
                Some(records) => self.take(partition, cursor, records, history),
                None => self.begin_anew(reader, partition, cursor),
            },
            // Retention has just cut it.
            Some(Fetched::OutOfRange) => self.take(partition, cursor, records, history),
            _ => Ok(()),
        }
    }

    /// Begins a partition whose cursor counts no longer at its log's beginning; what is known or has ended is passed over.
    fn begin_anew(
        &mut self,
        reader: &mut Reader,
        partition: i32,
        cursor: &Cursor,
    ) -> Result<(), Trouble> {
        let Some(&range) = reader.log_ranges()?.get(&partition) else {
            return Ok(());
        };
        let beginning = Beginning {
            from: range.first,
            log_end: range.next,
            epoch: &nanoid::nanoid!(10),
            replaces: Some(&cursor.epoch),
            lost_records: 0,
        };
        if self.table.begin(partition, &beginning)? {
            error!(
                "{} partition {partition}: the topic was deleted and made anew, what was not taken from it yet is lost; it is read from offset {} to {}",
                self.topic, range.first, range.next
            );
        }
        Ok(())
    }

    /// Ingests records in runs of bounded size.
    fn take(
        &mut self,
        partition: i32,
        cursor: &Cursor,
        records: Vec<Record>,
        history: Option<&History>,
    ) -> Result<(), Trouble> {
        let mut cursor = cursor.clone();
        for run in runs(&records) {
            let tasks: Vec<NewTask> = run
                .iter()
                .map(|record| {
                    new_task(
                        partition,
                        record,
                        history.filter(|_| record.offset < cursor.until),
                    )
                })
                .collect();
            let next = run.last().map_or(cursor.next, |record| record.offset + 1);
            let last = run.last().map(fingerprint_of);
            let sent = Instant::now();
            let ingested = self.table.ingest(&Ingest {
                partition,
                cursor: &cursor,
                next,
                last: last.as_deref(),
                lost_records: 0,
                server: &self.server,
                lease: self.lease,
                tasks: &tasks,
            })?;
            let Ingested::Done(outcomes) = ingested else {
                // Whoever ingested: there may be work now.
                let _ = self.work.try_send(());
                debug!(
                    "{} partition {partition}: another server was first at offset {}",
                    self.topic, cursor.next
                );
                return Ok(());
            };
            for (task, outcome) in tasks.iter().zip(outcomes) {
                self.tell(partition, task, outcome, sent);
            }
            // Told first: that a task is queued then mostly comes before that it runs, though nothing depends on it.
            let _ = self.work.try_send(());
            (cursor.next, cursor.last) = (next, last);
        }
        Ok(())
    }

    /// Logs what ingest did with a record and hands on what follows.
    fn tell(&self, partition: i32, new: &NewTask, outcome: Outcome, sent: Instant) {
        let (id, offset) = (&new.task_id, new.offset);
        match (outcome, &new.disposition) {
            (Outcome::Added, Disposition::Held { server, .. }) => {
                info!(
                    "task {id}: was running on {server} when Redis was lost, kept for it for one lease"
                );
            }
            (Outcome::Added, Disposition::Paused { .. }) => {
                info!("task {id}: was paused when Redis was lost, and stays so");
            }
            (Outcome::Added, Disposition::Ready(past)) => {
                let retry = new.task.as_ref().map_or(0, |task| task.retry);
                if retry > 0 {
                    let from = past.resume.index;
                    info!("task {id}: begun anew, retry {retry}, from index {from}");
                }
                if let Some(task) = &new.task {
                    info!(
                        "task {id}: ingested from partition {partition} offset {offset}: {} ports {} at {} pps, priority {}",
                        task.ip_range,
                        task.ports,
                        task.band_width.pps(),
                        task.priority.get()
                    );
                }
                let lineage = Lineage {
                    attempt: past.attempt,
                    lost: past.lost,
                    retry,
                    ..Lineage::unclaimed(partition, offset)
                };
                let record = StatusRecord {
                    resume: past.resume,
                    ..record_of(id, &self.server, lineage)
                };
                self.send(StateChange::Announce {
                    record,
                    acknowledge: None,
                });
            }
            (Outcome::Rejected { fence }, Disposition::Rejected { reason }) => {
                warn!("task {id}: rejected, partition {partition} offset {offset}: {reason}");
                let claim = Claim {
                    task_id: id.clone(),
                    fence,
                };
                self.held_claims.take(&claim, sent, self.lease);
                self.send(StateChange::End(Ending {
                    task_id: claim.task_id,
                    lineage: Lineage {
                        fence,
                        ..Lineage::unclaimed(partition, offset)
                    },
                    status: State::Rejected,
                    error: Some(reason.clone()),
                    found: 0,
                    resume: Resume::default(),
                }));
            }
            (Outcome::Duplicate, _) => {
                warn!("task {id}: pushed again at partition {partition} offset {offset}, ignored");
            }
            (Outcome::Ended, _) => debug!("task {id}: had ended, not run again"),
            (outcome, _) => debug!("task {id}: {outcome:?}"),
        }
    }

    fn send(&self, state_change: StateChange) {
        // Closed only when the server ends at once; then the lease brings it to another server.
        let _ = self.finalize.send(state_change);
    }

    /// Kafka's log no longer holds the cursor: loud, counted, then on with what there is.
    fn mend_cursor(
        &mut self,
        reader: &mut Reader,
        partition: i32,
        cursor: &Cursor,
    ) -> Result<(), Trouble> {
        let Some(&range) = reader.log_ranges()?.get(&partition) else {
            return Ok(());
        };
        if cursor.next < range.first {
            let lost = (range.first - cursor.next) as u64;
            self.log_lost(partition, cursor.next, range.first);
            return self.skip(partition, cursor, range.first, lost);
        }
        if cursor.next > range.next {
            return self.begin_anew(reader, partition, cursor);
        }
        Ok(())
    }

    fn log_lost(&self, partition: i32, from: i64, first: i64) {
        error!(
            "{} partition {partition}: Kafka no longer has offsets {from} to {}: {} records are lost (its retention is too short)",
            self.topic,
            first - 1,
            first - from
        );
    }

    fn skip(
        &mut self,
        partition: i32,
        cursor: &Cursor,
        next: i64,
        lost_records: u64,
    ) -> Result<(), Trouble> {
        self.table.ingest(&Ingest {
            partition,
            cursor,
            next,
            last: None,
            lost_records,
            server: &self.server,
            lease: self.lease,
            tasks: &[],
        })?;
        Ok(())
    }
}

/// Of `again`, read from the one before the cursor on, those behind it; none where the one before is another than it was.
/// One that is gone says nothing.
///
/// Where the answer holds nothing behind it, that is `records`, read from the cursor on just before: an answer may end anywhere,
/// and would do so each time, because of its size or of what can't be decoded further on.
fn behind(cursor: &Cursor, mut again: Vec<Record>, records: Vec<Record>) -> Option<Vec<Record>> {
    let before = again.first().filter(|first| first.offset < cursor.next);
    if before.is_some_and(|before| Some(fingerprint_of(before)) != cursor.last) {
        return None;
    }
    again.retain(|record| record.offset >= cursor.next);
    Some(if again.is_empty() { records } else { again })
}

fn fingerprint_of(record: &Record) -> String {
    fingerprint(&String::from_utf8_lossy(&record.value)).to_string()
}

/// Where a partition without a cursor begins: at the committed offset where the log still has it, else at the log's start.
fn begin_at(committed: Option<i64>, range: LogRange) -> i64 {
    match committed {
        Some(offset) if (range.first..=range.next).contains(&offset) => offset,
        _ => range.first,
    }
}

fn new_task(partition: i32, record: &Record, history: Option<&History>) -> NewTask {
    let (task_id, task, fresh) = match Task::from_record(&record.value) {
        Ok(task) => {
            let past = Past {
                resume: task.resume,
                ..Past::default()
            };
            (task.task_id.clone(), Some(task), Disposition::Ready(past))
        }
        Err(rejected) => (
            rejected
                .task_id
                .unwrap_or_else(|| TaskId::of_record(partition, record.offset)),
            None,
            Disposition::Rejected {
                reason: rejected.reason,
            },
        ),
    };
    let retry = task.as_ref().map_or(0, |task| task.retry);
    let known = history.and_then(|history| history.disposition(task_id.as_str(), retry));
    let disposition = match (known, &task) {
        (Some(Disposition::Ended), _) => Disposition::Ended,
        (Some(known), Some(_)) => known,
        _ => fresh,
    };
    NewTask {
        offset: record.offset,
        task_id,
        task,
        disposition,
    }
}

/// Cuts records into runs of at most [`INGEST_BATCH_MAX`] records and about [`INGEST_BATCH_BYTES`].
fn runs(records: &[Record]) -> Vec<&[Record]> {
    let mut runs = Vec::new();
    let (mut begin, mut bytes) = (0, 0);
    for (i, record) in records.iter().enumerate() {
        let full = i - begin >= INGEST_BATCH_MAX || bytes + record.value.len() > INGEST_BATCH_BYTES;
        if full && i > begin {
            runs.push(&records[begin..i]);
            (begin, bytes) = (i, 0);
        }
        bytes += record.value.len();
    }
    if begin < records.len() {
        runs.push(&records[begin..]);
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_begins_at_the_committed_offset_or_the_logs_start() {
        let range = LogRange { first: 5, next: 9 };
        for (committed, from) in [
            (None, 5),
            (Some(3), 5),
            (Some(5), 5),
            (Some(7), 7),
            (Some(9), 9),
            (Some(10), 5),
        ] {
            assert_eq!(begin_at(committed, range), from, "{committed:?}");
        }
    }

    #[test]
    fn a_fetch_waits_for_less_where_a_lease_or_other_brokers_wait_too() {
        for (lease_s, brokers, ms) in [
            (15, 1, 3000),
            (600, 1, 3000),
            (2, 1, 400),
            (15, 0, 3000),
            (15, 3, 1000),
            (2, 3, 400),
        ] {
            let wait = fetch_wait(Duration::from_secs(lease_s), brokers);
            assert_eq!(wait.as_millis(), ms, "{lease_s} s, {brokers} brokers");
        }
    }

    fn record(offset: i64, text: &str) -> Record {
        Record {
            offset,
            value: text.into(),
        }
    }

    /// At offset 5, behind the record "mine".
    fn cursor_behind_mine() -> Cursor {
        Cursor {
            next: 5,
            until: 0,
            epoch: "e".into(),
            last: Some(fingerprint_of(&record(4, "mine"))),
        }
    }

    #[test]
    fn another_log_at_the_same_offsets_is_noticed() {
        let cursor = cursor_behind_mine();
        let follows = vec![record(5, "next")];
        for (read, expected) in [
            (
                vec![record(4, "mine"), record(5, "next")],
                Some(follows.clone()),
            ),
            (vec![record(4, "other"), record(5, "next")], None),
            (vec![record(4, "other")], None),
            (follows.clone(), Some(follows)),
        ] {
            let first = vec![record(5, "first")];
            assert_eq!(behind(&cursor, read.clone(), first), expected, "{read:?}");
        }
    }

    #[test]
    fn an_answer_that_ends_before_the_cursor_holds_nothing_up() {
        let cursor = cursor_behind_mine();
        let first = vec![record(5, "next")];
        let again = vec![record(4, "mine")];
        assert_eq!(behind(&cursor, again, first.clone()), Some(first));
    }

    #[test]
    fn runs_are_bounded_and_whole() {
        let record = |offset, bytes| Record {
            offset,
            value: vec![b'x'; bytes],
        };
        let many: Vec<Record> = (0..1200).map(|offset| record(offset, 1)).collect();
        let cut = runs(&many);
        assert_eq!(
            cut.iter().map(|run| run.len()).collect::<Vec<_>>(),
            [500, 500, 200]
        );
        let large: Vec<Record> = (0..3)
            .map(|offset| record(offset, INGEST_BATCH_BYTES))
            .collect();
        assert_eq!(
            runs(&large).len(),
            3,
            "one that is too large goes by itself"
        );
        assert!(runs(&[]).is_empty());
    }

    #[test]
    fn a_record_without_an_id_is_named_by_its_place() {
        let record = Record {
            offset: 7,
            value: b"{".to_vec(),
        };
        let new = new_task(3, &record, None);
        assert_eq!(new.task_id.as_str(), "record-3-7");
        assert!(matches!(new.disposition, Disposition::Rejected { .. }));
    }
}
