//! How far a scan is, as masscan last said.

use serde::Serialize;
use std::time::Duration;

/// Live progress is written to Redis this often at most.
pub const PROGRESS_EVERY: Duration = Duration::from_millis(150);

/// One reading of masscan's progress line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Progress {
    /// 0 to 100, of the probes to send.
    pub percent: f64,
    /// Packets per second over the last moments.
    pub rate_pps: f64,
    /// Seconds of sending left; none once it only waits. Read from masscan's line it is masscan's own estimate, for which a scan
    /// puts a better one, see [`Estimate`](super::Estimate).
    pub remaining_s: Option<u64>,
    /// Seconds that it still waits for late answers; negative when overdue (FACTS); none while it sends.
    pub waiting_s: Option<i64>,
    /// Answers seen by masscan in this run.
    pub found: u64,
}

impl Progress {
    /// True once every probe was sent and masscan only waits for late answers.
    pub fn all_sent(&self) -> bool {
        self.percent >= 100.0 && self.waiting_s.is_some()
    }
}
