//! When the claim table is audited. Pure, apart from reading the clock.

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
    /// Whether the next audit is due; if so, it counts as made.
    pub(super) fn is_due(&mut self) -> bool {
        let is_due = self.last.is_none_or(|last| last.elapsed() >= AUDIT_EVERY);
        if is_due {
            self.last = Some(Instant::now());
        }
        is_due
    }
}
