//! The steps of a state change, and the order in which they follow each other. Uses neither Kafka nor Redis.

use crate::claim_table::{Claim, Ending, Release};
use crate::model::{State, StatusRecord};
use crate::scand::claims::held_claims::HeldClaims;
use crate::scand::logging::with_task;
use crossbeam_channel::Sender;
use log::{debug, error, info};
use std::collections::VecDeque;
use std::time::Instant;

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
    End(Box<Ending>),
    /// A task goes back to the queue.
    Release {
        /// The claim that is released.
        claim: Claim,
        /// How.
        release: Box<Release>,
        /// The record of the state change.
        record: Box<StatusRecord>,
    },
}

/// The next step of a state change.
///
/// ```text
/// End:      DecideEnd ─▶ Publish ─▶ Finish ─▶ Done
/// Release:               Publish ─▶ Release ─▶ Done
/// Publish:               Publish ─▶ Published ─▶ Done
/// Announce:              Publish ─▶ Done
/// ```
#[derive(Debug)]
pub(super) enum Step {
    /// The claim table decides how the task ends.
    DecideEnd {
        ending: Ending,
        /// Since when this step is tried.
        since: Instant,
    },
    /// The record is sent to Kafka.
    Publish {
        record: Box<StatusRecord>,
        after: After,
    },
    /// The task ends in the claim table.
    Finish {
        ending: Ending,
        /// Since when this step is tried.
        since: Instant,
    },
    /// The task goes back to the queue.
    Release {
        claim: Claim,
        release: Release,
    },
    /// The change is removed from the outbox.
    Published {
        change: Claim,
    },
    Done,
}

/// The step after Kafka has acknowledged the record.
#[derive(Debug)]
pub(super) enum After {
    /// None, but somebody may wait for the acknowledgement.
    Nothing(Option<Sender<()>>),
    Finish(Box<Ending>),
    Release(Claim, Box<Release>),
    Published(Claim),
}

