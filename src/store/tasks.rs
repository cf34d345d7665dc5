//! Tasks as their records and status records describe them. The rules are those by which servers take records: a record with a known id counts
//! only as a retry, and a terminal state is final until then.

use super::batch::{StatusChange, TaskAt};
use super::connection::AnyConnection;
use super::error::StoreError;
use super::schema::{TaskRow, signed, tasks};
use crate::model::{State, TaskId};
use diesel::prelude::*;

/// A task of which only the id is known.
fn unknown(task_id: &TaskId, now_ms: i64) -> TaskRow {
    TaskRow {
        task_id: task_id.to_string(),
        job_id: None,
        ip_range: None,
        ports: None,
        band_width: None,
        priority: None,
        retries: None,
        exclude: None,
        shard: None,
        seed: None,
        topic_partition: None,
        topic_offset: None,
        retry: 0,
        state: State::Queued.as_str().to_owned(),
        server: None,
        attempt: 0,
        lost: 0,
        fence: 0,
        found: 0,
        found_by_pass: None,
        error: None,
        changed_ms: now_ms,
        begun_ms: None,
        ended_ms: None,
        server_exclude: None,
        proof: None,
    }
}

/// The task after its record was read; none if the record changes nothing.
pub(super) fn with_record(row: Option<TaskRow>, record: &TaskAt, now_ms: i64) -> Option<TaskRow> {
    let task = &record.task;
    let mut row = match row {
        None => unknown(&task.task_id, now_ms),
        // Its status was read, but its record was not: it may have been rejected, and was valid for another version.
        Some(row) if row.topic_offset.is_none() => row,
        Some(row) => {
            let is_retry = task.retry > 0 && row.state != State::Completed.as_str();
            if !is_retry {
                return None;
            }
            match is_terminal(&row) && i64::from(task.retry) > i64::from(row.retry) {
                true => TaskRow {
                    state: State::Queued.as_str().to_owned(),
                    error: None,
                    ended_ms: None,
                    proof: None,
                    changed_ms: now_ms,
                    ..row
                },
                false => row,
            }
        }
    };
    row.job_id = task.job_id.as_ref().map(TaskId::to_string);
    row.ip_range = Some(task.ip_range.to_string());
    row.ports = Some(task.ports.to_string());
    row.band_width = Some(signed(task.band_width.pps()));
    row.priority = Some(i16::from(task.priority.get()));
    row.retries = i32::try_from(task.retries).ok();
    row.exclude = (!task.exclude.is_empty()).then(|| task.exclude.to_string());
    row.shard = task.shard.map(|shard| shard.to_string());
    row.seed = Some(signed(task.seed));
    row.topic_partition = Some(record.partition);
    row.topic_offset = Some(record.offset);
    Some(row)
}

/// The task after a change of its state; none if the record is older than what is known, or repeats its end.
pub(super) fn with_status(row: Option<TaskRow>, change: &StatusChange) -> Option<TaskRow> {
    let at_ms = signed(change.at_ms);
    let (retry, fence) = (number(change.retry), signed(change.fence));
    let is_terminal_change = change.status.is_terminal();
    let mut row = match row {
        None => unknown(&change.task_id, at_ms),
        Some(row) => {
            let is_old = retry < row.retry
                || (retry == row.retry
                    && (is_terminal(&row) || (fence < row.fence && !is_terminal_change)));
            if is_old {
                return None;
            }
            row
        }
    };
    row.retry = retry;
    row.state = change.status.as_str().to_owned();
    row.server = Some(change.server.clone());
    row.attempt = number(change.attempt);
    row.lost = number(change.lost);
    row.fence = fence;
    row.found = signed(change.found);
    row.found_by_pass = change.found_by_pass.clone();
    row.error = change.error.clone();
    row.changed_ms = at_ms;
    if change.status == State::Running && row.begun_ms.is_none() {
        row.begun_ms = Some(at_ms);
    }
    row.ended_ms = is_terminal_change.then_some(at_ms);
    row.proof = None;
    if let Some(completion) = &change.completion {
        row.begun_ms = completion.begun_ms.map(signed).or(row.begun_ms);
        row.server_exclude =
            (!completion.server_exclude.is_empty()).then(|| completion.server_exclude.to_string());
    }
    Some(row)
}

