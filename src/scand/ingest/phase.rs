//! What ingestion does with records: new tasks, or tasks that are read again after Redis lost its data. Pure.

use super::rebuild::TaskHistories;
use std::collections::BTreeMap;

/// What ingestion does with a record besides validating it.
#[derive(Default)]
pub(super) enum IngestPhase {
    /// The cursors are beyond everything that may have ended or be running: records are new tasks.
    #[default]
    Following,
    /// Redis lost its data: records up to the end of the rebuild are compared with what `scan-status` tells about them.
    Rebuilding {
        /// The partitions for which the histories were read, with their epochs.
        epochs: BTreeMap<i32, String>,
        histories: TaskHistories,
    },
}

impl IngestPhase {
    /// What is known about the tasks of records that are read again.
    pub(super) fn histories(&self) -> Option<&TaskHistories> {
        match self {
            IngestPhase::Following => None,
            IngestPhase::Rebuilding { histories, .. } => Some(histories),
        }
    }

    /// Whether this is the rebuild of these partitions, since these epochs.
    pub(super) fn covers(&self, wanted: &BTreeMap<i32, String>) -> bool {
        match self {
            IngestPhase::Following => false,
            IngestPhase::Rebuilding { epochs, .. } => wanted
                .iter()
                .all(|(partition, epoch)| epochs.get(partition) == Some(epoch)),
        }
    }
}
