//! How a run of masscan ended, and what that means for the task. Pure.
//!
//! `completed` means that masscan reached 100 % and waited for the last answers. Its exit code proves nothing: it exits with
//! 0 after an interrupt too, and then its last progress line says `48.90% done, waiting …` (measured with 1.3.2).

use crate::masscan::Exit;
use crate::scand::claims::held_claims::Order;
use std::time::Duration;

/// masscan counts its wait in whole seconds of the wall clock: this much less than `wait_s` may still be the whole wait.
const WAIT_SLACK: Duration = Duration::from_millis(1500);

/// What is said of a masscan that greets as another version than the one that was asked whether it may send shards.
pub const OTHER_VERSION: &str = "masscan is another version than it was a moment ago, and is asked anew whether it may send shards";
/// What is said of one that scans other targets than the shard's.
pub const OTHER_TARGETS: &str = "masscan scans other targets than the job's: /etc/masscan/masscan.conf adds some or leaves some out, and a shard is sent as it was pushed";
/// What is said of [`Stopped::Overrun`].
const OVERRUN: &str = "answers came faster than the server took them, and some may be lost: it was busy, or the rate is too high for it";

/// Why this server ended masscan itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It had waited long enough and hung (masscan issues 144, 558).
    Waited,
    /// Somebody interrupted it: it only waits, but has not sent everything.
    Interrupted,
    /// It showed no progress for too long.
    Silent,
    /// An order about the claim.
    Ordered(Order),
    /// The lease could not be renewed in time.
    Untrusted,
    /// This server stood still for so long, and masscan perhaps too: answers may be lost.
    StoodStill(Duration),
    /// masscan may have had to wait for its output to be taken for so long that answers are lost.
    Overrun,
    /// Kafka takes no findings, and the buffer is full.
    Backlog,
    /// The attempt took longer than the task allows.
    TimedOut,
    /// This server may no longer scan all that it scans.
    OutOfScope,
    /// It sends a shard otherwise than the task's record says; in what, for people.
    Unlike(&'static str),
}

/// What is known of a run of masscan once it is gone.
#[derive(Clone, Debug)]
pub struct Run {
    /// Why this server ended it; none where it ended by itself.
    pub stopped: Option<Stopped>,
    /// How the process ended.
    pub exit: Exit,
    /// For how long it had only waited, since its first line that said 100 %; none where it never said so.
    pub waited: Option<Duration>,
    /// Whether masscan said that somebody sent it a SIGINT. A second one ends its wait without a word, so that after the first
    /// one nothing is certain.
    pub interrupted: bool,
    /// The wait that was asked for.
    pub wait: Duration,
    /// Whether masscan itself had counted its wait down to its end.
    pub counted_down: bool,
    /// Its last progress, in percent.
    pub percent: f64,
    /// Its own words about an error, if it had any.
    pub words: Option<String>,
    /// The attempt's time-out.
    pub timeout: Option<Duration>,
    /// Whether it came further than where it began, for certain.
    pub advanced: bool,
}

/// What becomes of the task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The scan is whole; once its findings are acknowledged the task is completed.
    Completed,
    /// This attempt failed.
    Failed(String),
    /// The task goes back to the queue; the attempt doesn't count.
    Released {
        /// Why, for the log and the task's `error`.
        reason: String,
        /// Whether it is better not claimed again at once.
        pause: bool,
    },
    /// A person ended the task.
    Cancelled,
    /// The claim is somebody else's: nothing more is written.
    Abandoned,
}

impl Run {
    /// What this run means.
    pub fn outcome(&self) -> Outcome {
        let released = |reason: &str, pause| Outcome::Released {
            reason: reason.to_owned(),
            pause,
        };
        match &self.stopped {
            Some(Stopped::Ordered(Order::Lost)) => Outcome::Abandoned,
            Some(Stopped::Ordered(Order::Cancel)) => Outcome::Cancelled,
            Some(Stopped::Ordered(Order::Pause)) => released("it was paused", false),
            Some(Stopped::Ordered(Order::Drain)) => released("the server was shut down", false),
            Some(Stopped::Untrusted) => released("the lease could not be renewed in time", false),
            Some(Stopped::StoodStill(time)) => released(
                &format!(
                    "the server stood still for {:.1} s, in which masscan may have lost answers",
                    time.as_secs_f64()
                ),
                false,
            ),
            // A busy moment costs no attempt; a scan that gets nowhere for it does, so that it ends.
            Some(Stopped::Overrun) if self.advanced => released(OVERRUN, false),
            Some(Stopped::Overrun) => Outcome::Failed(OVERRUN.to_owned()),
            Some(Stopped::Backlog) => {
                released("Kafka takes no findings and the buffer is full", true)
            }
            Some(Stopped::OutOfScope) => released(
                "the server may no longer scan a part of it, and begins anew without that",
                false,
            ),
            Some(Stopped::Unlike(why)) => Outcome::Failed((*why).to_owned()),
            Some(Stopped::TimedOut) => Outcome::Failed(format!(
                "timed out after {} s at {:.2} %",
                self.timeout.unwrap_or_default().as_secs(),
                self.percent
            )),
            Some(Stopped::Interrupted) => self.interrupted(),
            Some(Stopped::Silent) => {
                Outcome::Failed("masscan showed no progress and was ended".to_owned())
            }
            Some(Stopped::Waited) => Outcome::Completed,
            None => self.by_itself(),
        }
    }

