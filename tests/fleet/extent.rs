//! What the record of a completed task says about its scan: when it began, what the server left out, and where its findings end.

use crate::support::{Fleet, SOON, now_ms, wait_until};
use crate::{Needs, Test};
use rustix::process::Signal;
use scan::model::{State, StatusRecord};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

pub const TESTS: &[Test] = &[
    (
        "a_completed_task_is_recorded_with_what_its_scan_covered",
        Needs::KafkaAndRedis,
        recorded,
    ),
    (
        "a_scan_that_moved_to_another_server_began_with_the_first_one",
        Needs::KafkaAndRedis,
        moved,
    ),
    (
        "an_end_does_not_wait_for_a_frozen_leader_of_findings",
        Needs::KafkaAndRedis,
        frozen,
    ),
];

/// How much longer a task may take while the leader of a partition of findings is frozen: the question waits for 1 s. The rest is for a busy
/// machine.
const FROZEN_MORE_MAX: Duration = Duration::from_secs(4);

/// The terminal record of a task, as JSON and as this program reads it.
fn end_of(fleet: &Fleet, id: &str) -> (Value, StatusRecord) {
    let records = fleet.status_records(id);
    let json = records.last().unwrap().clone();
    let record = serde_json::from_value(json.clone()).unwrap();
    (json, record)
}

fn recorded() {
    const PARTITIONS: u32 = 3;
    let fleet = Fleet::new("extent")
        .with_topic("results", PARTITIONS)
        .with_standin(&json!({}));
    let networks = [fleet.network(0), fleet.network(1)];
    let hole = networks[0].replace("0/24", "64/26");
    let before = now_ms();
    let _server = fleet.ready_scand("a", &["-exclude", &hole]);
    let ids = networks
        .each_ref()
        .map(|network| fleet.push_network(network, 10_000, &[]));
    let stopped = fleet.push_network(&fleet.network(2), 10, &[]);
    for id in &ids {
        assert_eq!(fleet.wait_ended(id, SOON).status, State::Completed);
    }
    fleet.scanpush(&["cancel", &stopped]);
    assert_eq!(fleet.wait_ended(&stopped, SOON).status, State::Cancelled);

    let places = fleet.places_of_findings();
    for (id, excluded) in ids.iter().zip([json!(hole), Value::Null]) {
        let (json, record) = end_of(&fleet, id);
        assert_eq!(json["server_exclude"], excluded, "{json}");
        let begun = record.extent.begun_ms.unwrap();
        assert!(begun >= before && begun <= record.at_ms, "{json}");
        let ends = record.extent.results_end.unwrap();
        assert_eq!(ends.len(), PARTITIONS as usize, "{json}");
        let mut own = places.iter().filter(|(_, _, task)| task == id).peekable();
        assert!(own.peek().is_some());
        assert!(
            own.all(|(partition, offset, _)| ends[*partition] > *offset),
            "{json}"
        );
        // No other state is recorded with one of them.
        let records = fleet.status_records(id);
        let (_, earlier) = records.split_last().unwrap();
        assert!(earlier.iter().all(has_no_extent), "{earlier:?}");
    }
    assert!(fleet.status_records(&stopped).iter().all(has_no_extent));
}

fn has_no_extent(record: &Value) -> bool {
    ["begun_ms", "server_exclude", "results_end"]
        .iter()
        .all(|name| record.get(name).is_none())
}

fn moved() {
    let fleet = Fleet::new("moved").with_standin(&json!({}));
    let id = fleet.push_network(&fleet.network(0), 60, &[]);
    let mut first = fleet.ready_scand("a", &[]);
    wait_until("a checkpoint", SOON, || {
        fleet.task(&id).is_some_and(|task| task.resume_index > 0)
    });
    let started_ms = || -> u64 {
        let text = fleet.task_field(&id, "started_ms").unwrap();
        text.parse().unwrap()
    };
    let began = started_ms();
    first.kill();
    let second = fleet.ready_scand("b", &[]);
    assert_eq!(fleet.wait_ended(&id, SOON).status, State::Completed);
    second.wait_for_log(&format!("task {id}: continues at "));
    assert!(started_ms() > began);
    let (json, record) = end_of(&fleet, &id);
    assert_eq!(json["server"], "b");
    assert_eq!(record.extent.begun_ms, Some(began), "{json}");
    let ends = record.extent.results_end.unwrap();
    let mut places = fleet.places_of_findings().into_iter();
    assert!(places.all(|(partition, offset, _)| ends[partition] > offset));
}

/// Scans without findings, so that nothing else needs the frozen broker. The controller does not notice it.
fn frozen() {
    let mut fleet =
        Fleet::new("frozen-findings").with_standin(&json!({"answer_every": 1_u64 << 40}));
    let kafka = fleet.start_kafka(&["broker.session.timeout.ms=600000"]);
    let other = fleet.join_kafka(&kafka, &[]);
    let create = |topic: &str, brokers: &str| {
        let words = [
            "--create",
            "--topic",
            topic,
            "--replica-assignment",
            brokers,
        ];
        let compact = ["--config", "cleanup.policy=compact"];
        let more = &compact[..if topic.starts_with("__") { 2 } else { 0 }];
        kafka.0.tool("topic", &[&words, more].concat()).unwrap();
    };
    create("__consumer_offsets", "1");
    for kind in ["tasks", "status"] {
        create(&fleet.topic(kind), "1");
    }
    let both = format!("1,{}", other.0.port);
    create(&fleet.topic("results"), &both);
    let server = fleet.ready_scand("a", &[]);
    let network = fleet.network(0);
    let scan = || {
        let id = fleet.push_network(&network, 10_000, &["-wait", "0"]);
        let from = Instant::now();
        assert_eq!(fleet.wait_ended(&id, SOON).status, State::Completed);
        let took = from.elapsed();
        let (_, record) = end_of(&fleet, &id);
        assert!(record.extent.begun_ms.is_some());
        (took, record.extent.results_end)
    };
    let (usual, ends) = scan();
    assert_eq!(ends, Some(vec![0, 0]));

    other.0.signal(Signal::STOP).unwrap();
    let (first, ends) = scan();
    assert_eq!(ends, None);
    server.wait_for_log("completed tasks are recorded without results_end");
    let (second, ends) = scan();
    assert_eq!(ends, None);
    eprintln!("a task took {usual:.1?}, with a frozen leader {first:.1?}, then {second:.1?}");
    assert!(first.max(second) < usual + FROZEN_MORE_MAX);

    other.0.signal(Signal::CONT).unwrap();
    wait_until("the ends to be known again", SOON, || {
        scan().1 == Some(vec![0, 0])
    });
}
