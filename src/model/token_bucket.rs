//! A bound on how often something happens: a burst at once, then one in each interval.

use std::time::{Duration, Instant};

/// Tokens that are taken one by one and come back with time.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    capacity: u32,
    refill_every: Duration,
    tokens: u32,
    /// When the last token came back.
    refilled: Option<Instant>,
}

impl TokenBucket {
    /// A full bucket of `capacity` tokens, into which one comes back each `refill_every`.
    pub const fn new(capacity: u32, refill_every: Duration) -> TokenBucket {
        TokenBucket {
            capacity,
            refill_every,
            tokens: capacity,
            refilled: None,
        }
    }

    /// Takes a token at `now`. Returns false if there is none.
    pub fn take(&mut self, now: Instant) -> bool {
        self.refill(now);
        let has_one = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        has_one
    }

    /// The tokens at `now`.
    pub fn left(&mut self, now: Instant) -> u32 {
        self.refill(now);
        self.tokens
    }

    fn refill(&mut self, now: Instant) {
        let since = *self.refilled.get_or_insert(now);
        let elapsed = now.saturating_duration_since(since);
        let gained = elapsed.as_nanos() / self.refill_every.as_nanos().max(1);
        match u32::try_from(gained)
            .ok()
            .and_then(|n| self.tokens.checked_add(n))
        {
            Some(tokens) if tokens < self.capacity => {
                self.tokens = tokens;
                self.refilled = Some(since + self.refill_every * (gained as u32));
            }
            _ => {
                self.tokens = self.capacity;
                self.refilled = Some(now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_one_in_each_interval() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(3, Duration::from_secs(10));
        // Seconds, calls at that time, and how many of them get a token.
        for (at, calls, taken) in [
            (0, 5, 3),
            (9, 2, 0),
            (10, 2, 1),
            (25, 2, 1),
            (30, 1, 1),
            (31, 1, 0),
            (1000, 9, 3),
            (1000, 1, 0),
        ] {
            let now = start + Duration::from_secs(at);
            let got = (0..calls).filter(|_| bucket.take(now)).count();
            assert_eq!(got, taken, "at {at} s");
            assert!(got < calls || calls == 1 || bucket.left(now) == 0);
        }
        assert!(!bucket.take(start), "a time that was before");
    }
}
