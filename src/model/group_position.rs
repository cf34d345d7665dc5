//! Whether something other than this group has moved its committed offset, such as `kafka-consumer-groups.sh --reset-offsets`, and whether Kafka's
//! retention comes close to it. Pure.

use std::ops::Range;
use std::time::Duration;

/// A task that has not ended for this long is compared with the retention of its topic.
const RETENTION_COMPARED_AFTER: Duration = Duration::from_secs(3600);
/// Retention is close to a record that is in the first of this many equal parts of its log.
const RETENTION_NEAR_PARTS: i64 = 10;

/// The group's position in one partition, by the claim table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupPosition {
    /// The offset that the group may commit; none if the partition's keys are not intact.
    pub committable: Option<i64>,
    /// The offset that it committed last; none if it has committed none.
    pub committed: Option<i64>,
}

/// How the committed offset was moved by something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// To an earlier offset: the records from there are ingested again.
    Back(i64),
    /// To a later offset than the group could have committed: the records before it that have not been ingested are skipped.
    Forward(i64),
}

impl GroupPosition {
    /// How Kafka's committed offset, if there is one, differs from what this group can have committed. A server may have committed an offset and
    /// ended before it noted that; such an offset is at most `committable`.
    pub fn moved(self, in_kafka: Option<i64>) -> Option<Moved> {
        let (in_kafka, committable, committed) = (in_kafka?, self.committable?, self.committed?);
        if in_kafka < committed {
            return Some(Moved::Back(in_kafka));
        }
        (in_kafka > committed.max(committable)).then_some(Moved::Forward(in_kafka))
    }
}

/// Whether Kafka's retention will soon remove the record at `unfinished`, which has not ended for `held`: retention has removed records of this log
/// before, and the record is among the oldest of those that it has left. The settings of the topic are not known: reading them needs rights that no
/// role has.
pub fn nears_retention(unfinished: i64, log: &Range<i64>, held: Duration) -> bool {
    let behind = unfinished - log.start;
    log.start > 0
        && behind >= 0
        && unfinished < log.end
        && behind < (log.end - log.start) / RETENTION_NEAR_PARTS + 1
        && held >= RETENTION_COMPARED_AFTER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retention_is_close_to_the_oldest_records_of_a_log_that_it_has_cut() {
        let long = RETENTION_COMPARED_AFTER;
        for (unfinished, log, held, is_near) in [
            (100, 100..1100, long, true),
            (200, 100..1100, long, true),
            (201, 100..1100, long, false),
            (100, 100..103, long, true),
            (101, 100..103, long, false),
            // A new task in a log that is empty otherwise.
            (100, 100..101, Duration::from_secs(60), false),
            // Nothing was ever removed.
            (0, 0..1000, long, false),
            // Its record is gone already, or no task is unfinished.
            (99, 100..1100, long, false),
            (1100, 100..1100, long, false),
        ] {
            assert_eq!(
                nears_retention(unfinished, &log, held),
                is_near,
                "{unfinished} {log:?}"
            );
        }
    }

    #[test]
    fn only_an_offset_that_the_group_cannot_have_committed_was_moved() {
        let position = |committable, committed| GroupPosition {
            committable,
            committed,
        };
        for (in_kafka, committable, committed, moved) in [
            (Some(7), Some(9), Some(7), None),
            (Some(8), Some(9), Some(7), None),
            (Some(9), Some(9), Some(7), None),
            (Some(10), Some(9), Some(7), Some(Moved::Forward(10))),
            (Some(6), Some(9), Some(7), Some(Moved::Back(6))),
            (Some(0), Some(9), Some(7), Some(Moved::Back(0))),
            // The topic was recreated: the group's own offset is the larger one.
            (Some(7), Some(0), Some(7), None),
            (Some(6), Some(0), Some(7), Some(Moved::Back(6))),
            // Expired, or deleted: it is committed again.
            (None, Some(9), Some(7), None),
            // A new group, an older version, or a Redis that has lost its data.
            (Some(3), Some(9), None, None),
            (Some(3), None, Some(7), None),
        ] {
            assert_eq!(
                position(committable, committed).moved(in_kafka),
                moved,
                "{in_kafka:?} {committable:?} {committed:?}"
            );
        }
    }
}
