//! The lines about batches of records that cannot be read: a limited number of them one by one, then summaries. Pure.
//!
//! Anyone who may write to a topic can write many such batches. The database has the exact number of lost records, however many lines are printed.

use crate::model::ReportLimit;
use crate::model::report_limit::LeftOut;
use crate::model::text::counted;
use std::time::Instant;

/// What is to be printed about a topic.
#[derive(Debug, PartialEq, Eq)]
pub enum Notice {
    /// A line.
    Line(String),
    /// A batch, or a part of it, that cannot be read.
    Skipped {
        /// Its records.
        records: u64,
        /// The topic, the partition, the offsets and the reason.
        cause: String,
    },
}

/// Decides which skipped batches have a line of their own, and counts the rest.
#[derive(Debug, Default)]
pub struct SkipLog {
    limit: ReportLimit,
    /// The records of the batches that had no line since the last sum.
    records_left_out: u64,
}

impl SkipLog {
    /// The line to print at `now`; none for a batch that is only counted.
    pub fn line(&mut self, notice: Notice, now: Instant) -> Option<String> {
        let (records, cause) = match notice {
            Notice::Line(line) => return Some(line),
            Notice::Skipped { records, cause } => (records, cause),
        };
        if self.limit.take_token_or_leave_out(now, || cause.clone()) {
            let skipped = counted(records, "record is skipped", "records are skipped");
            return Some(format!("{skipped}: {cause}"));
        }
        self.records_left_out += records;
        None
    }

    /// The sum to print at `now`, if one is due.
    pub fn due(&mut self, now: Instant) -> Option<String> {
        let left_out = self.limit.due(now)?;
        Some(self.sum(&left_out))
    }

    /// The sum to print before the program ends.
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

    fn skipped(offset: u64) -> Notice {
        Notice::Skipped {
            records: 3,
            cause: format!("partition 0 of r, offset {offset}: it is too large"),
        }
    }

    #[test]
    fn a_flood_of_batches_is_a_bounded_number_of_lines_and_an_exact_sum() {
        let (mut log, start) = (SkipLog::default(), Instant::now());
        let mut lines = Vec::new();
        for n in 0..5000 {
            // 50 s in all.
            let now = start + Duration::from_millis(10 * n);
            lines.extend(log.line(skipped(n), now));
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
        let one = |cause: &str| Notice::Skipped {
            records: 1,
            cause: cause.to_owned(),
        };
        let line = log.line(one("c"), now);
        assert_eq!(line.as_deref(), Some("1 record is skipped: c"));
        while log.line(one("c"), now).is_some() {}
        let rest = log.rest();
        assert_eq!(
            rest.as_deref(),
            Some("1 more record is skipped, in 1 batch; the last one, c")
        );
    }

    #[test]
    fn other_lines_are_printed_in_any_number() {
        let (mut log, now) = (SkipLog::default(), Instant::now());
        for n in 0..1000 {
            let line = log.line(Notice::Line(n.to_string()), now);
            assert_eq!(line, Some(n.to_string()));
        }
        assert_eq!(log.rest(), None);
    }
}
