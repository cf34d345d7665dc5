//! Waiting for a condition, with a deadline.

use scan::claim_table::LiveTask;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Timeout for anything that a test waits for, long enough for a busy machine with two cores.
pub const SOON: Duration = Duration::from_secs(60);
/// Interval between two checks of a condition.
pub const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Waits until `condition` returns a value. Panics with `what` after `within`.
pub fn wait_for<T>(what: &str, within: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        thread::sleep(POLL_INTERVAL);
    }
}

/// As [`wait_for`], for a condition that is true or false.
pub fn wait_until(what: &str, within: Duration, mut condition: impl FnMut() -> bool) {
    wait_for(what, within, || condition().then_some(()));
}

/// Now, in unix milliseconds.
pub fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis() as u64
}

/// The time from the first start of these tasks to the last end, in milliseconds.
pub fn span_ms(ended: &[LiveTask]) -> u64 {
    let first = ended.iter().filter_map(|task| task.started_ms).min();
    let last = ended.iter().filter_map(|task| task.finished_ms).max();
    last.unwrap() - first.unwrap()
}
