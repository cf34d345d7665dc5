//! How long to pause between tries at a peer that is away. Pure: it neither sleeps nor reads a clock.

use super::limits::{RECONNECT_FIRST, RECONNECT_MAX};
use std::time::Duration;

/// Pauses that double from [`RECONNECT_FIRST`] to [`RECONNECT_MAX`] and begin anew after a success.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
}

impl Backoff {
    /// Before the first failure.
    pub fn new() -> Backoff {
        Backoff {
            next: RECONNECT_FIRST,
        }
    }

    /// A try failed: how long to pause before the next one.
    pub fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = pause.saturating_mul(2).min(RECONNECT_MAX);
        pause
    }

    /// A try went well: the next failure pauses as briefly as the first.
    pub fn reset(&mut self) {
        *self = Backoff::new();
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
    fn pauses_double_to_a_bound_and_begin_anew() {
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
