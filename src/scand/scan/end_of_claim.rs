//! The end of a claim: the state change that follows from a scan's outcome.

use super::Scan;
use super::outcome::Outcome;
use crate::claim_table::{Ending, Release};
use crate::model::lease::retry_delay;
use crate::model::{State, StatusRecord};
use crate::scand::finalize::{StateChange, record_of};
use log::{error, info, warn};
use std::time::Duration;

/// A task that was suspended because Kafka accepts findings too slowly may be claimed again after this long.
const SUSPENDED_DELAY: Duration = Duration::from_secs(5);

impl Scan<'_> {
    /// Logs the outcome and hands the state change to `finalize`.
    pub(super) fn end_claim(self, outcome: Outcome) {
        let state_change = self.state_change(outcome);
        let claim = &self.assignment.claimed.claim;
        let is_handed_over =
            state_change.is_some_and(|change| self.outlets.finalize.send(change).is_ok());
        if !is_handed_over {
            // It is no longer renewed.
            self.scans.held_claims.drop_claim(claim);
        }
    }

    /// The state change for `outcome`; none if the claim is no longer this server's.
    fn state_change(&self, outcome: Outcome) -> Option<StateChange> {
        let (found, seconds) = (self.found(), self.assigned_at.elapsed().as_secs_f64());
        let claimed = &self.assignment.claimed;
        let (attempt, percent) = (claimed.attempt, self.progress.percent);
        Some(match outcome {
            Outcome::Completed => {
                info!("scan done, found {found} in {seconds:.1} s, attempt {attempt}");
                StateChange::End(self.ending(State::Completed, None))
            }
            Outcome::Failed(cause) if self.failed_attempts() >= claimed.task.attempts => {
                error!("attempt {attempt} failed, the last one: {cause}");
                StateChange::End(self.ending(State::Failed, Some(cause)))
            }
            Outcome::Failed(cause) => {
                let delay = retry_delay(self.failed_attempts(), fastrand::f64());
                warn!(
                    "attempt {attempt} failed after {seconds:.1} s, the next one begins in {:.1} s: {cause}",
                    delay.as_secs_f64()
                );
                self.release(delay, false, cause)
            }
            Outcome::Released { reason, pause } => {
                info!(
                    "released at {percent:.2} % after {seconds:.1} s, to continue at index {}: {reason}",
                    self.resume().index
                );
                let delay = match pause {
                    true => SUSPENDED_DELAY,
                    false => Duration::ZERO,
                };
                self.release(delay, true, reason)
            }
            Outcome::Cancelled => {
                info!("cancelled at {percent:.2} % after {seconds:.1} s, found {found}");
                StateChange::End(self.ending(State::Cancelled, None))
            }
            Outcome::Abandoned => {
                warn!("abandoned after {seconds:.1} s: the claim belongs to another server");
                return None;
            }
        })
    }

    fn ending(&self, status: State, error: Option<String>) -> Ending {
        let claimed = &self.assignment.claimed;
        Ending {
            claim: claimed.claim.clone(),
            status,
            error,
            found: self.found(),
            attempt: claimed.attempt,
            lost: claimed.lost,
            resume: self.resume(),
            retry: claimed.task.retry,
            partition: claimed.partition,
            offset: claimed.offset,
        }
    }

    fn release(&self, delay: Duration, gives_back_attempt: bool, error: String) -> StateChange {
        let claimed = &self.assignment.claimed;
        let attempt = claimed.attempt - u32::from(gives_back_attempt);
        let record = StatusRecord {
            fence: claimed.claim.fence,
            found: self.found(),
            error: Some(error.clone()),
            lost: claimed.lost,
            resume: self.resume(),
            retry: claimed.task.retry,
            ..record_of(
                &claimed.claim.task_id,
                &self.scans.server,
                attempt,
                claimed.partition,
                claimed.offset,
            )
        };
        StateChange::Release {
            claim: claimed.claim.clone(),
            release: Release {
                delay,
                gives_back_attempt,
                failed_here: !gives_back_attempt,
                error: Some(error),
                resume: self.resume(),
            },
            record,
        }
    }

    /// Failed attempts, this one included. Lost servers do not count: a bad host must not use up a good task.
    fn failed_attempts(&self) -> u32 {
        let claimed = &self.assignment.claimed;
        claimed.attempt.saturating_sub(claimed.lost)
    }
}
