//! Ctrl-C for a command that has something to finish: the first one is a request, the second ends the process.

use crate::exit::Failure;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// A wait ends within this time after a signal.
const INTERRUPT_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Whether SIGINT or SIGTERM came.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Catches the two signals from now on.
    pub fn catch() -> Result<Interrupt, Failure> {
        let interrupt = Interrupt::default();
        interrupt
            .register()
            .map_err(|error| Failure::Runtime(format!("cannot catch signals: {error}")))?;
        Ok(interrupt)
    }

    fn register(&self) -> io::Result<()> {
        for signal in [SIGINT, SIGTERM] {
            // In this order, so that the first signal only sets what the second one checks.
            flag::register_conditional_default(signal, Arc::clone(&self.0))?;
            flag::register(signal, Arc::clone(&self.0))?;
        }
        Ok(())
    }

    /// Whether one of them came.
    pub fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits for `pause`, but no longer than until one of them comes. Returns true if one came.
    pub fn wait(&self, pause: Duration) -> bool {
        let began = Instant::now();
        while !self.came() {
            let left = pause.saturating_sub(began.elapsed());
            if left.is_zero() {
                return false;
            }
            thread::sleep(left.min(INTERRUPT_POLL_INTERVAL));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_ends_a_wait() {
        let interrupt = Interrupt::default();
        assert!(!interrupt.wait(Duration::ZERO));
        interrupt.0.store(true, Ordering::Relaxed);
        let began = Instant::now();
        assert!(interrupt.wait(Duration::from_secs(60)));
        assert!(began.elapsed() < Duration::from_secs(30));
    }
}
