//! Tasks as their records and status records describe them. Each status record names the task's record, so a task that was retried, or whose id was used
//! again, has the parameters of the record that was scanned last.

use super::batch::{StatusChange, TaskAt};
use super::connection::AnyConnection;
use super::error::StoreError;
use super::schema::{TaskEventRow, TaskRow, signed, task_events, task_records, tasks};
use crate::model::{State, Task, TaskId};
use diesel::prelude::*;
use std::cmp::Ordering;

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

/// The task as its record describes it, before its state is known.
fn queued(record: &TaskAt, now_ms: i64) -> TaskRow {
    with_parameters(unknown(&record.task.task_id, now_ms), record)
}

/// `row` with the parameters of the record.
fn with_parameters(row: TaskRow, record: &TaskAt) -> TaskRow {
    let task = &record.task;
    TaskRow {
        job_id: task.job_id.as_ref().map(TaskId::to_string),
        ip_range: Some(task.ip_range.to_string()),
        ports: Some(task.ports.to_string()),
        band_width: Some(signed(task.band_width.pps())),
        priority: Some(i16::from(task.priority.get())),
        retries: i32::try_from(task.retries).ok(),
        exclude: (!task.exclude.is_empty()).then(|| task.exclude.to_string()),
        shard: task.shard.map(|shard| shard.to_string()),
        seed: Some(signed(task.seed)),
        topic_partition: Some(record.partition),
        topic_offset: Some(record.offset),
        ..row
    }
}

/// A status record compared with what is known of its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recency {
    /// About the known record, which has not ended.
    Current,
    /// About a later record with this id: a retry, or an id that is used again.
    Later,
    /// Already applied, or older.
    Outdated,
}

fn recency_of(row: &TaskRow, change: &StatusChange) -> Recency {
    let (partition, offset) = change.record;
    let order = match row.topic_partition.zip(row.topic_offset) {
        None => Ordering::Equal,
        Some((known, known_offset)) if known == partition => offset.cmp(&known_offset),
        // Partitions were added: the fence says which is later.
        Some(_) => {
            (saturating_i32(change.retry), signed(change.fence)).cmp(&(row.retry, row.fence))
        }
    };
    match order {
        Ordering::Less => Recency::Outdated,
        Ordering::Greater => Recency::Later,
        Ordering::Equal => {
            let is_older_claim = signed(change.fence) < row.fence && !change.status.is_terminal();
            match is_terminal(row) || is_older_claim {
                true => Recency::Outdated,
                false => Recency::Current,
            }
        }
    }
}

/// The task after a change of its state; none if the change was already applied, or is outdated. `record`: the task's record that the change
/// names, if it was read.
pub(super) fn with_status(
    row: Option<TaskRow>,
    record: Option<&TaskAt>,
    change: &StatusChange,
) -> Option<TaskRow> {
    let at_ms = signed(change.at_ms);
    let of_record = || {
        let row = unknown(&change.task_id, at_ms);
        let row = TaskRow {
            topic_partition: Some(change.record.0),
            topic_offset: Some(change.record.1),
            ..row
        };
        match record {
            Some(record) => with_parameters(row, record),
            None => row,
        }
    };
    let row = match row {
        None => of_record(),
        Some(row) => match recency_of(&row, change) {
            Recency::Current => row,
            Recency::Later => of_record(),
            Recency::Outdated => return None,
        },
    };
    let is_running = change.status == State::Running;
    let mut row = TaskRow {
        retry: saturating_i32(change.retry),
        state: change.status.as_str().to_owned(),
        server: Some(change.server.clone()),
        attempt: saturating_i32(change.attempt),
        lost: saturating_i32(change.lost),
        fence: signed(change.fence),
        found: signed(change.found),
        found_by_pass: change.found_by_pass.clone(),
        error: change.error.clone(),
        changed_ms: at_ms,
        begun_ms: row.begun_ms.or(is_running.then_some(at_ms)),
        ended_ms: change.status.is_terminal().then_some(at_ms),
        ..row
    };
    if let Some(completion) = &change.completion {
        row.begun_ms = completion.begun_ms.map(signed).or(row.begun_ms);
        row.server_exclude =
            (!completion.server_exclude.is_empty()).then(|| completion.server_exclude.to_string());
    }
    Some(row)
}

fn is_without_parameters(row: &TaskRow) -> bool {
    row.ip_range.is_none()
}

fn is_at(row: &TaskRow, record: &TaskAt) -> bool {
    (row.topic_partition, row.topic_offset) == (Some(record.partition), Some(record.offset))
}

