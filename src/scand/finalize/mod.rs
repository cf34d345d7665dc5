//! The thread `finalize`: writes state changes to `scan-status` and then to the claim table, in the order that loses nothing.
//!
//! The order for an end: decided in Redis (from then on the task cannot end in another way) → terminal record on `scan-status` acknowledged
//! → finished in Redis. For a release the record comes first too, so that no other server's record can overtake it. A task's findings were
//! acknowledged before its end gets here.
//!
//! **Invariant:** no record that a task runs or has ended is sent under a claim that cannot be trusted.

pub mod commit;

use crate::claim_table::{Claim, ClaimState, ClaimTable, ClaimTableError, Ending, Release};
use crate::kafka::{Messages, Producer};
use crate::model::{FoundByPass, Lineage, Resume, State, StatusRecord, TaskId};
use crate::scand::claims::held_claims::HeldClaims;
use crate::scand::logging::with_task;
use crate::scand::retry_log::RetryLog;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use log::{debug, error, info, warn};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// State changes that may wait for `finalize`.
pub(in crate::scand) const FINALIZE_QUEUE_MAX: usize = 4096;
/// Interval between two attempts at steps that could not be completed.
const FINALIZE_TICK: Duration = Duration::from_millis(50);
/// If a task's hash is missing when the task ends, a rebuild may restore it: it is waited for this many leases.
const GONE_WAIT_LEASES: u32 = 2;

/// What other threads send to `finalize`.
#[derive(Debug)]
pub enum StateChange {
    /// A state change that only has to be written to Kafka.
    Announce {
        /// The record.
        record: Box<StatusRecord>,
        /// Gets a message once Kafka has the record; dropped without one if it is not sent.
        acknowledge: Option<Sender<()>>,
    },
    /// A state change that was made without a server, from the outbox.
    Publish {
        /// The record.
        record: Box<StatusRecord>,
        /// The task, and the fence of the change.
        change: Claim,
    },
    /// A task ends.
    End(Ending),
    /// A task goes back to the queue.
    Release {
        /// The claim that is released.
        claim: Claim,
        /// How.
        release: Release,
        /// The record of the state change.
        record: Box<StatusRecord>,
    },
}

/// The next step of a state change.
#[derive(Debug)]
enum Step {
    DecideEnd(Ending, Instant),
    Publish(Box<StatusRecord>, After),
    Finish(Ending, Instant),
    Release(Claim, Release),
    Published(Claim),
    Done,
}

/// The step after Kafka has acknowledged the record.
#[derive(Debug)]
enum After {
    Nothing(Option<Sender<()>>),
    Finish(Ending),
    Release(Claim, Release),
    Published(Claim),
}

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
    /// State changes of the other threads; closed: end once all are finalized.
    pub inbox: Receiver<StateChange>,
    /// Wakes `commit` when a task has ended.
    pub ended: Sender<()>,
}

