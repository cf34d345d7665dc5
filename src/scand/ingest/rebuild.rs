//! The history of tasks in `scan-status`. When the claim table is rebuilt from the group's committed offsets, it tells which of the tasks after
//! them have ended or were running.

use crate::claim_table::{Disposition, Past};
use crate::kafka::{FETCH_WAIT, Fetched, KafkaError, KafkaSettings, Reader, Record};
use crate::model::{State, StatusRecord, TaskId};
use crate::scand::retry_log::Stop;
use log::info;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};

/// The last known state of every task at or above some offsets, by id, and the ids of ended tasks below them.
#[derive(Debug, Default)]
pub struct TaskHistories {
    tasks: HashMap<String, StatusRecord>,
    /// Hashes of the ids of ended tasks with their last retry and its end: every id of the topic is kept here. That the hash of one of a million ids equals that
    /// of one of a hundred thousand new tasks happens once in a hundred million rebuilds.
    ended_before: HashMap<u64, (u32, State)>,
    hasher: RandomState,
}

impl TaskHistories {
    /// Reads `scan-status` up to its current end and keeps what concerns task records at or above `from` (partition → offset). Memory grows with
    /// those tasks, and by a few bytes for each other task that has ended.
    pub fn read(
        kafka: &KafkaSettings,
        status_topic: &str,
        from: &BTreeMap<i32, i64>,
        stop: &Stop,
    ) -> Result<TaskHistories, KafkaError> {
        let mut reader = Reader::connect_until(kafka, status_topic, stop)?;
        let ranges = reader.log_ranges()?;
        // Without one partition's records, tasks that have ended would run again.
        let without_leader = |partition: i32| KafkaError::Broken {
            doing: format!("read {status_topic}"),
            reason: format!("partition {partition} currently has no leader"),
        };
        let mut partitions = reader.partitions().into_iter();
        if let Some(missing) = partitions.find(|partition| !ranges.contains_key(partition)) {
            return Err(without_leader(missing));
        }
        let mut cursors: BTreeMap<i32, i64> =
            ranges.iter().map(|(&p, range)| (p, range.first)).collect();
        let mut histories = TaskHistories::default();
        let mut read = 0;
        loop {
            cursors.retain(|partition, next| *next < ranges[partition].next);
            if cursors.is_empty() {
                break;
            }
            for (partition, fetched) in reader.fetch(&cursors, FETCH_WAIT)? {
                let Some(next) = cursors.get_mut(&partition) else {
                    continue;
                };
                *next = match fetched {
                    Fetched::Records(records) => {
                        read += records.len();
                        histories.note_all(&records, from).unwrap_or(*next)
                    }
                    Fetched::Gap { next } => next,
                    // Retention has removed it in the meantime.
                    Fetched::OutOfRange => {
                        let range = reader.log_ranges()?.get(&partition).copied();
                        range.ok_or_else(|| without_leader(partition))?.first
                    }
                    // Without these records a task that has ended might run again; and the caller may have to stop.
                    unread @ (Fetched::Away { .. }
                    | Fetched::Unreadable { .. }
                    | Fetched::Refused { .. }) => return Err(unread_error(status_topic, unread)),
                    Fetched::Gone => i64::MAX,
                }
            }
        }
        info!(
            "read {read} records of {status_topic}: {} tasks have a history",
            histories.tasks.len()
        );
        Ok(histories)
    }

    /// Notes all `records`; returns the offset after the last one.
    fn note_all(&mut self, records: &[Record], from: &BTreeMap<i32, i64>) -> Option<i64> {
        for record in records {
            self.note(&record.value, from);
        }
        records.last().map(|record| record.offset + 1)
    }

    pub(super) fn note(&mut self, value: &[u8], from: &BTreeMap<i32, i64>) {
        // Records of other programs on this topic are ignored.
        let Ok(record) = serde_json::from_slice::<StatusRecord>(value) else {
            return;
        };
        let concerns = from
            .get(&record.lineage.partition)
            .is_some_and(|&first| record.lineage.offset >= first);
        if !concerns {
            // A record with the same id may be at or above `from`, if a push was repeated.
            if record.status.is_terminal() {
                let id = self.hasher.hash_one(&record.task_id);
                let end = (record.lineage.retry, record.status);
                let last = self.ended_before.entry(id).or_insert(end);
                if end.0 >= last.0 {
                    *last = end;
                }
            }
            return;
        }
        let is_older = |known: &StatusRecord| match record.lineage.retry.cmp(&known.lineage.retry) {
            // A retry starts a task again: records of an earlier retry no longer count.
            Ordering::Less => true,
            Ordering::Greater => false,
            // Servers write independently: the record of an older claim may follow that of a newer one.
            Ordering::Equal => {
                known.status.is_terminal() || record.lineage.fence < known.lineage.fence
            }
        };
        if !self.tasks.get(&record.task_id).is_some_and(is_older) {
            self.tasks.insert(record.task_id.clone(), record);
        }
    }

