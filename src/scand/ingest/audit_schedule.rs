//! When audits are made, and what they keep from one to the next. Pure: it reads no clock.

use crate::model::group_position::{Moved, nears_retention};
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

/// Interval between two audits of the claim table for lost keys.
const AUDIT_EVERY: Duration = Duration::from_secs(10);
/// When the last audit was made, and where the next one continues.
#[derive(Default)]
pub(super) struct AuditSchedule {
    last: Option<Instant>,
    /// For each partition the rank of the next unfinished task to check.
    pub(super) ranks: BTreeMap<i32, usize>,
}

impl AuditSchedule {
    /// Whether the next audit is due at `now`.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.last
            .is_none_or(|last| now.duration_since(last) >= AUDIT_EVERY)
    }

    /// An audit was made at `now`. One that failed is repeated in the next round.
    pub(super) fn made(&mut self, now: Instant) {
        self.last = Some(now);
    }
}

/// What the last comparison of the group's position with Kafka saw.
#[derive(Default)]
pub(super) struct GroupAudit {
    /// Moves seen by the last audit. A move counts only if two audits in a row see it, because another server may be committing at that moment.
    pub(super) moves: BTreeMap<i32, Moved>,
    /// The first offset of each partition's log at the last warning about retention.
    pub(super) warned: BTreeMap<i32, i64>,
    /// The offset of each partition's oldest task that has not ended, and since when it is that.
    held: BTreeMap<i32, Held>,
}

/// The oldest task of a partition that has not ended.
#[derive(Clone, Copy)]
struct Held {
    offset: i64,
    since: Instant,
    has_warning: bool,
}

impl GroupAudit {
    /// Whether retention will soon remove the record of the oldest task of `partition` that has not ended, which is at `unfinished`. True
    /// only once for each task.
    pub(super) fn nears_retention(
        &mut self,
        partition: i32,
        unfinished: i64,
        log: &Range<i64>,
        now: Instant,
    ) -> bool {
        let new = Held {
            offset: unfinished,
            since: now,
            has_warning: false,
        };
        let held = self.held.entry(partition).or_insert(new);
        if held.offset != unfinished {
            *held = new;
        }
        let is_near = nears_retention(unfinished, log, now.duration_since(held.since));
        let is_news = is_near && !held.has_warning;
        held.has_warning |= is_near;
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_retention_comes_close_to_is_reported_once_and_each_for_itself() {
        let (mut audit, began) = (GroupAudit::default(), Instant::now());
        let hours = |hours: u64| began + Duration::from_secs(3600 * hours);
        let log = 100..105;
        assert!(!audit.nears_retention(0, 100, &log, began));
        assert!(audit.nears_retention(0, 100, &log, hours(1)));
        assert!(!audit.nears_retention(0, 100, &log, hours(2)));
        let log = 103..108;
        assert!(
            !audit.nears_retention(0, 103, &log, hours(3)),
            "another task"
        );
        assert!(audit.nears_retention(0, 103, &log, hours(4)));
        assert!(
            !audit.nears_retention(1, 103, &log, hours(4)),
            "another partition"
        );
    }
}
