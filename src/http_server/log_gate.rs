//! Bounds how often a kind of log line is written.

use super::limits::HTTP_LOG_INTERVAL;
use std::time::Instant;

/// Lets one log line of a kind through in each interval.
#[derive(Debug, Default)]
pub struct LogGate {
    last: Option<Instant>,
    suppressed: u64,
}

impl LogGate {
    /// If a line may be written now: how many were suppressed since the last one.
    pub fn pass(&mut self, now: Instant) -> Option<u64> {
        let is_due = |last| now.saturating_duration_since(last) >= HTTP_LOG_INTERVAL;
        if self.last.is_none_or(is_due) {
            self.last = Some(now);
            return Some(std::mem::take(&mut self.suppressed));
        }
        self.suppressed += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_between_are_counted() {
        let mut gate = LogGate::default();
        let start = Instant::now();
        assert_eq!(gate.pass(start), Some(0));
        assert_eq!(gate.pass(start + HTTP_LOG_INTERVAL / 2), None);
        assert_eq!(gate.pass(start + HTTP_LOG_INTERVAL / 2), None);
        assert_eq!(gate.pass(start + HTTP_LOG_INTERVAL), Some(2));
    }
}
