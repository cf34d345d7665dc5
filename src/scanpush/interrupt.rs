//! Ctrl-C for a command that has something to finish or to print first: the first one is a request, the second ends the process.

use crate::exit::Failure;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A signal during a sleep is noticed within this time.
const SIGNAL_CHECK_EVERY: Duration = Duration::from_millis(50);

/// Whether SIGINT or SIGTERM came.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Catches the two signals from now on.
    pub fn catch() -> Result<Interrupt, Failure> {
        let interrupt = Interrupt::default();
        for signal in [SIGINT, SIGTERM] {
            // In this order, so that the first signal only sets what the second one checks.
            flag::register_conditional_default(signal, Arc::clone(&interrupt.0))?;
            flag::register(signal, Arc::clone(&interrupt.0))?;
        }
        Ok(interrupt)
    }

    /// Whether one of them came.
    pub fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Sleeps for `pause`, or until one of them comes.
    pub fn sleep(&self, pause: Duration) {
        let until = Instant::now() + pause;
        while !self.came() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(SIGNAL_CHECK_EVERY));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_ends_a_sleep() {
        let interrupt = Interrupt::default();
        interrupt.sleep(Duration::ZERO);
        assert!(!interrupt.came());
        interrupt.0.store(true, Ordering::Relaxed);
        let began = Instant::now();
        interrupt.sleep(Duration::from_secs(60));
        assert!(began.elapsed() < Duration::from_secs(30));
    }
}
