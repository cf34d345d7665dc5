//! The group's committed offset was moved by something else, such as `kafka-consumer-groups.sh --reset-offsets`: ingestion follows it.

use super::Poll;
use super::error::IngestError;
use super::partitions::new_epoch;
use crate::claim_table::{Beginning, Cursor, Start};
use crate::kafka::{LogRange, Reader};
use crate::model::group_position::{GroupPosition, Moved};
use log::{debug, warn};
use std::collections::BTreeMap;

impl Poll {
    /// Follows offsets that were moved. `seen` are the moves that the last call saw: only what is seen twice counts, because another server may
    /// just be committing. Returns true if a cursor has changed.
    pub(super) fn follow_moves(
        &mut self,
        reader: &mut Reader,
        cursors: &BTreeMap<i32, Cursor>,
        seen: &mut BTreeMap<i32, Moved>,
    ) -> Result<bool, IngestError> {
        let partitions: Vec<i32> = cursors.keys().copied().collect();
        let positions = self.table.positions(&partitions)?;
        let in_kafka = match self.group_offsets.committed() {
            Ok(in_kafka) => in_kafka,
            // Ingestion does not depend on the group's coordinator.
            Err(error) => {
                debug!("whether the group was moved is not known: {error}");
                return Ok(false);
            }
        };
        let moved = |partition: &i32, position: GroupPosition| {
            position.moved(in_kafka.get(partition).copied())
        };
        let now: BTreeMap<i32, Moved> = positions
            .iter()
            .filter_map(|(partition, &position)| Some((*partition, moved(partition, position)?)))
            .collect();
        let before = std::mem::replace(seen, now);
        if seen.is_empty() {
            return Ok(false);
        }
        let ranges = reader.log_ranges()?;
        let confirmed: Vec<(i32, Moved)> = seen
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

    fn move_back(
        &mut self,
        partition: i32,
        cursor: &Cursor,
        to: i64,
        range: LogRange,
    ) -> Result<(), IngestError> {
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
    ) -> Result<(), IngestError> {
        let next = to.min(range.next);
        if next > cursor.next {
            warn!(
                "{} partition {partition}: the group's offset was set forward to {to}: records {} to {} are skipped",
                self.topic,
                cursor.next,
                next - 1
            );
            self.skip(partition, cursor, next, 0)?;
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
