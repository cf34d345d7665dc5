//! The thread `finalize`: brings every claim to its end, in the order that loses nothing.
//!
//! The order for an end: verdict in Redis (from then on it can't end otherwise) → terminal record on `scan-status`
//! acknowledged → finish in Redis. For a task that goes back to the queue: record first too, so that no other server's
//! record can overtake it. Findings were acknowledged before anything gets here. Nothing here waits for a scan.
//!
//! **Invariant:** no record that a task ended or runs is sent under a claim that can't be trusted.

pub mod commit;

use crate::claim_table::{Claim, ClaimState, ClaimTable, ClaimTableError, Ending, Release};
use crate::kafka::{Messages, Producer};
use crate::model::{Lineage, Resume, State, StatusRecord, TaskId};
use crate::scand::claims::held_claims::HeldClaims;
use crate::scand::retry_log::RetryLog;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use log::{debug, error, info, warn};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Claims whose end may wait for `finalize`.
pub(in crate::scand) const FINALIZE_QUEUE_MAX: usize = 4096;
/// `finalize` looks at what it could not settle this often.
const FINALIZE_TICK: Duration = Duration::from_millis(50);
/// A task whose hash is gone when it ends is looked for this many leases: a lost Redis is being rebuilt.
const GONE_WAIT_LEASES: u32 = 2;

/// What the other threads hand over.
#[derive(Debug)]
pub enum StateChange {
    /// A state change that only has to be written to Kafka.
    Announce {
        /// The record.
        record: StatusRecord,
        /// Gets a message once Kafka has the record; dropped without one if it is not sent.
        acknowledge: Option<Sender<()>>,
    },
    /// A change of state that was made without a server; Redis keeps it on a list until Kafka has it.
    Publish {
        /// The record.
        record: StatusRecord,
        /// The task, and the fence of the change.
        change: Claim,
    },
    /// A task ends.
    End(Ending),
    /// A task goes back to the queue.
    Release {
        /// The claim that is given up.
        claim: Claim,
        /// How.
        release: Release,
        /// The change of state.
        record: StatusRecord,
    },
}

/// How far a state_change has come.
#[derive(Debug)]
enum Step {
    DecideEnd(Ending, Instant),
    Publish(StatusRecord, After),
    Finish(Ending, Instant),
    Release(Claim, Release),
    Published(Claim),
    Done,
}

/// What follows once Kafka has the record.
#[derive(Debug)]
enum After {
    Nothing(Option<Sender<()>>),
    Finish(Ending),
    Release(Claim, Release),
    Published(Claim),
}

/// The thread's own things.
pub struct Finalizer {
    /// This server's name.
    pub server: String,
    /// The lease, as a measure of how long a lost Redis may take to be rebuilt.
    pub lease: Duration,
    /// The claims of this server.
    pub held_claims: Arc<HeldClaims>,
    /// Its own connection to Redis.
    pub table: ClaimTable,
    /// Its own connection to `scan-status`.
    pub producer: Producer,
    /// What the other threads hand over; closed = end once everything is settled.
    pub inbox: Receiver<StateChange>,
    /// `commit` is nudged when a task has ended.
    pub ended: Sender<()>,
}

impl Finalizer {
    /// Runs until the inbox is closed and everything handed over is settled.
    pub fn run(mut self) {
        let mut steps: VecDeque<Step> = VecDeque::new();
        let mut kafka = RetryLog::new("write scan-status");
        let mut redis = RetryLog::new("settle tasks in Redis");
        let mut open = true;
        while open || !steps.is_empty() {
            open = self.receive(&mut steps, open);
            let pause = self.advance(&mut steps, &mut kafka, &mut redis);
            // Nothing comes in any more that could be waited for.
            let waits = !open && !steps.is_empty();
            let pause = pause.or(waits.then_some(FINALIZE_TICK));
            if let Some(pause) = pause {
                std::thread::sleep(pause);
            }
        }
    }

    /// Takes what waits in the inbox; waits for something only when there is nothing else to do. False once it is closed.
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

