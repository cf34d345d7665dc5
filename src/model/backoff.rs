//! Pauses between attempts to reach Kafka or Redis. Pure: it neither sleeps nor reads a clock.

use std::time::Duration;

/// Timeout of a TCP connection attempt to Kafka or Redis.
pub const CONNECT_WAIT: Duration = Duration::from_secs(2);
/// How long scanpush waits for Kafka or Redis before it gives up.
pub const CLIENT_WAIT: Duration = Duration::from_secs(5);
/// First pause after a failed connection or request.
const RECONNECT_FIRST: Duration = Duration::from_millis(100);
/// Longest pause after a failed connection or request.
const RECONNECT_MAX: Duration = Duration::from_secs(2);

/// Pauses that double up to a maximum and start over after a success.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    /// For connections: from [`RECONNECT_FIRST`] to [`RECONNECT_MAX`].
    pub fn new() -> Backoff {
        Backoff::between(RECONNECT_FIRST, RECONNECT_MAX)
    }

    /// Pauses from `first` to `max`.
    pub fn between(first: Duration, max: Duration) -> Backoff {
        Backoff {
            first,
            max,
            next: first,
        }
    }

    /// An attempt failed: returns the pause before the next one.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = pause.saturating_mul(2).min(self.max);
        pause
    }

    /// An attempt succeeded: the next pause is the first one again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_start_over() {
        let mut backoff = Backoff::new();
        assert_eq!(backoff.pause(), RECONNECT_FIRST);
        assert_eq!(backoff.pause(), RECONNECT_FIRST * 2);
        assert_eq!(backoff.pause(), RECONNECT_FIRST * 4);
        for _ in 0..100 {
            assert!(backoff.pause() <= RECONNECT_MAX);
        }
        assert_eq!(backoff.pause(), RECONNECT_MAX);
        backoff.reset();
        assert_eq!(backoff.pause(), RECONNECT_FIRST);
    }
}
