//! Log lines about refused logins and requests, which are bounded: who is refused must not be able to fill the log.

use crate::model::text::one_line;
use crate::sync::lock;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Lines at most in each [`FAILURE_LINES_INTERVAL`].
const FAILURE_LINES_MAX: u32 = 20;
/// Then there are new lines.
const FAILURE_LINES_INTERVAL: Duration = Duration::from_secs(60);

/// The lines since the interval began.
#[derive(Default)]
pub struct FailureLog(Mutex<Interval>);

#[derive(Default)]
struct Interval {
    began: Option<Instant>,
    lines: u32,
    left_out: u32,
}

impl FailureLog {
    /// Logs `line` as one line, whatever a client has put into it, if it is not one too many.
    pub fn note(&self, line: &str) {
        let mut interval = lock(&self.0);
        let (left_out, is_logged) = interval.take(Instant::now());
        if left_out > 0 {
            log::warn!("{left_out} more refusals were not logged");
        }
        if is_logged {
            log::warn!("{}", one_line(line));
        }
    }
}

impl Interval {
    /// How many lines of the interval before were left out, and whether there is a line now.
    fn take(&mut self, now: Instant) -> (u32, bool) {
        let is_over = self
            .began
            .is_none_or(|began| now.saturating_duration_since(began) >= FAILURE_LINES_INTERVAL);
        let mut left_out = 0;
        if is_over {
            left_out = self.left_out;
            *self = Interval {
                began: Some(now),
                ..Interval::default()
            };
        }
        match self.lines < FAILURE_LINES_MAX {
            true => self.lines += 1,
            false => self.left_out = self.left_out.saturating_add(1),
        }
        (left_out, self.left_out == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_those_left_out_are_counted() {
        let mut interval = Interval::default();
        let now = Instant::now();
        let logged = (0..100).filter(|_| interval.take(now).1).count();
        assert_eq!(logged as u32, FAILURE_LINES_MAX);
        assert_eq!(interval.take(now + FAILURE_LINES_INTERVAL), (80, true));
        assert_eq!(interval.take(now + FAILURE_LINES_INTERVAL), (0, true));
    }
}
