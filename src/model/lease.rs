//! When a lease is renewed and how long it is trusted; delays between attempts. Pure: times are arguments.

use std::time::{Duration, Instant};

/// A lease is renewed this many times before it would expire, so that two renewals may fail.
const RENEWALS_PER_LEASE: u32 = 5;
/// A server stops trusting its lease this fraction of its length (1/10) before it expires in Redis.
const LEASE_MARGIN_PART: u32 = 10;
/// First delay before a failed attempt is repeated.
const RETRY_DELAY_FIRST: Duration = Duration::from_secs(2);
/// Longest delay before a failed attempt is repeated.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(300);

/// Until when a claim may be trusted if the request that made or renewed it was **sent** at `sent`. Redis counts from when it runs the script,
/// which is later, so the trust ends first. `lease / LEASE_MARGIN_PART` allows for clocks that run at different speeds. (Gray and Cheriton,
/// "Leases", 1989: the holder must stop before the grantor.)
pub fn trusted_until(sent: Instant, lease: Duration) -> Instant {
    sent + lease - lease / LEASE_MARGIN_PART
}

/// Time between two renewals of a lease.
pub fn renew_every(lease: Duration) -> Duration {
    lease / RENEWALS_PER_LEASE
}

/// Delay before the next attempt after `failed` failed ones. It doubles from [`RETRY_DELAY_FIRST`] to [`RETRY_DELAY_MAX`]. `jitter` (0 to 1)
/// reduces it by up to half, so that tasks that failed together are not repeated together.
pub fn retry_delay(failed: u32, jitter: f64) -> Duration {
    let doublings = failed.saturating_sub(1).min(31);
    let full = RETRY_DELAY_FIRST
        .saturating_mul(1 << doublings)
        .min(RETRY_DELAY_MAX);
    full.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn retry_delays_grow_to_a_bound() {
        assert_eq!(retry_delay(1, 1.0), RETRY_DELAY_FIRST);
        assert_eq!(retry_delay(1, 0.0), RETRY_DELAY_FIRST / 2);
        assert_eq!(retry_delay(2, 1.0), RETRY_DELAY_FIRST * 2);
        assert_eq!(retry_delay(u32::MAX, 1.0), RETRY_DELAY_MAX);
    }

    proptest! {
        #[test]
        fn trust_ends_before_the_lease(lease_ms in 1_000u64..1_000_000) {
            let sent = Instant::now();
            let lease = Duration::from_millis(lease_ms);
            prop_assert!(trusted_until(sent, lease) < sent + lease);
            prop_assert!(trusted_until(sent, lease) > sent + renew_every(lease) * 3);
        }

        #[test]
        fn a_later_failure_never_waits_less(failed in 1u32..100, jitter in 0.0f64..1.0) {
            prop_assert!(retry_delay(failed + 1, jitter) >= retry_delay(failed, jitter));
            prop_assert!(retry_delay(failed, jitter) <= RETRY_DELAY_MAX);
        }
    }
}
