//! Compares the group's position with Kafka. If its committed offset was moved by something else, such as `kafka-consumer-groups.sh
//! --reset-offsets`, ingestion follows it. If retention has removed records of tasks that have not ended, or
//! will soon, there is a warning.

use super::Poll;
use super::audit_schedule::GroupAudit;
use super::partitions::new_epoch;
use crate::claim_table::{Beginning, Cursor, Start};
use crate::kafka::{KafkaError, LogRange, Reader};
use crate::model::group_position::{GroupPosition, Moved};
use crate::scand::peer_error::PeerError;
use log::{debug, warn};
use std::collections::BTreeMap;
use std::time::Instant;

impl Poll {
    /// Compares the group's position with Kafka and follows confirmed moves. Returns true if there were any: the caller reads the cursors again.
    pub(super) fn audit_group(
        &mut self,
        reader: &mut Reader,
        cursors: &BTreeMap<i32, Cursor>,
        last: &mut GroupAudit,
    ) -> Result<bool, PeerError> {
        let partitions: Vec<i32> = cursors.keys().copied().collect();
        let positions = self.table.positions(&partitions)?;
        let asked =
            (|| Ok::<_, KafkaError>((self.group_offsets.committed()?, reader.log_ranges()?)))();
        let (in_kafka, ranges) = match asked {
            Ok(asked) => asked,
            Err(KafkaError::Stopped) => return Err(KafkaError::Stopped.into()),
            // Ingestion does not depend on the group's coordinator, or on the leaders of all partitions.
            Err(error) => {
                debug!("the group's position was not compared with Kafka: {error}");
                return Ok(false);
            }
        };
        self.warn_about_retention(&positions, &ranges, last);
        self.metrics.ingest_lag(lag(cursors, &ranges));
        let moved = |partition: &i32, position: GroupPosition| {
            position.moved(in_kafka.get(partition).copied())
        };
        let now: BTreeMap<i32, Moved> = positions
            .iter()
            .filter_map(|(partition, &position)| Some((*partition, moved(partition, position)?)))
            .collect();
        let before = std::mem::replace(&mut last.moves, now);
        let confirmed: Vec<(i32, Moved)> = last
            .moves
            .iter()
            .filter(|(partition, moved)| before.get(partition) == Some(moved))
            .map(|(&partition, &moved)| (partition, moved))
            .collect();
        for &(partition, moved) in &confirmed {
            if let (Some(cursor), Some(&range)) = (cursors.get(&partition), ranges.get(&partition))
            {
                match moved {
                    Moved::Back(to) => self.move_back(partition, cursor, to, range)?,
                    Moved::Forward(to) => self.move_forward(partition, cursor, to, range)?,
                }
            }
        }
        Ok(!confirmed.is_empty())
    }

    fn warn_about_retention(
        &self,
        positions: &BTreeMap<i32, GroupPosition>,
        ranges: &BTreeMap<i32, LogRange>,
        last: &mut GroupAudit,
    ) {
        for (&partition, range) in ranges {
            let unfinished = positions.get(&partition).and_then(|at| at.committable);
            let Some(unfinished) = unfinished else {
                continue;
            };
            let log = range.first..range.next;
            if last.nears_retention(partition, unfinished, &log, Instant::now()) {
                warn!(
                    "{} partition {partition}: Kafka's retention will soon remove the record of a task that has not ended (offset {unfinished}, the log \
                     begins at {}): increase the topic's retention.ms and retention.bytes, or end the task",
                    self.topic, range.first
                );
            }
            if unfinished >= range.first {
                continue;
            }
            if last.warned.insert(partition, range.first) != Some(range.first) {
                warn!(
                    "{} partition {partition}: Kafka's retention has removed records of tasks that have not ended (from offset {unfinished} on): they \
                     run, but are lost if Redis loses its data; increase the topic's retention.ms and retention.bytes",
                    self.topic
                );
            }
        }
    }

    fn move_back(
        &mut self,
        partition: i32,
        cursor: &Cursor,
        to: i64,
        range: LogRange,
    ) -> Result<(), PeerError> {
        let beginning = Beginning {
            from: to.max(range.first),
            log_end: range.next,
            epoch: &new_epoch(),
            start: Start::MovedBack {
                epoch: &cursor.epoch,
            },
            lost_records: 0,
        };
        if self.table.begin(partition, &beginning)? {
            warn!(
                "{} partition {partition}: the group's offset was set back to {to}: reading again from {}; tasks that have ended are not scanned again",
                self.topic, beginning.from
            );
        }
        Ok(())
    }

    fn move_forward(
        &mut self,
        partition: i32,
        cursor: &Cursor,
        to: i64,
        range: LogRange,
    ) -> Result<(), PeerError> {
        let next = to.min(range.next);
        if next > cursor.next {
            // If another server was first, the next audit compares again.
            if !self.skip(partition, cursor, next, 0)? {
                return Ok(());
            }
            warn!(
                "{} partition {partition}: the group's offset was set forward to {to}: records {} to {} are skipped",
                self.topic,
                cursor.next,
                next - 1
            );
        } else {
            warn!(
                "{} partition {partition}: the group's offset was set forward to {to}, but tasks before it have not ended and hold it back: cancel them first",
                self.topic
            );
        }
        self.table
            .note_committed(&BTreeMap::from([(partition, to)]))?;
        Ok(())
    }
}

/// Records that are not ingested yet.
fn lag(cursors: &BTreeMap<i32, Cursor>, ranges: &BTreeMap<i32, LogRange>) -> u64 {
    let of_partition = |(partition, cursor): (&i32, &Cursor)| {
        let range = ranges.get(partition)?;
        u64::try_from(range.next - cursor.next.max(range.first)).ok()
    };
    cursors.iter().filter_map(of_partition).sum()
}
