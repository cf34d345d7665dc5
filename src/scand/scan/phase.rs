//! The states of a scan, each with the data that exists only in it.
//!
//! ```text
//!                        ┌────── next pass ─────────┐
//!                        ▼                          │
//! Announcing ─▶ Scanning: Starting ─▶ Sending ─▶ Waiting ──────▶ Flushing ─▶ Ended
//!      │                   │           │   ╲        │               ▲
//!      │                   │           │    ▶ Interrupted ──────────┤
//!      │                   └───────────┴────────┴─▶ Ending ─────────┤
//!      └────────────────────────────────────────────────────────────┘
//! ```

use super::outcome::{Outcome, RunEnd, StopReason};
use crate::masscan::Child;
use crate::model::Progress;
use crate::model::checkpoint::CHECKPOINT_CHECK_EVERY;
use crossbeam_channel::Receiver;
use log::warn;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A scan checks its lease, its clocks and Kafka's acknowledgements this often.
pub(super) const TICK: Duration = CHECKPOINT_CHECK_EVERY;
/// The same while it only waits for acknowledgements.
const FLUSH_TICK: Duration = Duration::from_millis(60);
/// The last messages of masscan that are kept for an error text.
const MESSAGES_KEPT_MAX: usize = 16;

/// Where a scan is.
pub(super) enum Phase {
    /// Kafka does not have the record yet that the task runs.
    Announcing {
        /// Gets a message when Kafka has it; closed if it was not sent.
        acknowledged: Receiver<()>,
    },
    /// masscan runs.
    Scanning(Running),
    /// masscan is gone or never ran; findings wait for Kafka's acknowledgement.
    Flushing {
        outcome: Outcome,
        /// When the scan ends without the missing acknowledgements; none: it waits for all of them.
        give_up_at: Option<Instant>,
    },
    /// Nothing is left to do but to end the claim.
    Ended(Outcome),
}

/// A running masscan.
pub(super) struct Running {
    pub(super) child: Child,
    pub(super) stage: Stage,
    /// When the last progress line came.
    pub(super) last_progress: Instant,
    /// Its last messages.
    pub(super) messages: VecDeque<String>,
    /// Lines of its output that are not findings.
    pub(super) unreadable: u64,
}

/// What a running masscan does.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Stage {
    /// It has not printed progress yet.
    Starting,
    /// It sends probes.
    Sending,
    /// All probes are sent; it waits for late answers.
    Waiting {
        since: Instant,
        /// Whether it has counted its wait down to the end.
        has_counted_down: bool,
    },
    /// Something other than this server interrupted it: it waits, but it is not certain that everything was sent and answered.
    Interrupted { since: Instant },
    /// This server has killed it and takes its last output.
    Ending { reason: StopReason },
}

impl Phase {
    /// Interval between two checks of the clocks.
    pub(super) fn tick(&self) -> Duration {
        match self {
            Phase::Flushing { .. } => FLUSH_TICK,
            _ => TICK,
        }
    }
}

impl Running {
    pub(super) fn new(child: Child) -> Running {
        let now = Instant::now();
        Running {
            child,
            stage: Stage::Starting,
            last_progress: now,
            messages: VecDeque::new(),
            unreadable: 0,
        }
    }

    pub(super) fn keep_message(&mut self, message: String) {
        if self.messages.len() == MESSAGES_KEPT_MAX {
            self.messages.pop_front();
        }
        self.messages.push_back(message);
    }

    /// Counts a line that is not a finding; logs the first one.
    pub(super) fn note_unreadable(&mut self, line: &str) {
        self.unreadable += 1;
        if self.unreadable == 1 {
            warn!("a line of masscan's output is not a finding: {line}");
        }
    }
}

impl Stage {
    /// Whether masscan sends no more probes.
    pub(super) fn sends_no_more(&self) -> bool {
        !matches!(self, Stage::Starting | Stage::Sending)
    }

    /// The stage after a progress line that was read at `read_at`.
    pub(super) fn after_progress(self, progress: &Progress, read_at: Instant) -> Stage {
        match self {
            Stage::Starting | Stage::Sending if progress.all_sent() => Stage::Waiting {
                since: read_at,
                // The first line after the last probe shows 0 seconds too; then masscan counts down.
                has_counted_down: false,
            },
            // It waits although it has not sent everything.
            Stage::Starting | Stage::Sending if progress.waiting_s.is_some() => {
                Stage::Interrupted { since: read_at }
            }
            Stage::Starting => Stage::Sending,
            Stage::Waiting { since, .. } => Stage::Waiting {
                since,
                has_counted_down: progress.waiting_s.is_some_and(|s| s <= 0),
            },
            other => other,
        }
    }

