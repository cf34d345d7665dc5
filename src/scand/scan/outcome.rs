//! How a run of masscan ended, and what that means for the task. Pure.
//!
//! `completed` means that masscan reached 100 % and waited for the last answers. Its exit code proves nothing: it exits with 0 after an
//! interrupt too, and then its last progress line says `48.90% done, waiting …` (measured with 1.3.2).

use crate::masscan::Exit;
use crate::scand::claims::held_claims::Order;
use crate::scand::metrics::FailureReason;
use std::time::Duration;

/// masscan counts its wait in whole seconds of the wall clock, so it may wait this much less than `wait_s`.
const WAIT_TOLERANCE: Duration = Duration::from_millis(1500);

/// masscan reports another version than the one that was asked whether it can send shards.
pub const OTHER_VERSION: &str = "masscan was replaced by another version; the next attempt checks again whether it can send shards";
/// See [`StopReason::Overrun`].
const OVERRUN: &str = "answers came faster than the server could read them, and some may be lost: the server was busy, or the rate is too high for it";

/// Why this server ended masscan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// It hung after it had waited long enough (masscan issues 144, 558).
    Hung,
    /// Something else interrupted it: it waits, but has not sent everything.
    Interrupted,
    /// It printed no progress for too long.
    Silent,
    /// An order about the claim.
    Ordered(Order),
    /// The lease could not be renewed in time.
    Untrusted,
    /// This server did not run for this long, and masscan perhaps neither: answers may be lost.
    Standstill(Duration),
    /// masscan may have waited so long for its output to be read that answers are lost.
    Overrun,
    /// Kafka accepts findings too slowly, and the findings buffer is full.
    BufferFull,
    /// The attempt took longer than the task allows.
    TimedOut,
    /// The task has run for longer than this server allows in all; the text says for how long.
    OutOfTime(String),
    /// This server may no longer scan all of the targets.
    OutOfScope,
    /// It scans something else than it was given, or sends a shard in another order; the text says in what way.
    Mismatch(String),
}

/// How a run of masscan ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// This server ended it, or did not even start it.
    Stopped(StopReason),
    /// By itself, after something else had interrupted it.
    Interrupted,
    /// By itself, before it printed any progress.
    WhileStarting,
    /// By itself, before everything was sent.
    WhileSending,
    /// By itself, after everything was sent.
    WhileWaiting {
        /// For how long it had waited for late answers.
        waited: Duration,
        /// Whether it had counted its wait down to the end.
        has_counted_down: bool,
    },
}

impl RunEnd {
    /// Whether everything that masscan printed was printed completely.
    pub fn is_whole(&self) -> bool {
        !matches!(self, RunEnd::Stopped(reason) if *reason != StopReason::Hung)
    }
}

/// What else is known of a run once masscan is gone.
#[derive(Clone, Debug)]
pub struct Run {
    /// How the process ended.
    pub exit: Exit,
    /// The wait for late answers that was asked for.
    pub wait: Duration,
    /// Its last progress, in percent.
    pub percent: f64,
    /// masscan's own error message, if it had one.
    pub cause: Option<String>,
    /// The attempt's time-out.
    pub timeout: Option<Duration>,
    /// Whether its checkpoint is beyond the one at which it began.
    pub has_advanced: bool,
}

/// What happens to the task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The scan is complete. Once its findings are acknowledged, the task is completed.
    Completed,
    /// This attempt failed, for this reason; the text has the details.
    Failed(FailureReason, String),
    /// masscan ended before it printed any progress. If this server fails its self-test, the server is to blame, else the attempt has failed.
    NotStarted(String),
    /// This server is not able to run scans: the task goes back to the queue, and the attempt does not count.
    ServerFault(String),
    /// The task goes back to the queue; the attempt does not count.
    Released {
        /// Why, for the log and the task's `error`.
        reason: String,
        /// Whether the task should wait a moment before it is claimed again.
        pause: bool,
    },
    /// A person ended the task.
    Cancelled,
    /// The claim belongs to another server: nothing more is written.
    Abandoned,
}