fn number(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn is_terminal(row: &TaskRow) -> bool {
    row.state.parse::<State>().is_ok_and(State::is_terminal)
}

/// The task with this id.
pub(super) fn find(
    connection: &mut AnyConnection,
    task_id: &TaskId,
) -> Result<Option<TaskRow>, StoreError> {
    Ok(tasks::table
        .filter(tasks::task_id.eq(task_id.as_str()))
        .select(TaskRow::as_select())
        .first(connection)
        .optional()?)
}

/// Inserts or replaces a task.
pub(super) fn put(connection: &mut AnyConnection, row: &TaskRow) -> Result<(), StoreError> {
    let same = tasks::table.filter(tasks::task_id.eq(&row.task_id));
    if diesel::update(same).set(row).execute(connection)? == 0 {
        diesel::insert_into(tasks::table)
            .values(row)
            .execute(connection)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Task;

    fn record(offset: i64, retry: u32, targets: &str) -> TaskAt {
        let json = format!(
            r#"{{"task_id":"t","ip_range":"{targets}","ports":"80","band_width":"9","retry":{retry}}}"#
        );
        TaskAt {
            partition: 0,
            offset,
            task: Task::from_record(json.as_bytes()).unwrap(),
        }
    }

    fn change(status: State, retry: u32, fence: u64, at_ms: u64) -> StatusChange {
        StatusChange {
            task_id: "t".parse().unwrap(),
            status,
            server: "s".into(),
            attempt: 1,
            lost: 0,
            fence,
            retry,
            record: (0, 0),
            found: 3,
            found_by_pass: None,
            error: None,
            at_ms,
            completion: None,
        }
    }

    fn pushed() -> TaskRow {
        with_record(None, &record(0, 0, "192.0.2.0/24"), 1).unwrap()
    }

    #[test]
    fn a_known_id_counts_only_as_a_retry() {
        let row = pushed();
        assert_eq!(row.state, "queued");
        assert_eq!(
            with_record(Some(row.clone()), &record(1, 0, "192.0.2.1"), 2),
            None
        );
        let failed = with_status(Some(row), &change(State::Failed, 0, 1, 5)).unwrap();
        assert_eq!(failed.ended_ms, Some(5));
        let retried = with_record(Some(failed), &record(1, 1, "192.0.2.1"), 7).unwrap();
        assert_eq!(
            (retried.state.as_str(), retried.topic_offset),
            ("queued", Some(1))
        );
        assert_eq!(
            (retried.ended_ms, retried.ip_range.as_deref()),
            (None, Some("192.0.2.1"))
        );
        let completed = with_status(Some(retried), &change(State::Completed, 1, 2, 9)).unwrap();
        assert_eq!(
            with_record(Some(completed), &record(2, 2, "192.0.2.9"), 10),
            None
        );
    }

    #[test]
    fn late_and_repeated_status_records_change_nothing() {
        let running = with_status(Some(pushed()), &change(State::Running, 0, 5, 10)).unwrap();
        assert_eq!(running.begun_ms, Some(10));
        assert_eq!(
            with_status(Some(running.clone()), &change(State::Running, 0, 4, 11)),
            None
        );
        let again = with_status(Some(running), &change(State::Running, 0, 6, 20)).unwrap();
        assert_eq!(again.begun_ms, Some(10));
        let ended = with_status(Some(again), &change(State::Completed, 0, 6, 30)).unwrap();
        for late in [
            change(State::Completed, 0, 6, 31),
            change(State::Running, 0, 7, 32),
            change(State::Cancelled, 0, 0, 33),
        ] {
            assert_eq!(with_status(Some(ended.clone()), &late), None);
        }
    }

    #[test]
    fn a_status_without_a_record_is_kept() {
        let row = with_status(None, &change(State::Rejected, 0, 0, 4)).unwrap();
        assert_eq!((row.state.as_str(), row.ip_range), ("rejected", None));
    }
}
