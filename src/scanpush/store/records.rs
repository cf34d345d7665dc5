//! Records of the three topics as values for the database. Nothing of a record that is not valid gets further. Pure.

use super::merge::Awaited;
use super::topic::Parsed;
use crate::kafka::Record;
use crate::model::service::{ServiceKey, Sighting};
use crate::model::text::shortened;
use crate::model::{FindingRecord, State, StatusRecord, Task};
use crate::store::{Completion, StatusChange, StoredFinding, TaskAt};

/// Longest record of a finding or of a state change, in bytes. A state change names at most 64 KiB of exclusions.
const STORED_RECORD_MAX_BYTES: usize = 256 * 1024;
/// A record with a time later than this after now is not valid, in seconds: servers' clocks may differ a little.
const FUTURE_MAX_S: u64 = 24 * 3600;
/// Findings before this time have a wrong time: the year 2000, in unix seconds.
const EARLIEST_S: u64 = 946_684_800;
/// Highest number of findings of a task that is stored. Sums of it fit into 64 bits.
const FOUND_MAX: u64 = 1 << 40;
/// Longest server name and error text that are stored, in characters.
const STORED_SERVER_MAX_CHARS: usize = 64;
const STORED_ERROR_MAX_CHARS: usize = 500;

/// A finding, if it says that a port is open.
pub fn finding(_partition: i32, record: &Record, now: u64) -> Parsed<StoredFinding> {
    const INVALID: &str = "findings that are not valid";
    if record.value.len() > STORED_RECORD_MAX_BYTES {
        return Err(INVALID);
    }
    let found = FindingRecord::from_record(&record.value).map_err(|_| INVALID)?;
    if found.finding.status.as_str() != "open" {
        return Err("findings that are not open");
    }
    if found.finding.timestamp > now + FUTURE_MAX_S {
        return Err("findings from the future");
    }
    if found.finding.timestamp < EARLIEST_S {
        return Err("findings from before the year 2000");
    }
    let task_id = found.task_id.parse().map_err(|_| INVALID)?;
    if found.finding.port == 0 {
        return Err(INVALID);
    }
    Ok(StoredFinding {
        sighting: Sighting {
            key: ServiceKey::of(&found.finding),
            at: found.finding.timestamp,
            task_id,
            reason: found.finding.reason,
            ttl: found.finding.ttl,
        },
        server: shortened(&found.server, STORED_SERVER_MAX_CHARS),
        attempt: found.attempt,
        pass: found.pass,
    })
}

/// A change of a task's state.
pub fn status(_partition: i32, record: &Record, now: u64) -> Parsed<Awaited> {
    const INVALID: &str = "status records that are not valid";
    if record.value.len() > STORED_RECORD_MAX_BYTES {
        return Err(INVALID);
    }
    let status: StatusRecord = serde_json::from_slice(&record.value).map_err(|_| INVALID)?;
    if status.at_ms / 1000 > now + FUTURE_MAX_S {
        return Err("status records from the future");
    }
    let found_by_pass = (!status.found_by_pass.is_empty())
        .then(|| serde_json::to_string(&status.found_by_pass).unwrap_or_default());
    let is_completed = status.status == State::Completed;
    let extent = status.extent;
    // Without the offsets after its findings nobody knows whether all of them were read, and an error says that answers were lost.
    let is_conclusive = extent.results_end.is_some() && status.error.is_none();
    // A scan cannot have begun after its end. An earlier beginning proves less, one in the future would outlive every sighting.
    let begun_ms = extent
        .begun_ms
        .filter(|_| is_conclusive)
        .map(|begun_ms| begun_ms.min(status.at_ms));
    let completion = is_completed.then_some(Completion {
        begun_ms,
        server_exclude: extent.server_exclude,
    });
    Ok(Awaited {
        change: StatusChange {
            task_id: status.task_id.parse().map_err(|_| INVALID)?,
            status: status.status,
            server: shortened(&status.server, STORED_SERVER_MAX_CHARS),
            attempt: status.lineage.attempt,
            lost: status.lineage.lost,
            fence: status.lineage.fence,
            retry: status.lineage.retry,
            record: (status.lineage.partition, status.lineage.offset),
            found: status.found.min(FOUND_MAX),
            found_by_pass,
            error: status
                .error
                .map(|error| shortened(&error, STORED_ERROR_MAX_CHARS)),
            at_ms: status.at_ms,
            completion,
        },
        results_end: extent
            .results_end
            .filter(|_| is_completed)
            .unwrap_or_default(),
    })
}

/// A pushed task.
pub fn task(partition: i32, record: &Record, _now: u64) -> Parsed<TaskAt> {
    let task = Task::from_record(&record.value).map_err(|_| "tasks that are not valid")?;
    Ok(TaskAt {
        partition,
        offset: record.offset,
        task,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn record(value: &Value) -> Record {
        Record {
            offset: 0,
            value: value.to_string().into_bytes(),
        }
    }

    #[test]
    fn a_scan_that_began_after_its_end_began_at_its_end() {
        let completed = |begun_ms: u64| {
            let value = json!({"task_id": "t", "status": "completed", "server": "s", "attempt": 1, "partition": 0, "offset": 0, "found": 0,
                "at_ms": 5000, "begun_ms": begun_ms, "results_end": []});
            let awaited = status(0, &record(&value), 5).unwrap();
            awaited.change.completion.unwrap().begun_ms
        };
        assert_eq!(completed(4000), Some(4000));
        assert_eq!(completed(253_402_300_799_999), Some(5000));
    }
}
