//! The thread `progress`: the only writer of live progress. Keeps the newest update of each claim and writes all of them in one call, a few
//! times a second at most. Progress is for people: if Redis is unreachable it is dropped.

use crate::claim_table::{Claim, ClaimTable, LiveProgress};
use crate::model::progress::PROGRESS_EVERY;
use crate::scand::metrics::{Operation, ServerMetrics};
use crate::scand::retry_log::RetryLog;
use crossbeam_channel::Receiver;
use std::collections::HashMap;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

/// Runs until the channel is closed.
pub fn run(mut table: ClaimTable, updates: Receiver<LiveProgress>, metrics: &Arc<ServerMetrics>) {
    let mut retry_log = RetryLog::new("write progress", Operation::WriteProgress, metrics);
    let mut due = Instant::now();
    // Not woken by every update: with many scans only the newest update of each matters.
    while let Ok(first) = updates.recv() {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        due = Instant::now() + PROGRESS_EVERY;
        let mut newest: HashMap<Claim, LiveProgress> = HashMap::new();
        for update in std::iter::once(first).chain(updates.try_iter()) {
            newest.insert(update.claim.clone(), update);
        }
        let updates: Vec<LiveProgress> = newest.into_values().collect();
        match table.progress(&updates) {
            Ok(()) => retry_log.over(),
            Err(error) => drop(retry_log.note(&error)),
        }
    }
}
