//! What ingestion concludes from records and offsets: whether a log is still the same, where a partition starts, what to do with a record.
//! Pure.

use super::rebuild::TaskHistories;
use crate::claim_table::{Cursor, Disposition, NewTask};
use crate::kafka::{LogRange, Record};
use crate::model::task::Rejected;
use crate::model::task_bounds::TaskBounds;
use crate::model::text::fingerprint;
use crate::model::{Lineage, StatusRecord, Task, TaskId};

/// Most records in one ingest call.
const INGEST_BATCH_MAX: usize = 500;
/// Most bytes of records in one ingest call.
const INGEST_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// The records after the cursor in `again`, which was read from the record before the cursor; none if that record has changed. If it is
/// missing, nothing is concluded.
///
/// If the answer ends before the cursor, the result is `records`, which was read from the cursor just before: an answer may end anywhere, and
/// would do so each time, because of its size or of a batch that cannot be decoded.
pub(super) fn records_after_cursor(
    cursor: &Cursor,
    mut again: Vec<Record>,
    records: Vec<Record>,
) -> Option<Vec<Record>> {
    let before = again.first().filter(|first| first.offset < cursor.next);
    if before.is_some_and(|before| Some(fingerprint_of(before)) != cursor.last) {
        return None;
    }
    again.retain(|record| record.offset >= cursor.next);
    Some(if again.is_empty() { records } else { again })
}

/// Up to this many offsets may have no record before the end of the log is asked for: markers of transactions occupy offsets too.
const GAP_MAX: i64 = 1_000;

/// Whether these records, read from offset `from` on, skip more offsets than [`GAP_MAX`]. Then the offset of one of them may be false.
pub(super) fn leaves_a_gap(records: &[Record], from: i64) -> bool {
    let last = records.last().map_or(from, |record| record.offset);
    last.saturating_sub(from) > GAP_MAX + records.len() as i64
}

/// Keeps the records whose offset is at least `from`, below that of every later one that is kept, and below the end of the log, if that is known. Any
/// other record would move the cursor back, or past records that were not ingested; librdkafka does not check the offsets that a producer wrote.
pub(super) fn in_ascending_order(
    mut records: Vec<Record>,
    from: i64,
    end: Option<i64>,
) -> Vec<Record> {
    let mut allowed_below = end.unwrap_or(i64::MAX);
    records.reverse();
    records.retain(|record| {
        let is_allowed = (from..allowed_below).contains(&record.offset);
        if is_allowed {
            allowed_below = record.offset;
        }
        is_allowed
    });
    records.reverse();
    records
}

pub(super) fn fingerprint_of(record: &Record) -> String {
    fingerprint(&String::from_utf8_lossy(&record.value)).to_string()
}

/// Where a partition without a cursor starts: at the committed offset if the log still contains it, else at the beginning of the log.
pub(super) fn first_offset(committed: Option<i64>, range: LogRange) -> i64 {
    match committed {
        Some(offset) if (range.first..=range.next).contains(&offset) => offset,
        _ => range.first,
    }
}

