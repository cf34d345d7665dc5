//! Where a partition is read from: its start, its restart after the topic was recreated, and what Kafka no longer has.

use super::Poll;
use super::records::first_offset;
use crate::claim_table::{Beginning, Cursor, Ingest, Ingested, Start};
use crate::kafka::{LogRange, Reader};
use crate::scand::peer_error::PeerError;
use log::{error, info};
use std::collections::BTreeMap;
use std::time::Instant;

/// Characters of an epoch: it only has to differ from earlier epochs of the same partition.
const EPOCH_CHARS: usize = 10;

/// A new name for a start of a partition.
pub(super) fn new_epoch() -> String {
    nanoid::nanoid!(EPOCH_CHARS)
}

impl Poll {
    /// Starts the partitions whose cursor is missing: a new group, or a Redis that lost its data.
    pub(super) fn start_partitions(
        &mut self,
        reader: &mut Reader,
        found: &BTreeMap<i32, Option<Cursor>>,
    ) -> Result<(), PeerError> {
        let committed = self.group_offsets.committed()?;
        let ranges = reader.log_ranges()?;
        let epoch = new_epoch();
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
                start: Start::Missing,
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

    /// Starts a partition whose topic was recreated at the log's beginning; known and ended tasks are skipped.
    pub(super) fn restart_partition(
        &mut self,
        reader: &mut Reader,
        partition: i32,
        cursor: &Cursor,
    ) -> Result<(), PeerError> {
        match reader.log_ranges()?.get(&partition) {
            Some(&range) => self.restart_at(range, partition, cursor),
            None => Ok(()),
        }
    }

    fn restart_at(
        &mut self,
        range: LogRange,
        partition: i32,
        cursor: &Cursor,
    ) -> Result<(), PeerError> {
        let beginning = Beginning {
            from: range.first,
            log_end: range.next,
            epoch: &new_epoch(),
            start: Start::Recreated {
                epoch: &cursor.epoch,
            },
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

    /// Kafka's log no longer contains the cursor: logs an error, counts the lost records, and continues with what is left.
    pub(super) fn move_cursor_into_log(
        &mut self,
        reader: &mut Reader,
        partition: i32,
        cursor: &Cursor,
    ) -> Result<(), PeerError> {
        let Some(&range) = reader.log_ranges()?.get(&partition) else {
            return Ok(());
        };
        if cursor.next < range.first {
            let lost = (range.first - cursor.next) as u64;
            self.log_lost(partition, cursor.next, range.first);
            return self.skip(partition, cursor, range.first, lost).map(drop);
        }
        if cursor.next > range.next {
            return self.restart_at(range, partition, cursor);
        }
        Ok(())
    }

    fn log_lost(&self, partition: i32, from: i64, first: i64) {
        self.metrics.records_lost((first - from).unsigned_abs());
        error!(
            "{} partition {partition}: Kafka no longer has offsets {from} to {}: {} records are lost (its retention is too short)",
            self.topic,
            first - 1,
            first - from
        );
    }

    /// Skips the records up to `next`, which no client can read. Only the server that moved the cursor counts them, and logs a limited number of such
    /// batches one by one.
    pub(super) fn skip_refused(
        &mut self,
        partition: i32,
        cursor: &Cursor,
        next: i64,
        reason: &str,
    ) -> Result<(), PeerError> {
        let lost = u64::try_from(next - cursor.next).unwrap_or(0);
        if self.skip(partition, cursor, next, lost)? {
            self.metrics.records_lost(lost);
            self.report_skipped(lost, reason);
        }
        Ok(())
    }

    /// Logs that `count` records are skipped, or counts their batch if there have been too many.
    pub(super) fn report_skipped(&mut self, count: u64, reason: &str) {
        if let Some(line) = self.limits.skipped.skipped(count, reason, Instant::now()) {
            error!("{line}");
        }
    }

    /// Moves the cursor to `next`. Returns false if another server has moved it before.
    pub(super) fn skip(
        &mut self,
        partition: i32,
        cursor: &Cursor,
        next: i64,
        lost_records: u64,
    ) -> Result<bool, PeerError> {
        let ingested = self.table.ingest(&Ingest {
            partition,
            cursor,
            next,
            last: None,
            lost_records,
            server: &self.server,
            lease: self.lease,
            refusals_max: 0,
            tasks: &[],
        })?;
        Ok(matches!(ingested, Ingested::Done(_)))
    }
}
