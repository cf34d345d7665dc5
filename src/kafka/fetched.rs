//! The results of reading a topic.

use crate::model::TASK_RECORD_MAX_BYTES;
use std::fmt;
use std::time::Duration;

/// Long poll: how long a fetch waits for a record.
pub const FETCH_WAIT: Duration = Duration::from_millis(500);

/// Bytes of memory that a record takes besides its value, so that many empty records count too.
pub(super) const RECORD_OVERHEAD_BYTES: usize = 64;
/// Bytes of a record's value that are kept: more than any valid record has, so a longer one is not valid with or without the rest.
const RECORD_KEPT_BYTES: usize = TASK_RECORD_MAX_BYTES + 1;

/// The part of a partition's log that Kafka holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRange {
    /// Lowest offset that can still be read.
    pub first: i64,
    /// Offset that the next record will get.
    pub next: i64,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its offset in the partition.
    pub offset: i64,
    /// Its bytes, of which a limited number is kept; empty for a tombstone.
    pub value: Vec<u8>,
}

impl Record {
    /// Copies `value` as far as it is kept.
    pub(super) fn new(offset: i64, value: &[u8]) -> Record {
        let kept = value.get(..RECORD_KEPT_BYTES).unwrap_or(value);
        Record {
            offset,
            value: kept.to_vec(),
        }
    }
}

/// The result of a fetch for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// Records in ascending order, at least one. Offsets between them have no record: the next cursor is the last offset plus 1.
    Records(Vec<Record>),
    /// There are no records from the cursor up to, but not including, `next`, only transaction markers, or offsets that
    /// compaction has removed.
    Gap {
        /// Where reading continues.
        next: i64,
    },
    /// The cursor is before the beginning of the log or after its end.
    OutOfRange,
    /// Kafka does not know the partition: the topic was deleted, or recreated with fewer partitions.
    Gone,
    /// The partition cannot be read now, but perhaps later. The caller must not skip anything.
    Away {
        /// The reason.
        reason: String,
    },
    /// The records from the cursor up to, but not including, `next` cannot be decoded: their batch is damaged, perhaps only on
    /// the way, or has an older format, which another client may read. The caller may wait or go on.
    Unreadable {
        /// The reason and the offset, with the remedy.
        reason: String,
        /// The first offset after them, or after a part of them: reading can continue there.
        next: i64,
    },
    /// The records from the cursor up to, but not including, `next` are not read by any client of this program: their batch would take too much
    /// memory, or is malformed. Reading has to continue after them.
    Refused {
        /// The reason and the offsets.
        reason: String,
        /// The first offset after them, or after a part of them.
        next: i64,
    },
}

impl Fetched {
    /// `partition` cannot be read now.
    pub(super) fn away(partition: i32, reason: impl fmt::Display) -> Fetched {
        Fetched::Away {
            reason: format!("partition {partition}: {reason}"),
        }
    }

    /// The result of a fetch at `cursor`, with the partition and the offsets in its reason.
    pub(super) fn located(self, topic: &str, partition: i32, cursor: i64) -> Fetched {
        let about = |reason: String, next: i64| {
            let last = next.saturating_sub(1);
            format!("partition {partition} of {topic}, offsets {cursor} to {last}: {reason}")
        };
        match self {
            Fetched::Away { reason } => Fetched::away(partition, reason),
            Fetched::Unreadable { reason, next } => Fetched::Unreadable {
                reason: about(reason, next),
                next,
            },
            Fetched::Refused { reason, next } => Fetched::Refused {
                reason: about(reason, next),
                next,
            },
            other => other,
        }
    }

    /// Whether the caller has to get the result at once.
    pub(super) fn is_urgent(&self) -> bool {
        matches!(
            self,
            Fetched::Records(_)
                | Fetched::OutOfRange
                | Fetched::Gap { .. }
                | Fetched::Refused { .. }
        )
    }

    /// Whether the result may change with new metadata.
    pub(super) fn is_stale(&self) -> bool {
        matches!(self, Fetched::Gone | Fetched::Away { .. })
    }
}
