//! The end of a claim: the state change that follows from a scan's outcome. If masscan did not start, this is where the server tests itself.

use super::Scan;
use super::outcome::Outcome;
use crate::claim_table::{Ending, Release};
use crate::masscan;
use crate::model::lease::retry_delay;
use crate::model::{Extent, State, StatusRecord};
use crate::scand::check;
use crate::scand::claims::dispatch::Assignment;
use crate::scand::finalize::{StateChange, record_of};
use crate::scand::metrics::{AttemptEnd, FailureReason};
use log::{error, info, warn};
use std::time::{Duration, Instant};

/// A task that was suspended because Kafka accepts findings too slowly may be claimed again after this long.
const SUSPENDED_DELAY: Duration = Duration::from_secs(5);

/// Why a task goes back to the queue.
#[derive(Clone, Copy, PartialEq)]
enum GivenBackAfter {
    /// Its attempt failed.
    Failure,
    /// This server is not able to run it: the attempt does not count, but other servers are preferred for a while.
    ServerFault,
    /// The scan was stopped: the attempt does not count.
    Stop,
}

impl Scan<'_> {
    /// Logs the outcome and hands the state change to `finalize`.
    pub(super) fn end_claim(self, outcome: Outcome) {
        let outcome = match outcome {
            Outcome::NotStarted(cause) => self.blame(cause),
            other => other,
        };
        self.count(&outcome);
        let state_change = self.state_change(outcome);
        let claim = self.assignment.claimed.claim();
        let is_handed_over =
            state_change.is_some_and(|change| self.outlets.finalize.send(change).is_ok());
        if !is_handed_over {
            // It is no longer renewed.
            self.scans.held_claims.drop_claim(&claim);
        }
    }

    /// Counts the end of this attempt.
    fn count(&self, outcome: &Outcome) {
        let metrics = &self.scans.metrics;
        let end = match outcome {
            Outcome::Completed => AttemptEnd::Completed,
            Outcome::Failed(reason, _) => {
                metrics.attempt_failed(*reason);
                AttemptEnd::Failed
            }
            Outcome::NotStarted(_) => AttemptEnd::Failed,
            Outcome::Cancelled => AttemptEnd::Cancelled,
            Outcome::Released { .. } | Outcome::ServerFault(_) => AttemptEnd::Released,
            Outcome::Abandoned => AttemptEnd::Abandoned,
        };
        metrics.attempt_ended(end, self.assigned_at.elapsed());
    }

    /// Decides whether the task or this server is to blame that masscan did not start.
    fn blame(&self, cause: String) -> Outcome {
        match check::first_fault(&self.scans.options, true) {
            Some(fault) => Outcome::ServerFault(fault),
            None if masscan::is_fault_of_network(&cause) => Outcome::ServerFault(cause),
            None => Outcome::Failed(FailureReason::NotStarted, cause),
        }
    }

    /// The state change for `outcome`; none if the claim is no longer this server's.
    fn state_change(&self, outcome: Outcome) -> Option<StateChange> {
        let (found, seconds) = (self.found_text(), self.assigned_at.elapsed().as_secs_f64());
        let claimed = &self.assignment.claimed;
        let (attempt, percent) = (claimed.lineage.attempt, self.progress.percent);
        // Another attempt would not have more time.
        let is_last_attempt = claimed.lineage.failed_attempts() >= claimed.task.attempts
            || matches!(outcome, Outcome::Failed(FailureReason::OutOfTime, _));
        Some(match outcome {
            Outcome::Completed => {
                info!("scan done, found {found} in {seconds:.1} s, attempt {attempt}");
                self.ending(State::Completed, None)
            }
            Outcome::ServerFault(fault) => {
                warn!("given back without an attempt: this server cannot scan: {fault}");
                self.scans.health.failed(&fault, Instant::now());
                let error = format!("{} cannot scan: {fault}", self.scans.server);
                self.release(Duration::ZERO, GivenBackAfter::ServerFault, error)
            }
            Outcome::Failed(_, cause) | Outcome::NotStarted(cause) if is_last_attempt => {
                error!("attempt {attempt} failed, the last one: {cause}");
                self.ending(State::Failed, Some(cause))
            }
            Outcome::Failed(_, cause) | Outcome::NotStarted(cause) => {
                let delay = retry_delay(claimed.lineage.failed_attempts(), fastrand::f64());
                warn!(
                    "attempt {attempt} failed after {seconds:.1} s, the next one begins in {:.1} s: {cause}",
                    delay.as_secs_f64()
                );
                self.release(delay, GivenBackAfter::Failure, cause)
            }
            Outcome::Released { reason, pause } => {
                info!(
                    "released at {percent:.2} % after {seconds:.1} s, to continue at {}: {reason}",
                    self.resume().position
                );
                let delay = match pause {
                    true => SUSPENDED_DELAY,
                    false => Duration::ZERO,
                };
                self.release(delay, GivenBackAfter::Stop, reason)
            }
            Outcome::Cancelled => {
                info!("cancelled at {percent:.2} % after {seconds:.1} s, found {found}");
                self.ending(State::Cancelled, None)
            }
            Outcome::Abandoned => {
                warn!("abandoned after {seconds:.1} s: the claim belongs to another server");
                return None;
            }
        })
    }

    /// `256`, or with several passes `256 (by pass: 250,256)`.
    fn found_text(&self) -> String {
        let found = self.found();
        match found.as_slice() {
            [_, _, ..] => format!("{} (by pass: {found})", found.most()),
            _ => found.most().to_string(),
        }
    }

    fn ending(&self, status: State, error: Option<String>) -> StateChange {
        StateChange::End(Box::new(Ending {
            task_id: self.assignment.claimed.task.task_id.clone(),
            lineage: self.lineage(),
            status,
            error: error.or_else(|| self.notes()),
            found: self.found(),
            resume: self.resume(),
            extent: match status {
                State::Completed => self.extent(),
                _ => Extent::default(),
            },
        }))
    }

    /// What the whole scan covered. Earlier attempts that count left out the same addresses: a checkpoint is valid for one probe order.
    fn extent(&self) -> Extent {
        let Assignment {
            claimed, denied, ..
        } = &self.assignment;
        Extent::new(claimed.begun_ms, &claimed.task.targets(), denied)
    }

    /// What people should know about a scan that did not fail.
    fn notes(&self) -> Option<String> {
        let notes: Vec<String> = self
            .filter
            .note()
            .into_iter()
            .chain(self.drops.note())
            .collect();
        (!notes.is_empty()).then(|| notes.join("; "))
    }

    fn release(&self, delay: Duration, why: GivenBackAfter, error: String) -> StateChange {
        let claimed = &self.assignment.claimed;
        let gives_back_attempt = why != GivenBackAfter::Failure;
        let lineage = match gives_back_attempt {
            true => self.lineage().without_attempt(),
            false => self.lineage(),
        };
        let record = StatusRecord {
            error: Some(error.clone()),
            resume: self.resume(),
            ..record_of(&claimed.task.task_id, &self.scans.server, lineage)
        }
        .with_found(self.found());
        StateChange::Release {
            claim: claimed.claim(),
            release: Box::new(Release {
                delay,
                gives_back_attempt,
                failed_here: why != GivenBackAfter::Stop,
                error: Some(error),
                resume: self.resume(),
            }),
            record: Box::new(record),
        }
    }
}
