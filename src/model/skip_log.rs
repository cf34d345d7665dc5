//! Log lines about records that are skipped, mostly in batches that cannot be read: a limited number of lines, then sums. Pure.
//!
//! Anyone who may write to a topic can write many such batches. The number of records in batches that cannot be read is kept elsewhere: in the
//! metrics of scand, and in the database of `scanpush store`.

use super::report_limit::{LeftOut, ReportLimit};
use super::text::counted;
use std::time::Instant;

/// Decides which skipped batches have a line of their own, and counts the rest.
#[derive(Debug, Default)]
pub struct SkipLog {
    limit: ReportLimit,
    /// The records of the batches that had no line since the last sum.
    records_left_out: u64,
}

impl SkipLog {
    /// The line at `now` about `records` that are skipped because of `cause`, which names the topic, the partition and the offsets; none if they
    /// are only counted.
    pub fn skipped(&mut self, records: u64, cause: &str, now: Instant) -> Option<String> {
        if self.limit.take_token_or_leave_out(now, || cause.to_owned()) {
            let skipped = counted(records, "record is skipped", "records are skipped");
            return Some(format!("{skipped}: {cause}"));
        }
        self.records_left_out += records;
        None
    }

    /// The sum to log at `now`, if one is due.
    pub fn due(&mut self, now: Instant) -> Option<String> {
        let left_out = self.limit.due(now)?;
        Some(self.sum(&left_out))
    }

    /// The sum to log before the program ends.
    pub fn rest(&mut self) -> Option<String> {
        let left_out = self.limit.rest()?;
        Some(self.sum(&left_out))
    }

    fn sum(&mut self, left_out: &LeftOut) -> String {
        let records = std::mem::take(&mut self.records_left_out);
        let LeftOut { count, last, .. } = left_out;
        let skipped = counted(
            records,
            "more record is skipped",
            "more records are skipped",
        );
        let batches = counted(*count, "batch", "batches");
        format!("{skipped}, in {batches}; the last one, {last}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_flood_of_batches_is_a_bounded_number_of_lines_and_an_exact_sum() {
        let (mut log, start) = (SkipLog::default(), Instant::now());
        let mut lines = Vec::new();
        for n in 0..5000 {
            // 50 s in all.
            let now = start + Duration::from_millis(10 * n);
            let cause = format!("partition 0 of r, offset {n}: it is too large");
            lines.extend(log.skipped(3, &cause, now));
            lines.extend(log.due(now));
        }
        lines.extend(log.rest());
        assert_eq!(log.rest(), None);
        assert_eq!(
            lines[0],
            "3 records are skipped: partition 0 of r, offset 0: it is too large"
        );
        assert!((100..120).contains(&lines.len()), "{}", lines.len());
        let records = |line: &String| line.split(' ').next()?.parse::<u64>().ok();
        assert_eq!(lines.iter().filter_map(records).sum::<u64>(), 3 * 5000);
        let last = lines.last().unwrap();
        assert!(last.contains(" more records are skipped, in "), "{last}");
        assert!(last.ends_with("offset 4999: it is too large"), "{last}");
    }

    #[test]
    fn one_record_is_singular() {
        let (mut log, now) = (SkipLog::default(), Instant::now());
        let line = log.skipped(1, "c", now);
        assert_eq!(line.as_deref(), Some("1 record is skipped: c"));
        while log.skipped(1, "c", now).is_some() {}
        let rest = log.rest();
        assert_eq!(
            rest.as_deref(),
            Some("1 more record is skipped, in 1 batch; the last one, c")
        );
    }
}