    /// The last known state of the task `id`, if the task's record lies in another partition than this record, or after it: then it may not have been
    /// read again.
    pub fn elsewhere(&self, id: &str, partition: i32, offset: i64) -> Option<&StatusRecord> {
        self.tasks.get(id).filter(|record| {
            record.lineage.partition != partition || record.lineage.offset > offset
        })
    }

    /// The `retry` and the state of the last end of the task `id`, if it was below the offsets that this history is about.
    fn ended_before(&self, id: &str) -> Option<(u32, State)> {
        self.ended_before.get(&self.hasher.hash_one(id)).copied()
    }

    /// Whether the record at this offset, whose id is `record_id`, was rejected: it must not be judged again by what is known later.
    pub fn was_rejected(&self, record_id: &TaskId, offset: i64) -> bool {
        self.tasks.get(record_id.as_str()).is_some_and(|record| {
            record.status == State::Rejected && record.lineage.offset == offset
        })
    }

    /// Why a record with this `retry` may not start the task `id` again; none if it may, or if nothing is known. The claim table judges the same by
    /// what it has, but tasks that completed, and those below the committed offset, are not in a table that is rebuilt.
    pub fn refusal(&self, id: &str, retry: u32) -> Option<String> {
        let (last, state) = match self.tasks.get(id) {
            Some(record) => (record.lineage.retry, record.status),
            None => self.ended_before(id)?,
        };
        let why = match retry.checked_sub(last) {
            None | Some(0) => return None,
            // Kafka has a task's terminal record before Redis ends the task, so a correct retry always follows one.
            _ if !state.is_terminal() => format!("it has not ended: {state}"),
            _ if !state.may_be_retried() => format!("it has ended as {state}"),
            Some(1) => return None,
            _ => format!(
                "its last retry is {last}, so the next one is {}, not {retry}",
                last + 1
            ),
        };
        Some(format!("it would start task {id} again: {why}"))
    }

    /// Whether a record at this place that is not a valid task is ignored, although it names the task `id`: the task has ended, or is that of
    /// another record.
    pub fn ignores_invalid(&self, id: &str, partition: i32, offset: i64) -> bool {
        match self.tasks.get(id) {
            Some(record) => record.status.is_terminal() || !is_at(record, partition, offset),
            None => self.ended_before(id).is_some(),
        }
    }

    /// What to do with the task `id` when a record with this `retry` is read at this place; none if there is no history of this `retry` or a later
    /// one. A duplicate, whose task is that of a record at another place, counts as ended.
    pub fn disposition(
        &self,
        id: &str,
        retry: u32,
        partition: i32,
        offset: i64,
    ) -> Option<Disposition> {
        let known = self
            .tasks
            .get(id)
            .filter(|record| record.lineage.retry >= retry);
        let Some(record) = known else {
            return self
                .ended_before(id)
                .filter(|&(last, _)| last >= retry)
                .map(|_| Disposition::Ended { restored: None });
        };
        let past = Past::from(record);
        Some(match record.status {
            // The task continued with a later record.
            _ if record.lineage.retry > retry => Disposition::Ended { restored: None },
            // It may scan something else, so it must not take over what servers wrote about the other record.
            _ if !is_at(record, partition, offset) => Disposition::Ended { restored: None },
            state if state.is_terminal() => Disposition::Ended {
                restored: state.may_be_retried().then(|| Box::new(record.clone())),
            },
            State::Running => Disposition::Held {
                server: record.server.clone(),
                past,
            },
            State::Paused => Disposition::Paused(past),
            _ => Disposition::Ready(past),
        })
    }
}

/// Whether the state is that of a task whose record lies there in `scan-tasks`.
fn is_at(record: &StatusRecord, partition: i32, offset: i64) -> bool {
    (record.lineage.partition, record.lineage.offset) == (partition, offset)
}

