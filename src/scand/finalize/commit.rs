//! The thread `commit`: commits to the consumer group, for each partition, the lowest offset of a task that has not ended.
//!
//! It is a thread of its own because the Kafka client waits while a group coordinator moves, and reading tasks must not wait with it.
//! **Invariant:** an offset that the claim table does not confirm is not committed.

use crate::claim_table::ClaimTable;
use crate::kafka::GroupOffsets;
use crate::model::group_position::GroupPosition;
use crate::scand::metrics::{Operation, ServerMetrics};
use crate::scand::peer_error::PeerError;
use crate::scand::retry_log::{RetryLog, Stop, stopped};
use crossbeam_channel::{Receiver, select};
use log::debug;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

/// The offsets that may be committed are read this often, and whenever a task of this server has ended. They are committed if they moved.
const COMMIT_EVERY: Duration = Duration::from_secs(10);
/// An offset that does not move is committed again after this long. Otherwise Kafka's retention would expire it, and a wrong one, left by
/// a delayed commit of another server or by a recreated topic, would stay longer.
const COMMIT_AGAIN_AFTER: Duration = Duration::from_secs(20);

/// State owned by the `commit` thread.
pub struct Commit {
    /// Its own connection to Redis.
    pub table: ClaimTable,
    /// Its own connection to Kafka.
    pub group_offsets: GroupOffsets,
    /// Counts what happens.
    pub metrics: Arc<ServerMetrics>,
    /// Gets a message when a task has ended.
    pub ended: Receiver<()>,
    /// Closed: commit once more, then end.
    pub stop: Stop,
}

impl Commit {
    /// Runs until `stop` is closed.
    pub fn run(mut self) {
        let mut retry_log = RetryLog::new(
            "commit the group's offsets",
            Operation::Commit,
            &self.metrics,
        );
        let mut committed = Committed::default();
        loop {
            let stopping = stopped(&self.stop);
            match self.commit(&mut committed) {
                Ok(()) => retry_log.over(),
                Err(_) if stopping => return,
                Err(error) => {
                    if !retry_log.pause(&error, &self.stop) {
                        return;
                    }
                    continue;
                }
            }
            if stopping {
                return;
            }
            let mut ended = self.ended.clone();
            select! {
                recv(self.stop) -> _ => {}
                recv(ended) -> nudge => {
                    if nudge.is_err() {
                        // No thread ends tasks any more: `stop` follows.
                        ended = crossbeam_channel::never();
                        let _ = self.stop.recv_timeout(COMMIT_EVERY);
                    }
                }
                default(COMMIT_EVERY) => {}
            }
            self.ended = ended;
        }
    }

    /// Commits what is due.
    fn commit(&mut self, committed: &mut Committed) -> Result<(), PeerError> {
        let partitions = self.group_offsets.partitions()?;
        let positions = self.table.positions(&partitions)?;
        let mut due = committed.due(&committable(&positions), Instant::now());
        if due.is_empty() {
            return Ok(());
        }
        let in_kafka = self.group_offsets.committed()?;
        // An offset that was moved by something else is not overwritten: `poll` follows it.
        due.retain(|partition, _| {
            let in_kafka = in_kafka.get(partition).copied();
            committed.is_mine(*partition, in_kafka)
                || positions[partition].moved(in_kafka).is_none()
        });
        if due.is_empty() {
            return Ok(());
        }
        self.group_offsets.commit(&due)?;
        debug!("committed {due:?}");
        self.table.note_committed(&due)?;
        committed.note(due, Instant::now());
        Ok(())
    }
}

/// The offsets that may be committed.
fn committable(positions: &BTreeMap<i32, GroupPosition>) -> BTreeMap<i32, i64> {
    positions
        .iter()
        .filter_map(|(&partition, position)| Some((partition, position.committable?)))
        .collect()
}

/// What this server has committed, and when. Pure.
#[derive(Debug, Default)]
struct Committed(BTreeMap<i32, (i64, Instant)>);

impl Committed {
    /// The offsets to commit at `now`: those that moved, and those that were committed [`COMMIT_AGAIN_AFTER`] ago. Kafka expires the offset of
    /// each partition on its own, so one that moves does not keep the others alive; and a delayed commit of another server may have set an
    /// offset back.
    fn due(&self, offsets: &BTreeMap<i32, i64>, now: Instant) -> BTreeMap<i32, i64> {
        let is_due = |partition: &i32, offset: i64| match self.0.get(partition) {
            Some(&(last, at)) => last != offset || now.duration_since(at) >= COMMIT_AGAIN_AFTER,
            None => true,
        };
        offsets
            .iter()
            .filter(|&(partition, &offset)| is_due(partition, offset))
            .map(|(&partition, &offset)| (partition, offset))
            .collect()
    }

    /// Whether `in_kafka` is the offset that this server has committed last.
    fn is_mine(&self, partition: i32, in_kafka: Option<i64>) -> bool {
        let mine = self.0.get(&partition).map(|&(offset, _)| offset);
        mine.is_some() && mine == in_kafka
    }

    /// Kafka has acknowledged them at `now`.
    fn note(&mut self, offsets: BTreeMap<i32, i64>, now: Instant) {
        let dated = offsets
            .into_iter()
            .map(|(partition, offset)| (partition, (offset, now)));
        self.0.extend(dated);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const HOUR: Duration = Duration::from_secs(3600);

    /// Invariant: every offset is committed again at least hourly, whatever the other partitions do.
    #[test]
    fn every_partition_is_committed_again_at_least_hourly() {
        let (mut committed, start) = (Committed::default(), Instant::now());
        let mut last = start;
        let mut longest = Duration::ZERO;
        // Partition 0 moves every 10 s, partition 1 never.
        for step in 0..1000u32 {
            let now = start + Duration::from_secs(10) * step;
            let due = committed.due(&BTreeMap::from([(0, step.into()), (1, 7)]), now);
            assert_eq!(due.get(&0), Some(&i64::from(step)), "what moved is due");
            if due.contains_key(&1) {
                last = now;
            }
            longest = longest.max(now - last);
            committed.note(due, now);
        }
        assert!(longest < HOUR, "{longest:?}");
        assert!(longest > Duration::ZERO, "and not with every look");
    }

    #[test]
    fn what_was_not_acknowledged_stays_due() {
        let (mut committed, now) = (Committed::default(), Instant::now());
        let offsets = BTreeMap::from([(0, 5)]);
        assert_eq!(committed.due(&offsets, now), offsets);
        assert_eq!(committed.due(&offsets, now), offsets, "nothing was noted");
        committed.note(offsets.clone(), now);
        assert!(committed.due(&offsets, now).is_empty());
        assert_eq!(
            committed.due(&BTreeMap::from([(0, 4)]), now),
            BTreeMap::from([(0, 4)]),
            "a rebuilt Redis knows less: the group reads again"
        );
    }
}
