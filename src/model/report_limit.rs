//! Bounds how many records that are not used, and refusals of tasks, are reported one by one, so that a flood of them fills neither a log nor Redis
//! nor `scan-status`.
//! The others are counted, and a summary is logged from time to time.

use super::text::counted;
use super::token_bucket::TokenBucket;
use std::time::{Duration, Instant};

/// Reports in a burst, for each kind of record and process. A report is a log line; for a rejected record also a key in Redis and a record on
/// `scan-status`.
const REPORTED_BURST: u32 = 100;
/// After the burst, one more is reported in each such interval.
const REPORTED_EVERY: Duration = Duration::from_secs(10);
/// Interval between two log lines with the number of the others.
const LEFT_OUT_SUMMARY_EVERY: Duration = Duration::from_secs(10);

/// The records, or the refusals, of one kind.
#[derive(Clone, Debug)]
pub struct ReportLimit {
    tokens: TokenBucket,
    left_out: LeftOut,
}

/// The records since the last summary that were not reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Their number.
    pub count: u64,
    /// When the first one came.
    since: Option<Instant>,
    /// The last one, as words for the log.
    pub last: String,
}

impl LeftOut {
    /// The words for the log: the count with `one` or `many` after it, and the last one.
    pub fn sum(&self, one: &str, many: &str) -> String {
        let counted = counted(self.count, one, many);
        format!("{counted}; the last one, {}", self.last)
    }
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
    /// Takes a token for one more at `now`. Without one it is not to be reported, and the caller counts it with [`ReportLimit::leave_out`].
    pub fn take_token(&mut self, now: Instant) -> bool {
        self.tokens.take(now)
    }

    /// Takes a token for one more at `now`. Without one it is counted as left out; `words` describe it in the summary if it is the last one.
    pub fn take_token_or_leave_out(
        &mut self,
        now: Instant,
        words: impl FnOnce() -> String,
    ) -> bool {
        let is_reported = self.take_token(now);
        if !is_reported {
            self.leave_out(now, words());
        }
        is_reported
    }

    /// How many more can be reported at `now`.
    pub fn room(&mut self, now: Instant) -> u32 {
        self.tokens.left(now)
    }

    /// Counts one that is not reported.
    pub fn leave_out(&mut self, now: Instant, last: String) {
        self.left_out.count += 1;
        self.left_out.since.get_or_insert(now);
        self.left_out.last = last;
    }

    /// What is to be logged at `now`: the first one is [`LEFT_OUT_SUMMARY_EVERY`] ago.
    pub fn due(&mut self, now: Instant) -> Option<LeftOut> {
        let since = self.left_out.since?;
        let is_due = now.saturating_duration_since(since) >= LEFT_OUT_SUMMARY_EVERY;
        is_due.then(|| std::mem::take(&mut self.left_out))
    }

    /// What is to be logged before the thread that uses this ends.
    pub fn rest(&mut self) -> Option<LeftOut> {
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
            if limit.take_token_or_leave_out(start, || format!("offset {n}")) {
                reported += 1;
            }
        }
        assert_eq!(reported, REPORTED_BURST);
        assert_eq!(limit.room(start), 0);
        assert_eq!(limit.due(start + LEFT_OUT_SUMMARY_EVERY / 2), None);
        let later = start + LEFT_OUT_SUMMARY_EVERY;
        let summary = limit.due(later).unwrap();
        assert_eq!(summary.count, u64::from(10_000 - REPORTED_BURST));
        assert_eq!(summary.last, "offset 9999");
        assert_eq!(
            summary.sum("more record", "more records"),
            "9900 more records; the last one, offset 9999"
        );
        assert_eq!((limit.due(later), limit.rest()), (None, None));
        assert!(limit.take_token(later) && !limit.take_token(later));
        limit.leave_out(later, "offset 10000".into());
        assert_eq!(limit.rest().map(|rest| rest.count), Some(1));
    }
}
