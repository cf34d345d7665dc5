//! Whether this server is able to run scans, and when it tests itself again. Pure: it reads no clock.
//!
//! A fault of the server, such as a missing masscan or a full disk, must not cost tasks their attempts. The server gives them back, claims
//! nothing and tests itself with growing pauses. After a test that passes it claims again.

use crate::model::Backoff;
use crate::sync::lock;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Pause before the first test after a fault.
const TEST_PAUSE_FIRST: Duration = Duration::from_secs(1);
/// Longest pause between two tests.
const TEST_PAUSE_MAX: Duration = Duration::from_secs(30);

/// Shared by the threads that run scans and the one that claims tasks.
#[derive(Debug)]
pub struct Health(Mutex<State>);

#[derive(Debug)]
struct State {
    condition: Condition,
    /// The pauses between tests. They grow until a masscan has reported progress.
    pauses: Backoff,
}

#[derive(Debug)]
enum Condition {
    /// It claims tasks.
    Able,
    /// It claims nothing until a test passes.
    Faulty { fault: String, test_at: Instant },
}

impl Default for Health {
    fn default() -> Health {
        Health(Mutex::new(State {
            condition: Condition::Able,
            pauses: Backoff::between(TEST_PAUSE_FIRST, TEST_PAUSE_MAX),
        }))
    }
}

impl Health {
    /// Why this server claims nothing; none if it claims tasks.
    pub fn fault(&self) -> Option<String> {
        match &lock(&self.0).condition {
            Condition::Able => None,
            Condition::Faulty { fault, .. } => Some(fault.clone()),
        }
    }

    /// How long after `now` the next test is due; none if none is needed.
    pub fn test_in(&self, now: Instant) -> Option<Duration> {
        match &lock(&self.0).condition {
            Condition::Able => None,
            Condition::Faulty { test_at, .. } => Some(test_at.saturating_duration_since(now)),
        }
    }

    /// This server could not run a scan, or failed a test, at `now`. Returns the pause until the next test; none if a
    /// test is already scheduled, because several scans may fail for the same reason.
    pub fn failed(&self, fault: &str, now: Instant) -> Option<Duration> {
        let mut state = lock(&self.0);
        if matches!(&state.condition, Condition::Faulty { test_at, .. } if *test_at > now) {
            return None;
        }
        let pause = state.pauses.pause();
        state.condition = Condition::Faulty {
            fault: fault.to_owned(),
            test_at: now + pause,
        };
        Some(pause)
    }

    /// A test has passed. Returns true if this server was faulty.
    pub fn passed(&self) -> bool {
        let before = std::mem::replace(&mut lock(&self.0).condition, Condition::Able);
        matches!(before, Condition::Faulty { .. })
    }

    /// A masscan has reported progress: after the next fault, the pauses begin small again.
    pub fn started(&self) {
        lock(&self.0).pauses.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_a_masscan_reports_progress() {
        let (health, start) = (Health::default(), Instant::now());
        assert_eq!((health.fault(), health.test_in(start)), (None, None));
        let second = Duration::from_secs(1);
        assert_eq!(health.failed("disk full", start), Some(second));
        assert_eq!(health.fault().as_deref(), Some("disk full"));
        assert_eq!(health.test_in(start), Some(second));
        assert_eq!(
            health.failed("disk full", start),
            None,
            "a second scan fails for the same reason"
        );
        assert_eq!(health.failed("disk full", start + second), Some(second * 2));
        assert!(health.passed());
        assert!(!health.passed());
        assert_eq!(health.fault(), None);
        assert_eq!(health.failed("again", start), Some(second * 4));
        assert!(health.passed());
        health.started();
        assert_eq!(health.failed("later", start), Some(second));
    }
}
