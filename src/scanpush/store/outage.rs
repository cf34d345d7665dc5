//! An outage of Kafka or of the database: which of its errors are printed, and the pauses between attempts.

use crate::model::Backoff;
use std::time::{Duration, Instant};

/// Interval between the lines of an outage whose error changes: a broker that stops and starts gives several.
const OTHER_ERROR_INTERVAL: Duration = Duration::from_secs(60);

/// The errors since the last success.
#[derive(Debug)]
pub struct Outage {
    error: Option<String>,
    said_at: Option<Instant>,
    since: Option<Instant>,
    backoff: Backoff,
}

impl Outage {
    /// There is none yet. `backoff`: the pauses between attempts.
    pub fn new(backoff: Backoff) -> Outage {
        Outage {
            error: None,
            said_at: None,
            since: None,
            backoff,
        }
    }

    /// Notes an error. Returns the line to print, if it is due: for the first error, and for another one that comes much later.
    pub fn note(&mut self, error: String) -> Option<String> {
        self.since.get_or_insert_with(Instant::now);
        let is_due = self
            .said_at
            .is_none_or(|at| at.elapsed() >= OTHER_ERROR_INTERVAL);
        if !is_due || self.error.as_ref() == Some(&error) {
            return None;
        }
        self.said_at = Some(Instant::now());
        let line = format!("{error}; trying again");
        self.error = Some(error);
        Some(line)
    }

    /// The pause before the next attempt.
    pub fn pause(&mut self) -> Duration {
        self.backoff.pause()
    }

    /// Whether it has lasted for at least `time`.
    pub fn is_longer_than(&self, time: Duration) -> bool {
        self.since.is_some_and(|since| since.elapsed() >= time)
    }

    /// An attempt succeeded. Returns true if there was an outage that has been printed.
    pub fn end(&mut self) -> bool {
        self.since = None;
        self.said_at = None;
        self.backoff.reset();
        self.error.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_of_an_outage_is_printed() {
        let mut outage = Outage::new(Backoff::new());
        assert!(!outage.end());
        assert_eq!(outage.note("a".into()).as_deref(), Some("a; trying again"));
        assert_eq!(outage.note("a".into()), None);
        assert_eq!(outage.note("b".into()), None);
        assert!(outage.is_longer_than(Duration::ZERO));
        assert!(outage.end() && !outage.end());
        assert!(!outage.is_longer_than(Duration::ZERO));
        assert!(outage.note("b".into()).is_some());
    }
}