    fn interrupted(&self) -> Outcome {
        Outcome::Failed(format!(
            "masscan was interrupted by somebody else at {:.2} %",
            self.percent
        ))
    }

    fn by_itself(&self) -> Outcome {
        if self.interrupted {
            return self.interrupted();
        }
        let whole_wait = self
            .waited
            .is_some_and(|waited| waited + WAIT_SLACK >= self.wait);
        if self.exit == Exit::Code(0) && whole_wait && self.counted_down {
            return Outcome::Completed;
        }
        let cause = match (&self.words, self.waited) {
            (Some(words), _) => words.clone(),
            (None, Some(waited)) => format!(
                "waited only {:.1} of {} s for late answers",
                waited.as_secs_f64(),
                self.wait.as_secs()
            ),
            (None, None) => format!("stopped at {:.2} %", self.percent),
        };
        Outcome::Failed(format!("masscan {}: {cause}", self.exit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> Run {
        Run {
            stopped: None,
            exit: Exit::Code(0),
            waited: Some(Duration::from_secs(10)),
            wait: Duration::from_secs(10),
            counted_down: true,
            interrupted: false,
            percent: 100.0,
            words: None,
            timeout: None,
            advanced: false,
        }
    }

    fn failed(run: Run) -> String {
        match run.outcome() {
            Outcome::Failed(cause) => cause,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_a_whole_scan_is_completed() {
        assert_eq!(run().outcome(), Outcome::Completed);
        let hung = Run {
            stopped: Some(Stopped::Waited),
            exit: Exit::Signal(9),
            ..run()
        };
        assert_eq!(hung.outcome(), Outcome::Completed);
    }

    #[test]
    fn exit_code_0_alone_proves_nothing() {
        let interrupted = Run {
            waited: None,
            percent: 48.9,
            ..run()
        };
        assert_eq!(
            failed(interrupted),
            "masscan exited with code 0: stopped at 48.90 %"
        );
        let cut_short = Run {
            waited: Some(Duration::from_secs(3)),
            ..run()
        };
        assert!(failed(cut_short).contains("waited only 3.0 of 10 s"));
        let while_it_waited = Run {
            interrupted: true,
            ..run()
        };
        assert!(failed(while_it_waited).contains("interrupted by somebody else at 100.00 %"));
        let just_before_its_end = Run {
            waited: Some(Duration::from_secs(9)),
            counted_down: false,
            ..run()
        };
        assert!(failed(just_before_its_end).contains("waited only 9.0 of 10 s"));
    }

    #[test]
    fn a_failure_has_masscans_own_words() {
        let failed_run = Run {
            exit: Exit::Code(1),
            waited: None,
            percent: 0.0,
            words: Some("FAIL: permission denied".to_owned()),
            ..run()
        };
        assert_eq!(
            failed(failed_run),
            "masscan exited with code 1: FAIL: permission denied"
        );
        let killed = Run {
            exit: Exit::Signal(9),
            ..run()
        };
        assert!(failed(killed).starts_with("masscan was killed by signal 9"));
    }

    #[test]
    fn what_the_server_stops_is_told_apart() {
        let stopped = |why| {
            Run {
                stopped: Some(why),
                timeout: Some(Duration::from_secs(60)),
                percent: 12.0,
                ..run()
            }
            .outcome()
        };
        assert_eq!(stopped(Stopped::Ordered(Order::Lost)), Outcome::Abandoned);
        assert_eq!(stopped(Stopped::Ordered(Order::Cancel)), Outcome::Cancelled);
        for (why, pauses) in [
            (Stopped::Ordered(Order::Drain), false),
            (Stopped::Ordered(Order::Pause), false),
            (Stopped::Untrusted, false),
            (Stopped::StoodStill(Duration::from_secs(5)), false),
            (Stopped::Backlog, true),
        ] {
            assert!(matches!(stopped(why), Outcome::Released { pause, .. } if pause == pauses));
        }
        assert_eq!(
            stopped(Stopped::TimedOut),
            Outcome::Failed("timed out after 60 s at 12.00 %".to_owned())
        );
        assert!(matches!(stopped(Stopped::Silent), Outcome::Failed(_)));
        assert_eq!(
            stopped(Stopped::Unlike(OTHER_TARGETS)),
            Outcome::Failed(OTHER_TARGETS.to_owned())
        );
        assert!(matches!(stopped(Stopped::Overrun), Outcome::Failed(_)));
        let further = Run {
            stopped: Some(Stopped::Overrun),
            advanced: true,
            ..run()
        };
        assert!(matches!(
            further.outcome(),
            Outcome::Released { pause: false, .. }
        ));
    }
}