    /// The stage after masscan has reported a SIGINT. A second SIGINT would end its wait without a message, so nothing is certain after
    /// the first one.
    pub(super) fn after_interrupt(self, now: Instant) -> Stage {
        match self {
            Stage::Starting | Stage::Sending | Stage::Waiting { .. } => {
                Stage::Interrupted { since: now }
            }
            other => other,
        }
    }

    /// Why masscan, which should have ended `limit` after it began to wait, is to be killed at `now`.
    pub(super) fn overdue(&self, now: Instant, limit: Duration) -> Option<StopReason> {
        match self {
            Stage::Waiting { since, .. } if now.duration_since(*since) >= limit => {
                Some(StopReason::Hung)
            }
            Stage::Interrupted { since } if now.duration_since(*since) >= limit => {
                Some(StopReason::Interrupted)
            }
            _ => None,
        }
    }

    /// How the run ended if masscan's output ends in this stage, at `now`.
    pub(super) fn into_end(self, now: Instant) -> RunEnd {
        match self {
            Stage::Starting => RunEnd::WhileStarting,
            Stage::Sending => RunEnd::WhileSending,
            Stage::Waiting {
                since,
                has_counted_down,
            } => RunEnd::WhileWaiting {
                waited: now.duration_since(since),
                has_counted_down,
            },
            Stage::Interrupted { .. } => RunEnd::Interrupted,
            Stage::Ending { reason } => RunEnd::Stopped(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(percent: f64, waiting_s: Option<i64>) -> Progress {
        Progress {
            percent,
            waiting_s,
            ..Progress::default()
        }
    }

    #[test]
    fn a_progress_line_moves_a_scan_from_sending_to_waiting_and_through_its_countdown() {
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        let waiting = |has_counted_down| Stage::Waiting {
            since: start,
            has_counted_down,
        };
        let interrupted = Stage::Interrupted { since: start };
        let ending = Stage::Ending {
            reason: StopReason::Silent,
        };
        for (before, percent, waiting_s, read_at, after) in [
            (Stage::Starting, 0.0, None, start, Stage::Sending),
            (Stage::Starting, 100.0, Some(0), start, waiting(false)),
            (Stage::Starting, 4.0, Some(9), start, interrupted.clone()),
            (Stage::Sending, 50.0, None, start, Stage::Sending),
            (Stage::Sending, 100.0, None, start, Stage::Sending),
            (Stage::Sending, 100.0, Some(0), start, waiting(false)),
            (Stage::Sending, 48.9, Some(9), start, interrupted.clone()),
            (waiting(false), 100.0, Some(3), later, waiting(false)),
            (waiting(false), 100.0, Some(0), later, waiting(true)),
            (waiting(true), 100.0, Some(-9), later, waiting(true)),
            (interrupted.clone(), 100.0, Some(0), later, interrupted),
            (ending.clone(), 100.0, Some(0), later, ending),
        ] {
            let progress = progress(percent, waiting_s);
            assert_eq!(
                before.clone().after_progress(&progress, read_at),
                after,
                "{before:?} {progress:?}"
            );
        }
    }

    #[test]
    fn an_interrupted_scan_never_counts_as_waiting_again() {
        let start = Instant::now();
        for before in [
            Stage::Sending,
            Stage::Waiting {
                since: start,
                has_counted_down: true,
            },
        ] {
            let stage = before
                .after_interrupt(start)
                .after_progress(&progress(100.0, Some(0)), start);
            assert_eq!(stage, Stage::Interrupted { since: start });
            assert_eq!(stage.into_end(start), RunEnd::Interrupted);
        }
    }

    #[test]
    fn only_a_masscan_that_waits_is_overdue() {
        let (start, limit) = (Instant::now(), Duration::from_secs(11));
        let waiting = Stage::Waiting {
            since: start,
            has_counted_down: false,
        };
        assert_eq!(waiting.overdue(start + limit / 2, limit), None);
        assert_eq!(
            waiting.overdue(start + limit, limit),
            Some(StopReason::Hung)
        );
        let interrupted = Stage::Interrupted { since: start };
        assert_eq!(
            interrupted.overdue(start + limit, limit),
            Some(StopReason::Interrupted)
        );
        assert_eq!(Stage::Sending.overdue(start + limit * 9, limit), None);
    }
}