/// Why the history cannot be read, with the remedy: a partition of `topic` returned no records, but `unread`.
fn unread_error(topic: &str, unread: Fetched) -> KafkaError {
    let reason = match unread {
        Fetched::Refused { reason, .. } => format!(
            "{reason}. Without these records tasks that have ended would run again. Gzip is not read over TLS or with a login: set \
             compression.type=uncompressed on {topic}, and read it once without. Other batches: docs/operations.md"
        ),
        Fetched::Away { reason } | Fetched::Unreadable { reason, .. } => reason,
        other => format!("{other:?}"),
    };
    KafkaError::Broken {
        doing: format!("read {topic}"),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_batch_is_an_error_that_names_it_and_the_remedy() {
        let refused = Fetched::Refused {
            reason: "partition 3 of status, offsets 7 to 7: compressed with gzip".to_owned(),
            next: 8,
        };
        let line = unread_error("status", refused).to_string();
        for part in [
            "read status",
            "partition 3 of status, offsets 7 to 7",
            "compression.type=uncompressed",
            "Gzip is not read over TLS",
            "docs/operations.md",
        ] {
            assert!(line.contains(part), "{part}: {line}");
        }
    }
    use crate::model::Lineage;
    use crate::scand::finalize::record_of;

    fn lineage(attempt: u32, fence: u64, retry: u32, offset: i64) -> Lineage {
        Lineage {
            attempt,
            fence,
            retry,
            ..Lineage::unclaimed(0, offset)
        }
    }

    fn note(history: &mut TaskHistories, id: &str, status: State, offset: i64) {
        let record = StatusRecord {
            status,
            ..record_of(&id.parse().unwrap(), "s1", lineage(2, 7, 0, offset))
        };
        let value = serde_json::to_vec(&record).unwrap();
        history.note(&value, &BTreeMap::from([(0, 10)]));
    }

    fn has_ended(history: &TaskHistories, id: &str, retry: u32) -> bool {
        let known = history.tasks.get(id);
        let offset = known.map_or(20, |record| record.lineage.offset);
        matches!(
            history.disposition(id, retry, 0, offset),
            Some(Disposition::Ended { .. })
        )
    }

    #[test]
    fn a_retry_raises_the_counter_by_one_and_follows_no_completed_scan() {
        let from = BTreeMap::from([(0, 10)]);
        // Below and above the committed offset.
        for offset in [3, 12] {
            for (end, retry, refused) in [
                (State::Failed, 1, None),
                (State::Failed, 2, None),
                (
                    State::Failed,
                    3,
                    Some("its last retry is 1, so the next one is 2, not 3"),
                ),
                (State::Cancelled, 1000, Some("not 1000")),
                (State::Completed, 1, None),
                (State::Completed, 2, Some("it has ended as completed")),
                (State::Rejected, 2, None),
            ] {
                let mut history = TaskHistories::default();
                history.note(&change(State::Failed, 5, 0, offset), &from);
                history.note(&change(end, 7, 1, offset + 1), &from);
                let why = history.refusal("t", retry);
                assert_eq!(why.is_some(), refused.is_some(), "{end} {retry}: {why:?}");
                assert!(why.unwrap_or_default().contains(refused.unwrap_or("")));
            }
        }
        assert_eq!(TaskHistories::default().refusal("t", 1000), None);
        for state in [State::Queued, State::Running, State::Paused] {
            let mut history = TaskHistories::default();
            history.note(&change(state, 7, 1, 12), &from);
            assert_eq!(history.refusal("t", 1), None, "the record itself");
            for retry in [2, 3] {
                let why = history.refusal("t", retry).unwrap();
                assert!(why.contains(&format!("it has not ended: {state}")), "{why}");
            }
        }
    }

    /// Another record with the same id may lie in a partition that is read first.
    #[test]
    fn a_record_at_another_place_takes_over_no_history() {
        let from = BTreeMap::from([(0, 0)]);
        for state in State::ALL {
            let mut history = TaskHistories::default();
            history.note(&change(state, 7, 1, 3), &from);
            for (partition, offset) in [(1, 3), (0, 4)] {
                let elsewhere = history.disposition("t", 1, partition, offset);
                let is_ignored = elsewhere == Some(Disposition::Ended { restored: None });
                assert!(is_ignored, "{state}: {elsewhere:?}");
                assert!(history.ignores_invalid("t", partition, offset), "{state}");
            }
            let ended = Some(Disposition::Ended { restored: None });
            let itself = history.disposition("t", 1, 0, 3);
            assert_eq!(itself == ended, state == State::Completed, "{itself:?}");
            assert_eq!(history.ignores_invalid("t", 0, 3), state.is_terminal());
        }
        assert!(!TaskHistories::default().ignores_invalid("t", 0, 3));
    }

    #[test]
    fn only_a_task_that_may_be_started_again_is_restored() {
        let from = BTreeMap::from([(0, 0)]);
        for (end, is_restored) in [
            (State::Failed, true),
            (State::Cancelled, true),
            (State::Completed, false),
        ] {
            let mut history = TaskHistories::default();
            history.note(&change(end, 7, 1, 3), &from);
            let restored = |retry| match history.disposition("t", retry, 0, 3) {
                Some(Disposition::Ended { restored }) => restored.is_some(),
                other => panic!("{other:?}"),
            };
            assert_eq!(restored(1), is_restored, "{end}");
            assert!(!restored(0), "a later record replaced it");
        }
    }

    /// A push was repeated because it was not acknowledged: the second record is after the committed offset, the first before it.
    #[test]
    fn a_duplicate_of_a_task_that_ended_long_ago_is_known() {
        let mut history = TaskHistories::default();
        note(&mut history, "long-ago", State::Running, 3);
        assert_eq!(history.disposition("long-ago", 0, 0, 20), None);
        note(&mut history, "long-ago", State::Completed, 3);
        assert!(has_ended(&history, "long-ago", 0));
        assert_eq!(
            history.disposition("long-ago", 1, 0, 20),
            None,
            "a retry starts again"
        );
        assert_eq!(history.disposition("another", 0, 0, 20), None);
    }

    #[test]
    fn the_last_state_counts_and_a_terminal_one_stays() {
        let mut history = TaskHistories::default();
        note(&mut history, "ended", State::Running, 10);
        note(&mut history, "ended", State::Completed, 10);
        note(&mut history, "ended", State::Queued, 10);
        note(&mut history, "runs", State::Queued, 11);
        note(&mut history, "runs", State::Running, 11);
        note(&mut history, "waits", State::Running, 12);
        note(&mut history, "waits", State::Queued, 12);
        note(&mut history, "committed", State::Running, 9);
        note(&mut history, "overtaken", State::Running, 13);
        let late = record_of(&"overtaken".parse().unwrap(), "s2", lineage(0, 0, 0, 13));
        history.note(
            &serde_json::to_vec(&late).unwrap(),
            &BTreeMap::from([(0, 10)]),
        );
        history.note(b"not ours", &BTreeMap::new());
        assert!(has_ended(&history, "ended", 0));
        assert!(matches!(
            history.disposition("runs", 0, 0, 11),
            Some(Disposition::Held {
                past: Past {
                    attempt: 2,
                    fence: 7,
                    ..
                },
                ..
            })
        ));
        assert!(matches!(
            history.disposition("waits", 0, 0, 12),
            Some(Disposition::Ready(Past {
                attempt: 2,
                fence: 7,
                ..
            }))
        ));
        assert!(matches!(
            history.disposition("overtaken", 0, 0, 13),
            Some(Disposition::Held {
                past: Past { fence: 7, .. },
                ..
            })
        ));
        assert_eq!(history.disposition("committed", 0, 0, 20), None);
    }

    fn change(status: State, fence: u64, retry: u32, offset: i64) -> Vec<u8> {
        let record = StatusRecord {
            status,
            ..record_of(
                &"t".parse().unwrap(),
                "s1",
                lineage(1, fence, retry, offset),
            )
        };
        serde_json::to_vec(&record).unwrap()
    }

    #[test]
    fn of_changes_by_order_the_one_with_the_highest_fence_counts() {
        use State::*;
        for (records, paused) in [
            (&[(Running, 7), (Queued, 7), (Paused, 8)][..], true),
            (&[(Running, 7), (Paused, 8), (Queued, 9)], false),
            (&[(Queued, 9), (Paused, 8)], false),
            (&[(Paused, 8), (Queued, 0)], true),
            (&[(Paused, 8), (Running, 9)], false),
        ] {
            let mut history = TaskHistories::default();
            for &(status, fence) in records {
                history.note(&change(status, fence, 0, 3), &BTreeMap::from([(0, 0)]));
            }
            let disposition = history.disposition("t", 0, 0, 3).unwrap();
            assert_eq!(
                matches!(disposition, Disposition::Paused(_)),
                paused,
                "{records:?}"
            );
        }
    }

    #[test]
    fn a_retry_is_not_ended_by_the_end_before_it() {
        let from = BTreeMap::from([(0, 0)]);
        let mut history = TaskHistories::default();
        history.note(&change(State::Failed, 7, 0, 3), &from);
        assert!(has_ended(&history, "t", 0));
        assert_eq!(
            history.disposition("t", 1, 0, 4),
            None,
            "there is no record of it"
        );
        history.note(&change(State::Queued, 0, 1, 4), &from);
        history.note(&change(State::Failed, 7, 0, 3), &from);
        assert!(has_ended(&history, "t", 0));
        assert!(matches!(
            history.disposition("t", 1, 0, 4),
            Some(Disposition::Ready(_))
        ));
        history.note(&change(State::Completed, 9, 1, 4), &from);
        assert!(has_ended(&history, "t", 1), "a duplicate of the retry too");
    }
}
