//! The thread `finalize`: writes state changes to `scan-status` and then to the claim table, in the order that loses nothing.
//!
//! The order for an end: decided in Redis (from then on the task cannot end in another way) → terminal record on `scan-status` acknowledged
//! → finished in Redis. For a release the record comes first too, so that no other server's record can overtake it. A task's findings were
//! acknowledged before its end gets here, so what Kafka then says about the ends of `scan-results` holds for all of them.
//!
//! **Invariant:** no record that a task runs or has ended is sent under a claim that cannot be trusted.

pub mod commit;
mod record;
mod results_end;
mod steps;

pub use record::{record_of, state_record};
pub use results_end::ResultsEnd;
pub use steps::StateChange;

use crate::claim_table::{ClaimState, ClaimTable, ClaimTableError, Ending};
use crate::kafka::{Messages, Producer};
use crate::scand::claims::held_claims::HeldClaims;
use crate::scand::logging::with_task;
use crate::scand::metrics::{Operation, ServerMetrics};
use crate::scand::retry_log::RetryLog;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use log::{debug, warn};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use steps::{After, Step, after_acknowledgement, after_send_failure, begin, hold_back};

/// State changes that may wait for `finalize`.
pub(in crate::scand) const FINALIZE_QUEUE_MAX: usize = 4096;
/// Interval between two attempts at steps that could not be completed.
const FINALIZE_TICK: Duration = Duration::from_millis(50);
/// If a task's hash is missing when the task ends, a rebuild may restore it: it is waited for this many leases.
const GONE_WAIT_LEASES: u32 = 2;

/// State owned by the `finalize` thread.
pub struct Finalizer {
    /// This server's name.
    pub server: String,
    /// The lease: it limits how long a rebuild of Redis is waited for.
    pub lease: Duration,
    /// The claims of this server.
    pub held_claims: Arc<HeldClaims>,
    /// Its own connection to Redis.
    pub table: ClaimTable,
    /// Its own connection to `scan-status`.
    pub producer: Producer,
    /// Where the findings of completed tasks end.
    pub results_end: ResultsEnd,
    /// State changes of the other threads; closed: end once all are finalized.
    pub inbox: Receiver<StateChange>,
    /// Counts what happens.
    pub metrics: Arc<ServerMetrics>,
    /// Wakes `commit` when a task has ended.
    pub ended: Sender<()>,
}

impl Finalizer {
    /// Runs until the inbox is closed and every state change is finalized.
    pub fn run(mut self) {
        let mut steps: VecDeque<Step> = VecDeque::new();
        let mut kafka = RetryLog::new("write scan-status", Operation::WriteStatus, &self.metrics);
        let mut redis = RetryLog::new(
            "write state changes to Redis",
            Operation::WriteStatus,
            &self.metrics,
        );
        let mut open = true;
        while open || !steps.is_empty() {
            open = self.receive(&mut steps, open);
            let pause = self.advance(&mut steps, &mut kafka, &mut redis);
            // The inbox is closed, so there is nothing else to wait for.
            let waits = !open && !steps.is_empty();
            let pause = pause.or(waits.then_some(FINALIZE_TICK));
            if let Some(pause) = pause {
                std::thread::sleep(pause);
            }
        }
    }

