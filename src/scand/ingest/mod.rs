//! The thread `poll`: reads every partition of `scan-tasks` from the group's shared cursor, validates the records and ingests them into the claim
//! table. After Redis lost its data, it rebuilds the table from Kafka. Every server does this; by compare-and-set on the cursor exactly one of
//! them ingests each record.
//!
//! **Invariant:** the thread keeps no position of its own: the cursor is read from Redis before every fetch.
//!
//! | file | what |
//! |---|---|
//! | `partitions.rs` | where a partition is read from |
//! | `audit_schedule.rs`, `audit.rs` | checks for lost keys and recreated topics |
//! | `phase.rs`, `rebuild.rs` | the rebuild after Redis lost its data |
//! | `group_audit.rs` | compares the group's position with Kafka |
//! | `ingestion.rs` | records into the claim table |
//! | `records.rs` | decisions about records and offsets |

mod audit;
mod audit_schedule;
mod group_audit;
mod ingestion;
mod partitions;
mod phase;
mod rebuild;
mod records;

use crate::claim_table::{ClaimTable, Cursor};
use crate::kafka::{Fetched, GroupOffsets, KafkaError, KafkaSettings, Reader};
use crate::model::ReportLimit;
use crate::model::lease::renew_every;
use crate::model::report_limit::LeftOut;
use crate::model::skip_log::SkipLog;
use crate::model::task_bounds::TaskBounds;
use crate::scand::claims::held_claims::HeldClaims;
use crate::scand::finalize::StateChange;
use crate::scand::metrics::{Operation, ServerMetrics};
use crate::scand::peer_error::{PartitionTrouble, PeerError};
use crate::scand::retry_log::{RetryLog, Stop, stopped};
use audit_schedule::{AuditSchedule, GroupAudit};
use crossbeam_channel::Sender;
use log::{error, warn};
use phase::IngestPhase;
use rebuild::TaskHistories;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest long poll for tasks; a fifth of the lease if that is shorter, because between two fetches the thread checks whether Redis has lost
/// its data.
const FETCH_TASKS_WAIT_MAX: Duration = Duration::from_secs(3);
/// Pause between two rounds if no partition can be read.
const NOTHING_TO_READ_PAUSE: Duration = Duration::from_secs(1);
/// Longest long poll if several brokers are asked one after the other: a record of the first one waits while the others have none.
const FETCH_TASKS_WAIT_SHARED: Duration = Duration::from_secs(1);

/// State owned by the `poll` thread.
pub struct Poll {
    /// This server's name.
    pub server: String,
    /// Lease of tasks that are held for a server, and of rejected records until they are ended.
    pub lease: Duration,
    /// How much a task may use; here its priority.
    pub bounds: TaskBounds,
    /// How to connect to Kafka.
    pub kafka: KafkaSettings,
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
    /// Counts what happens.
    pub metrics: Arc<ServerMetrics>,
    /// Where state changes and rejected records go.
    pub finalize: Sender<StateChange>,
    /// Wakes `dispatch`: there may be work.
    pub work: Sender<()>,
    /// Closed means stop.
    pub stop: Stop,
    /// Bounds on what is reported.
    pub limits: ReportLimits,
}

/// Bounds how many records, and batches of them, that are not ingested are reported one by one.
#[derive(Default)]
pub struct ReportLimits {
    rejected: ReportLimit,
    duplicate: ReportLimit,
    skipped: SkipLog,
}

impl ReportLimits {
    /// Logs the sums that are due at `now`.
    fn log_due(&mut self, now: Instant) {
        self.rejected.due(now).iter().for_each(log_rejected);
        self.duplicate.due(now).iter().for_each(log_duplicates);
        self.skipped.due(now).iter().for_each(log_skipped);
    }

    /// Logs the sums before the thread ends.
    fn log_rest(&mut self) {
        self.rejected.rest().iter().for_each(log_rejected);
        self.duplicate.rest().iter().for_each(log_duplicates);
        self.skipped.rest().iter().for_each(log_skipped);
    }
}

