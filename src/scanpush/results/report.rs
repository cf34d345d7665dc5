//! Warnings about findings that may be missing. Pure.

use super::super::ids::unknown_task;
use super::collector::Collector;
use super::selected::SelectedTask;
use super::topic_reader::{Losses, Offsets};
use crate::connection::Connection;
use crate::model::State;
use crate::model::text::{one_line, quoted};
use std::time::Duration;

/// A task is younger than the removed records only if it is so by this much, because clocks differ.
const RETENTION_SLACK: Duration = Duration::from_secs(60);

/// Tasks that one line names; of more tasks it gives only the number.
const NAMED_MAX: usize = 3;

/// The reasons why findings may be missing, one line each.
pub fn gaps(
    topic: &str,
    starts: &Offsets,
    losses: &Losses,
    collector: &Collector,
    tasks: &[SelectedTask],
) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(first) = &collector.first_malformed {
        let (count, are) = match collector.malformed {
            1 => ("1 record".to_owned(), "is not a valid finding"),
            n => (format!("{n} records"), "are not valid findings"),
        };
        let first = one_line(first);
        lines.push(format!("{count} of {topic} {are} ({first})"));
    }
    if let Some(reason) = &losses.undecodable {
        lines.push(format!(
            "some records of {topic} can't be read: {}",
            one_line(reason)
        ));
    }
    let gone: i64 = starts.values().sum();
    if gone > 0 && may_have_lost(starts, collector, tasks) {
        lines.push(format!(
            "the first {gone} records of {topic} were removed by Kafka's retention; findings of these tasks may be among them"
        ));
    }
    if losses.removed > 0 {
        lines.push(format!(
            "{} records of {topic} were removed by Kafka's retention before they could be read",
            losses.removed
        ));
    }
    lines
}

/// Whether removed records may belong to a task: true unless all tasks are certainly younger than the first remaining record.
fn may_have_lost(starts: &Offsets, collector: &Collector, tasks: &[SelectedTask]) -> bool {
    let slack_ms = RETENTION_SLACK.as_millis() as u64;
    let cut = starts.iter().filter(|(_, first)| **first > 0);
    let left_from_ms = cut
        .map(|(partition, _)| match collector.first_s.get(partition) {
            Some(Some(at_s)) => at_s.saturating_mul(1000),
            _ => u64::MAX,
        })
        .max()
        .unwrap_or(0);
    tasks.iter().any(|task| {
        let queued_ms = task.live.as_ref().map_or(0, |live| live.queued_ms);
        queued_ms < left_from_ms.saturating_add(slack_ms)
    })
}

/// A line about tasks that have not completed; `None` if all have, or if no state is known.
pub fn not_completed(tasks: &[SelectedTask]) -> Option<String> {
    let others: Vec<(&SelectedTask, State)> = tasks
        .iter()
        .filter_map(|task| Some((task, task.state()?)))
        .filter(|(_, state)| *state != State::Completed)
        .collect();
    if others.is_empty() {
        return None;
    }
    let why = match others.iter().all(|(_, state)| state.is_terminal()) {
        true => "these may not be all findings",
        false => "these are the findings so far (-follow waits for the end)",
    };
    if others.len() > NAMED_MAX {
        let (count, all) = (others.len(), tasks.len());
        return Some(format!("{count} of {all} tasks have not completed: {why}"));
    }
    let named: Vec<String> = others
        .iter()
        .map(|(task, state)| format!("task {} is {state}", task.id))
        .collect();
    Some(format!("{}: {why}", named.join(", ")))
}

/// The line for a task without findings that Redis does not know, or for which Redis could not be asked.
pub fn unknown(task: &SelectedTask, redis_error: Option<&str>, connection: &Connection) -> String {
    match redis_error {
        None => format!(
            "{}, and it has no findings",
            unknown_task(&task.id, &connection.group)
        ),
        Some(error) => format!(
            "{} has no findings; whether it is a task or an abbreviated id, only Redis knows: {error}",
            quoted(task.id.as_str())
        ),
    }
}

