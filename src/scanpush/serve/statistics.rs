//! Counts of what the database has, made by one thread from time to time for all requests: they read every service.

use super::readers::Readers;
use crate::scanpush::tasks::now_ms;
use crate::store::Statistics;
use crate::sync::lock;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Days of the plots.
const STATISTICS_DAYS: u64 = 30;
/// Pause between two counts, at least.
const STATISTICS_PAUSE: Duration = Duration::from_secs(5);
/// After a count, a pause of this many times its duration: counting takes a twentieth of a connection's time at most.
const STATISTICS_REST: u32 = 20;

/// The latest counts.
#[derive(Debug, Default)]
pub struct LatestStatistics(Mutex<Option<Arc<Counted>>>);

/// Counts with their time.
#[derive(Clone, Debug)]
pub struct Counted {
    /// When they were made, in unix milliseconds.
    pub at_ms: u64,
    /// The counts.
    pub statistics: Statistics,
}

impl LatestStatistics {
    /// The latest counts; none if they were not made yet.
    pub fn latest(&self) -> Option<Arc<Counted>> {
        lock(&self.0).clone()
    }

    /// Counts until `stop` is closed.
    pub fn run(&self, readers: &Readers, stop: &Receiver<()>) {
        loop {
            let begun = Instant::now();
            self.count(readers);
            let pause = STATISTICS_PAUSE.max(begun.elapsed().saturating_mul(STATISTICS_REST));
            match stop.recv_timeout(pause) {
                Err(RecvTimeoutError::Timeout) => {}
                _ => return,
            }
        }
    }

    /// Counts once. If the database cannot be read, the latest counts stay.
    pub fn count(&self, readers: &Readers) {
        let at_ms = now_ms();
        // Not as a question of `readers`: it takes long, and nobody waits for it.
        let counted = readers.open_unlimited();
        let counted = counted.and_then(|mut store| store.statistics(STATISTICS_DAYS, at_ms / 1000));
        if let Ok(statistics) = counted {
            let mut latest = lock(&self.0);
            *latest = Some(Arc::new(Counted { at_ms, statistics }));
        }
    }
}