/// What the end of a run means for the task.
pub fn decide(end: RunEnd, run: &Run) -> Outcome {
    match end {
        RunEnd::Stopped(reason) => stopped(reason, run),
        RunEnd::Interrupted => interrupted(run),
        RunEnd::WhileStarting => Outcome::NotStarted(exited(
            run,
            "it ended before it printed any progress".to_owned(),
        )),
        RunEnd::WhileSending => Outcome::Failed(
            FailureReason::Exited,
            exited(run, format!("stopped at {:.2} %", run.percent)),
        ),
        RunEnd::WhileWaiting {
            waited,
            has_counted_down,
        } => {
            let is_whole_wait = waited + WAIT_TOLERANCE >= run.wait && has_counted_down;
            if is_whole_wait && run.exit == Exit::Code(0) {
                return Outcome::Completed;
            }
            let cause = format!(
                "waited only {:.1} of {} s for late answers",
                waited.as_secs_f64(),
                run.wait.as_secs()
            );
            Outcome::Failed(FailureReason::Exited, exited(run, cause))
        }
    }
}

fn stopped(reason: StopReason, run: &Run) -> Outcome {
    let released = |reason: &str, pause| Outcome::Released {
        reason: reason.to_owned(),
        pause,
    };
    match reason {
        StopReason::Ordered(Order::Lost) => Outcome::Abandoned,
        StopReason::Ordered(Order::Cancel) => Outcome::Cancelled,
        StopReason::Ordered(Order::Pause) => released("paused", false),
        StopReason::Ordered(Order::Drain) => released("the server was shut down", false),
        StopReason::Untrusted => released("the lease could not be renewed in time", false),
        StopReason::Standstill(gap) => released(
            &format!(
                "the server did not run for {:.1} s, in which masscan may have lost answers",
                gap.as_secs_f64()
            ),
            false,
        ),
        // A busy moment costs no attempt. A scan that gets no further because of it does, so that it ends.
        StopReason::Overrun if run.has_advanced => released(OVERRUN, false),
        StopReason::Overrun => Outcome::Failed(FailureReason::Overrun, OVERRUN.to_owned()),
        StopReason::BufferFull => released(
            "suspended: Kafka accepts findings too slowly and the buffer is full",
            true,
        ),
        StopReason::OutOfScope => released(
            "the server may no longer scan all of the targets; the scan starts again without them",
            false,
        ),
        StopReason::Mismatch(why) => Outcome::Failed(FailureReason::Mismatch, why),
        StopReason::TimedOut => Outcome::Failed(
            FailureReason::TimedOut,
            format!(
                "timed out after {} s at {:.2} %",
                run.timeout.unwrap_or_default().as_secs(),
                run.percent
            ),
        ),
        StopReason::OutOfTime(why) => Outcome::Failed(
            FailureReason::OutOfTime,
            format!("ended at {:.2} %: {why}", run.percent),
        ),
        StopReason::Interrupted => interrupted(run),
        StopReason::Silent => Outcome::Failed(
            FailureReason::Silent,
            "masscan printed no progress and was killed".to_owned(),
        ),
        StopReason::Hung => Outcome::Completed,
    }
}

fn interrupted(run: &Run) -> Outcome {
    Outcome::Failed(
        FailureReason::Interrupted,
        format!(
            "masscan was interrupted from outside at {:.2} %",
            run.percent
        ),
    )
}

