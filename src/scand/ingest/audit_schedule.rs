//! When audits are made, and what they keep from one to the next. Pure: it reads no clock.

use crate::model::group_position::Moved;
use std::collections::BTreeMap;
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
}
