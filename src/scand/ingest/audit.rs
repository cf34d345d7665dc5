//! Audits: whether Redis has lost keys of tasks, and whether each log is still the one that its cursor belongs to.

use super::Poll;
use super::audit_schedule::AuditSchedule;
use super::records::records_after_cursor;
use crate::claim_table::Cursor;
use crate::kafka::{Fetched, Reader};
use crate::scand::peer_error::PeerError;
use log::error;
use std::collections::BTreeMap;
use std::time::Duration;

/// Unfinished tasks of each partition that one audit checks.
const AUDIT_TASKS_MAX: usize = 500;

impl Poll {
    /// Audits the claim table. If a key of a task was lost, its partition is started again.
    pub(super) fn audit(
        &mut self,
        partitions: &[i32],
        schedule: &mut AuditSchedule,
    ) -> Result<(), PeerError> {
        for &partition in partitions {
            let rank = schedule.ranks.entry(partition).or_default();
            let audit = self.table.audit(partition, *rank, AUDIT_TASKS_MAX)?;
            *rank = audit.next;
            if let Some(first) = audit.missing.first() {
                error!(
                    "{} partition {partition}: Redis lost keys of {} tasks that have not ended ({first} …); they are read again from Kafka",
                    self.topic,
                    audit.missing.len()
                );
            }
        }
        Ok(())
    }

    /// Checks whether each log is the one that its cursor belongs to. Returns true if a partition was started again.
    pub(super) fn check_logs(
        &mut self,
        reader: &mut Reader,
        cursors: &BTreeMap<i32, Cursor>,
    ) -> Result<bool, PeerError> {
        let before: BTreeMap<i32, i64> = cursors
            .iter()
            .filter(|(_, cursor)| cursor.last.is_some())
            .map(|(&partition, cursor)| (partition, cursor.next - 1))
            .collect();
        if before.is_empty() {
            return Ok(false);
        }
        let mut has_restarted = false;
        for (partition, fetched) in reader.fetch(&before, Duration::ZERO)? {
            if let (Some(cursor), Fetched::Records(records)) = (cursors.get(&partition), fetched)
                && records_after_cursor(cursor, records, Vec::new()).is_none()
            {
                self.restart_partition(reader, partition, cursor)?;
                has_restarted = true;
            }
        }
        Ok(has_restarted)
    }
}
