//! The record of `scan-status`: one for every change of a task's state, the last one terminal.

use super::extent::Extent;
use super::found_by_pass::FoundByPass;
use super::lineage::Lineage;
use super::moment::MOMENT_MAX_MS;
use super::resume::Resume;
use super::state::State;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// The value of a `scan-status` record. After Redis has lost its data, the claim table is rebuilt with these records of all tasks at or above the
/// group's committed offsets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusRecord {
    /// The task; a rejected record without a valid id has `record-<partition>-<offset>`.
    pub task_id: String,
    /// Its new state.
    pub status: State,
    /// The server that reports it.
    pub server: String,
    /// `attempt`, `fence`, `partition`, `offset`, `lost`, `retry`.
    #[serde(flatten)]
    pub lineage: Lineage,
    /// Findings of the task, as far as known: those of the pass that found most.
    pub found: u64,
    /// Findings of each pass.
    #[serde(default, skip_serializing_if = "FoundByPass::is_empty")]
    pub found_by_pass: FoundByPass,
    /// Why, for `failed`, `rejected`, and a `queued` that waits for its next attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Where the next attempt would continue: `resume_pass`, `resume_index`, `resume_found_by_pass`, `resume_for`.
    #[serde(flatten)]
    pub resume: Resume,
    /// What the scan of a completed task covered: `begun_ms`, `server_exclude`, `results_end`.
    #[serde(flatten)]
    pub extent: Extent,
    /// Unix milliseconds by the server's clock, not after the year 9999.
    #[serde(deserialize_with = "valid_time")]
    pub at_ms: u64,
}

impl StatusRecord {
    /// Whether this record, which was read after `known` of the same task, says more about it. Servers write independently, so a record of an
    /// older claim may follow that of a newer one; a terminal state is final until a retry.
    pub fn replaces(&self, known: &StatusRecord) -> bool {
        let (retry, fence) = (self.lineage.retry, self.lineage.fence);
        match retry == known.lineage.retry {
            false => retry > known.lineage.retry,
            true => {
                let is_older_claim = fence < known.lineage.fence && !self.status.is_terminal();
                !known.status.is_terminal() && !is_older_claim
            }
        }
    }

    /// The same with these findings.
    pub fn with_found(self, found: FoundByPass) -> StatusRecord {
        StatusRecord {
            found: found.most(),
            found_by_pass: found,
            ..self
        }
    }
}

fn valid_time<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    match u64::deserialize(from)? {
        ms if ms > MOMENT_MAX_MS => Err(D::Error::custom("at_ms is after the year 9999")),
        ms => Ok(ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_time_after_the_year_9999_is_refused() {
        for (at_ms, is_valid) in [
            (json!(0), true),
            (json!(MOMENT_MAX_MS), true),
            (json!(MOMENT_MAX_MS + 1), false),
            (json!(u64::MAX), false),
            (json!(-1), false),
        ] {
            let record = json!({"task_id": "a", "status": "queued", "server": "s", "attempt": 1, "fence": 1, "partition": 0, "offset": 0,
                "lost": 0, "retry": 0, "found": 0, "at_ms": at_ms});
            let parsed = serde_json::from_value::<StatusRecord>(record);
            assert_eq!(parsed.is_ok(), is_valid, "{at_ms}: {parsed:?}");
        }
    }
}
