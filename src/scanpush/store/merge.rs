//! The order in which records of three topics are applied. Pure.
//!
//! A task's findings were acknowledged by Kafka before its `completed` record was written, and `results_end` in that record says up to which
//! offsets. So a completed task is judged once the findings up to there are applied. Findings after them wait until then: the list of changes
//! is then the same whether the topics are read as they are written, or a month later.
//!
//! Status records of different partitions are applied in the order of their times.

use crate::store::{Event, PositionChange, StatusChange, StoredFinding};
use std::collections::{BTreeMap, VecDeque};

/// Offsets by partition.
pub type Offsets = BTreeMap<i32, i64>;

/// Findings that may wait for a status record. With more, later findings are applied before the end of the task that waits.
const WAITING_FINDINGS_MAX: usize = 200_000;

/// Consecutive records of one partition, in the order of their offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Portion<T> {
    /// The partition.
    pub partition: i32,
    /// Its records with their offsets. A record that is not valid has the reason instead.
    pub records: Vec<(i64, Result<T, &'static str>)>,
    /// The offset after them.
    pub next_offset: i64,
    /// Records before them that could not be read.
    pub lost: u64,
    /// If records were lost: findings before this time may be missing, in unix seconds. 0 if none were lost.
    pub gap_until: u64,
}

/// A status record, and what has to be read before it is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Awaited {
    /// The change.
    pub change: StatusChange,
    /// For each partition of the results topic, the offset up to which findings must have been read.
    pub results_end: Vec<i64>,
}

/// What the caller has to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// An event to apply.
    Apply(Event),
    /// More findings have to be read before the next status record can be applied.
    NeedFindings,
    /// More status records have to be read before anything else can be applied.
    NeedStatus,
    /// Everything is applied.
    Nothing,
}

/// What was applied.
#[derive(Debug, Default)]
pub struct Applied {
    /// Of the status topic, by partition.
    pub status: BTreeMap<i32, PositionChange>,
    /// Of the topic of findings, by partition.
    pub findings: BTreeMap<i32, PositionChange>,
    /// Records that were not valid, by reason.
    pub ignored: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Default)]
struct Queue<T> {
    /// The offset after everything that was applied.
    applied: i64,
    /// The offset after everything that was read.
    read: i64,
    waiting: VecDeque<(i64, Result<T, &'static str>)>,
}

impl<T> Queue<T> {
    /// Everything before `offset` was applied.
    fn at(offset: i64) -> Queue<T> {
        Queue {
            applied: offset,
            read: offset,
            waiting: VecDeque::new(),
        }
    }

    /// Moves `applied` to the first waiting record, or to the end of what was read: no record can come any more for the offsets in between.
    fn skip_missing_offsets(&mut self) {
        self.applied = self
            .waiting
            .front()
            .map_or(self.read, |(offset, _)| *offset);
    }
}

/// Records that were read and are not applied yet.
#[derive(Debug)]
pub struct Merge {
    status: BTreeMap<i32, Queue<Awaited>>,
    findings: BTreeMap<i32, Queue<StoredFinding>>,
    waiting_findings: usize,
    /// End offsets of the status topic. It must be read up to here before findings are applied that no status record waits for.
    status_ends: Offsets,
    /// Changes of the positions since the last [`Merge::take_positions`]: of the status topic, and of the topic of findings.
    status_positions: BTreeMap<i32, PositionChange>,
    findings_positions: BTreeMap<i32, PositionChange>,
    ignored: BTreeMap<&'static str, u64>,
}

impl Merge {
    /// Begins at these offsets.
    pub fn new(status: &Offsets, findings: &Offsets) -> Merge {
        fn queues<T>(offsets: &Offsets) -> BTreeMap<i32, Queue<T>> {
            let queue = |(&partition, &offset): (&i32, &i64)| (partition, Queue::at(offset));
            offsets.iter().map(queue).collect()
        }
        Merge {
            status: queues(status),
            findings: queues(findings),
            waiting_findings: 0,
            status_ends: Offsets::new(),
            status_positions: BTreeMap::new(),
            findings_positions: BTreeMap::new(),
            ignored: BTreeMap::new(),
        }
    }

    /// Findings were read.
    pub fn add_findings(&mut self, portion: Portion<StoredFinding>) {
        self.waiting_findings += portion.records.len();
        add(&mut self.findings, &mut self.findings_positions, portion);
    }

    /// Status records were read.
    pub fn add_status(&mut self, portion: Portion<Awaited>) {
        add(&mut self.status, &mut self.status_positions, portion);
    }

