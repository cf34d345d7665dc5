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
        let claim = self.assignment.claimed.claim();
        let is_handed_over =
            state_change.is_some_and(|change| self.outlets.finalize.send(change).is_ok());
        if !is_handed_over {
            // It is no longer renewed.
            self.scans.held_claims.drop_claim(&claim);
        }
    }

    /// The state change for `outcome`; none if the claim is no longer this server's.
    fn state_change(&self, outcome: Outcome) -> Option<StateChange> {
        let (found, seconds) = (self.found_text(), self.assigned_at.elapsed().as_secs_f64());
        let claimed = &self.assignment.claimed;
        let (attempt, percent) = (claimed.lineage.attempt, self.progress.percent);
        Some(match outcome {
            Outcome::Completed => {
                info!("scan done, found {found} in {seconds:.1} s, attempt {attempt}");
                StateChange::End(self.ending(State::Completed, None))
            }
            Outcome::Failed(cause)
                if claimed.lineage.failed_attempts() >= claimed.task.attempts =>
            {
                error!("attempt {attempt} failed, the last one: {cause}");
                StateChange::End(self.ending(State::Failed, Some(cause)))
            }
            Outcome::Failed(cause) => {
                let delay = retry_delay(claimed.lineage.failed_attempts(), fastrand::f64());
                warn!(
                    "attempt {attempt} failed after {seconds:.1} s, the next one begins in {:.1} s: {cause}",
                    delay.as_secs_f64()
                );
                self.release(delay, false, cause)
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

    /// `256`, or with several passes `256 (by pass: 250,256)`.
    fn found_text(&self) -> String {
        let found = self.found();
        match found.as_slice() {
            [_, _, ..] => format!("{} (by pass: {found})", found.most()),
            _ => found.most().to_string(),
        }
    }

    fn ending(&self, status: State, error: Option<String>) -> Ending {
        let claimed = &self.assignment.claimed;
        Ending {
            task_id: claimed.task.task_id.clone(),
            lineage: claimed.lineage,
            status,
            error: error.or_else(|| self.filter.note()),
            found: self.found(),
            resume: self.resume(),
        }
    }

    fn release(&self, delay: Duration, gives_back_attempt: bool, error: String) -> StateChange {
        let claimed = &self.assignment.claimed;
        let lineage = match gives_back_attempt {
            true => claimed.lineage.without_attempt(),
            false => claimed.lineage,
        };
        let record = StatusRecord {
            error: Some(error.clone()),
            resume: self.resume(),
            ..record_of(&claimed.task.task_id, &self.scans.server, lineage)
        }
        .with_found(self.found());
        StateChange::Release {
            claim: claimed.claim(),
            release: Release {
                delay,
                gives_back_attempt,
                failed_here: !gives_back_attempt,
                error: Some(error),
                resume: self.resume(),
            },
            record: Box::new(record),
        }
    }
}
