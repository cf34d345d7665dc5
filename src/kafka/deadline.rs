//! A time limit for calls that have none.
//!
//! Neither of the two clients has a deadline for every call.

use super::error::KafkaError;
use crossbeam_channel::{Receiver, Sender, bounded, never, select};
use std::io;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A call, which also sends its own result.
type Job = Box<dyn FnOnce() + Send>;

/// A thread that makes calls on behalf of another thread, so that the other one can stop waiting. It is reused, because starting a thread takes
/// as long as a small call.
#[derive(Debug)]
pub(in crate::kafka) struct DeadlineThread {
    thread: Option<(Sender<Job>, JoinHandle<()>)>,
    /// Once closed, no call waits.
    stop: Receiver<()>,
}

impl Default for DeadlineThread {
    fn default() -> DeadlineThread {
        DeadlineThread::until(never())
    }
}

impl DeadlineThread {
    /// A caller whose calls fail with [`KafkaError::Stopped`] once `stop` is closed.
    pub(in crate::kafka) fn until(stop: Receiver<()>) -> DeadlineThread {
        DeadlineThread { thread: None, stop }
    }

    /// Waits for `pause`; errs as [`DeadlineThread::within`] does if `stop` closes.
    pub(in crate::kafka) fn pause(&self, duration: Duration) -> Result<(), KafkaError> {
        pause(&self.stop, duration)
    }

    /// Runs `work` on the thread and returns its result, or [`KafkaError::TimedOut`] after `wait`. `doing` names the operation for error
    /// messages ("connect to localhost:9092").
    ///
    /// After `wait`, or if `stop` closes, the thread is abandoned, because nothing can end a thread in a system call, and the next call starts
    /// another one. A client program ends soon after that. In a daemon the number of abandoned threads is bounded: the crate's sockets time out
    /// after 120 s, which ends the thread and drops what it owns. It holds no lock. The request may still be carried out, so this is only for
    /// requests that may happen late or twice.
    ///
    /// A panic in `work` (the crate has some) ends that thread only, and is returned as [`KafkaError::Broken`].
    pub(in crate::kafka) fn within<T, W>(
        &mut self,
        wait: Duration,
        doing: &str,
        work: W,
    ) -> Result<T, KafkaError>
    where
        T: Send + 'static,
        W: FnOnce() -> Result<T, KafkaError> + Send + 'static,
    {
        let broken = |reason: &str| KafkaError::Broken {
            doing: doing.to_owned(),
            reason: reason.to_owned(),
        };
        let (done, result) = bounded(1);
        let job = Box::new(move || {
            // Fails only if nothing waits for the result any more.
            let _ = done.send(work());
        });
        // Put back only after a successful call.
        let (jobs, thread) = match self.thread.take() {
            Some(kept) => kept,
            None => start().map_err(|error| broken(&format!("no thread: {error}")))?,
        };
        jobs.send(job)
            .map_err(|_| broken("its thread has ended (a bug in the client library)"))?;
        select! {
            recv(result) -> result => match result {
                Ok(result) => {
                    self.thread = Some((jobs, thread));
                    result
                }
                Err(_) => Err(broken("it panicked (a bug in the client library)")),
            },
            recv(self.stop) -> _ => Err(KafkaError::Stopped),
            default(wait) => Err(KafkaError::TimedOut {
                doing: doing.to_owned(),
                waited: wait,
            }),
        }
    }
}

impl Drop for DeadlineThread {
    fn drop(&mut self) {
        if let Some((jobs, thread)) = self.thread.take() {
            drop(jobs);
            // An error means that it panicked while it dropped its last values, which affects no result.
            let _ = thread.join();
        }
    }
}

fn start() -> io::Result<(Sender<Job>, JoinHandle<()>)> {
    let (jobs, inbox) = bounded::<Job>(1);
    let thread = thread::Builder::new()
        .name("kafka".to_owned())
        .spawn(move || inbox.iter().for_each(|job| job()))?;
    Ok((jobs, thread))
}

/// Waits for `duration`; errs with [`KafkaError::Stopped`] once `stop` is closed.
pub(in crate::kafka) fn pause(stop: &Receiver<()>, duration: Duration) -> Result<(), KafkaError> {
    select! {
        recv(stop) -> _ => Err(KafkaError::Stopped),
        default(duration) => Ok(()),
    }
}

/// A single call, as [`DeadlineThread::within`].
pub(in crate::kafka) fn within<T, W>(wait: Duration, doing: &str, work: W) -> Result<T, KafkaError>
where
    T: Send + 'static,
    W: FnOnce() -> Result<T, KafkaError> + Send + 'static,
{
    DeadlineThread::default().within(wait, doing, work)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_call_returns_its_result_or_times_out() {
        let second = Duration::from_secs(1);
        assert_eq!(within(second, "add", || Ok(1 + 1)), Ok(2));
        let start_time = Instant::now();
        let hung = within(Duration::from_millis(50), "hang", move || {
            thread::sleep(second);
            Ok(())
        });
        assert!(start_time.elapsed() < second);
        assert_eq!(
            hung.unwrap_err().to_string(),
            "hang: no answer within 0.05 s"
        );
    }

    #[test]
    fn a_thread_is_reused_until_a_call_fails() {
        let mut caller = DeadlineThread::default();
        let second = Duration::from_secs(1);
        let mut thread_of = |wait, work: fn() -> Result<(), KafkaError>| {
            caller.within(wait, "call", move || {
                work()?;
                Ok(thread::current().id())
            })
        };
        let first = thread_of(second, || Ok(())).unwrap();
        assert_eq!(thread_of(second, || Ok(())), Ok(first));
        thread_of(second, || panic!("on purpose")).unwrap_err();
        let after_panic = thread_of(second, || Ok(())).unwrap();
        assert_ne!(after_panic, first);
        thread_of(Duration::ZERO, || {
            thread::sleep(Duration::from_millis(200));
            Ok(())
        })
        .unwrap_err();
        let after_hang = thread_of(second, || Ok(())).unwrap();
        assert_ne!(after_hang, after_panic);
        assert_eq!(thread_of(second, || Ok(())), Ok(after_hang));
    }

    #[test]
    fn a_stop_ends_the_wait() {
        let (closed, stop) = bounded(0);
        let mut caller = DeadlineThread::until(stop);
        let second = Duration::from_secs(1);
        assert_eq!(caller.within(second, "add", || Ok(1 + 1)), Ok(2));
        drop(closed);
        let start_time = Instant::now();
        let stopped = caller.within(second * 5, "hang", move || {
            thread::sleep(second);
            Ok(())
        });
        assert_eq!(stopped, Err(KafkaError::Stopped));
        assert_eq!(caller.pause(second), Err(KafkaError::Stopped));
        drop(caller);
        assert!(
            start_time.elapsed() < second,
            "the thread is not waited for either"
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
                .contains("parse: it panicked")
        );
    }
}