    /// The ends of the status topic, which were asked for after the findings in `self` had been read.
    pub fn set_status_ends(&mut self, ends: Offsets) {
        self.status_ends = ends;
    }

    /// Whether no more findings should be read until some of those that wait are applied.
    pub fn is_full(&self) -> bool {
        self.waiting_findings > 2 * WAITING_FINDINGS_MAX
    }

    /// Status records of a partition that are not applied yet.
    pub fn waiting_status(&self, partition: i32) -> usize {
        self.status
            .get(&partition)
            .map_or(0, |queue| queue.waiting.len())
    }

    /// How far the findings of a partition were applied.
    pub fn applied(&self, partition: i32) -> i64 {
        self.findings
            .get(&partition)
            .map_or(0, |queue| queue.applied)
    }

    /// The status record that is applied next.
    fn next_status(&self) -> Option<&Awaited> {
        let partition = self.earliest_status()?;
        let (_, head) = self.status.get(&partition)?.waiting.front()?;
        head.as_ref().ok()
    }

    /// The status record that waits for findings, and up to which offsets.
    pub fn awaits(&self) -> Option<&Awaited> {
        self.next_status()
            .filter(|next| !self.is_applied(&next.results_end))
    }

    /// Partition and offset of the record of the task whose completion is next.
    pub fn next_completed_record(&self) -> Option<(i32, i64)> {
        let change = &self.next_status()?.change;
        change.completion.as_ref().map(|_| change.record)
    }

    /// Whether the next status record waits for offsets beyond `ends`, the end offsets of the results topic, which were requested after the record
    /// was read. Then the record is wrong, or Kafka has lost findings.
    pub fn awaits_more_than(&self, ends: &Offsets) -> bool {
        self.awaits().is_some_and(|awaited| {
            let wanted = (0..).zip(&awaited.results_end);
            wanted
                .filter_map(|(partition, end)| Some((end, ends.get(&partition)?)))
                .any(|(wanted, end)| wanted > end)
        })
    }

    /// Applies the next status record without waiting for its findings: it proves nothing.
    pub fn give_up_waiting(&mut self) {
        let Some(partition) = self.earliest_status() else {
            return;
        };
        let head = self
            .status
            .get_mut(&partition)
            .and_then(|queue| queue.waiting.front_mut());
        if let Some((_, Ok(head))) = head {
            head.results_end.clear();
            if let Some(completion) = &mut head.change.completion {
                completion.begun_ms = None;
            }
        }
    }

    /// The next event. The following [`Merge::take_positions`] includes it.
    pub fn next(&mut self) -> Next {
        self.drop_invalid();
        let is_behind = self.status_ends.iter().any(|(partition, end)| {
            let queue = self.status.get(partition);
            let read = queue.map_or(0, |queue| queue.read);
            read < *end && queue.is_none_or(|queue| queue.waiting.is_empty())
        });
        if is_behind {
            return Next::NeedStatus;
        }
        let Some(partition) = self.earliest_status() else {
            let findings = self.take_findings(&|_| i64::MAX);
            return match findings.is_empty() {
                true => Next::Nothing,
                false => Next::Apply(Event::Findings(findings)),
            };
        };
        let results_end = self
            .next_status()
            .map(|next| next.results_end.clone())
            .unwrap_or_default();
        if !results_end.is_empty() && !self.is_applied(&results_end) {
            // Not before all of them have been read: if the offsets are wrong, later findings must not be applied before the ends of other tasks.
            let is_full = self.waiting_findings > WAITING_FINDINGS_MAX;
            if !self.is_read(&results_end) && !is_full {
                return Next::NeedFindings;
            }
            let up_to = |partition: i32| match usize::try_from(partition) {
                Ok(n) => results_end.get(n).copied().unwrap_or(i64::MAX),
                Err(_) => i64::MAX,
            };
            let mut findings = self.take_findings(&up_to);
            if findings.is_empty() && is_full {
                findings = self.take_findings(&|_| i64::MAX);
            }
            if !findings.is_empty() {
                return Next::Apply(Event::Findings(findings));
            }
            if !self.is_applied(&results_end) {
                return Next::NeedFindings;
            }
        }
        match self.take_status(partition) {
            Some(change) => Next::Apply(Event::Status(Box::new(change))),
            None => Next::Nothing,
        }
    }

    /// What was applied since the last call: positions of the status topic and of the results topic, and records that were not valid.
    pub fn take_positions(&mut self) -> Applied {
        Applied {
            status: std::mem::take(&mut self.status_positions),
            findings: std::mem::take(&mut self.findings_positions),
            ignored: std::mem::take(&mut self.ignored),
        }
    }