/// What to do with a record. `histories` is known during a rebuild. Only records below `until`, the end of the partition's rebuild, may have one of
/// their own in it; but a later record may name a task whose own record is still to be read in another partition.
pub(super) fn new_task(
    partition: i32,
    record: &Record,
    bounds: &TaskBounds,
    histories: Option<&TaskHistories>,
    until: i64,
) -> NewTask {
    let elsewhere = |id: &str| {
        histories.and_then(|histories| histories.elsewhere(id, partition, record.offset))
    };
    let histories = histories.filter(|_| record.offset < until);
    let record_id = TaskId::of_record(partition, record.offset);
    let new = |task_id, task, disposition| NewTask {
        offset: record.offset,
        task_id,
        record_id: record_id.clone(),
        task,
        disposition,
    };
    let ended = Disposition::Ended { restored: None };
    if histories.is_some_and(|histories| histories.was_rejected(&record_id, record.offset)) {
        return new(record_id.clone(), None, ended);
    }
    let parsed = Task::from_record(&record.value).and_then(|task| {
        check_id(&task.task_id, &record_id)?;
        Ok(task)
    });
    match parsed {
        Ok(mut task) => {
            bounds.lower_priority(&mut task);
            let id = task.task_id.as_str();
            if let Some(other) = elsewhere(id) {
                let disposition = match task.retry > other.lineage.retry {
                    true => Disposition::Retry {
                        unless_known: unrestored(other),
                    },
                    false => ended,
                };
                return new(task.task_id.clone(), Some(task), disposition);
            }
            let refusal = histories.and_then(|histories| histories.refusal(id, task.retry));
            if let Some(reason) = refusal {
                return new(record_id.clone(), None, Disposition::Rejected { reason });
            }
            let known = histories.and_then(|histories| {
                histories.disposition(id, task.retry, partition, record.offset)
            });
            let disposition = known.unwrap_or(Disposition::New);
            new(task.task_id.clone(), Some(task), disposition)
        }
        Err(rejected) => {
            let task_id = rejected.task_id.unwrap_or_else(|| record_id.clone());
            let id = task_id.as_str();
            let is_ignored = elsewhere(id).is_some()
                || histories.is_some_and(|histories| {
                    histories.ignores_invalid(id, partition, record.offset)
                });
            let disposition = match is_ignored {
                true => ended,
                false => Disposition::Rejected {
                    reason: rejected.reason,
                },
            };
            new(task_id, None, disposition)
        }
    }
}

/// Why a record may not start a task again that the claim table does not know, and whose last state is this.
fn unrestored(last: &StatusRecord) -> String {
    let Lineage {
        partition, offset, ..
    } = last.lineage;
    let state = last.status;
    format!(
        "it is {state}, and its record at partition {partition} offset {offset} has not been restored since Redis lost its data"
    )
}

/// Errs if the id is that of another record: such ids name records that are rejected.
fn check_id(task_id: &TaskId, record_id: &TaskId) -> Result<(), Rejected> {
    match task_id.is_of_record() && task_id != record_id {
        true => Err(Rejected {
            task_id: None,
            reason: format!("task_id: {task_id} names the record at that place, choose another id"),
        }),
        false => Ok(()),
    }
}

/// A record that is not a valid task is left out if there is no room for it. Every other record is kept.
pub(super) fn kept_or_left_out(mut new: NewTask, has_room: impl FnOnce() -> bool) -> NewTask {
    new.disposition = match new.disposition {
        Disposition::Rejected { reason } if !has_room() => Disposition::LeftOut { reason },
        other => other,
    };
    new
}

