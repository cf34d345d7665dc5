//! Ingests records: checks that they follow the cursor, writes them to the claim table, and reports each outcome.

use super::Poll;
use super::rebuild::TaskHistories;
use super::records::{
    fingerprint_of, in_ascending_order, ingest_batches, kept_or_left_out, leaves_a_gap, new_task,
    records_after_cursor,
};
use crate::claim_table::{
    Claim, Cursor, Disposition, Ending, Ingest, Ingested, NewTask, Outcome, Past,
};
use crate::kafka::{Fetched, Reader, Record};
use crate::model::text::{RECORD_FIELD_SHOWN_MAX_CHARS, shortened};
use crate::model::{Extent, FoundByPass, Lineage, Resume, State, StatusRecord};
use crate::scand::finalize::{StateChange, record_of};
use crate::scand::logging::with_task;
use crate::scand::peer_error::PeerError;
use log::{debug, info, warn};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Pause after a fetch whose records were all dropped because of their offsets.
const ALL_DROPPED_PAUSE: Duration = Duration::from_secs(1);

impl Poll {
    /// Ingests `records` if they follow the record before the cursor. If the topic was deleted and recreated, other records are at the same
    /// offsets.
    pub(super) fn ingest_following(
        &mut self,
        reader: &mut Reader,
        partition: i32,
        cursor: &Cursor,
        records: Vec<Record>,
        histories: Option<&TaskHistories>,
    ) -> Result<(), PeerError> {
        let end = match leaves_a_gap(&records, cursor.next) {
            true => reader.log_ranges()?.get(&partition).map(|range| range.next),
            false => None,
        };
        if cursor.last.is_none() {
            return self.ingest(partition, cursor, records, end, histories);
        }
        // Read again, so that they come from the same answer as the record before them.
        let before = BTreeMap::from([(partition, cursor.next - 1)]);
        match reader.fetch(&before, Duration::ZERO)?.remove(&partition) {
            Some(Fetched::Records(again)) => match records_after_cursor(cursor, again, records) {
                Some(records) => self.ingest(partition, cursor, records, end, histories),
                None => self.restart_partition(reader, partition, cursor),
            },
            // Retention has just removed it.
            Some(Fetched::OutOfRange) => self.ingest(partition, cursor, records, end, histories),
            _ => Ok(()),
        }
    }

    /// Ingests records in groups of bounded size. `end` is the end of the log, if it was asked for.
    fn ingest(
        &mut self,
        partition: i32,
        cursor: &Cursor,
        records: Vec<Record>,
        end: Option<i64>,
        histories: Option<&TaskHistories>,
    ) -> Result<(), PeerError> {
        let mut cursor = cursor.clone();
        let read = records.len();
        let records = in_ascending_order(records, cursor.next, end);
        if records.len() < read {
            let dropped = read - records.len();
            let reason = format!(
                "partition {partition} of {}, from offset {} on: {dropped} records whose offsets are not in ascending order",
                self.topic, cursor.next
            );
            self.report_skipped(dropped as u64, &reason);
            if records.is_empty() {
                // Without a pause the same records would be fetched in a loop until others follow them.
                let _ = self.stop.recv_timeout(ALL_DROPPED_PAUSE);
            }
        }
        for batch in ingest_batches(&records) {
            // A copy: kept only if this server ingests the batch.
            let mut rejections = self.limits.rejected.clone();
            let now = Instant::now();
            let tasks: Vec<NewTask> = batch
                .iter()
                .map(|record| {
                    let new = new_task(partition, record, &self.bounds, histories, cursor.until);
                    kept_or_left_out(new, || rejections.take_token(now))
                })
                .collect();
            let refusals_max = rejections.room(now);
            let next = batch.last().map_or(cursor.next, |record| record.offset + 1);
            let last = batch.last().map(fingerprint_of);
            let sent = Instant::now();
            let ingested = self.table.ingest(&Ingest {
                partition,
                cursor: &cursor,
                next,
                last: last.as_deref(),
                lost_records: 0,
                server: &self.server,
                lease: self.lease,
                refusals_max,
                tasks: &tasks,
            })?;
            let Ingested::Done(outcomes) = ingested else {
                // The other server may have queued tasks.
                let _ = self.work.try_send(());
                debug!(
                    "{} partition {partition}: another server was first at offset {}",
                    self.topic, cursor.next
                );
                return Ok(());
            };
            self.limits.rejected = rejections;
            // Before the wake-up, so that `queued` usually precedes `running` on Kafka; nothing depends on it.
            for (task, outcome) in tasks.iter().zip(outcomes) {
                self.report_outcome(partition, task, outcome, sent);
            }
            let _ = self.work.try_send(());
            (cursor.next, cursor.last) = (next, last);
        }
        Ok(())
    }

