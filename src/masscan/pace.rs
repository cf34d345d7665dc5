//! How long masscan's output may be left alone. Pure.

use crate::model::limits::{LOOK_EVERY_MAX, LOOK_EVERY_MIN};
use std::time::{Duration, Instant};

/// Follows how fast findings come.
#[derive(Debug)]
pub(super) struct Pace {
    looked_at: Instant,
    pause: Duration,
    /// Bytes that may come between two looks.
    between_looks: f64,
}

impl Pace {
    /// Before the first look, at `now`, at an output of which `holds` bytes can wait: half of them may come between two looks, so
    /// that as much again has room.
    pub(super) fn new(now: Instant, holds: usize) -> Pace {
        Pace {
            looked_at: now,
            pause: LOOK_EVERY_MIN,
            between_looks: holds as f64 / 2.0,
        }
    }

    /// At `now` a look brought `bytes`: for how long the next one may wait. Twice as long as the last time at most, since
    /// answers come in bursts.
    pub(super) fn pause(&mut self, now: Instant, bytes: usize) -> Duration {
        let elapsed = now.saturating_duration_since(self.looked_at);
        self.looked_at = now;
        let filled_after = elapsed.as_secs_f64() * self.between_looks / bytes.max(1) as f64;
        let most = LOOK_EVERY_MAX.min(self.pause * 2);
        self.pause =
            Duration::from_secs_f64(filled_after.min(most.as_secs_f64())).max(LOOK_EVERY_MIN);
        self.pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLDS: usize = 1024 * 1024;

    /// Looks `looks` times at findings of `bytes_per_second`, and gives the last pause.
    fn settled(bytes_per_second: f64, looks: u32) -> Duration {
        let mut now = Instant::now();
        let mut pace = Pace::new(now, HOLDS);
        let mut pause = LOOK_EVERY_MIN;
        for _ in 0..looks {
            now += pause;
            pause = pace.pause(now, (bytes_per_second * pause.as_secs_f64()) as usize);
        }
        pause
    }

    #[test]
    fn as_long_as_half_of_the_pipe_holds_it() {
        for (bytes_per_second, least_ms, most_ms) in [
            (0.0, 100.0, 100.0),
            // A thousand findings a second; a hundred thousand.
            (150_000.0, 100.0, 100.0),
            (15_000_000.0, 33.0, 36.0),
            // As fast as it can.
            (1e12, 0.5, 0.5),
        ] {
            let pause = settled(bytes_per_second, 20).as_secs_f64() * 1000.0;
            assert!(
                (least_ms..=most_ms).contains(&pause),
                "{bytes_per_second} bytes a second: {pause} ms"
            );
        }
    }

    #[test]
    fn it_grows_by_and_by_and_shrinks_at_once() {
        assert_eq!(settled(0.0, 1), LOOK_EVERY_MIN * 2);
        assert_eq!(settled(0.0, 2), LOOK_EVERY_MIN * 4);
        let start = Instant::now();
        let mut pace = Pace {
            pause: LOOK_EVERY_MAX,
            ..Pace::new(start, HOLDS)
        };
        let pause = pace.pause(start + LOOK_EVERY_MAX, 8 * HOLDS);
        assert_eq!(pause, LOOK_EVERY_MAX / 16);
    }
}
