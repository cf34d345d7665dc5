//! How old the checkpoints of running scans are.

use crate::sync::lock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

/// The checkpoints of all running scans.
#[derive(Debug)]
pub(super) struct CheckpointAges {
    epoch: Instant,
    scans: Mutex<Vec<Weak<AtomicU64>>>,
}

/// When the checkpoint of one scan last moved. The scan counts as ended when it is dropped.
#[derive(Debug)]
pub struct CheckpointAge {
    epoch: Instant,
    /// In milliseconds since `epoch`.
    moved_at: Arc<AtomicU64>,
}

impl CheckpointAges {
    pub(super) fn new() -> CheckpointAges {
        CheckpointAges {
            epoch: Instant::now(),
            scans: Mutex::default(),
        }
    }

    /// A scan begins; its checkpoint counts as new.
    pub(super) fn begin(&self) -> CheckpointAge {
        let age = CheckpointAge {
            epoch: self.epoch,
            moved_at: Arc::default(),
        };
        age.moved();
        let mut scans = lock(&self.scans);
        scans.retain(|scan| scan.strong_count() > 0);
        scans.push(Arc::downgrade(&age.moved_at));
        age
    }

    /// The age of the oldest checkpoint; 0 without scans.
    pub(super) fn oldest(&self) -> Duration {
        let scans = lock(&self.scans);
        let moved_at = scans.iter().filter_map(Weak::upgrade);
        let oldest = moved_at.map(|at| at.load(Ordering::Relaxed)).min();
        oldest.map_or(Duration::ZERO, |at| {
            self.epoch
                .elapsed()
                .saturating_sub(Duration::from_millis(at))
        })
    }
}

impl CheckpointAge {
    /// The checkpoint has moved, or nothing of the scan is left to become certain.
    pub fn moved(&self) {
        let now = self.epoch.elapsed().as_millis() as u64;
        self.moved_at.store(now, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_checkpoint_of_a_running_scan_counts() {
        let ages = CheckpointAges::new();
        assert_eq!(ages.oldest(), Duration::ZERO);
        let first = ages.begin();
        std::thread::sleep(Duration::from_millis(30));
        let second = ages.begin();
        assert!(ages.oldest() >= Duration::from_millis(29));
        first.moved();
        assert!(ages.oldest() < Duration::from_millis(29));
        drop((first, second));
        assert_eq!(ages.oldest(), Duration::ZERO);
    }
}