impl Finalizer {
    /// Runs until the inbox is closed and every state change is finalized.
    pub fn run(mut self) {
        let mut steps: VecDeque<Step> = VecDeque::new();
        let mut kafka = RetryLog::new("write scan-status");
        let mut redis = RetryLog::new("write state changes to Redis");
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
            Step::DecideEnd(ending, since) => match self.table.decide_end(ending)? {
                ClaimState::Ok => {
                    let record = state_record(&self.server, ending);
                    Step::Publish(Box::new(record), After::Finish(ending.clone()))
                }
                ClaimState::Gone if self.may_come_back(*since) => return Ok(None),
                state => self.drop_ending(ending, state),
            },
            Step::Finish(ending, since) => match self.table.finish(ending)? {
                ClaimState::Ok => self.finished(&ending.claim()),
                ClaimState::Gone if self.may_come_back(*since) => return Ok(None),
                // Its record is on Kafka, so a rebuilt Redis will know that it has ended.
                ClaimState::Gone => self.finished(&ending.claim()),
                ClaimState::Lost => self.drop_ending(ending, ClaimState::Lost),
            },
            Step::Release(claim, release) => {
                if self.table.release(claim, release)? != ClaimState::Ok {
                    let _task = with_task(&claim.task_id);
                    warn!("not released: the claim is no longer this server's");
                }
                self.held_claims.drop_claim(claim);
                Step::Done
            }
            Step::Published(change) => {
                self.table.published(change)?;
                Step::Done
            }
            Step::Publish(..) | Step::Done => return Ok(None),
        }))
    }

    /// Whether to wait for a claim that is gone from Redis: the rebuild restores it with the same fence.
    fn may_come_back(&self, since: Instant) -> bool {
        since.elapsed() < self.lease * GONE_WAIT_LEASES
    }

    fn finished(&mut self, claim: &Claim) -> Step {
        let _task = with_task(&claim.task_id);
        debug!("ended in Redis");
        self.held_claims.drop_claim(claim);
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
        hold_back(steps, &self.held_claims, Instant::now());
        let mut messages = Messages::default();
        for step in steps.iter() {
            if let Step::Publish(record, _) = step {
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
                Step::Publish(_, after) => after_acknowledgement(after),
                other => other,
            };
        }
        None
    }
}

/// Takes back records that must not be sent at `now` because their claim can no longer be trusted: this server was frozen or Redis is
/// unreachable, and another server may run the task by now. An end is decided again; an announcement is dropped.
fn hold_back(steps: &mut VecDeque<Step>, held_claims: &HeldClaims, now: Instant) {
    for step in steps.iter_mut() {
        let claim = match step {
            Step::Publish(_, After::Finish(ending)) => Some(ending.claim()),
            Step::Publish(record, After::Nothing(_)) => claim_of_running(record),
            _ => None,
        };
        if claim.is_some_and(|claim| !held_claims.is_trusted(&claim, now)) {
            *step = match std::mem::replace(step, Step::Done) {
                Step::Publish(_, After::Finish(ending)) => Step::DecideEnd(ending, now),
                _ => Step::Done,
            };
        }
    }
}

/// The claim of a record that says that a task runs.
fn claim_of_running(record: &StatusRecord) -> Option<Claim> {
    let task_id = record.task_id.parse().ok()?;
    (record.status == State::Running).then_some(Claim {
        task_id,
        fence: record.lineage.fence,
    })
}

/// The next steps after Kafka did not accept the records.
///
/// A release does not wait for Kafka, because another server should get the task soon. Its record is not sent later, because it could then
/// follow that of the next claim; without it a rebuild holds the task for one lease. An end is decided again before its record is sent,
/// because by then another server may have the claim and run the task. An entry of the outbox is read from there
/// again.
fn after_send_failure(steps: &mut VecDeque<Step>) {
    for step in steps.iter_mut() {
        *step = match std::mem::replace(step, Step::Done) {
            Step::Publish(_, After::Release(claim, release)) => Step::Release(claim, release),
            Step::Publish(_, After::Finish(ending)) => Step::DecideEnd(ending, Instant::now()),
            Step::Publish(_, After::Published(_)) => Step::Done,
            other => other,
        };
    }
}

fn begin(state_change: StateChange) -> Step {
    match state_change {
        StateChange::Announce {
            record,
            acknowledge,
        } => Step::Publish(record, After::Nothing(acknowledge)),
        StateChange::Publish { record, change } => Step::Publish(record, After::Published(change)),
        StateChange::End(ending) => Step::DecideEnd(ending, Instant::now()),
        StateChange::Release {
            claim,
            release,
            record,
        } => Step::Publish(record, After::Release(claim, release)),
    }
}