    /// Takes what is in the inbox; waits only if there is nothing else to do. Returns false once it is closed.
    fn receive(&self, steps: &mut VecDeque<Step>, open: bool) -> bool {
        if !open {
            return false;
        }
        if steps.len() >= FINALIZE_QUEUE_MAX {
            std::thread::sleep(FINALIZE_TICK);
            return true;
        }
        let first = if steps.is_empty() {
            self.inbox.recv().map_err(RecvTimeoutError::from)
        } else {
            self.inbox.recv_timeout(FINALIZE_TICK)
        };
        match first {
            Ok(state_change) => steps.push_back(begin(state_change)),
            Err(RecvTimeoutError::Timeout) => return true,
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        let room = FINALIZE_QUEUE_MAX.saturating_sub(steps.len());
        steps.extend(self.inbox.try_iter().take(room).map(begin));
        true
    }

    /// Moves every state change as far as possible. Returns a pause if Kafka or Redis is unreachable.
    fn advance(
        &mut self,
        steps: &mut VecDeque<Step>,
        kafka: &mut RetryLog,
        redis: &mut RetryLog,
    ) -> Option<Duration> {
        let mut pause = self.advance_in_redis(steps, redis);
        pause = pause.max(self.publish(steps, kafka));
        pause = pause.max(self.advance_in_redis(steps, redis));
        steps.retain(|step| !matches!(step, Step::Done));
        pause
    }

    fn advance_in_redis(
        &mut self,
        steps: &mut VecDeque<Step>,
        retry_log: &mut RetryLog,
    ) -> Option<Duration> {
        for step in steps.iter_mut() {
            match self.redis_step(step) {
                Ok(Some(next)) => *step = next,
                Ok(None) => continue,
                Err(error) => return Some(retry_log.note(&error)),
            }
            retry_log.over();
        }
        None
    }

    /// Does a step in Redis and returns the next one; none if the step waits for something else.
    fn redis_step(&mut self, step: &Step) -> Result<Option<Step>, ClaimTableError> {
        Ok(Some(match step {
            Step::DecideEnd { ending, since } => match self.table.decide_end(ending)? {
                ClaimState::Ok => {
                    let record = state_record(&self.server, ending);
                    Step::Publish {
                        record: Box::new(record),
                        after: After::Finish(Box::new(ending.clone())),
                    }
                }
                ClaimState::Gone if self.may_come_back(*since) => return Ok(None),
                state => self.drop_ending(ending, state),
            },
            Step::Finish { ending, since } => match self.table.finish(ending)? {
                ClaimState::Ok => self.finished(ending),
                ClaimState::Gone if self.may_come_back(*since) => return Ok(None),
                // Its record is on Kafka, so a rebuilt Redis will know that it has ended.
                ClaimState::Gone => self.finished(ending),
                ClaimState::Lost => self.drop_ending(ending, ClaimState::Lost),
            },
            Step::Release { claim, release } => {
                if self.table.release(claim, release)? != ClaimState::Ok {
                    let _task = with_task(&claim.task_id);
                    warn!("not released, claim lost: it belongs to another server or to none");
                }
                self.held_claims.drop_claim(claim);
                Step::Done
            }
            Step::Published { change } => {
                self.table.published(change)?;
                Step::Done
            }
            Step::Publish { .. } | Step::Done => return Ok(None),
        }))
    }

    /// Whether to wait for a claim that is gone from Redis: the rebuild restores it with the same fence.
    fn may_come_back(&self, since: Instant) -> bool {
        since.elapsed() < self.lease * GONE_WAIT_LEASES
    }

    fn finished(&mut self, ending: &Ending) -> Step {
        let _task = with_task(&ending.task_id);
        debug!("ended in Redis");
        self.metrics.task_ended(ending.status);
        self.held_claims.drop_claim(&ending.claim());
        // If the channel is full, a wake-up is already pending.
        let _ = self.ended.try_send(());
        Step::Done
    }

    fn drop_ending(&mut self, ending: &Ending, state: ClaimState) -> Step {
        let _task = with_task(&ending.task_id);
        warn!(
            "its end as {} is not accepted: the claim {}",
            ending.status,
            if state == ClaimState::Gone {
                "is gone from Redis"
            } else {
                "belongs to another server"
            }
        );
        self.held_claims.drop_claim(&ending.claim());
        Step::Done
    }

    /// Sends all waiting records in one request.
    fn publish(
        &mut self,
        steps: &mut VecDeque<Step>,
        retry_log: &mut RetryLog,
    ) -> Option<Duration> {
        self.results_end.note(steps, &mut self.producer);
        // Afterwards, because it may have waited.
        hold_back(steps, &self.held_claims, Instant::now());
        let mut messages = Messages::default();
        for step in steps.iter() {
            if let Step::Publish { record, .. } = step {
                messages.push(record.task_id.as_bytes(), |value| {
                    serde_json::to_writer(value, record)
                        .expect("strings and integers always serialise to JSON");
                });
            }
        }
        if messages.is_empty() {
            return None;
        }
        if let Err(error) = self.producer.send(&Arc::new(messages)) {
            after_send_failure(steps);
            return Some(retry_log.note(&error));
        }
        retry_log.over();
        for step in steps.iter_mut() {
            let now = std::mem::replace(step, Step::Done);
            *step = match now {
                Step::Publish { after, .. } => after_acknowledgement(after),
                other => other,
            };
        }
        None
    }
}
