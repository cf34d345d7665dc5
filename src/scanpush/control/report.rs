//! What became of an order, for each task: decided from the states of the claim table. Pure.

use crate::claim_table::{LiveTask, Order, Steered};
use crate::model::{State, TaskId};
use serde::Serialize;
use std::time::Duration;

/// How long the commands wait for an order to be in force, counted from the last task for which it came into force, before they report that it
/// is not in force yet.
pub(in crate::scanpush) const CONTROL_WAIT: Duration = Duration::from_secs(10);

/// The result for one task. Field names are those of `-json`.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) task_id: TaskId,
    pub(super) order: Order,
    /// `cancelling` and `pausing` are not in force yet.
    pub(super) status: &'static str,
    /// Why the order is not, or not yet, in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<String>,
    #[serde(skip)]
    pub(super) failed: bool,
    #[serde(skip)]
    pub(super) ended: Ended,
}

/// Whether a task ended in another way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    No,
    /// Before the order was given.
    Before,
    /// Before it was in force.
    Meanwhile,
}

/// The report for a task that needs no waiting.
pub(super) fn at_once(order: Order, id: &TaskId, answer: Steered) -> Option<Report> {
    Some(match (order, answer) {
        (_, Steered::Unknown) => failed(
            order,
            id,
            "unknown",
            "it ended long ago".to_owned(),
            Ended::Before,
        ),
        (_, Steered::Ended(state)) => {
            let note = format!("it had already ended: {state}");
            failed(order, id, state.as_str(), note, Ended::Before)
        }
        (Order::Cancel, Steered::Ending(State::Cancelled)) => return None,
        (_, Steered::Ending(State::Cancelled)) => {
            let note = "it is being cancelled".to_owned();
            failed(order, id, "cancelling", note, Ended::Before)
        }
        (_, Steered::Ending(state)) => {
            let note = format!("it is already ending: {state}");
            failed(order, id, state.as_str(), note, Ended::Before)
        }
        (Order::Resume, Steered::Done(state)) => done(order, id, state),
        (_, Steered::Done(_) | Steered::Ordered) => return None,
    })
}

/// The report once the order is in force, or can no longer come into force.
pub(super) fn in_force(
    order: Order,
    id: &TaskId,
    task: Option<&LiveTask>,
    unpublished: bool,
) -> Option<Report> {
    // Redis lost its data, and the records from which it is rebuilt do not contain the order.
    let task = task?;
    let ended = task.finished_ms.is_some();
    match (order, task.status) {
        (Order::Cancel, State::Cancelled) if ended => Some(done(order, id, State::Cancelled)),
        (Order::Pause, State::Paused) if !unpublished => Some(done(order, id, State::Paused)),
        (_, state) if ended => {
            let note = format!("it ended before the order was in force: {state}");
            Some(failed(order, id, state.as_str(), note, Ended::Meanwhile))
        }
        _ => None,
    }
}

/// The report at the end of the wait; `alone` if no server is running.
pub(super) fn not_yet(
    order: Order,
    id: &TaskId,
    answer: Steered,
    task: Option<&LiveTask>,
    alone: bool,
) -> Report {
    let Some(task) = task else {
        let note =
            "Redis has lost its data and does not know the task yet: repeat the order once it does"
                .to_owned();
        return failed(order, id, "unknown", note, Ended::No);
    };
    let wait_s = CONTROL_WAIT.as_secs();
    match (order, answer) {
        (Order::Cancel, Steered::Ending(_)) => Report {
            note: Some(match alone {
                true => "no server is up: it will not be started, and the next server ends it"
                    .to_owned(),
                false => format!("not ended yet: check with scanpush status {id}"),
            }),
            status: "cancelling",
            ..done(order, id, task.status)
        },
        (Order::Pause, _) if task.status == State::Paused => Report {
            note: Some(
                "not recorded in Kafka yet: if Redis lost its data now, the task would continue"
                    .to_owned(),
            ),
            ..done(order, id, task.status)
        },
        _ if task.order.is_none() => {
            let note = "the order was lost with Redis' data, or withdrawn: repeat it".to_owned();
            failed(order, id, task.status.as_str(), note, Ended::No)
        }
        _ => {
            let note = format!(
                "not in force within {wait_s} s: its server cannot be reached, or waits for Kafka; the order remains in place"
            );
            failed(
                order,
                id,
                super::super::tasks::state_of(task),
                note,
                Ended::No,
            )
        }
    }
}

/// The report of an order that is in force, with the task's state.
pub(super) fn done(order: Order, id: &TaskId, state: State) -> Report {
    Report {
        task_id: id.clone(),
        order,
        status: state.as_str(),
        note: None,
        failed: false,
        ended: Ended::No,
    }
}

/// The report of an order that is not in force, and why.
pub(super) fn failed(
    order: Order,
    id: &TaskId,
    status: &'static str,
    note: String,
    ended: Ended,
) -> Report {
    Report {
        status,
        note: Some(note),
        failed: true,
        ended,
        ..done(order, id, State::Queued)
    }
}

