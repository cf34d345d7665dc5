//! How long masscan's output may be left alone. Pure.

use crate::model::limits::{LOOK_ANSWERS_MAX, LOOK_EVERY_MAX, LOOK_EVERY_MIN};
use std::time::{Duration, Instant};

/// Bytes that may come together between two looks. A pseudo-terminal of Linux holds 12 KiB and more (4 KiB of the line
/// discipline and 8 KiB before it; 13.8 KiB measured on 6.18): twice as much may come as in the last time before masscan has to
/// wait. Then its capture ring holds what arrives: even the first answers after a silence are no more than [`LOOK_ANSWERS_MAX`].
const BETWEEN_LOOKS_BYTES: f64 = 6144.0;

/// Follows how fast findings come.
#[derive(Debug)]
pub(super) struct Pace {
    looked_at: Instant,
    pause: Duration,
    most: Duration,
}

impl Pace {
    /// Before the first look, at `now`, of a scan that sends `rate_pps` packets per second.
    pub(super) fn new(now: Instant, rate_pps: u64) -> Pace {
        let answers = f64::from(LOOK_ANSWERS_MAX) / rate_pps.max(1) as f64;
        let most = answers.min(LOOK_EVERY_MAX.as_secs_f64());
        Pace {
            looked_at: now,
            pause: LOOK_EVERY_MIN,
            most: Duration::from_secs_f64(most).max(LOOK_EVERY_MIN),
        }
    }

    /// At `now` a look brought `bytes`: for how long the next one may wait. Twice as long as the last time at most, since
    /// answers come in bursts.
    pub(super) fn pause(&mut self, now: Instant, bytes: usize) -> Duration {
        let elapsed = now.saturating_duration_since(self.looked_at);
        self.looked_at = now;
        let filled_after = elapsed.as_secs_f64() * BETWEEN_LOOKS_BYTES / bytes.max(1) as f64;
        let most = self.most.min(self.pause * 2);
        self.pause =
            Duration::from_secs_f64(filled_after.min(most.as_secs_f64())).max(LOOK_EVERY_MIN);
        self.pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks `looks` times at findings of `bytes_per_second` of a scan at `rate_pps`, and gives the last pause.
    fn settled(rate_pps: u64, bytes_per_second: f64, looks: u32) -> Duration {
        let mut now = Instant::now();
        let mut pace = Pace::new(now, rate_pps);
        let mut pause = LOOK_EVERY_MIN;
        for _ in 0..looks {
            now += pause;
            pause = pace.pause(now, (bytes_per_second * pause.as_secs_f64()) as usize);
        }
        pause
    }

    #[test]
    fn as_long_as_the_terminal_holds_it_and_the_ring_the_first_answers() {
        for (rate_pps, bytes_per_second, least_ms, most_ms) in [
            (1000, 0.0, 100.0, 100.0),
            (1000, 150.0, 100.0, 100.0),
            (10_000, 0.0, 50.0, 50.0),
            (100_000, 0.0, 5.0, 5.0),
            (100_000_000, 0.0, 0.5, 0.5),
            (0, 0.0, 100.0, 100.0),
            // A thousand findings a second.
            (10_000, 150_000.0, 39.0, 43.0),
            // Ten thousand.
            (10_000, 1_500_000.0, 3.9, 4.3),
            // As fast as it can.
            (10_000, 1e12, 0.5, 0.5),
        ] {
            let pause = settled(rate_pps, bytes_per_second, 20).as_secs_f64() * 1000.0;
            assert!(
                (least_ms..=most_ms).contains(&pause),
                "{rate_pps} pps, {bytes_per_second} bytes a second: {pause} ms"
            );
        }
    }

    #[test]
    fn it_grows_by_and_by_and_shrinks_at_once() {
        assert_eq!(settled(1000, 0.0, 1), LOOK_EVERY_MIN * 2);
        assert_eq!(settled(1000, 0.0, 2), LOOK_EVERY_MIN * 4);
        let start = Instant::now();
        let mut pace = Pace {
            pause: LOOK_EVERY_MAX,
            ..Pace::new(start, 1000)
        };
        let pause = pace.pause(start + LOOK_EVERY_MAX, 16 * 6144);
        assert_eq!(pause, LOOK_EVERY_MAX / 16);
    }
}