fn saturating_i32(number: u32) -> i32 {
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

/// Keeps a record that was read, and the task if its id is new.
pub(super) fn put_record(
    connection: &mut AnyConnection,
    record: &TaskAt,
    now_ms: i64,
) -> Result<(), StoreError> {
    // A topic that was recreated has other records at the same offsets.
    diesel::delete(
        task_records::table
            .filter(task_records::topic_partition.eq(record.partition))
            .filter(task_records::topic_offset.eq(record.offset)),
    )
    .execute(connection)?;
    diesel::insert_into(task_records::table)
        .values((
            task_records::topic_partition.eq(record.partition),
            task_records::topic_offset.eq(record.offset),
            task_records::task_id.eq(record.task.task_id.as_str()),
            task_records::record.eq(record.task.to_record()),
            task_records::read_ms.eq(now_ms),
        ))
        .execute(connection)?;
    match find(connection, &record.task.task_id)? {
        None => put(connection, &queued(record, now_ms)),
        // A state change that names this record was read before it.
        Some(row) if is_without_parameters(&row) && is_at(&row, record) => {
            put(connection, &with_parameters(row, record))
        }
        // The next status record decides which of the two is current.
        Some(_) => Ok(()),
    }
}

/// The record of a task at this partition and offset, if it was read and is this task's.
pub(super) fn record_at(
    connection: &mut AnyConnection,
    task_id: &TaskId,
    (partition, offset): (i32, i64),
) -> Result<Option<TaskAt>, StoreError> {
    let text: Option<String> = task_records::table
        .filter(task_records::topic_partition.eq(partition))
        .filter(task_records::topic_offset.eq(offset))
        .filter(task_records::task_id.eq(task_id.as_str()))
        .select(task_records::record)
        .first(connection)
        .optional()?;
    let task = text.and_then(|text| Task::from_record(text.as_bytes()).ok());
    Ok(task.map(|task| TaskAt {
        partition,
        offset,
        task,
    }))
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

/// Keeps a change of a task's state. One that is there already, because the record was repeated, stays as it is.
pub(super) fn put_event(
    connection: &mut AnyConnection,
    change: &StatusChange,
) -> Result<(), StoreError> {
    let event = TaskEventRow {
        task_id: change.task_id.to_string(),
        at_ms: signed(change.at_ms),
        retry: saturating_i32(change.retry),
        fence: signed(change.fence),
        state: change.status.as_str().to_owned(),
        server: change.server.clone(),
        attempt: saturating_i32(change.attempt),
        found: signed(change.found),
        error: change.error.clone(),
    };
    let same = task_events::table
        .filter(task_events::task_id.eq(&event.task_id))
        .filter(task_events::at_ms.eq(event.at_ms))
        .filter(task_events::retry.eq(event.retry))
        .filter(task_events::fence.eq(event.fence))
        .filter(task_events::state.eq(&event.state));
    let known: i64 = same.count().get_result(connection)?;
    if known == 0 {
        diesel::insert_into(task_events::table)
            .values(&event)
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

    fn at(offset: i64, status: State, fence: u64, at_ms: u64) -> StatusChange {
        StatusChange {
            record: (0, offset),
            ..change(status, 0, fence, at_ms)
        }
    }

    fn pushed() -> TaskRow {
        queued(&record(0, 0, "192.0.2.0/24"), 1)
    }

    #[test]
    fn late_and_repeated_status_records_change_nothing() {
        let next =
            |row: &TaskRow, change: &StatusChange| with_status(Some(row.clone()), None, change);
        let running = next(&pushed(), &change(State::Running, 0, 5, 10)).unwrap();
        assert_eq!(running.begun_ms, Some(10));
        assert_eq!(running.ip_range.as_deref(), Some("192.0.2.0/24"));
        assert_eq!(next(&running, &change(State::Running, 0, 4, 11)), None);
        let again = next(&running, &change(State::Running, 0, 6, 20)).unwrap();
        assert_eq!(again.begun_ms, Some(10));
        let ended = next(&again, &change(State::Completed, 0, 6, 30)).unwrap();
        assert_eq!(ended.ended_ms, Some(30));
        for late in [
            change(State::Completed, 0, 6, 31),
            change(State::Running, 0, 7, 32),
            change(State::Cancelled, 0, 0, 33),
        ] {
            assert_eq!(next(&ended, &late), None);
        }
        // An order ends a task that nobody has claimed.
        assert!(next(&running, &change(State::Cancelled, 0, 0, 12)).is_some());
    }

    #[test]
    fn a_later_record_with_the_same_id_replaces_the_task() {
        let failed = with_status(Some(pushed()), None, &change(State::Failed, 0, 5, 9)).unwrap();
        let other = record(7, 0, "198.51.100.1");
        let running = at(7, State::Running, 8, 50);
        let row = with_status(Some(failed.clone()), Some(&other), &running).unwrap();
        assert_eq!(row.ip_range.as_deref(), Some("198.51.100.1"));
        assert_eq!(
            (row.begun_ms, row.ended_ms, row.topic_offset),
            (Some(50), None, Some(7))
        );
        // Its record was removed from Kafka before it was read.
        let row = with_status(Some(failed), None, &running).unwrap();
        assert_eq!((row.ip_range, row.topic_offset), (None, Some(7)));
        // What is still said about the earlier one is old.
        let row = with_status(Some(pushed()), Some(&other), &running);
        assert_eq!(
            with_status(row, None, &at(0, State::Completed, 9, 60)),
            None
        );
    }

    #[test]
    fn a_status_without_a_record_is_kept() {
        let row = with_status(None, None, &change(State::Rejected, 0, 0, 4)).unwrap();
        assert_eq!((row.state.as_str(), row.ip_range), ("rejected", None));
    }
}
