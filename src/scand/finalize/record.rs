//! Records of `scan-status`.

use crate::claim_table::Ending;
use crate::model::{Extent, FoundByPass, Lineage, Resume, State, StatusRecord, TaskId};
use std::time::{SystemTime, UNIX_EPOCH};

/// The record of an end, or of a change by an order.
pub fn state_record(server: &str, ending: &Ending) -> StatusRecord {
    StatusRecord {
        status: ending.status,
        error: ending.error.clone(),
        resume: ending.resume,
        extent: ending.extent.clone(),
        ..record_of(&ending.task_id, server, ending.lineage)
    }
    .with_found(ending.found)
}

/// A record of the state `queued`; the caller sets what differs.
pub fn record_of(task_id: &TaskId, server: &str, lineage: Lineage) -> StatusRecord {
    StatusRecord {
        task_id: task_id.to_string(),
        status: State::Queued,
        server: server.to_owned(),
        lineage,
        found: 0,
        found_by_pass: FoundByPass::default(),
        error: None,
        resume: Resume::default(),
        extent: Extent::default(),
        at_ms: unix_ms(),
    }
}

/// Now, in unix milliseconds by this server's clock.
fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}
