//! The thread `poll`: reads every partition of `scan-tasks` from the group's shared cursor, validates the records and ingests them into the claim
//! table. Every server does this; by compare-and-set on the cursor exactly one of them ingests each record.
//!
//! **Invariant:** the thread keeps no position of its own: the cursor is read from Redis before every fetch.

use super::records::{
    fingerprint_of, first_offset, ingest_batches, new_task, records_after_cursor,
};
use crate::claim_table::{
    Beginning, Claim, ClaimTable, ClaimTableError, Cursor, Disposition, Ending, Ingest, Ingested,
    NewTask, Outcome,
};
use crate::kafka::{Brokers, Fetched, GroupOffsets, KafkaError, Reader, Record};
use crate::model::lease::renew_every;
use crate::model::{FoundByPass, Lineage, Resume, State, StatusRecord};
use crate::scand::claims::held_claims::HeldClaims;
use crate::scand::finalize::{StateChange, record_of};
use crate::scand::ingest::rebuild::TaskHistories;
use crate::scand::logging::with_task;
use crate::scand::retry_log::{RetryLog, Stop, stopped};
use crossbeam_channel::Sender;
use log::{debug, error, info, warn};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest long poll for tasks; a fifth of the lease if that is shorter, because between two fetches the thread checks whether Redis has lost
/// its data.
const FETCH_TASKS_WAIT_MAX: Duration = Duration::from_secs(3);
/// Longest long poll if several brokers are asked one after the other: a record of the first one waits while the others have none.
const FETCH_TASKS_WAIT_SHARED: Duration = Duration::from_secs(1);
/// Interval between two audits of the claim table for lost keys.
const AUDIT_EVERY: Duration = Duration::from_secs(10);
/// Unfinished tasks of each partition that one audit checks.
const AUDIT_TASKS_MAX: usize = 500;

/// State owned by the `poll` thread.
pub struct Poll {
    /// This server's name.
    pub server: String,
    /// Lease of tasks that are held for a server, and of rejected records until they are ended.
    pub lease: Duration,
    /// The brokers.
    pub brokers: Brokers,
    /// The topic of tasks.
    pub topic: String,
    /// The topic of state changes, read when Redis lost its data.
    pub status_topic: String,
    /// The group's committed offsets.
    pub group_offsets: GroupOffsets,
    /// Its own connection to Redis.
    pub table: ClaimTable,
    /// The claims of this server.
    pub held_claims: Arc<HeldClaims>,
    /// Where state changes and rejected records go.
    pub finalize: Sender<StateChange>,
    /// Wakes `dispatch`: there may be work.
    pub work: Sender<()>,
    /// Closed means stop.
    pub stop: Stop,
}

/// What the thread keeps from round to round. None of it decides where it reads.
#[derive(Default)]
struct Memory {
    reader: Option<Reader>,
    phase: IngestPhase,
    audits: Audits,
    /// Where the last fetch began. If the group has moved on since, there may be work.
    offsets: BTreeMap<i32, i64>,
}

/// What ingestion does with a record besides validating it.
#[derive(Default)]
enum IngestPhase {
    /// The cursors are beyond everything that may have ended or be running: records are new tasks.
    #[default]
    Following,
    /// Redis lost its data: records up to the end of the rebuild are compared with what `scan-status` tells about them.
    Rebuilding {
        /// The partitions for which the histories were read, with their epochs.
        epochs: BTreeMap<i32, String>,
        histories: TaskHistories,
    },
}

impl IngestPhase {
    /// What is known about the tasks of records that are read again.
    fn histories(&self) -> Option<&TaskHistories> {
        match self {
            IngestPhase::Following => None,
            IngestPhase::Rebuilding { histories, .. } => Some(histories),
        }
    }

    /// Whether this is the rebuild of these partitions, since these epochs.
    fn covers(&self, wanted: &BTreeMap<i32, String>) -> bool {
        match self {
            IngestPhase::Following => false,
            IngestPhase::Rebuilding { epochs, .. } => wanted
                .iter()
                .all(|(partition, epoch)| epochs.get(partition) == Some(epoch)),
        }
    }
}

/// The progress of the audits.
#[derive(Default)]
struct Audits {
    last: Option<Instant>,
    ranks: BTreeMap<i32, usize>,
}

impl Audits {
    /// Whether the next audit is due; if so, it counts as made.
    fn is_due(&mut self) -> bool {
        let is_due = self.last.is_none_or(|last| last.elapsed() >= AUDIT_EVERY);
        if is_due {
            self.last = Some(Instant::now());
        }
        is_due
    }
}

/// How long a fetch waits for tasks, with this many leading brokers.
fn fetch_wait(lease: Duration, brokers: usize) -> Duration {
    let most = match brokers {
        0 | 1 => FETCH_TASKS_WAIT_MAX,
        _ => FETCH_TASKS_WAIT_SHARED,
    };
    renew_every(lease).min(most)
}

