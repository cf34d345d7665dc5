//! What one connection knows about the replicas of Redis. No I/O.

use std::time::{Duration, Instant};

/// After no replica had a decision in time, the next ones do not wait for this long. So a replica that does not answer costs little, and the
/// warning is not repeated more often.
pub(super) const REPLICA_PAUSE: Duration = Duration::from_secs(30);
/// Whether Redis has replicas is asked this often.
const REPLICAS_KNOWN_FOR: Duration = Duration::from_secs(10);

/// What one connection knows about the replicas.
#[derive(Debug, Default)]
pub(super) struct Replicas {
    /// When Redis was last asked for its replicas.
    pub(super) asked: Option<Instant>,
    /// Whether it had any then.
    pub(super) has_any: bool,
    /// When no replica had a decision in time.
    pub(super) paused_at: Option<Instant>,
}

impl Replicas {
    /// Whether decisions do not wait at `now`.
    pub(super) fn is_paused(&self, now: Instant) -> bool {
        let paused = |at| now.duration_since(at) < REPLICA_PAUSE;
        self.paused_at.is_some_and(paused)
    }

    /// Whether `has_any` still counts at `now`.
    pub(super) fn is_known(&self, now: Instant) -> bool {
        let known = |at| now.duration_since(at) < REPLICAS_KNOWN_FOR;
        self.asked.is_some_and(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_that_does_not_answer_is_asked_again_after_a_pause() {
        let now = Instant::now();
        let mut replicas = Replicas::default();
        assert!(!replicas.is_paused(now) && !replicas.is_known(now));
        replicas.asked = Some(now);
        replicas.paused_at = Some(now);
        assert!(replicas.is_paused(now) && replicas.is_known(now));
        assert!(replicas.is_known(now + REPLICAS_KNOWN_FOR / 2));
        assert!(!replicas.is_known(now + REPLICAS_KNOWN_FOR));
        assert!(!replicas.is_paused(now + REPLICA_PAUSE));
    }
}