    /// Moves every state_change as far as it goes. Answers with a pause where the other side is away.
    fn advance(
        &mut self,
        steps: &mut VecDeque<Step>,
        kafka: &mut RetryLog,
        redis: &mut RetryLog,
    ) -> Option<Duration> {
        let mut pause = self.advance_in_redis(steps, redis);
        pause = pause.max(self.tell(steps, kafka));
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

    /// What Redis has to do for a step, and the step that follows; none where it waits for something else.
    fn redis_step(&mut self, step: &Step) -> Result<Option<Step>, ClaimTableError> {
        Ok(Some(match step {
            Step::DecideEnd(ending, since) => match self.table.decide_end(ending)? {
                ClaimState::Ok => {
                    let record = state_record(&self.server, ending);
                    Step::Publish(record, After::Finish(ending.clone()))
                }
                ClaimState::Gone if self.may_come_back(*since) => return Ok(None),
                state => self.drop_ending(ending, state),
            },
            Step::Finish(ending, since) => match self.table.finish(ending)? {
                ClaimState::Ok => self.finished(&ending.claim()),
                ClaimState::Gone if self.may_come_back(*since) => return Ok(None),
                // Its record is on Kafka: a rebuilt Redis knows from there that it has ended.
                ClaimState::Gone => self.finished(&ending.claim()),
                ClaimState::Lost => self.drop_ending(ending, ClaimState::Lost),
            },
            Step::Release(claim, release) => {
                if self.table.release(claim, release)? != ClaimState::Ok {
                    let id = &claim.task_id;
                    warn!("task {id}: not given back, the claim is no longer this server's");
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

    /// Whether a claim that is gone from Redis is worth waiting for: the rebuild brings it back under the same fence.
    fn may_come_back(&self, since: Instant) -> bool {
        since.elapsed() < self.lease * GONE_WAIT_LEASES
    }

    fn finished(&mut self, claim: &Claim) -> Step {
        debug!("task {}: ended in Redis", claim.task_id);
        self.held_claims.drop_claim(claim);
        // A nudge that waits already says the same.
        let _ = self.ended.try_send(());
        Step::Done
    }

    fn drop_ending(&mut self, ending: &Ending, state: ClaimState) -> Step {
        warn!(
            "task {}: its end as {} is not accepted, the claim is {}",
            ending.task_id,
            ending.status,
            if state == ClaimState::Gone {
                "gone from Redis"
            } else {
                "another server's by now"
            }
        );
        self.held_claims.drop_claim(&ending.claim());
        Step::Done
    }

    /// Sends all records that wait, in one request.
    fn tell(&mut self, steps: &mut VecDeque<Step>, retry_log: &mut RetryLog) -> Option<Duration> {
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
                Step::Publish(record, after) => told(&record, after),
                other => other,
            };
        }
        None
    }
}

/// Takes back what is not to be sent at `now`, because the claim can't be trusted any more: this server was frozen, or Redis is
/// away, and another one may run the task by now. An end is decided once more; that a task runs here is not said at all.
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

/// The claim under which a task runs, where that is what the record says.
fn claim_of_running(record: &StatusRecord) -> Option<Claim> {
    let task_id = record.task_id.parse().ok()?;
    (record.status == State::Running).then_some(Claim {
        task_id,
        fence: record.lineage.fence,
    })
}

/// What follows where Kafka did not take the records.
///
/// A release doesn't wait for Kafka: another server should have the task soon. Its record is not sent later, for then it
/// could come after that of the next claim; without it a rebuild holds the task for one lease. An end is decided once more
/// before its record is sent again: by then the claim may be another server's, and the task running there. A change that Redis
/// keeps on its list comes from there again.
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

fn told(record: &StatusRecord, after: After) -> Step {
    match after {
        After::Nothing(Some(waiting)) => {
            // Who no longer waits doesn't need the answer.
            let _ = waiting.try_send(());
            Step::Done
        }
        After::Nothing(None) => Step::Done,
        After::Release(claim, release) => Step::Release(claim, release),
        After::Published(change) => Step::Published(change),
        After::Finish(ending) => {
            match (&ending.error, ending.status) {
                (Some(cause), State::Completed) | (Some(cause), State::Cancelled) => {
                    info!("task {}: {} ({cause})", record.task_id, ending.status);
                }
                // `poll` has logged it with its place in the topic.
                (Some(cause), State::Rejected) => {
                    debug!("task {}: rejected: {cause}", record.task_id);
                }
                (Some(cause), status) => error!("task {}: {status}: {cause}", record.task_id),
                (None, status) => info!("task {}: {status}", record.task_id),
            }
            Step::Finish(ending, Instant::now())
        }
    }
}

/// The record of a state that is not only announced: an end, or a change by order.
pub fn state_record(server: &str, ending: &Ending) -> StatusRecord {
    StatusRecord {
        status: ending.status,
        found: ending.found,
        error: ending.error.clone(),
        resume: ending.resume,
        ..record_of(&ending.task_id, server, ending.lineage)
    }
}

/// A record of the state `queued`; the caller sets what differs.
pub fn record_of(task_id: &TaskId, server: &str, lineage: Lineage) -> StatusRecord {
    StatusRecord {
        task_id: task_id.to_string(),
        status: State::Queued,
        server: server.to_owned(),
        lineage,
        found: 0,
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
            found: 0,
            resume: Resume::default(),
        };
        Step::Publish(state_record("a", &ending), After::Finish(ending))
    }

    fn lineage() -> Lineage {
        Lineage {
            attempt: 1,
            fence: 7,
            ..Lineage::default()
        }
    }

    fn announcement(id: &str, status: State, told: Sender<()>) -> Step {
        let record = StatusRecord {
            status,
            ..record_of(&id.parse().unwrap(), "a", lineage())
        };
        Step::Publish(record, After::Nothing(Some(told)))
    }

    #[test]
    fn neither_an_end_nor_a_run_is_told_under_a_claim_that_is_not_trusted() {
        let (held_claims, start, lease) = (
            HeldClaims::default(),
            Instant::now(),
            Duration::from_secs(10),
        );
        held_claims.take(&claim("mine"), start, lease);
        let (told, answer) = bounded(1);
        let steps = || {
            VecDeque::from([
                end("mine"),
                announcement("mine", State::Running, told.clone()),
                announcement("mine", State::Queued, told.clone()),
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
        drop((trusted, late, told));
        assert_eq!(answer.try_recv(), Err(TryRecvError::Disconnected));
    }
}