/// What the thread keeps from round to round. None of it decides where it reads.
#[derive(Default)]
struct RoundState {
    reader: Option<Reader>,
    phase: IngestPhase,
    audits: AuditSchedule,
    group_audit: GroupAudit,
    /// The partitions that could not be read, each with the log of its retries. The others are read all the same.
    troubles: BTreeMap<i32, RetryLog>,
    /// Where the last fetch began. If the group has moved on since, there may be work.
    offsets: BTreeMap<i32, i64>,
}

/// How long a fetch waits for tasks, with this many leading brokers.
fn fetch_wait(lease: Duration, brokers: usize) -> Duration {
    let most = match brokers {
        0 | 1 => FETCH_TASKS_WAIT_MAX,
        _ => FETCH_TASKS_WAIT_SHARED,
    };
    renew_every(lease).min(most)
}

impl Poll {
    /// Runs until `stop` is closed.
    pub fn run(mut self) {
        self.read_tasks();
        self.limits.log_rest();
    }

    fn read_tasks(&mut self) {
        let mut retry_log = RetryLog::new("read tasks", Operation::ReadTasks, &self.metrics);
        let mut state = RoundState::default();
        while !stopped(&self.stop) {
            self.limits.log_due(Instant::now());
            match self.round(&mut state) {
                Ok(()) => retry_log.over(),
                Err(PeerError::Kafka(KafkaError::Stopped)) => return,
                Err(error) => {
                    if !retry_log.pause(&error, &self.stop) {
                        return;
                    }
                }
            }
        }
    }

    /// One fetch from every partition, and the ingestion of its records.
    fn round(&mut self, state: &mut RoundState) -> Result<(), PeerError> {
        let reader = match &mut state.reader {
            Some(reader) => reader,
            none => none.insert(Reader::connect_until(&self.kafka, &self.topic, &self.stop)?),
        };
        let is_audit_due = state.audits.is_due(Instant::now());
        if is_audit_due {
            self.audit(&reader.partitions(), &mut state.audits)?;
        }
        let cursors = self.cursors(reader, &mut state.troubles)?;
        if cursors.is_empty() {
            let _ = self.stop.recv_timeout(NOTHING_TO_READ_PAUSE);
            return Ok(());
        }
        if is_audit_due {
            let has_changed = self.check_logs(reader, &cursors)?
                || self.audit_group(reader, &cursors, &mut state.group_audit)?;
            state.audits.made(Instant::now());
            if has_changed {
                return Ok(());
            }
        }
        self.update_phase(&cursors, &mut state.phase)?;
        let offsets = cursors
            .iter()
            .map(|(&p, cursor)| (p, cursor.next))
            .collect();
        if offsets != state.offsets {
            let _ = self.work.try_send(());
        }
        state.offsets.clone_from(&offsets);
        let wait = fetch_wait(self.lease, reader.leading_brokers());
        let all = reader.fetch(&offsets, wait)?;
        self.note_troubles(&all, &cursors, &mut state.troubles);
        for (partition, fetched) in all {
            if let Some(cursor) = cursors.get(&partition) {
                self.on_fetched(reader, partition, cursor, fetched, &state.phase)?;
            }
        }
        Ok(())
    }

    /// Logs which partitions cannot be read, and which can be read again.
    fn note_troubles(
        &self,
        all: &BTreeMap<i32, Fetched>,
        cursors: &BTreeMap<i32, Cursor>,
        troubles: &mut BTreeMap<i32, RetryLog>,
    ) {
        for &partition in cursors.keys() {
            match all.get(&partition) {
                Some(Fetched::Away { reason }) => {
                    let trouble = PartitionTrouble {
                        reason,
                        is_away: true,
                    };
                    self.note_trouble(troubles, partition, &trouble);
                }
                // They are not skipped, because their pushes were acknowledged.
                Some(Fetched::Unreadable { reason, .. }) => {
                    let reason = format!(
                        "{reason}. To skip these records, move the group past them with kafka-consumer-groups.sh --reset-offsets"
                    );
                    let trouble = PartitionTrouble {
                        reason: &reason,
                        is_away: false,
                    };
                    self.note_trouble(troubles, partition, &trouble);
                }
                _ => {
                    if let Some(mut trouble) = troubles.remove(&partition) {
                        trouble.over();
                    }
                }
            }
        }
    }

