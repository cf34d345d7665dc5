//! The origin of a claim: the task's record, the retry, the attempt and the fence.

use serde::{Deserialize, Serialize};

/// Accompanies a task from its claim to its terminal record. The field names are those of the `scan-status` records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// Attempts started so far, this one included.
    pub attempt: u32,
    /// The fence of the claim; 0 if nobody has claimed the task.
    #[serde(default)]
    pub fence: u64,
    /// Partition of `scan-tasks` that holds the task's record.
    pub partition: i32,
    /// The record's offset there.
    pub offset: i64,
    /// Servers lost while they ran the task. Those attempts do not count as failed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lost: u32,
    /// For how long servers have run the task, in milliseconds: until this change, without the time in which it waited.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ran_ms: u64,
    /// How often an operator has started the task again after its end.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retry: u32,
}

impl Lineage {
    /// The lineage of a record that has not been claimed yet.
    pub fn unclaimed(partition: i32, offset: i64) -> Lineage {
        Lineage {
            partition,
            offset,
            ..Lineage::default()
        }
    }

    /// Failed attempts, this one included if it fails. Lost servers do not count: a bad host must not use up a good task.
    pub fn failed_attempts(&self) -> u32 {
        self.attempt.saturating_sub(self.lost)
    }

    /// The same with one attempt less, if the current one does not count.
    pub fn without_attempt(self) -> Lineage {
        Lineage {
            attempt: self.attempt.saturating_sub(1),
            ..self
        }
    }
}

fn is_zero<N: Default + PartialEq>(number: &N) -> bool {
    *number == N::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_servers_do_not_count_as_failed_attempts() {
        for (attempt, lost, failed) in [(1, 0, 1), (3, 1, 2), (2, 2, 0), (0, 0, 0), (1, 5, 0)] {
            let lineage = Lineage {
                attempt,
                lost,
                ..Lineage::default()
            };
            assert_eq!(lineage.failed_attempts(), failed, "{lineage:?}");
        }
    }
}
