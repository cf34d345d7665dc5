//! The writer on SQLite, without Kafka. tests/fleet/store.rs tests both databases with it.

use super::*;
use crate::model::ports::Proto;
use crate::model::service::{ServiceKey, Sighting};
use crate::model::{State, Task};
use crossbeam_channel::never;
use std::collections::BTreeMap;

const RESULTS: &str = "results";

fn settings(folder: &tempfile::TempDir) -> DatabaseSettings {
    let file = folder.path().join("findings.db");
    DatabaseSettings {
        url: DatabaseUrl::Sqlite(file),
        password: None,
    }
}

fn writer(folder: &tempfile::TempDir, holder: &str) -> StoreWriter {
    let options = WriterOptions {
        holder: holder.to_owned(),
        closed_after: 1,
        keeps_findings: false,
    };
    StoreWriter::open(&settings(folder), options, &never()).unwrap()
}

fn sighting(task: &str, at: u64) -> Event {
    Event::Findings(vec![StoredFinding {
        sighting: Sighting {
            key: ServiceKey {
                ip: "192.0.2.1".parse().unwrap(),
                port: 80,
                proto: Proto::Tcp,
            },
            at,
            task_id: task.parse().unwrap(),
            reason: "syn-ack".parse().unwrap(),
            ttl: 64,
        },
        server: "s".to_owned(),
        attempt: 1,
        pass: 1,
    }])
}

fn record(id: &str, offset: i64) -> Event {
    let json =
        format!(r#"{{"task_id":"{id}","ip_range":"192.0.2.0/24","ports":"80","band_width":"9"}}"#);
    Event::Task(Box::new(TaskAt {
        partition: 0,
        offset,
        task: Task::from_record(json.as_bytes()).unwrap(),
    }))
}

fn change(id: &str, status: State, offset: i64, at_s: u64) -> Event {
    let completion = (status == State::Completed).then(|| Completion {
        begun_ms: Some((at_s - 5) * 1000),
        server_exclude: Default::default(),
    });
    Event::Status(Box::new(StatusChange {
        task_id: id.parse().unwrap(),
        status,
        server: "s".to_owned(),
        attempt: 1,
        lost: 0,
        fence: 1,
        retry: 0,
        record: (0, offset),
        found: 0,
        found_by_pass: None,
        error: None,
        at_ms: at_s * 1000,
        completion,
    }))
}

/// A batch that moves the position of the results to `next_offset`.
fn batch(events: Vec<Event>, next_offset: i64) -> Batch {
    let change = PositionChange {
        next_offset,
        records: 1,
        ..PositionChange::default()
    };
    Batch {
        events,
        positions: BTreeMap::from([((RESULTS.to_owned(), 0), change)]),
        ignored: BTreeMap::new(),
    }
}

fn changes(folder: &tempfile::TempDir) -> Vec<String> {
    let mut found = Vec::new();
    let each = |one: NumberedChange| {
        found.push(format!("{} {}", one.change.kind.as_str(), one.change.at));
        true
    };
    let mut reader = StoreReader::open(&settings(folder)).unwrap();
    reader
        .changes(&ChangeFilter::default(), None, each)
        .unwrap();
    found.reverse();
    found
}

#[test]
fn a_writer_that_had_lost_the_lease_does_not_go_on_from_old_positions() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, mut second) = (writer(&folder, "first"), writer(&folder, "second"));
    assert_eq!(first.take_lease().unwrap(), Lease::Held);
    first.apply(&batch(vec![], 1), RESULTS).unwrap();
    first.give_lease_back().unwrap();
    assert_eq!(second.take_lease().unwrap(), Lease::Held);
    second.apply(&batch(vec![], 2), RESULTS).unwrap();
    second.give_lease_back().unwrap();
    // It is free, but the first one knows an old position.
    let error = first.apply(&batch(vec![], 2), RESULTS).unwrap_err();
    assert!(matches!(error, StoreError::LeaseLost { .. }), "{error}");
    assert!(first.renew_lease().is_err());
    let position = second.positions().unwrap()[&(RESULTS.to_owned(), 0)];
    assert_eq!((position.next_offset, position.records), (2, 2));
}

#[test]
fn a_failed_batch_moves_no_position() {
    let folder = tempfile::tempdir().unwrap();
    let (sender, stop) = crossbeam_channel::bounded(0);
    let mut writer = writer(&folder, "one");
    writer.take_lease().unwrap();
    let options = WriterOptions {
        holder: "one".to_owned(),
        closed_after: 1,
        keeps_findings: false,
    };
    let mut stopped = StoreWriter::open(&settings(&folder), options, &stop).unwrap();
    drop::<crossbeam_channel::Sender<()>>(sender);
    let events = || batch(vec![sighting("t", 10)], 1);
    let error = stopped.apply(&events(), RESULTS).unwrap_err();
    assert!(matches!(error, StoreError::Stopped), "{error}");
    assert!(writer.positions().unwrap().is_empty() && changes(&folder).is_empty());
    writer.apply(&events(), RESULTS).unwrap();
    assert_eq!(changes(&folder), ["opened 10"]);
}

#[test]
fn a_record_that_is_read_after_its_state_gives_the_task_its_parameters() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = writer(&folder, "one");
    writer.take_lease().unwrap();
    let events = vec![
        sighting("before", 10),
        change("t", State::Running, 5, 100),
        record("t", 5),
        change("t", State::Completed, 5, 110),
    ];
    writer.apply(&batch(events, 1), RESULTS).unwrap();
    assert_eq!(changes(&folder), ["opened 10", "closed 110"]);
    // The same offset of a recreated topic, and the end of the earlier task once more.
    let events = vec![
        record("other", 5),
        change("t", State::Completed, 5, 120),
        change("other", State::Completed, 5, 130),
    ];
    writer.apply(&batch(events, 2), RESULTS).unwrap();
    let mut reader = StoreReader::open(&settings(&folder)).unwrap();
    assert_eq!(reader.counts().unwrap().tasks, 2);
}