    /// The group's cursors. Partitions without one are started first; those that cannot be started now are absent, and do not hold up the others.
    fn cursors(
        &mut self,
        reader: &mut Reader,
        troubles: &mut BTreeMap<i32, RetryLog>,
    ) -> Result<BTreeMap<i32, Cursor>, PeerError> {
        let partitions = reader.partitions();
        let mut found = self.table.cursors(&partitions)?;
        if found.values().any(Option::is_none) {
            let started = self.start_partitions(reader, &found);
            found = self.table.cursors(&partitions)?;
            let missing = found.iter().filter(|(_, cursor)| cursor.is_none());
            let missing: Vec<i32> = missing.map(|(&partition, _)| partition).collect();
            let reason = match started {
                Err(error) if missing.len() == found.len() => return Err(error),
                Err(error) => error.to_string(),
                Ok(()) => "it currently has no leader".to_owned(),
            };
            let trouble = PartitionTrouble {
                reason: &reason,
                is_away: true,
            };
            for partition in missing {
                self.note_trouble(troubles, partition, &trouble);
            }
        }
        Ok(found
            .into_iter()
            .filter_map(|(partition, cursor)| Some((partition, cursor?)))
            .collect())
    }

    /// Logs, not too often, why a partition cannot be read now. It is tried again in the next round.
    fn note_trouble(
        &self,
        troubles: &mut BTreeMap<i32, RetryLog>,
        partition: i32,
        trouble_now: &PartitionTrouble<'_>,
    ) {
        let purpose = || format!("read {} partition {partition}", self.topic);
        let trouble = troubles
            .entry(partition)
            .or_insert_with(|| RetryLog::new(purpose(), Operation::ReadTasks, &self.metrics));
        trouble.note(trouble_now);
    }

    fn on_fetched(
        &mut self,
        reader: &mut Reader,
        partition: i32,
        cursor: &Cursor,
        fetched: Fetched,
        phase: &IngestPhase,
    ) -> Result<(), PeerError> {
        match fetched {
            Fetched::Records(records) => {
                self.ingest_following(reader, partition, cursor, records, phase.histories())
            }
            Fetched::Gap { next } => self.skip(partition, cursor, next, 0).map(drop),
            Fetched::Refused { reason, next } => {
                self.skip_refused(partition, cursor, next, &reason)
            }
            Fetched::OutOfRange => self.move_cursor_into_log(reader, partition, cursor),
            Fetched::Gone => {
                Err(KafkaError::topic_missing(self.kafka.brokers(), &self.topic).into())
            }
            Fetched::Away { .. } | Fetched::Unreadable { .. } => Ok(()),
        }
    }

    /// While partitions are rebuilt, their tasks' history is needed as it was after their start; it is read once for all of them.
    fn update_phase(
        &self,
        cursors: &BTreeMap<i32, Cursor>,
        phase: &mut IngestPhase,
    ) -> Result<(), PeerError> {
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
                TaskHistories::read(&self.kafka, &self.status_topic, &from, &self.stop)?;
            *phase = IngestPhase::Rebuilding { epochs, histories };
        }
        Ok(())
    }
}

fn log_rejected(left_out: &LeftOut) {
    let rejected = left_out.sum(
        "more record was rejected; it is only counted",
        "more records were rejected; they are only counted",
    );
    warn!("{rejected}");
}

fn log_duplicates(left_out: &LeftOut) {
    let ignored = left_out.sum(
        "more record was pushed again and ignored",
        "more records were pushed again and ignored",
    );
    warn!("{ignored}");
}

fn log_skipped(sum: &String) {
    error!("{sum}");
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