/// The error text for a masscan that exited unexpectedly; `cause` is used if masscan gave none.
fn exited(run: &Run, cause: String) -> String {
    let cause = run.cause.clone().unwrap_or(cause);
    format!("masscan {}: {cause}", run.exit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_secs(10);

    fn run() -> Run {
        Run {
            exit: Exit::Code(0),
            wait: WAIT,
            percent: 100.0,
            cause: None,
            timeout: None,
            has_advanced: false,
        }
    }

    fn waited(waited: Duration, has_counted_down: bool) -> RunEnd {
        RunEnd::WhileWaiting {
            waited,
            has_counted_down,
        }
    }

    fn failure(end: RunEnd, run: &Run) -> String {
        match decide(end, run) {
            Outcome::Failed(_, cause) => cause,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_a_complete_scan_is_completed() {
        assert_eq!(decide(waited(WAIT, true), &run()), Outcome::Completed);
        let killed = Run {
            exit: Exit::Signal(9),
            ..run()
        };
        let hung = RunEnd::Stopped(StopReason::Hung);
        assert_eq!(decide(hung, &killed), Outcome::Completed);
    }

    #[test]
    fn exit_code_0_alone_proves_nothing() {
        let halfway = Run {
            percent: 48.9,
            ..run()
        };
        assert_eq!(
            failure(RunEnd::WhileSending, &halfway),
            "masscan exited with code 0: stopped at 48.90 %"
        );
        let cut_short = waited(Duration::from_secs(3), true);
        assert!(failure(cut_short, &run()).contains("waited only 3.0 of 10 s"));
        assert!(
            failure(RunEnd::Interrupted, &run()).contains("interrupted from outside at 100.00 %")
        );
        let not_counted_down = waited(Duration::from_secs(9), false);
        assert!(failure(not_counted_down, &run()).contains("waited only 9.0 of 10 s"));
    }

    #[test]
    fn a_failure_has_masscans_own_message() {
        let failed = Run {
            exit: Exit::Code(1),
            percent: 0.0,
            cause: Some("FAIL: permission denied".to_owned()),
            ..run()
        };
        assert_eq!(
            failure(RunEnd::WhileSending, &failed),
            "masscan exited with code 1: FAIL: permission denied"
        );
        let killed = Run {
            exit: Exit::Signal(9),
            ..run()
        };
        assert!(
            failure(RunEnd::WhileSending, &killed).starts_with("masscan was killed by signal 9")
        );
    }

    #[test]
    fn each_reason_to_stop_has_its_outcome() {
        let run = Run {
            timeout: Some(Duration::from_secs(60)),
            percent: 12.0,
            ..run()
        };
        let stopped = |reason| decide(RunEnd::Stopped(reason), &run);
        let ordered = |order| stopped(StopReason::Ordered(order));
        assert_eq!(ordered(Order::Lost), Outcome::Abandoned);
        assert_eq!(ordered(Order::Cancel), Outcome::Cancelled);
        for (reason, pauses) in [
            (StopReason::Ordered(Order::Drain), false),
            (StopReason::Ordered(Order::Pause), false),
            (StopReason::Untrusted, false),
            (StopReason::Standstill(Duration::from_secs(5)), false),
            (StopReason::OutOfScope, false),
            (StopReason::BufferFull, true),
        ] {
            assert!(matches!(stopped(reason), Outcome::Released { pause, .. } if pause == pauses));
        }
        assert_eq!(
            stopped(StopReason::TimedOut),
            Outcome::Failed(
                FailureReason::TimedOut,
                "timed out after 60 s at 12.00 %".to_owned()
            )
        );
        assert_eq!(
            stopped(StopReason::OutOfTime("it has run for 7.0 d".to_owned())),
            Outcome::Failed(
                FailureReason::OutOfTime,
                "ended at 12.00 %: it has run for 7.0 d".to_owned()
            )
        );
        assert!(matches!(
            stopped(StopReason::Silent),
            Outcome::Failed(FailureReason::Silent, _)
        ));
        assert_eq!(
            stopped(StopReason::Mismatch(OTHER_VERSION.to_owned())),
            Outcome::Failed(FailureReason::Mismatch, OTHER_VERSION.to_owned())
        );
    }

    #[test]
    fn an_overrun_costs_an_attempt_only_if_the_scan_got_no_further() {
        let overrun = || RunEnd::Stopped(StopReason::Overrun);
        assert!(matches!(
            decide(overrun(), &run()),
            Outcome::Failed(FailureReason::Overrun, _)
        ));
        let further = Run {
            has_advanced: true,
            ..run()
        };
        assert!(matches!(
            decide(overrun(), &further),
            Outcome::Released { pause: false, .. }
        ));
    }
}
