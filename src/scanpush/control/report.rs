//! What became of an order about one task, decided from Redis' answer and the state of the task. Pure.

use crate::claim_table::{LiveTask, Order, Steered};
use crate::model::{State, TaskId};
use crate::scanpush::ids::UNKNOWN_TASK_REASON;
use crate::scanpush::tasks::state_of;
use serde::Serialize;
use std::time::Duration;

/// The result for one task. Field names are those of `-json`.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The task.
    pub task_id: TaskId,
    /// The order.
    pub order: Order,
    /// The task's state; `cancelling` and `pausing` if the order is not in force yet, `unknown` if Redis does not know the task.
    pub status: &'static str,
    /// Why the order is not, or not yet, in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What became of the order.
    #[serde(skip)]
    pub outcome: Outcome,
}

/// What became of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in force, or will be without another command.
    Accepted,
    /// Redis did not know the task when the order was given.
    UnknownTask,
    /// The task had already ended, or was ending, when the order was given.
    EndedBefore,
    /// The task ended before the order was in force.
    EndedMeanwhile,
    /// It is not in force, and it is uncertain whether it will be.
    NotInForce,
}

impl Outcome {
    /// Whether the task ended in another way than by the order. Tasks that Redis does not know ended long ago.
    pub fn has_ended(self) -> bool {
        match self {
            Outcome::UnknownTask | Outcome::EndedBefore | Outcome::EndedMeanwhile => true,
            Outcome::Accepted | Outcome::NotInForce => false,
        }
    }
}

impl Report {
    /// The order is in force: the task is in `state`.
    pub fn accepted(order: Order, id: &TaskId, state: State) -> Report {
        Report {
            task_id: id.clone(),
            order,
            status: state.as_str(),
            note: None,
            outcome: Outcome::Accepted,
        }
    }

    /// The order is not in force, for the reason in `note`.
    pub fn refused(
        order: Order,
        id: &TaskId,
        status: &'static str,
        note: String,
        outcome: Outcome,
    ) -> Report {
        Report {
            task_id: id.clone(),
            order,
            status,
            note: Some(note),
            outcome,
        }
    }
}

/// The report for a task that needs no waiting.
pub fn at_once(order: Order, id: &TaskId, answer: Steered) -> Option<Report> {
    let ended_before =
        |status, note| Report::refused(order, id, status, note, Outcome::EndedBefore);
    Some(match (order, answer) {
        (_, Steered::Unknown) => Report::refused(
            order,
            id,
            "unknown",
            UNKNOWN_TASK_REASON.to_owned(),
            Outcome::UnknownTask,
        ),
        (_, Steered::Ended(state)) => {
            ended_before(state.as_str(), format!("already ended: {state}"))
        }
        (Order::Cancel, Steered::Ending(State::Cancelled)) => return None,
        (_, Steered::Ending(State::Cancelled)) => {
            ended_before("cancelling", "already being cancelled".to_owned())
        }
        (_, Steered::Ending(state)) => {
            ended_before(state.as_str(), format!("already ending: {state}"))
        }
        (Order::Resume, Steered::Done(state)) => Report::accepted(order, id, state),
        (_, Steered::Done(_) | Steered::Ordered) => return None,
    })
}

/// The report once the order is in force, or can no longer come into force.
pub fn in_force(
    order: Order,
    id: &TaskId,
    task: Option<&LiveTask>,
    unpublished: bool,
) -> Option<Report> {
    // Redis lost its data, and the records from which it is rebuilt do not contain the order.
    let task = task?;
    let ended = task.finished_ms.is_some();
    match (order, task.status) {
        (Order::Cancel, State::Cancelled) if ended => {
            Some(Report::accepted(order, id, State::Cancelled))
        }
        (Order::Pause, State::Paused) if !unpublished => {
            Some(Report::accepted(order, id, State::Paused))
        }
        (_, state) if ended => Some(Report::refused(
            order,
            id,
            state.as_str(),
            format!("ended before the order was in force: {state}"),
            Outcome::EndedMeanwhile,
        )),
        _ => None,
    }
}