/// Removes tasks that had ended in another way: in a job they are not an error. Returns a line for each kind, and false if all had ended
/// before the order was given.
pub(super) fn leave_out_ended(reports: &mut Vec<Report>) -> (Vec<String>, bool) {
    let all = reports.len();
    let count = |wanted| reports.iter().filter(|one| one.ended == wanted).count();
    let (before, meanwhile) = (count(Ended::Before), count(Ended::Meanwhile));
    reports.retain(|report| report.ended == Ended::No);
    let mut lines = Vec::new();
    if before > 0 {
        lines.push(format!(
            "{before} of {all} tasks of the job had already ended"
        ));
    }
    if meanwhile > 0 {
        lines.push(format!(
            "{meanwhile} of {all} tasks of the job ended before the order was in force"
        ));
    }
    (lines, all == 0 || before < all)
}

#[cfg(test)]
mod tests {
    use super::super::super::tasks::sample::task;
    use super::*;

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
    fn an_order_that_is_decided_at_once_needs_no_wait() {
        use Steered::*;
        for (order, answer, status) in [
            (Order::Cancel, Ended(State::Completed), Some("completed")),
            (Order::Cancel, Ended(State::Cancelled), Some("cancelled")),
            (Order::Cancel, Ending(State::Failed), Some("failed")),
            (Order::Cancel, Ending(State::Cancelled), None),
            (Order::Cancel, Ordered, None),
            (Order::Cancel, Unknown, Some("unknown")),
            (Order::Pause, Ending(State::Cancelled), Some("cancelling")),
            (Order::Pause, Done(State::Paused), None),
            (Order::Pause, Ordered, None),
        ] {
            let report = at_once(order, &id(), answer);
            assert_eq!(report.as_ref().map(|report| report.status), status);
            assert!(report.is_none_or(|report| report.failed && report.note.is_some()));
        }
        let resumed = at_once(Order::Resume, &id(), Done(State::Queued)).unwrap();
        assert!(!resumed.failed && resumed.status == "queued");
    }

    #[test]
    fn an_order_is_in_force_when_redis_has_the_state_and_kafka_the_record() {
        for (order, status, ended, unpublished, outcome) in [
            (Order::Cancel, State::Running, false, false, None),
            (Order::Cancel, State::Cancelled, true, false, Some(true)),
            (Order::Cancel, State::Completed, true, false, Some(false)),
            (Order::Pause, State::Paused, false, true, None),
            (Order::Pause, State::Paused, false, false, Some(true)),
            (Order::Pause, State::Completed, true, false, Some(false)),
        ] {
            let report = in_force(order, &id(), Some(&now(status, ended)), unpublished);
            assert_eq!(
                report.map(|report| !report.failed),
                outcome,
                "{order} {status}"
            );
        }
        assert!(in_force(Order::Cancel, &id(), None, false).is_none());
    }

    #[test]
    fn an_order_that_is_not_in_force_in_time_is_explained() {
        let late = |order, answer, state| {
            let task = LiveTask {
                order: (state != State::Paused).then_some(order),
                ..now(state, false)
            };
            not_yet(order, &id(), answer, Some(&task), true)
        };
        let waits = late(
            Order::Cancel,
            Steered::Ending(State::Cancelled),
            State::Queued,
        );
        assert!(!waits.failed && waits.status == "cancelling" && waits.note.is_some());
        let ending = Steered::Ending(State::Cancelled);
        let busy = not_yet(
            Order::Cancel,
            &id(),
            ending,
            Some(&now(State::Queued, false)),
            false,
        );
        assert_eq!(
            (busy.failed, busy.note.as_deref()),
            (false, Some("not ended yet: check with scanpush status t1"))
        );
        let frozen = late(Order::Cancel, Steered::Ordered, State::Running);
        assert!(frozen.failed && frozen.note.unwrap().contains("not in force within 10 s"));
        let lost = not_yet(
            Order::Cancel,
            &id(),
            Steered::Ordered,
            Some(&now(State::Running, false)),
            true,
        );
        assert!(lost.failed && lost.note.unwrap().contains("was lost"));
        let unpublished = late(Order::Pause, Steered::Done(State::Paused), State::Paused);
        assert!(!unpublished.failed && unpublished.note.unwrap().contains("not recorded in Kafka"));
    }

    #[test]
    fn tasks_of_a_job_that_had_ended_are_no_error_unless_all_had() {
        let ended = |when| failed(Order::Cancel, &id(), "completed", "x".into(), when);
        let cancelled = || done(Order::Cancel, &id(), State::Cancelled);
        for (reports, left, is_good, line) in [
            (
                vec![ended(Ended::Before), cancelled()],
                1,
                true,
                "1 of 2 tasks of the job had already ended",
            ),
            (
                vec![ended(Ended::Before)],
                0,
                false,
                "1 of 1 tasks of the job had already ended",
            ),
            (
                vec![ended(Ended::Meanwhile)],
                0,
                true,
                "1 of 1 tasks of the job ended before the order was in force",
            ),
        ] {
            let mut reports = reports;
            let (lines, good) = leave_out_ended(&mut reports);
            assert_eq!((reports.len(), good), (left, is_good), "{line}");
            assert_eq!(lines, [line]);
        }
    }
}
