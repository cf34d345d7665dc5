//! When live progress is due to be written to Redis. Pure.

use crate::model::Resume;
use std::time::{Duration, Instant};

/// A progress line is reported after this long at the latest. It waits for what becomes certain soon after it, so that one write does
/// for both.
const REPORT_DELAY_MAX: Duration = Duration::from_millis(900);

/// What was last reported, and since when there is something to report.
#[derive(Debug)]
pub(super) struct Reporter {
    reported: Reported,
    /// When the first progress line came that was not reported.
    unreported_since: Option<Instant>,
}

#[derive(Debug, PartialEq)]
struct Reported {
    resume: Resume,
    sends_no_more: bool,
}

impl Reporter {
    /// For a scan that begins with the checkpoint `resume`, which Redis knows.
    pub(super) fn new(resume: Resume) -> Reporter {
        Reporter {
            reported: Reported {
                resume,
                sends_no_more: false,
            },
            unreported_since: None,
        }
    }

    /// A progress line came at `now`.
    pub(super) fn note_reading(&mut self, now: Instant) {
        self.unreported_since.get_or_insert(now);
    }

    /// Whether a report is due at `now`: the checkpoint or the sending has changed, or a progress line has waited long enough.
    pub(super) fn is_due(&self, now: Instant, resume: Resume, sends_no_more: bool) -> bool {
        let has_waited = |since| now.duration_since(since) >= REPORT_DELAY_MAX;
        self.has_changed(resume, sends_no_more) || self.unreported_since.is_some_and(has_waited)
    }

    /// Whether there is anything that was not reported.
    pub(super) fn has_news(&self, resume: Resume, sends_no_more: bool) -> bool {
        self.has_changed(resume, sends_no_more) || self.unreported_since.is_some()
    }

    /// A report with this was sent.
    pub(super) fn reported(&mut self, resume: Resume, sends_no_more: bool) {
        self.reported = Reported {
            resume,
            sends_no_more,
        };
        self.unreported_since = None;
    }

    fn has_changed(&self, resume: Resume, sends_no_more: bool) -> bool {
        self.reported
            != Reported {
                resume,
                sends_no_more,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::resume::Position;

    fn at_index(index: u64) -> Resume {
        Resume {
            position: Position { pass: 1, index },
            ..Resume::default()
        }
    }

    #[test]
    fn a_change_is_reported_at_once_and_a_progress_line_a_moment_later() {
        let start = Instant::now();
        let later = |ms| start + Duration::from_millis(ms);
        let mut reporter = Reporter::new(at_index(7));
        assert!(
            !reporter.is_due(later(5000), at_index(7), false),
            "nothing came"
        );
        reporter.note_reading(start);
        assert!(reporter.has_news(at_index(7), false));
        reporter.note_reading(later(750));
        assert!(!reporter.is_due(later(899), at_index(7), false));
        assert!(reporter.is_due(later(900), at_index(7), false));
        assert!(reporter.is_due(start, at_index(8), false), "a checkpoint");
        assert!(
            reporter.is_due(start, at_index(7), true),
            "it sends no more"
        );
        reporter.reported(at_index(8), true);
        assert!(!reporter.has_news(at_index(8), true));
        assert!(!reporter.is_due(later(9000), at_index(8), true));
    }
}