fn after_acknowledgement(after: After) -> Step {
    match after {
        After::Nothing(Some(waiting)) => {
            // A scan that no longer waits does not need the answer.
            let _ = waiting.try_send(());
            Step::Done
        }
        After::Nothing(None) => Step::Done,
        After::Release(claim, release) => Step::Release(claim, release),
        After::Published(change) => Step::Published(change),
        After::Finish(ending) => {
            let _task = with_task(&ending.task_id);
            match (&ending.error, ending.status) {
                (Some(cause), State::Completed) | (Some(cause), State::Cancelled) => {
                    info!("{} ({cause})", ending.status);
                }
                // `poll` has logged it with its partition and offset.
                (Some(cause), State::Rejected) => {
                    debug!("rejected: {cause}");
                }
                (Some(cause), status) => error!("{status}: {cause}"),
                (None, status) => info!("{status}"),
            }
            Step::Finish(ending, Instant::now())
        }
    }
}

/// The record of an end, or of a change by an order.
pub fn state_record(server: &str, ending: &Ending) -> StatusRecord {
    StatusRecord {
        status: ending.status,
        error: ending.error.clone(),
        resume: ending.resume,
        ..record_of(&ending.task_id, server, ending.lineage)
    }
    .with_found(ending.found)
}

/// A record of the state `queued`; the caller sets what differs.
pub fn record_of(task_id: &TaskId, server: &str, lineage: Lineage) -> StatusRecord {
    StatusRecord {
        task_id: task_id.to_string(),
        status: State::Queued,
        server: server.to_owned(),
        lineage,
        found: 0,
        found_by_pass: FoundByPass::default(),
        error: None,
        resume: Resume::default(),
        at_ms: unix_ms(),
    }
}

/// Now, in unix milliseconds by this server's clock.
pub fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::{TryRecvError, bounded};

    fn claim(id: &str) -> Claim {
        Claim {
            task_id: id.parse().unwrap(),
            fence: 7,
        }
    }

    fn end(id: &str) -> Step {
        let ending = Ending {
            task_id: id.parse().unwrap(),
            lineage: lineage(),
            status: State::Completed,
            error: None,
            found: FoundByPass::default(),
            resume: Resume::default(),
        };
        Step::Publish(Box::new(state_record("a", &ending)), After::Finish(ending))
    }

    fn lineage() -> Lineage {
        Lineage {
            attempt: 1,
            fence: 7,
            ..Lineage::default()
        }
    }

    fn announcement(id: &str, status: State, acknowledge: Sender<()>) -> Step {
        let record = StatusRecord {
            status,
            ..record_of(&id.parse().unwrap(), "a", lineage())
        };
        Step::Publish(Box::new(record), After::Nothing(Some(acknowledge)))
    }

    #[test]
    fn no_end_or_run_is_published_under_a_claim_that_is_not_trusted() {
        let (held_claims, start, lease) = (
            HeldClaims::default(),
            Instant::now(),
            Duration::from_secs(10),
        );
        held_claims.take(&claim("mine"), start, lease);
        let (acknowledge, answer) = bounded(1);
        let steps = || {
            VecDeque::from([
                end("mine"),
                announcement("mine", State::Running, acknowledge.clone()),
                announcement("mine", State::Queued, acknowledge.clone()),
                end("dropped"),
            ])
        };

        let mut trusted = steps();
        hold_back(&mut trusted, &held_claims, start);
        assert!(
            trusted
                .iter()
                .take(3)
                .all(|step| matches!(step, Step::Publish(..)))
        );
        assert!(matches!(trusted[3], Step::DecideEnd(..)), "held no longer");

        let mut late = steps();
        hold_back(&mut late, &held_claims, start + lease);
        assert!(
            matches!(late[0], Step::DecideEnd(..)),
            "Redis is asked again"
        );
        assert!(matches!(late[1], Step::Done));
        assert!(matches!(late[2], Step::Publish(..)), "no claim is needed");
        drop((trusted, late, acknowledge));
        assert_eq!(answer.try_recv(), Err(TryRecvError::Disconnected));
    }
}
