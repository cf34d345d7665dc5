//! The record of `scan-status`: one for every change of a task's state, the last one terminal.

use super::probe_order::Resume;
use super::state::State;
use serde::{Deserialize, Serialize};

/// The value of a `scan-status` record. `partition` and `offset` say where the task's own record lies, so that a lost
/// Redis can be rebuilt from the ones at or above the group's committed offsets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusRecord {
    /// The task; a rejected record without a valid id has `record-<partition>-<offset>`.
    pub task_id: String,
    /// Its new state.
    pub status: State,
    /// The server that says so.
    pub server: String,
    /// Attempts begun so far.
    pub attempt: u32,
    /// The claim under which it runs; 0 where nobody claimed it.
    #[serde(default)]
    pub fence: u64,
    /// Findings of this attempt, as far as known.
    pub found: u64,
    /// Why, for `failed`, `rejected`, and a `queued` that waits for a retry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Partition of `scan-tasks` that holds the task's record.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Where a next attempt continues: `resume_index`, `resume_found`, `resume_for`.
    #[serde(flatten)]
    pub resume: Resume,
    /// Servers lost under the task so far: those attempts don't count as failed.
    #[serde(default, skip_serializing_if = "is_none")]
    pub lost: u32,
    /// The `retry` of the task's record: what is said of a lower one is over.
    #[serde(default, skip_serializing_if = "is_none")]
    pub retry: u32,
    /// When, in unix milliseconds by the server's clock.
    pub at_ms: u64,
}

fn is_none(number: &u32) -> bool {
    *number == 0
}