/// The report at the end of the wait, which was `waited` long; `alone` if no server is running.
pub fn not_yet(
    order: Order,
    id: &TaskId,
    answer: Steered,
    task: Option<&LiveTask>,
    alone: bool,
    waited: Duration,
) -> Report {
    let refused = |status, note| Report::refused(order, id, status, note, Outcome::NotInForce);
    let Some(task) = task else {
        let note = "Redis has lost the task: repeat the command when it is known again";
        return refused("unknown", note.to_owned());
    };
    match (order, answer) {
        (Order::Cancel, Steered::Ending(_)) => Report {
            note: Some(match alone {
                true => "no server is running: the task will not be started, the next server ends it".to_owned(),
                false => format!("no server has ended it yet: check with scanpush status {id}"),
            }),
            status: "cancelling",
            ..Report::accepted(order, id, task.status)
        },
        (Order::Pause, _) if task.status == State::Paused => Report {
            note: Some(
                "not recorded in Kafka yet: if Redis loses its data before that, the task is not paused"
                    .to_owned(),
            ),
            ..Report::accepted(order, id, task.status)
        },
        _ if task.order.is_none() => refused(
            task.status.as_str(),
            "the order was withdrawn, or lost with Redis' data: repeat the command".to_owned(),
        ),
        _ => refused(
            state_of(task),
            format!(
                "not in force within {} s: its server is unreachable or waits for Kafka; the order remains pending",
                waited.as_secs()
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::CONTROL_WAIT;
    use super::*;
    use crate::scanpush::tasks::sample::task;

    fn id() -> TaskId {
        "t1".parse().unwrap()
    }

    fn now(status: State, ended: bool) -> LiveTask {
        LiveTask {
            status,
            finished_ms: ended.then_some(1),
            ..task()
        }
    }

    #[test]
    fn what_is_decided_at_once_is_not_waited_for() {
        use Steered::*;
        let ended = |status| Some((status, Outcome::EndedBefore));
        for (order, answer, expected) in [
            (Order::Cancel, Ended(State::Completed), ended("completed")),
            (Order::Cancel, Ended(State::Cancelled), ended("cancelled")),
            (Order::Cancel, Ending(State::Failed), ended("failed")),
            (Order::Cancel, Ending(State::Cancelled), None),
            (Order::Cancel, Ordered, None),
            (
                Order::Cancel,
                Unknown,
                Some(("unknown", Outcome::UnknownTask)),
            ),
            (Order::Pause, Ending(State::Cancelled), ended("cancelling")),
            (Order::Pause, Done(State::Paused), None),
            (Order::Pause, Ordered, None),
            (
                Order::Resume,
                Done(State::Queued),
                Some(("queued", Outcome::Accepted)),
            ),
        ] {
            let report = at_once(order, &id(), answer);
            let is_noted = |report: &Report| report.note.is_some();
            assert!(
                report
                    .as_ref()
                    .is_none_or(|report| is_noted(report) == (report.outcome != Outcome::Accepted))
            );
            let got = report.map(|report| (report.status, report.outcome));
            assert_eq!(got, expected, "{order} {answer:?}");
        }
    }

    #[test]
    fn an_order_is_in_force_when_its_state_is_there_and_published() {
        use Outcome::{Accepted, EndedMeanwhile};
        for (order, status, ended, unpublished, outcome) in [
            (Order::Cancel, State::Running, false, false, None),
            (Order::Cancel, State::Cancelled, true, false, Some(Accepted)),
            (
                Order::Cancel,
                State::Completed,
                true,
                false,
                Some(EndedMeanwhile),
            ),
            (Order::Pause, State::Paused, false, true, None),
            (Order::Pause, State::Paused, false, false, Some(Accepted)),
            (
                Order::Pause,
                State::Completed,
                true,
                false,
                Some(EndedMeanwhile),
            ),
        ] {
            let report = in_force(order, &id(), Some(&now(status, ended)), unpublished);
            assert_eq!(
                report.map(|report| report.outcome),
                outcome,
                "{order} {status}"
            );
        }
        assert!(in_force(Order::Cancel, &id(), None, false).is_none());
    }

    /// The outcome, state and note at the end of the wait for a task in `state`; `pending` if Redis still has the order.
    fn late(
        order: Order,
        answer: Steered,
        state: State,
        pending: bool,
        alone: bool,
    ) -> (Outcome, &'static str, String) {
        let task = LiveTask {
            order: pending.then_some(order),
            ..now(state, false)
        };
        let report = not_yet(order, &id(), answer, Some(&task), alone, CONTROL_WAIT);
        (report.outcome, report.status, report.note.unwrap())
    }

    #[test]
    fn an_order_that_is_not_in_force_in_time_has_a_note() {
        use Outcome::{Accepted, NotInForce};
        use State::{Cancelled, Paused, Queued, Running};
        use Steered::{Done, Ending, Ordered};
        let cancel =
            |answer, state, pending, alone| late(Order::Cancel, answer, state, pending, alone);
        let paused = late(Order::Pause, Done(Paused), Paused, false, true);
        for (report, outcome, status, note) in [
            (
                cancel(Ending(Cancelled), Queued, true, true),
                Accepted,
                "cancelling",
                "no server is running",
            ),
            (
                cancel(Ending(Cancelled), Queued, false, false),
                Accepted,
                "cancelling",
                "no server has ended it yet",
            ),
            (
                cancel(Ordered, Running, true, true),
                NotInForce,
                "cancelling",
                "not in force within 10 s",
            ),
            (
                cancel(Ordered, Running, false, true),
                NotInForce,
                "running",
                "the order was withdrawn, or lost",
            ),
            (paused, Accepted, "paused", "not recorded in Kafka yet"),
        ] {
            assert_eq!((report.0, report.1), (outcome, status), "{note}");
            assert!(report.2.starts_with(note), "{note}: {}", report.2);
        }
        let lost = not_yet(Order::Pause, &id(), Ordered, None, false, CONTROL_WAIT);
        assert_eq!((lost.outcome, lost.status), (NotInForce, "unknown"));
    }
}