    /// Whether the findings below these offsets have all been applied.
    fn is_applied(&self, results_end: &[i64]) -> bool {
        self.have_reached(results_end, |queue| queue.applied)
    }

    /// Whether the findings below these offsets have all been read.
    fn is_read(&self, results_end: &[i64]) -> bool {
        self.have_reached(results_end, |queue| queue.read)
    }

    fn have_reached(
        &self,
        results_end: &[i64],
        offset: impl Fn(&Queue<StoredFinding>) -> i64,
    ) -> bool {
        (0..).zip(results_end).all(|(partition, end)| {
            let reached = self.findings.get(&partition).map_or(0, &offset);
            reached >= *end
        })
    }

    /// The partition whose next status record has the earliest time. None of the queues begins with an invalid record.
    fn earliest_status(&self) -> Option<i32> {
        self.status
            .iter()
            .filter_map(|(partition, queue)| {
                let (_, head) = queue.waiting.front()?;
                Some((head.as_ref().ok()?.change.at_ms, *partition))
            })
            .min()
            .map(|(_, partition)| partition)
    }

    /// Takes invalid status records off the heads of the queues.
    fn drop_invalid(&mut self) {
        for (partition, queue) in &mut self.status {
            while let Some((_, Err(reason))) = queue.waiting.front() {
                *self.ignored.entry(reason).or_default() += 1;
                queue.waiting.pop_front();
                advance(&mut self.status_positions, *partition, queue, 1);
            }
        }
    }

    fn take_status(&mut self, partition: i32) -> Option<StatusChange> {
        let queue = self.status.get_mut(&partition)?;
        let (_, head) = queue.waiting.pop_front()?;
        advance(&mut self.status_positions, partition, queue, 1);
        head.ok().map(|awaited| awaited.change)
    }