/// Splits records into groups of at most [`INGEST_BATCH_MAX`] records and about [`INGEST_BATCH_BYTES`].
pub(super) fn ingest_batches(records: &[Record]) -> Vec<&[Record]> {
    let mut runs = Vec::new();
    let (mut begin, mut bytes) = (0, 0);
    for (i, record) in records.iter().enumerate() {
        let full = i - begin >= INGEST_BATCH_MAX || bytes + record.value.len() > INGEST_BATCH_BYTES;
        if full && i > begin {
            runs.push(&records[begin..i]);
            (begin, bytes) = (i, 0);
        }
        bytes += record.value.len();
    }
    if begin < records.len() {
        runs.push(&records[begin..]);
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::State;
    use crate::model::task::Priority;
    use crate::scand::finalize::record_of;
    use std::collections::BTreeMap;
    use std::time::Duration;

    #[test]
    fn a_partition_starts_at_the_committed_offset_or_at_the_beginning_of_the_log() {
        let range = LogRange { first: 5, next: 9 };
        for (committed, from) in [
            (None, 5),
            (Some(3), 5),
            (Some(5), 5),
            (Some(7), 7),
            (Some(9), 9),
            (Some(10), 5),
        ] {
            assert_eq!(first_offset(committed, range), from, "{committed:?}");
        }
    }

    fn record(offset: i64, text: &str) -> Record {
        Record {
            offset,
            value: text.into(),
        }
    }

    /// At offset 5, behind the record "mine".
    fn cursor_behind_mine() -> Cursor {
        Cursor {
            next: 5,
            until: 0,
            epoch: "e".into(),
            last: Some(fingerprint_of(&record(4, "mine"))),
        }
    }

    #[test]
    fn another_log_at_the_same_offsets_is_noticed() {
        let cursor = cursor_behind_mine();
        let follows = vec![record(5, "next")];
        for (read, expected) in [
            (
                vec![record(4, "mine"), record(5, "next")],
                Some(follows.clone()),
            ),
            (vec![record(4, "other"), record(5, "next")], None),
            (vec![record(4, "other")], None),
            (follows.clone(), Some(follows)),
        ] {
            let first = vec![record(5, "first")];
            assert_eq!(
                records_after_cursor(&cursor, read.clone(), first),
                expected,
                "{read:?}"
            );
        }
    }

    #[test]
    fn an_answer_that_ends_before_the_cursor_does_not_stop_ingestion() {
        let cursor = cursor_behind_mine();
        let first = vec![record(5, "next")];
        let again = vec![record(4, "mine")];
        assert_eq!(
            records_after_cursor(&cursor, again, first.clone()),
            Some(first)
        );
    }

    #[test]
    fn a_record_that_would_move_the_cursor_back_is_dropped() {
        for (offsets, end, kept) in [
            (&[][..], None, &[][..]),
            (&[5, 6, 9], None, &[5, 6, 9]),
            (&[4, 5], None, &[5]),
            (&[5, 5, 6], None, &[5, 6]),
            (&[7, 5, 6, 8], None, &[5, 6, 8]),
            (&[5, 2_000_000_000, 6, 7], None, &[5, 6, 7]),
            (&[-1, i64::MAX, 6], None, &[6]),
            (&[5, 2_000_000_000], Some(8), &[5]),
            (&[2_000_000_000], Some(6), &[]),
        ] {
            let records: Vec<Record> = offsets.iter().map(|&offset| record(offset, "x")).collect();
            let found = in_ascending_order(records, 5, end);
            let found: Vec<i64> = found.iter().map(|record| record.offset).collect();
            assert_eq!(found, kept, "{offsets:?}");
        }
    }

    #[test]
    fn the_end_of_the_log_is_asked_for_only_after_a_gap() {
        for (offsets, leaves) in [
            (&[][..], false),
            (&[5, 6, 7], false),
            (&[5, 6, 900], false),
            (&[5, 6, 2000], true),
            (&[2_000_000_000], true),
        ] {
            let records: Vec<Record> = offsets.iter().map(|&offset| record(offset, "x")).collect();
            assert_eq!(leaves_a_gap(&records, 5), leaves, "{offsets:?}");
        }
    }

    #[test]
    fn batches_are_bounded_and_complete() {
        let record = |offset, bytes| Record {
            offset,
            value: vec![b'x'; bytes],
        };
        let many: Vec<Record> = (0..1200).map(|offset| record(offset, 1)).collect();
        let cut = ingest_batches(&many);
        assert_eq!(
            cut.iter().map(|run| run.len()).collect::<Vec<_>>(),
            [500, 500, 200]
        );
        let large: Vec<Record> = (0..3)
            .map(|offset| record(offset, INGEST_BATCH_BYTES))
            .collect();
        assert_eq!(
            ingest_batches(&large).len(),
            3,
            "one that is too large goes by itself"
        );
        assert!(ingest_batches(&[]).is_empty());
    }

    fn bounds() -> TaskBounds {
        TaskBounds {
            time: Duration::MAX,
            wait_s: 10,
            attempts: 3,
            priority: Priority::default(),
        }
    }

    #[test]
    fn a_record_gets_no_higher_priority_than_its_server_allows() {
        for (asked, expected) in [(4, 4), (5, 5), (9, 5)] {
            let text = format!(
                r#"{{"task_id":"t","ip_range":"10.0.0.1","ports":"443","band_width":"1","priority":{asked}}}"#
            );
            let new = new_task(0, &record(0, &text), &bounds(), None, 0);
            assert_eq!(new.task.unwrap().priority.get(), expected);
        }
    }

    #[test]
    fn an_id_of_another_record_is_refused() {
        let task = |id: &str| {
            let json = format!(
                r#"{{"task_id":"{id}","ip_range":"172.16.0.0/24","ports":"443","band_width":"800"}}"#
            );
            new_task(3, &record(7, &json), &bounds(), None, 0)
        };
        for (id, is_refused) in [
            ("record-3-7", false),
            ("record-3-8", true),
            ("record-0-7", true),
            ("record-3-", false),
            ("record-3-8x", false),
            ("record", false),
        ] {
            let new = task(id);
            let refused = matches!(new.disposition, Disposition::Rejected { .. });
            assert_eq!(refused, is_refused, "{id}");
            assert!(!is_refused || new.task_id.as_str() == "record-3-7");
        }
    }

    /// What is done with this record at partition 0, offset 4, if `scan-status` has this state of task `t` with the record at that place. `until` is the
    /// end of the rebuild in partition 0.
    fn in_a_rebuild(text: &str, state: State, place: (i32, i64), until: i64) -> Disposition {
        let lineage = Lineage::unclaimed(place.0, place.1);
        let status = StatusRecord {
            status: state,
            ..record_of(&"t".parse().unwrap(), "s1", lineage)
        };
        let mut histories = TaskHistories::default();
        let from = BTreeMap::from([(0, 0), (1, 0)]);
        histories.note(&serde_json::to_vec(&status).unwrap(), &from);
        new_task(0, &record(4, text), &bounds(), Some(&histories), until).disposition
    }

    #[test]
    fn in_a_rebuild_a_record_takes_over_and_rejects_no_task_of_another_record() {
        let valid = r#"{"task_id":"t","ip_range":"10.0.0.1","ports":"443","band_width":"1"}"#;
        let invalid = r#"{"task_id":"t"}"#;
        let ignored = Disposition::Ended { restored: None };
        for state in State::ALL {
            for (place, until) in [((1, 4), 5), ((0, 5), 6), ((1, 9), 4)] {
                let disposition = |text| in_a_rebuild(text, state, place, until);
                assert_eq!(disposition(valid), ignored, "{state}");
                assert_eq!(disposition(invalid), ignored, "{state}");
            }
        }
        let running = in_a_rebuild(valid, State::Running, (0, 4), 5);
        assert!(matches!(running, Disposition::Held { .. }), "{running:?}");
        let itself = in_a_rebuild(invalid, State::Running, (0, 4), 5);
        assert!(matches!(itself, Disposition::Rejected { .. }), "{itself:?}");
    }

    /// The partitions are read independently of one another.
    #[test]
    fn in_a_rebuild_a_retry_is_judged_only_when_the_record_before_it_was_read() {
        let retry =
            r#"{"task_id":"t","ip_range":"10.0.0.1","ports":"443","band_width":"1","retry":1}"#;
        for state in State::ALL {
            // The record may have been written before the rebuild began, or after.
            for until in [5, 4] {
                for place in [(1, 9), (1, 2), (0, 5)] {
                    let disposition = in_a_rebuild(retry, state, place, until);
                    let Disposition::Retry { unless_known } = disposition else {
                        panic!("{state}: {disposition:?}")
                    };
                    let of_the_task = format!("partition {} offset {}", place.0, place.1);
                    assert!(unless_known.contains(&of_the_task), "{unless_known}");
                }
            }
            let follows = in_a_rebuild(retry, state, (0, 3), 5);
            match state.may_be_retried() {
                true => assert_eq!(follows, Disposition::New),
                false => assert!(matches!(follows, Disposition::Rejected { .. })),
            }
            assert_eq!(in_a_rebuild(retry, state, (0, 3), 4), Disposition::New);
        }
    }

    #[test]
    fn a_record_without_an_id_is_named_by_its_place() {
        let record = Record {
            offset: 7,
            value: b"{".to_vec(),
        };
        let new = new_task(3, &record, &bounds(), None, 0);
        assert_eq!(new.task_id.as_str(), "record-3-7");
        let kept = kept_or_left_out(new.clone(), || true);
        assert!(matches!(kept.disposition, Disposition::Rejected { .. }));
        let left_out = kept_or_left_out(new, || false);
        assert!(matches!(left_out.disposition, Disposition::LeftOut { .. }));
    }
}
