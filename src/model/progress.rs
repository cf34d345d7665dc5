//! The progress of a scan, as masscan last reported it.

use serde::Serialize;
use std::time::Duration;

/// Live progress is written to Redis at most this often.
pub const PROGRESS_EVERY: Duration = Duration::from_millis(150);

/// The content of a progress line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Progress {
    /// Percentage of the probes that are sent, 0 to 100.
    pub percent: f64,
    /// Current packets per second.
    pub rate_pps: f64,
    /// Seconds until everything is sent; none while masscan waits for late answers. In a parsed progress line this is masscan's own estimate. A
    /// scan replaces it with a better one, see [`Estimate`](super::Estimate).
    pub remaining_s: Option<u64>,
    /// Seconds that it still waits for late answers, negative if it is overdue (masscan sometimes hangs there); none while it sends.
    pub waiting_s: Option<i64>,
    /// Answers in this run, as counted by masscan.
    pub found: u64,
}

impl Progress {
    /// Whether every probe is sent and masscan only waits for late answers.
    pub fn all_sent(&self) -> bool {
        self.percent >= 100.0 && self.waiting_s.is_some()
    }
}