/// The reasons why a diff of two tasks may be misleading, one line each.
pub fn diff_warnings(before: &SelectedTask, after: &SelectedTask) -> Vec<String> {
    let mut lines = Vec::new();
    for task in [before, after] {
        if let Some(state) = task.state().filter(|state| *state != State::Completed) {
            lines.push(format!(
                "task {} is {state}: what it has not scanned appears closed",
                task.id
            ));
        }
    }
    if let (Some(one), Some(other)) = (&before.live, &after.live)
        && (&one.ip_range, &one.ports) != (&other.ip_range, &other.ports)
    {
        lines.push(
            "the two tasks did not scan the same addresses and ports: what only one of them scanned appears closed in the other"
                .to_owned(),
        );
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::super::tasks::sample;
    use super::*;
    use crate::claim_table::LiveTask;
    use crate::kafka::Record;

    const NOW_S: u64 = 1_795_531_265;

    fn task(id: &str, state: Option<(State, u64)>) -> SelectedTask {
        let live = state.map(|(status, queued_s)| LiveTask {
            status,
            queued_ms: queued_s * 1000,
            ..sample::task()
        });
        SelectedTask::with_state(id.parse().unwrap(), live)
    }

    /// A collector for which the first remaining record of partition 0 is of `first_s`; `None` if that record is invalid.
    fn left_from(first_s: Option<u64>) -> Collector {
        let mut collector = Collector::default();
        let value = match first_s {
            Some(at_s) => format!(
                r#"{{"task_id":"x","ip":"192.0.2.1","port":80,"proto":"tcp","status":"open","reason":"syn-ack","ttl":64,"timestamp":{at_s},"server":"s","attempt":1}}"#
            ),
            None => r#"{"task_id":"x"}"#.to_owned(),
        };
        let record = Record {
            offset: 100,
            value: value.into_bytes(),
        };
        collector.take(0, &record, |_| true);
        collector
    }

    #[test]
    fn removed_records_are_reported_if_tasks_may_have_lost_findings() {
        let begins = |first| Offsets::from([(0, first), (1, 0)]);
        let completed_at = |queued_s| Some((State::Completed, queued_s));
        for (first, left_from_s, state, is_reported) in [
            (0, Some(NOW_S), completed_at(NOW_S - 900), false),
            (100, Some(NOW_S), completed_at(NOW_S - 900), true),
            (100, Some(NOW_S), completed_at(NOW_S + 900), false),
            // Within what clocks may differ.
            (100, Some(NOW_S), completed_at(NOW_S + 10), true),
            (100, Some(NOW_S), None, true),
            (100, None, completed_at(NOW_S + 900), true),
        ] {
            let lines = gaps(
                "scan-results",
                &begins(first),
                &Losses::default(),
                &left_from(left_from_s),
                &[task("a", state)],
            );
            let reported = lines
                .iter()
                .any(|line| line.starts_with("the first 100 records of scan-results were removed"));
            assert_eq!(
                reported, is_reported,
                "{first} {left_from_s:?} {state:?}: {lines:?}"
            );
        }
    }

    #[test]
    fn invalid_undecodable_and_removed_records_are_reported() {
        let mut collector = Collector::default();
        for offset in 5..8 {
            let value = b"\x1b[2J".to_vec();
            collector.take(0, &Record { offset, value }, |_| true);
        }
        let losses = Losses {
            removed: 9,
            undecodable: Some("partition 0, offsets 3 to 4: zstd".into()),
        };
        let lines = gaps("r", &Offsets::new(), &losses, &collector, &[]);
        assert_eq!(
            lines,
            [
                "3 records of r are not valid findings (partition 0, offset 5: has no task_id)",
                "some records of r can't be read: partition 0, offsets 3 to 4: zstd",
                "9 records of r were removed by Kafka's retention before they could be read",
            ]
        );
    }

    #[test]
    fn tasks_that_have_not_completed_are_named() {
        let in_state = |id: &str, state| task(id, Some((state, NOW_S)));
        let line = |tasks: &[SelectedTask]| not_completed(tasks);
        assert_eq!(
            line(&[in_state("a", State::Completed), task("b", None)]),
            None
        );
        assert_eq!(
            line(&[in_state("a", State::Running), in_state("b", State::Failed)]).unwrap(),
            "task a is running, task b is failed: these are the findings so far (-follow waits for the end)"
        );
        assert_eq!(
            line(&[in_state("a", State::Cancelled)]).unwrap(),
            "task a is cancelled: these may not be all findings"
        );
        let many: Vec<SelectedTask> = (0..5)
            .map(|n| in_state(&format!("t{n}"), State::Queued))
            .collect();
        assert!(
            line(&many)
                .unwrap()
                .starts_with("5 of 5 tasks have not completed: ")
        );
    }

    #[test]
    fn a_diff_of_different_or_incomplete_tasks_has_warnings() {
        let task_of = |id: &str, ip_range: &str, status| {
            let live = LiveTask {
                status,
                ip_range: ip_range.to_owned(),
                ..sample::task()
            };
            SelectedTask::with_state(id.parse().unwrap(), Some(live))
        };
        let one = task_of("a", "192.0.2.0/24", State::Completed);
        assert!(diff_warnings(&one, &task_of("b", "192.0.2.0/24", State::Completed)).is_empty());
        assert!(diff_warnings(&one, &task("b", None)).is_empty());
        let lines = diff_warnings(&one, &task_of("b", "192.0.2.0/25", State::Running));
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("task b is running"), "{lines:?}");
    }
}
