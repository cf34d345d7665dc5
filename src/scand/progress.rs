//! The thread `progress`: the only writer of live progress. Keeps the newest reading of each claim and writes all of them in
//! one call, a few times a second. Progress is for people: where Redis is away it is dropped, never queued.

use super::outage::Outage;
use crate::ledger::{Claim, Ledger, LiveProgress};
use crate::model::limits::PROGRESS_EVERY;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::collections::HashMap;
use std::time::Instant;

/// Runs until the channel is closed.
pub fn run(mut ledger: Ledger, updates: Receiver<LiveProgress>) {
    let mut outage = Outage::new("write progress");
    let mut newest: HashMap<Claim, LiveProgress> = HashMap::new();
    let mut open = true;
    while open {
        let write_at = Instant::now() + PROGRESS_EVERY;
        loop {
            match updates.recv_deadline(write_at) {
                Ok(update) => {
                    newest.insert(update.claim.clone(), update);
                }
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => {
                    open = false;
                    break;
                }
            }
        }
        if newest.is_empty() {
            continue;
        }
        let updates: Vec<LiveProgress> = newest.drain().map(|(_, update)| update).collect();
        match ledger.progress(&updates) {
            Ok(()) => outage.over(),
            Err(error) => drop(outage.note(&error)),
        }
    }
}