    /// Takes the findings of each partition below an offset.
    fn take_findings(&mut self, below: &dyn Fn(i32) -> i64) -> Vec<StoredFinding> {
        let mut taken = Vec::new();
        for (partition, queue) in &mut self.findings {
            let end = below(*partition);
            let count = queue.waiting.partition_point(|(offset, _)| *offset < end);
            if count == 0 {
                continue;
            }
            for (_, record) in queue.waiting.drain(..count) {
                match record {
                    Ok(finding) => taken.push(finding),
                    Err(reason) => *self.ignored.entry(reason).or_default() += 1,
                }
            }
            self.waiting_findings -= count;
            advance(
                &mut self.findings_positions,
                *partition,
                queue,
                count as u64,
            );
        }
        taken
    }
}

/// Adds what was read of a partition to its queue.
fn add<T>(
    queues: &mut BTreeMap<i32, Queue<T>>,
    positions: &mut BTreeMap<i32, PositionChange>,
    portion: Portion<T>,
) {
    let queue = queues
        .entry(portion.partition)
        .or_insert_with(|| Queue::at(0));
    note_loss(positions, queue, &portion);
    queue.read = portion.next_offset;
    queue.waiting.extend(portion.records);
    let applied = queue.applied;
    queue.skip_missing_offsets();
    if queue.applied != applied {
        position(positions, portion.partition).next_offset = queue.applied;
    }
}

fn position(positions: &mut BTreeMap<i32, PositionChange>, partition: i32) -> &mut PositionChange {
    positions.entry(partition).or_default()
}

fn note_loss<T>(
    positions: &mut BTreeMap<i32, PositionChange>,
    queue: &Queue<T>,
    portion: &Portion<T>,
) {
    if portion.lost > 0 || portion.gap_until > 0 {
        let position = position(positions, portion.partition);
        position.next_offset = queue.applied;
        position.lost += portion.lost;
        position.gap_until = position.gap_until.max(portion.gap_until);
    }
}

/// Accounts for `count` records that were taken from the queue.
fn advance<T>(
    positions: &mut BTreeMap<i32, PositionChange>,
    partition: i32,
    queue: &mut Queue<T>,
    count: u64,
) {
    queue.skip_missing_offsets();
    let position = position(positions, partition);
    position.next_offset = queue.applied;
    position.records += count;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::State;
    use crate::model::ports::Proto;
    use crate::model::service::{ServiceKey, Sighting};
    use crate::store::Completion;

    fn finding(at: u64) -> StoredFinding {
        StoredFinding {
            sighting: Sighting {
                key: ServiceKey {
                    ip: "192.0.2.1".parse().unwrap(),
                    port: 1,
                    proto: Proto::Tcp,
                },
                at,
                task_id: "t".parse().unwrap(),
                reason: "syn-ack".parse().unwrap(),
                ttl: 1,
            },
            server: "s".into(),
            attempt: 1,
            pass: 1,
        }
    }

    fn findings(partition: i32, offsets: std::ops::Range<i64>) -> Portion<StoredFinding> {
        Portion {
            partition,
            next_offset: offsets.end,
            records: offsets
                .map(|offset| (offset, Ok(finding(offset as u64 + 100 * partition as u64))))
                .collect(),
            lost: 0,
            gap_until: 0,
        }
    }

    fn status(id: &str, at_ms: u64, results_end: &[i64]) -> Awaited {
        Awaited {
            change: StatusChange {
                task_id: id.parse().unwrap(),
                status: State::Completed,
                server: "s".into(),
                attempt: 1,
                lost: 0,
                fence: 1,
                retry: 0,
                record: (0, 0),
                found: 0,
                found_by_pass: None,
                error: None,
                at_ms,
                completion: Some(Completion {
                    begun_ms: Some(1),
                    server_exclude: Default::default(),
                }),
            },
            results_end: results_end.to_vec(),
        }
    }

    fn statuses(partition: i32, first: i64, all: Vec<Awaited>) -> Portion<Awaited> {
        Portion {
            partition,
            next_offset: first + all.len() as i64,
            records: (first..).zip(all.into_iter().map(Ok)).collect(),
            lost: 0,
            gap_until: 0,
        }
    }

    /// Everything that can be applied, as text: the times of findings, the ids of tasks; and what is needed then.
    fn drain(merge: &mut Merge) -> (Vec<String>, Next) {
        let mut applied = Vec::new();
        loop {
            match merge.next() {
                Next::Apply(Event::Findings(findings)) => {
                    applied.extend(findings.iter().map(|one| one.sighting.at.to_string()));
                }
                Next::Apply(Event::Status(change)) => applied.push(change.task_id.to_string()),
                Next::Apply(Event::Task(_)) => unreachable!("tasks are not merged"),
                other => return (applied, other),
            }
        }
    }

    fn merge() -> Merge {
        Merge::new(&Offsets::new(), &Offsets::new())
    }

    #[test]
    fn a_task_is_judged_between_its_findings_and_later_ones() {
        let mut merge = merge();
        merge.add_findings(findings(0, 0..4));
        merge.add_findings(findings(1, 0..2));
        merge.add_status(statuses(
            0,
            0,
            vec![status("a", 1, &[2, 1]), status("b", 2, &[3, 1])],
        ));
        merge.set_status_ends(Offsets::from([(0, 2)]));
        let (applied, next) = drain(&mut merge);
        assert_eq!(applied, ["0", "1", "100", "a", "2", "b", "3", "101"]);
        assert_eq!(next, Next::Nothing);
        let Applied {
            status, findings, ..
        } = merge.take_positions();
        assert_eq!((status[&0].next_offset, status[&0].records), (2, 2));
        assert_eq!((findings[&0].next_offset, findings[&0].records), (4, 4));
        assert_eq!((findings[&1].next_offset, findings[&1].records), (2, 2));
    }

    #[test]
    fn an_end_waits_for_its_findings_and_holds_later_ones_back() {
        let mut merge = merge();
        merge.add_findings(findings(0, 0..5));
        merge.add_status(statuses(0, 0, vec![status("a", 1, &[3, 2])]));
        assert_eq!(drain(&mut merge), (vec![], Next::NeedFindings));
        merge.add_findings(findings(1, 0..1));
        assert_eq!(drain(&mut merge), (vec![], Next::NeedFindings));
        assert!(merge.take_positions().findings.is_empty());
        merge.add_findings(findings(1, 1..3));
        let (applied, next) = drain(&mut merge);
        assert_eq!(
            (applied.join(" ").as_str(), next),
            ("0 1 2 100 101 a 3 4 102", Next::Nothing)
        );
    }

    #[test]
    fn a_wrong_end_does_not_let_later_findings_pass() {
        let mut merge = merge();
        merge.add_findings(findings(0, 0..4));
        merge.add_status(statuses(
            0,
            0,
            vec![status("wrong", 1, &[i64::MAX]), status("a", 2, &[2])],
        ));
        assert_eq!(drain(&mut merge), (vec![], Next::NeedFindings));
        merge.give_up_waiting();
        assert_eq!(drain(&mut merge).0, ["wrong", "0", "1", "a", "2", "3"]);
    }

    #[test]
    fn findings_wait_for_status_records_that_are_not_read_yet() {
        let mut merge = merge();
        merge.add_findings(findings(0, 0..2));
        merge.set_status_ends(Offsets::from([(0, 1), (1, 0)]));
        assert_eq!(drain(&mut merge), (vec![], Next::NeedStatus));
        merge.add_status(statuses(0, 0, vec![status("a", 1, &[1])]));
        let (applied, _) = drain(&mut merge);
        assert_eq!(applied, ["0", "a", "1"]);
    }

    #[test]
    fn status_records_of_several_partitions_are_applied_by_time() {
        let mut merge = merge();
        merge.add_status(statuses(
            0,
            0,
            vec![status("b", 2, &[]), status("d", 4, &[])],
        ));
        merge.add_status(statuses(
            1,
            0,
            vec![status("a", 1, &[]), status("c", 3, &[])],
        ));
        merge.set_status_ends(Offsets::from([(0, 2), (1, 2)]));
        assert_eq!(drain(&mut merge).0, ["a", "b", "c", "d"]);
    }

    #[test]
    fn an_end_that_claims_more_findings_than_kafka_has_proves_nothing() {
        let mut merge = merge();
        merge.add_findings(findings(0, 0..2));
        merge.add_status(statuses(0, 0, vec![status("a", 1, &[i64::MAX])]));
        assert_eq!(drain(&mut merge).1, Next::NeedFindings);
        assert!(!merge.awaits_more_than(&Offsets::new()));
        assert!(merge.awaits_more_than(&Offsets::from([(0, 2)])));
        merge.give_up_waiting();
        let Next::Apply(Event::Status(change)) = merge.next() else {
            panic!("it is not applied");
        };
        assert_eq!(change.completion.unwrap().begun_ms, None);
    }

    #[test]
    fn invalid_records_are_counted_and_passed() {
        let mut merge = merge();
        let mut portion = findings(0, 0..3);
        portion.records[1].1 = Err("bad finding");
        merge.add_findings(portion);
        let mut bad = statuses(0, 0, vec![status("a", 1, &[]), status("b", 2, &[])]);
        bad.records[0].1 = Err("bad status");
        merge.add_status(bad);
        assert_eq!(drain(&mut merge).0, ["b", "0", "2"]);
        let Applied {
            status,
            findings,
            ignored,
        } = merge.take_positions();
        assert_eq!((status[&0].records, findings[&0].records), (2, 3));
        assert_eq!(
            ignored,
            BTreeMap::from([("bad finding", 1), ("bad status", 1)])
        );
    }

    #[test]
    fn lost_records_and_offsets_without_records_move_the_position() {
        let mut merge = Merge::new(&Offsets::new(), &Offsets::from([(0, 5)]));
        merge.add_findings(Portion {
            partition: 0,
            records: vec![(20, Ok(finding(7)))],
            next_offset: 25,
            lost: 15,
            gap_until: 99,
        });
        assert_eq!(drain(&mut merge).0, ["7"]);
        let findings = merge.take_positions().findings;
        assert_eq!(
            findings[&0],
            PositionChange {
                next_offset: 25,
                records: 1,
                lost: 15,
                gap_until: 99
            }
        );
        merge.add_findings(Portion {
            partition: 0,
            records: vec![],
            next_offset: 30,
            lost: 0,
            gap_until: 0,
        });
        assert_eq!(merge.take_positions().findings[&0].next_offset, 30);
    }

    #[test]
    fn findings_that_are_gone_are_not_waited_for() {
        let mut merge = Merge::new(&Offsets::new(), &Offsets::from([(0, 3)]));
        merge.add_status(statuses(0, 0, vec![status("a", 1, &[7])]));
        merge.add_findings(Portion {
            lost: 6,
            gap_until: 99,
            ..findings(0, 9..11)
        });
        assert_eq!(drain(&mut merge).0, ["a", "9", "10"]);
        let findings = merge.take_positions().findings;
        assert_eq!((findings[&0].next_offset, findings[&0].lost), (11, 6));
    }

    #[test]
    fn too_many_waiting_findings_are_applied_early() {
        let mut merge = merge();
        merge.add_status(statuses(0, 0, vec![status("a", 1, &[0, 1])]));
        merge.add_findings(findings(0, 0..WAITING_FINDINGS_MAX as i64 + 1));
        let (applied, next) = drain(&mut merge);
        assert_eq!(
            (applied.len(), next),
            (WAITING_FINDINGS_MAX + 1, Next::NeedFindings)
        );
    }
}
