//! The thread `commit`: commits to the consumer group, for each partition, the lowest offset of a task that has not ended.
//!
//! A thread of its own because a group coordinator that is being moved makes the Kafka client wait, and reading tasks must
//! not wait with it. **Invariant:** what Redis can't vouch for is not committed.

use super::outage::{Outage, Stop, stopped};
use crate::bus::GroupOffsets;
use crate::ledger::Ledger;
use crate::model::limits::{COMMIT_AGAIN_AFTER, COMMIT_EVERY};
use crossbeam_channel::{Receiver, select};
use log::debug;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

/// The thread's own things.
pub struct Commit {
    /// Its own connection to Redis.
    pub ledger: Ledger,
    /// Its own connection to Kafka.
    pub group_offsets: GroupOffsets,
    /// Nudged when a task has ended.
    pub ended: Receiver<()>,
    /// Closed = commit once more, then end.
    pub stop: Stop,
}

impl Commit {
    /// Runs until `stop` is closed.
    pub fn run(mut self) {
        let mut outage = Outage::new("commit the group's offsets");
        let mut last = BTreeMap::new();
        let mut committed_at = Instant::now();
        loop {
            let stopping = stopped(&self.stop);
            if committed_at.elapsed() >= COMMIT_AGAIN_AFTER {
                last.clear();
            }
            match self.commit(&mut last) {
                Ok(true) => {
                    committed_at = Instant::now();
                    outage.over();
                }
                Ok(false) => outage.over(),
                Err(_) if stopping => return,
                Err(error) => {
                    if !outage.pause(&error, &self.stop) {
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
                        // Nobody ends tasks any more: `stop` follows.
                        ended = crossbeam_channel::never();
                        let _ = self.stop.recv_timeout(COMMIT_EVERY);
                    }
                }
                default(COMMIT_EVERY) => {}
            }
            self.ended = ended;
        }
    }

    /// Commits what moved since `last`. True where something was committed.
    fn commit(&mut self, last: &mut BTreeMap<i32, i64>) -> Result<bool, Box<dyn fmt::Display>> {
        let partitions = self
            .group_offsets
            .partitions()
            .map_err(|error| Box::new(error) as Box<dyn fmt::Display>)?;
        let mut offsets = self
            .ledger
            .committable(&partitions)
            .map_err(|error| Box::new(error) as Box<dyn fmt::Display>)?;
        offsets.retain(|partition, offset| last.get(partition) != Some(offset));
        if offsets.is_empty() {
            return Ok(false);
        }
        self.group_offsets
            .commit(&offsets)
            .map_err(|error| Box::new(error) as Box<dyn fmt::Display>)?;
        debug!("committed {offsets:?}");
        last.append(&mut offsets);
        Ok(true)
    }
}
