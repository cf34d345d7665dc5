//! Bounds how many records that are not ingested are reported one by one, so that a flood of them fills neither the log nor Redis nor
//! `scan-status`. The others are counted, and a summary is logged from time to time. Pure: it reads no clock.

use crate::model::TokenBucket;
use std::time::{Duration, Instant};

/// Records of a kind that one server reports at once: a rejected record has a log line, a key in Redis and a record on `scan-status`; one that was
/// pushed again, and a batch that is skipped, has a log line.
const REPORTED_BURST: u32 = 100;
/// After the burst, one more is reported in each such interval.
const REPORTED_EVERY: Duration = Duration::from_secs(10);
/// Interval between two log lines with the number of the others.
const LEFT_OUT_SUMMARY_EVERY: Duration = Duration::from_secs(10);

/// The records of one kind.
#[derive(Clone, Debug)]
pub struct ReportLimit {
    tokens: TokenBucket,
    left_out: LeftOut,
}

/// The records since the last summary that were not reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LeftOut {
    /// Their number.
    pub(super) count: u64,
    /// When the first one came.
    since: Option<Instant>,
    /// The last one, as words for the log.
    pub(super) last: String,
}

impl Default for ReportLimit {
    fn default() -> ReportLimit {
        ReportLimit {
            tokens: TokenBucket::new(REPORTED_BURST, REPORTED_EVERY),
            left_out: LeftOut::default(),
        }
    }
}

impl ReportLimit {
    /// Whether one more is reported at `now`.
    pub(super) fn allows(&mut self, now: Instant) -> bool {
        self.tokens.take(now)
    }

    /// How many are reported at `now`.
    pub(super) fn room(&mut self, now: Instant) -> u32 {
        self.tokens.left(now)
    }

    /// Counts one that is not reported.
    pub(super) fn leave_out(&mut self, now: Instant, last: String) {
        self.left_out.count += 1;
        self.left_out.since.get_or_insert(now);
        self.left_out.last = last;
    }

    /// What is to be logged at `now`: the first one is [`LEFT_OUT_SUMMARY_EVERY`] ago.
    pub(super) fn due(&mut self, now: Instant) -> Option<LeftOut> {
        let since = self.left_out.since?;
        let is_due = now.saturating_duration_since(since) >= LEFT_OUT_SUMMARY_EVERY;
        is_due.then(|| std::mem::take(&mut self.left_out))
    }

    /// What is to be logged before the thread ends.
    pub(super) fn rest(&mut self) -> Option<LeftOut> {
        let rest = std::mem::take(&mut self.left_out);
        (rest.count > 0).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_burst_and_a_count() {
        let (mut limit, start) = (ReportLimit::default(), Instant::now());
        let mut reported = 0;
        for n in 0..10_000 {
            match limit.allows(start) {
                true => reported += 1,
                false => limit.leave_out(start, format!("offset {n}")),
            }
        }
        assert_eq!(reported, REPORTED_BURST);
        assert_eq!(limit.room(start), 0);
        assert_eq!(limit.due(start + LEFT_OUT_SUMMARY_EVERY / 2), None);
        let later = start + LEFT_OUT_SUMMARY_EVERY;
        let summary = limit.due(later).unwrap();
        assert_eq!(summary.count, u64::from(10_000 - REPORTED_BURST));
        assert_eq!(summary.last, "offset 9999");
        assert_eq!((limit.due(later), limit.rest()), (None, None));
        assert!(limit.allows(later) && !limit.allows(later));
        limit.leave_out(later, "offset 10000".into());
        assert_eq!(limit.rest().map(|rest| rest.count), Some(1));
    }
}