/// An error that ends the round; the next round starts over.
enum IngestError {
    Kafka(KafkaError),
    ClaimTable(ClaimTableError),
}

impl fmt::Display for IngestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IngestError::Kafka(error) => error.fmt(f),
            IngestError::ClaimTable(error) => error.fmt(f),
        }
    }
}

impl From<KafkaError> for IngestError {
    fn from(error: KafkaError) -> IngestError {
        IngestError::Kafka(error)
    }
}

impl From<ClaimTableError> for IngestError {
    fn from(error: ClaimTableError) -> IngestError {
        IngestError::ClaimTable(error)
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
                Err(IngestError::Kafka(KafkaError::Stopped)) => return,
                Err(error) => {
                    if !retry_log.pause(&error, &self.stop) {
                        return;
                    }
                }
            }
        }
    }

    /// One fetch from every partition, and the ingestion of its records.
    fn round(&mut self, memory: &mut Memory) -> Result<(), IngestError> {
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
        self.update_phase(&cursors, &mut memory.phase)?;
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
                    let histories = memory.phase.histories();
                    self.take_what_follows(reader, partition, cursor, records, histories)?;
                }
                Fetched::OutOfRange => self.mend_cursor(reader, partition, cursor)?,
                Fetched::Unreadable { reason, next } => {
                    let lost = next - cursor.next;
                    error!(
                        "{} partition {partition} offset {}: {reason}; {lost} offsets are skipped, their tasks are lost",
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

    /// Starts the partitions whose cursor is missing: a new group, or a Redis that lost its data.
    fn begin(
        &mut self,
        reader: &mut Reader,
        found: &BTreeMap<i32, Option<Cursor>>,
    ) -> Result<(), IngestError> {
        let committed = self.group_offsets.committed()?;
        let ranges = reader.log_ranges()?;
        let epoch = nanoid::nanoid!(10);
        for (&partition, _) in found.iter().filter(|(_, cursor)| cursor.is_none()) {
            let Some(&range) = ranges.get(&partition) else {
                continue;
            };
            let committed = committed.get(&partition).copied();
            let from = first_offset(committed, range);
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
                "{} partition {partition}: starts at offset {from} of {} to {} (committed: {})",
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

    /// While partitions are rebuilt, their tasks' history is needed as it was after their start; it is read once for all of them.
    fn update_phase(
        &self,
        cursors: &BTreeMap<i32, Cursor>,
        phase: &mut IngestPhase,
    ) -> Result<(), IngestError> {
        let rebuilding = cursors
            .iter()
            .filter(|(_, cursor)| cursor.next < cursor.until);
        let (from, epochs): (BTreeMap<i32, i64>, BTreeMap<i32, String>) = rebuilding
            .map(|(&partition, cursor)| {
                ((partition, cursor.next), (partition, cursor.epoch.clone()))
            })
            .unzip();
        if from.is_empty() {
            *phase = IngestPhase::Following;
        } else if !phase.covers(&epochs) {
            let histories =
                TaskHistories::read(&self.brokers, &self.status_topic, &from, &self.stop)?;
            *phase = IngestPhase::Rebuilding { epochs, histories };
        }
        Ok(())
    }

    /// Audits the claim table. If a key of a task was lost, its partition is started again.
    fn audit(&mut self, partitions: &[i32], audits: &mut Audits) -> Result<(), IngestError> {
        for &partition in partitions {
            let rank = audits.ranks.entry(partition).or_default();
            let audit = self.table.audit(partition, *rank, AUDIT_TASKS_MAX)?;
            *rank = audit.next;
            if let Some(first) = audit.missing.first() {
                error!(
                    "{} partition {partition}: Redis lost keys of {} tasks that have not ended ({first} …); they are read again from Kafka",
                    self.topic,
                    audit.missing.len()
                );
            }
        }
        Ok(())
    }

    /// Checks whether each log is the one that its cursor belongs to. Returns true if a partition was started again.
    fn check_logs(
        &mut self,
        reader: &mut Reader,
        cursors: &BTreeMap<i32, Cursor>,
    ) -> Result<bool, IngestError> {
        let before: BTreeMap<i32, i64> = cursors
            .iter()
            .filter(|(_, cursor)| cursor.last.is_some())
            .map(|(&partition, cursor)| (partition, cursor.next - 1))
            .collect();
        if before.is_empty() {
            return Ok(false);
        }
        let mut has_restarted = false;
        for (partition, fetched) in reader.fetch(&before, Duration::ZERO)? {
            if let (Some(cursor), Fetched::Records(records)) = (cursors.get(&partition), fetched)
                && records_after_cursor(cursor, records, Vec::new()).is_none()
            {
                self.restart(reader, partition, cursor)?;
                has_restarted = true;
            }
        }
        Ok(has_restarted)
    }

    /// Ingests `records` if they follow the record before the cursor. If the topic was deleted and recreated, other records are at the same
    /// offsets.
    fn take_what_follows(
        &mut self,
        reader: &mut Reader,
        partition: i32,
        cursor: &Cursor,
        records: Vec<Record>,
        histories: Option<&TaskHistories>,
    ) -> Result<(), IngestError> {
        if cursor.last.is_none() {
            return self.take(partition, cursor, records, histories);
        }
        // Read again, so that they come from the same answer as the record before them.
        let before = BTreeMap::from([(partition, cursor.next - 1)]);
        match reader.fetch(&before, Duration::ZERO)?.remove(&partition) {
            Some(Fetched::Records(again)) => match records_after_cursor(cursor, again, records) {
                Some(records) => self.take(partition, cursor, records, histories),
                None => self.restart(reader, partition, cursor),
            },
            // Retention has just removed it.
            Some(Fetched::OutOfRange) => self.take(partition, cursor, records, histories),
            _ => Ok(()),
        }
    }

    /// Starts a partition whose topic was recreated at the log's beginning; known and ended tasks are skipped.
    fn restart(
        &mut self,
        reader: &mut Reader,
        partition: i32,
        cursor: &Cursor,
    ) -> Result<(), IngestError> {
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
                "{} partition {partition}: the topic was deleted and recreated; tasks that had not been ingested are lost; reading offsets {} to {}",
                self.topic, range.first, range.next
            );
        }
        Ok(())
    }

    /// Ingests records in groups of bounded size.
    fn take(
        &mut self,
        partition: i32,
        cursor: &Cursor,
        records: Vec<Record>,
        histories: Option<&TaskHistories>,
    ) -> Result<(), IngestError> {
        let mut cursor = cursor.clone();
        for run in ingest_batches(&records) {
            let tasks: Vec<NewTask> = run
                .iter()
                .map(|record| {
                    new_task(
                        partition,
                        record,
                        histories.filter(|_| record.offset < cursor.until),
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
                // Whichever server ingested: there may be work now.
                let _ = self.work.try_send(());
                debug!(
                    "{} partition {partition}: another server was first at offset {}",
                    self.topic, cursor.next
                );
                return Ok(());
            };
            for (task, outcome) in tasks.iter().zip(outcomes) {
                self.conclude(partition, task, outcome, sent);
            }
            // Before the wake-up, so that the record "queued" usually precedes "running"; nothing depends on it.
            let _ = self.work.try_send(());
            (cursor.next, cursor.last) = (next, last);
        }
        Ok(())
    }

    /// Logs the outcome for a record and sends the state change that follows.
    fn conclude(&self, partition: i32, new: &NewTask, outcome: Outcome, sent: Instant) {
        let (id, offset) = (&new.task_id, new.offset);
        let _task = with_task(id);
        match (outcome, &new.disposition) {
            (Outcome::Added, Disposition::Held { server, .. }) => {
                info!(
                    "was running on {server} when Redis lost its data; kept for that server for one lease"
                );
            }
            (Outcome::Added, Disposition::Paused { .. }) => {
                info!("was paused when Redis lost its data, and stays paused");
            }
            (Outcome::Added, Disposition::Ready(past)) => {
                let retry = new.task.as_ref().map_or(0, |task| task.retry);
                if retry > 0 {
                    let from = past.resume.position;
                    info!("started again, retry {retry}, from {from}");
                }
                if let Some(task) = &new.task {
                    info!(
                        "ingested from partition {partition} offset {offset}: {} ports {} at {} pps, priority {}",
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
                    record: Box::new(record),
                    acknowledge: None,
                });
            }
            (Outcome::Rejected { fence }, Disposition::Rejected { reason }) => {
                warn!("rejected, partition {partition} offset {offset}: {reason}");
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
                    found: FoundByPass::default(),
                    resume: Resume::default(),
                }));
            }
            (Outcome::Duplicate, _) => {
                warn!("pushed again at partition {partition} offset {offset}, ignored");
            }
            (Outcome::Ended, _) => debug!("has already ended, not run again"),
            (outcome, _) => debug!("{outcome:?}"),
        }
    }

    fn send(&self, state_change: StateChange) {
        // Closed only when the server exits at once; then another server takes the task when the lease expires.
        let _ = self.finalize.send(state_change);
    }

    /// Kafka's log no longer contains the cursor: logs an error, counts the lost records, and continues with what is left.
    fn mend_cursor(
        &mut self,
        reader: &mut Reader,
        partition: i32,
        cursor: &Cursor,
    ) -> Result<(), IngestError> {
        let Some(&range) = reader.log_ranges()?.get(&partition) else {
            return Ok(());
        };
        if cursor.next < range.first {
            let lost = (range.first - cursor.next) as u64;
            self.log_lost(partition, cursor.next, range.first);
            return self.skip(partition, cursor, range.first, lost);
        }
        if cursor.next > range.next {
            return self.restart(reader, partition, cursor);
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
    ) -> Result<(), IngestError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fetch_is_shorter_with_a_short_lease_or_several_brokers() {
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
}
