//! The results of reading a topic.

use std::time::Duration;

/// Long poll: how long a fetch waits for a record.
pub const FETCH_WAIT: Duration = Duration::from_millis(500);

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
    /// Its bytes; empty for a tombstone.
    pub value: Vec<u8>,
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
    /// The records from the cursor up to, but not including, `next` cannot be decoded, now or later.
    Unreadable {
        /// The reason and the offset, with the remedy.
        reason: String,
        /// The first offset after them, or after a part of them: reading can continue there.
        next: i64,
    },
}

impl Fetched {
    /// Whether the caller has to get the result at once.
    pub(super) fn is_urgent(&self) -> bool {
        matches!(
            self,
            Fetched::Records(_) | Fetched::OutOfRange | Fetched::Gap { .. }
        )
    }

    /// Whether the result may change with new metadata.
    pub(super) fn is_stale(&self) -> bool {
        matches!(self, Fetched::Gone | Fetched::Away { .. })
    }
}
