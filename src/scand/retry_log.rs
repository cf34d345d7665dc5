//! Retries while Kafka or Redis is unreachable: one log line at the beginning, one from time to time, one at the end.

use crate::model::backoff::Backoff;
use crate::scand::metrics::{Operation, ServerMetrics};
use crate::scand::peer_error::Cause;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use log::{info, warn};
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

/// A repeated message is logged at most this often.
const REPEATED_LOG_EVERY: Duration = Duration::from_secs(10);

/// Closed means stop. Nothing is ever sent on it.
pub type Stop = Receiver<()>;

/// The retries of one thread at one task, such as reading from Kafka.
#[derive(Debug)]
pub struct RetryLog {
    purpose: String,
    operation: Operation,
    metrics: Arc<ServerMetrics>,
    backoff: Backoff,
    since: Option<Instant>,
    logged: Option<Instant>,
}

impl RetryLog {
    /// `purpose` completes "cannot …" in the log: `read tasks`. Failures are counted in `metrics` under `operation`.
    pub fn new(
        purpose: impl Into<String>,
        operation: Operation,
        metrics: &Arc<ServerMetrics>,
    ) -> RetryLog {
        RetryLog {
            purpose: purpose.into(),
            operation,
            metrics: metrics.clone(),
            backoff: Backoff::default(),
            since: None,
            logged: None,
        }
    }

    /// Logs a failure (not too often), then pauses. Returns false if `stop` closed in the meantime.
    pub fn pause(&mut self, error: &impl Cause, stop: &Stop) -> bool {
        let pause = self.note(error);
        !matches!(
            stop.recv_timeout(pause),
            Ok(()) | Err(RecvTimeoutError::Disconnected)
        )
    }

    /// As [`RetryLog::pause`], for a thread that must not stop before its work is done: returns the pause to make.
    pub fn note(&mut self, error: &impl Cause) -> std::time::Duration {
        self.metrics.call_failed(self.operation, error.peer());
        if error.is_unreachable() {
            self.metrics
                .not_reached(&self.purpose, self.operation, error.peer(), error);
        }
        let now = Instant::now();
        self.since.get_or_insert(now);
        if self
            .logged
            .is_none_or(|last| now.duration_since(last) >= REPEATED_LOG_EVERY)
        {
            warn!("cannot {}, waiting: {error}", self.purpose);
            self.logged = Some(now);
        }
        self.backoff.pause()
    }

    /// It succeeded.
    pub fn over(&mut self) {
        self.backoff.reset();
        self.logged = None;
        if let Some(since) = self.since.take() {
            let lasted = since.elapsed().as_secs_f64();
            info!("can {} again after {lasted:.1} s", self.purpose);
            self.metrics.call_succeeded(&self.purpose);
        }
    }
}

/// Whether `stop` is closed.
pub fn stopped(stop: &Stop) -> bool {
    stop.try_recv() != Err(crossbeam_channel::TryRecvError::Empty)
}