/// Takes back records that must not be sent at `now` because their claim can no longer be trusted: this server was frozen or Redis is
/// unreachable, and another server may run the task by now. An end is decided again; an announcement is dropped.
pub(super) fn hold_back(steps: &mut VecDeque<Step>, held_claims: &HeldClaims, now: Instant) {
    for step in steps.iter_mut() {
        let claim = match step {
            Step::Publish {
                after: After::Finish(ending),
                ..
            } => Some(ending.claim()),
            Step::Publish {
                record,
                after: After::Nothing(_),
            } => claim_of_running(record),
            _ => None,
        };
        if claim.is_some_and(|claim| !held_claims.is_trusted(&claim, now)) {
            *step = match std::mem::replace(step, Step::Done) {
                Step::Publish {
                    after: After::Finish(ending),
                    ..
                } => Step::DecideEnd {
                    ending: *ending,
                    since: now,
                },
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
/// because by then another server may have the claim and run the task. An entry of the outbox is read from the outbox again.
pub(super) fn after_send_failure(steps: &mut VecDeque<Step>) {
    for step in steps.iter_mut() {
        *step = match std::mem::replace(step, Step::Done) {
            Step::Publish {
                after: After::Release(claim, release),
                ..
            } => Step::Release {
                claim,
                release: *release,
            },
            Step::Publish {
                after: After::Finish(ending),
                ..
            } => Step::DecideEnd {
                ending: *ending,
                since: Instant::now(),
            },
            Step::Publish {
                after: After::Published(_),
                ..
            } => Step::Done,
            other => other,
        };
    }
}

/// The first step of a state change.
pub(super) fn begin(state_change: StateChange) -> Step {
    match state_change {
        StateChange::Announce {
            record,
            acknowledge,
        } => Step::Publish {
            record,
            after: After::Nothing(acknowledge),
        },
        StateChange::Publish { record, change } => Step::Publish {
            record,
            after: After::Published(change),
        },
        StateChange::End(ending) => Step::DecideEnd {
            ending: *ending,
            since: Instant::now(),
        },
        StateChange::Release {
            claim,
            release,
            record,
        } => Step::Publish {
            record,
            after: After::Release(claim, release),
        },
    }
}

pub(super) fn after_acknowledgement(after: After) -> Step {
    match after {
        After::Nothing(Some(waiting)) => {
            // A scan that no longer waits does not need the answer.
            let _ = waiting.try_send(());
            Step::Done
        }
        After::Nothing(None) => Step::Done,
        After::Release(claim, release) => Step::Release {
            claim,
            release: *release,
        },
        After::Published(change) => Step::Published { change },
        After::Finish(ending) => {
            log_end(&ending);
            Step::Finish {
                ending: *ending,
                since: Instant::now(),
            }
        }
    }
}

fn log_end(ending: &Ending) {
    let _task = with_task(&ending.task_id);
    match (&ending.error, ending.status) {
        (Some(cause), State::Completed) | (Some(cause), State::Cancelled) => {
            info!("{} ({cause})", ending.status);
        }
        // `poll` or `dispatch` has logged it, unless there were too many.
        (Some(cause), State::Rejected) => {
            debug!("rejected: {cause}");
        }
        (Some(cause), status) => error!("{status}: {cause}"),
        (None, status) => info!("{status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{record_of, state_record};
    use super::*;
    use crate::model::{Extent, FoundByPass, Lineage, Resume};
    use crossbeam_channel::{TryRecvError, bounded};
    use std::time::Duration;

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
            extent: Extent::default(),
        };
        Step::Publish {
            record: Box::new(state_record("a", &ending)),
            after: After::Finish(Box::new(ending)),
        }
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
        Step::Publish {
            record: Box::new(record),
            after: After::Nothing(Some(acknowledge)),
        }
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
                .all(|step| matches!(step, Step::Publish { .. }))
        );
        assert!(
            matches!(trusted[3], Step::DecideEnd { .. }),
            "held no longer"
        );

        let mut late = steps();
        hold_back(&mut late, &held_claims, start + lease);
        assert!(
            matches!(late[0], Step::DecideEnd { .. }),
            "Redis is asked again"
        );
        assert!(matches!(late[1], Step::Done));
        assert!(
            matches!(late[2], Step::Publish { .. }),
            "no claim is needed"
        );
        drop((trusted, late, acknowledge));
        assert_eq!(answer.try_recv(), Err(TryRecvError::Disconnected));
    }

    #[test]
    fn a_record_that_kafka_has_or_refuses_decides_the_next_step() {
        let ending = || Ending {
            task_id: claim("t").task_id,
            lineage: lineage(),
            status: State::Completed,
            error: None,
            found: FoundByPass::default(),
            resume: Resume::default(),
            extent: Extent::default(),
        };
        let release = || Release {
            delay: Duration::ZERO,
            gives_back_attempt: true,
            failed_here: false,
            error: None,
            resume: Resume::default(),
        };
        type Is = fn(&Step) -> bool;
        let cases: [(StateChange, Is, Is); 3] = [
            (
                StateChange::Release {
                    claim: claim("t"),
                    release: Box::new(release()),
                    record: Box::new(state_record("a", &ending())),
                },
                |step| matches!(step, Step::Release { .. }),
                // Another server should get the task soon.
                |step| matches!(step, Step::Release { .. }),
            ),
            (
                StateChange::Publish {
                    record: Box::new(state_record("a", &ending())),
                    change: claim("t"),
                },
                |step| matches!(step, Step::Published { .. }),
                // It is read from the outbox again.
                |step| matches!(step, Step::Done),
            ),
            (
                StateChange::Announce {
                    record: Box::new(state_record("a", &ending())),
                    acknowledge: None,
                },
                |step| matches!(step, Step::Done),
                // It is sent again.
                |step| matches!(step, Step::Publish { .. }),
            ),
        ];
        for (change, is_acknowledged, is_refused) in cases {
            let case = format!("{change:?}");
            let Step::Publish { record, after } = begin(change) else {
                panic!("{case}");
            };
            let mut refused = VecDeque::from([Step::Publish {
                record,
                after: match &after {
                    After::Release(claim, release) => {
                        After::Release(claim.clone(), release.clone())
                    }
                    After::Published(change) => After::Published(change.clone()),
                    _ => After::Nothing(None),
                },
            }]);
            after_send_failure(&mut refused);
            assert!(is_refused(&refused[0]), "{case}: {refused:?}");
            let next = after_acknowledgement(after);
            assert!(is_acknowledged(&next), "{case}: {next:?}");
        }
        let end = begin(StateChange::End(Box::new(ending())));
        assert!(matches!(end, Step::DecideEnd { .. }));
        let finish = after_acknowledgement(After::Finish(Box::new(ending())));
        assert!(matches!(finish, Step::Finish { .. }));
    }
}
