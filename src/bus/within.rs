//! A bound on how long a call may take, for calls that have none of their own.
//!
//! Nothing else in this room makes a thread or waits without a bound.

use super::error::BusError;
use crossbeam_channel::{RecvTimeoutError, bounded};
use std::thread;
use std::time::Duration;

/// Runs `work` on a thread of its own and gives its result back, or [`BusError::TimedOut`] after `wait`. `doing` says what it
/// does, in words that fit before a colon ("connect to localhost:9092").
///
/// Past `wait` the thread is left behind, since nothing can end a thread that sits in a system call. In a client program that
/// is all right: the process ends soon and the thread with it. In a daemon it is a bounded loss: the sockets of the `kafka`
/// crate give up after 120 s, which ends the thread and drops what it owns; no lock is held, and what it owned has been
/// replaced by then. What it had asked for may still be done, so only ask here for what may happen late or twice.
///
/// A panic in `work` (the `kafka` crate has some) ends that thread only, and comes back as [`BusError::Broken`].
pub(super) fn within<T, W>(wait: Duration, doing: &str, work: W) -> Result<T, BusError>
where
    T: Send + 'static,
    W: FnOnce() -> Result<T, BusError> + Send + 'static,
{
    let broken = |reason: &str| BusError::Broken {
        doing: doing.to_owned(),
        reason: reason.to_owned(),
    };
    let (done, result) = bounded(1);
    let thread = thread::Builder::new()
        .name("kafka".to_owned())
        .spawn(move || {
            // Fails only where nobody waits any more; the result is dropped then.
            let _ = done.send(work());
        })
        .map_err(|error| broken(&format!("no thread: {error}")))?;
    match result.recv_timeout(wait) {
        Ok(result) => {
            // It has nothing left to do. A panic while its last values are dropped would be no news about the result.
            let _ = thread.join();
            result
        }
        Err(RecvTimeoutError::Timeout) => Err(BusError::TimedOut {
            doing: doing.to_owned(),
            waited: wait,
        }),
        Err(RecvTimeoutError::Disconnected) => {
            Err(broken("it broke off (a fault in the client library)"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn results_come_back_and_waits_end() {
        let second = Duration::from_secs(1);
        assert_eq!(within(second, "add", || Ok(1 + 1)), Ok(2));
        let begun = Instant::now();
        let hung = within(Duration::from_millis(50), "hang", move || {
            thread::sleep(second);
            Ok(())
        });
        assert!(begun.elapsed() < second);
        assert_eq!(
            hung.unwrap_err().to_string(),
            "hang: no answer within 0.05 s"
        );
    }

    #[test]
    fn a_panic_is_an_error() {
        let broken = within(Duration::from_secs(1), "parse", || -> Result<(), _> {
            panic!("on purpose")
        });
        assert!(
            broken
                .unwrap_err()
                .to_string()
                .contains("parse: it broke off")
        );
    }
}