    /// Logs the outcome for a record and sends the state change that follows.
    fn report_outcome(&mut self, partition: i32, new: &NewTask, outcome: Outcome, sent: Instant) {
        let (id, offset) = (&new.task_id, new.offset);
        let _task = with_task(id);
        match (outcome, &new.disposition) {
            (Outcome::Added, Disposition::Held { server, .. }) => {
                info!(
                    "was running on {server} when Redis lost its data; kept for that server for one lease"
                );
            }
            (Outcome::Added, Disposition::Paused(_)) => {
                info!("was paused when Redis lost its data, and stays paused");
            }
            (Outcome::Added, Disposition::New) => {
                self.report_queued(partition, new, &Past::default());
            }
            (Outcome::Added, Disposition::Ready(past)) => {
                self.report_queued(partition, new, past);
            }
            (Outcome::Again { resume }, _) => {
                let past = Past {
                    resume,
                    ..Past::default()
                };
                self.report_queued(partition, new, &past);
            }
            (
                Outcome::Rejected { fence },
                Disposition::Rejected { reason } | Disposition::LeftOut { reason },
            ) => {
                let claim = Claim {
                    task_id: id.clone(),
                    fence,
                };
                self.reject(claim, (partition, offset), reason, sent);
            }
            (Outcome::Refused { fence, reason }, _) => {
                // Refused by the claim table, so not yet counted against the limit.
                self.limits.rejected.take_token(sent);
                let claim = Claim {
                    task_id: new.record_id.clone(),
                    fence,
                };
                self.reject(claim, (partition, offset), &reason, sent);
            }
            (Outcome::LeftOut { reason }, _) => {
                self.metrics.task_ended(State::Rejected);
                let last = format!("partition {partition} offset {offset}: {reason}");
                self.limits.rejected.leave_out(sent, last);
            }
            (Outcome::Duplicate, _) => {
                let place = format!("partition {partition} offset {offset}");
                let words = || format!("task {id} at {place}");
                let duplicate = &mut self.limits.duplicate;
                if duplicate.take_token_or_leave_out(sent, words) {
                    warn!("pushed again at {place}, ignored");
                }
            }
            (Outcome::Ended, _) => debug!("has already ended, not run again"),
            (outcome, _) => debug!("{outcome:?}"),
        }
    }

    /// Ends the record at this partition and offset as rejected, under `claim`, which was made by a request sent at `sent`.
    fn reject(&self, claim: Claim, (partition, offset): (i32, i64), reason: &str, sent: Instant) {
        warn!("rejected, partition {partition} offset {offset}: {reason}");
        self.held_claims.take(&claim, sent, self.lease);
        self.send(StateChange::End(Box::new(Ending {
            task_id: claim.task_id,
            lineage: Lineage {
                fence: claim.fence,
                ..Lineage::unclaimed(partition, offset)
            },
            status: State::Rejected,
            error: Some(reason.to_owned()),
            found: FoundByPass::default(),
            resume: Resume::default(),
            extent: Extent::default(),
        })));
    }

    fn report_queued(&self, partition: i32, new: &NewTask, past: &Past) {
        let retry = new.task.as_ref().map_or(0, |task| task.retry);
        if retry > 0 {
            let from = past.resume.position;
            info!("started again, retry {retry}, from {from}");
        }
        if let Some(task) = &new.task {
            info!(
                "ingested from partition {partition} offset {}: {} ports {} at {} pps, priority {}",
                new.offset,
                shortened(&task.ip_range.to_string(), RECORD_FIELD_SHOWN_MAX_CHARS),
                shortened(&task.ports.to_string(), RECORD_FIELD_SHOWN_MAX_CHARS),
                task.band_width.pps(),
                task.priority.get()
            );
        }
        let lineage = Lineage {
            attempt: past.attempt,
            lost: past.lost,
            ran_ms: past.ran_ms,
            retry,
            ..Lineage::unclaimed(partition, new.offset)
        };
        let record = StatusRecord {
            resume: past.resume,
            ..record_of(&new.task_id, &self.server, lineage)
        };
        self.send(StateChange::Announce {
            record: Box::new(record),
            acknowledge: None,
        });
    }

    fn send(&self, state_change: StateChange) {
        // Closed only when the server exits at once; then another server takes the task when the lease expires.
        let _ = self.finalize.send(state_change);
    }
}
