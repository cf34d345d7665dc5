//! What is particular to the client on librdkafka: transactions, and how it reads ahead and reports errors.

use crate::support::{Fleet, SOON, shared_kafka, wait_until};
use crate::{Needs, Test};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rustix::process::Signal;
use scan::kafka::{ClientChoice, Fetched, KafkaSettings, Messages, Producer, Reader, Security};
use scan::model::State;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

pub const TESTS: &[Test] = &[
    (
        "records_of_aborted_transactions_are_not_scanned",
        Needs::KafkaAndRedis,
        aborted,
    ),
    (
        "records_that_were_read_ahead_survive_a_slow_answer_about_the_topic",
        Needs::KafkaAndRedis,
        slow_metadata,
    ),
    (
        "a_damaged_record_is_rejected_and_holds_up_nothing",
        Needs::KafkaAndRedis,
        damaged,
    ),
    (
        "an_error_belongs_to_its_own_partition_only",
        Needs::KafkaAndRedis,
        attributed,
    ),
];

const LIBRDKAFKA: [&str; 2] = ["-kafka-client", "librdkafka"];

fn task(fleet: &Fleet, id: &str, network: u32) -> String {
    json!({"task_id": id, "ip_range": fleet.network(network), "ports": "443", "band_width": "9000", "wait_s": 0}).to_string()
}

fn aborted() {
    let fleet = Fleet::new("aborted").with_standin(&json!({}));
    let server = fleet.ready_scand("a", &LIBRDKAFKA);
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &fleet.kafka)
        .set("transactional.id", &fleet.group)
        .create()
        .unwrap();
    producer.init_transactions(SOON).unwrap();
    let topic = fleet.topic("tasks");
    for (network, (id, commit)) in (0..).zip([
        ("aborted", false),
        ("committed", true),
        ("aborted-too", false),
    ]) {
        producer.begin_transaction().unwrap();
        let record = task(&fleet, id, network);
        producer
            .send(BaseRecord::to(&topic).key(id).payload(&record))
            .unwrap();
        match commit {
            true => producer.commit_transaction(SOON).unwrap(),
            false => {
                producer.flush(SOON).unwrap();
                producer.abort_transaction(SOON).unwrap();
            }
        }
        producer.poll(Duration::ZERO);
    }
    assert_eq!(fleet.wait_ended("committed", SOON).status, State::Completed);
    // The markers at the end have no records, but they are part of the log: the group's offset passes them.
    fleet.push_raw(&[task(&fleet, "after", 3)]);
    assert_eq!(fleet.wait_ended("after", SOON).status, State::Completed);
    fleet.wait_committed(shared_kafka());
    for id in ["aborted", "aborted-too"] {
        assert!(fleet.task(id).is_none(), "{}", server.log());
    }
}

/// The topic's metadata is read again with each fetch that names a missing partition. Meanwhile librdkafka has read ahead.
fn slow_metadata() {
    const RECORDS: usize = 400;
    const MISSING: i32 = 7;
    let mut fleet = Fleet::new("slow-metadata");
    let kafka = fleet.start_kafka(&[]);
    let settings = KafkaSettings::new(
        fleet.kafka.parse().unwrap(),
        ClientChoice::Librdkafka,
        Security::default(),
    )
    .unwrap();
    let topic = fleet.topic("tasks");
    let mut messages = Messages::default();
    for _ in 0..RECORDS {
        messages.push(b"key", |value| value.extend([b'x'; 40_000]));
    }
    let mut producer = Producer::new(&settings, &topic, false);
    producer.send(&Arc::new(messages)).unwrap();
    let mut reader = Reader::connect(&settings, &topic).unwrap();
    let (mut next, mut freezes) = (0, 3);
    let deadline = Instant::now() + SOON;
    while next < RECORDS as i64 {
        assert!(Instant::now() < deadline, "read up to {next}");
        let is_frozen = next > 0 && freezes > 0;
        if is_frozen {
            freezes -= 1;
            kafka.0.signal(Signal::STOP).unwrap();
        }
        let cursors = BTreeMap::from([(0, next), (MISSING, 0)]);
        let fetched = thread::scope(|scope| {
            scope.spawn(|| {
                // Longer than one request for metadata takes at most.
                thread::sleep(Duration::from_millis(700));
                kafka.0.signal(Signal::CONT).unwrap();
            });
            reader.fetch(&cursors, Duration::from_millis(500)).unwrap()
        });
        assert_eq!(fetched.get(&MISSING), Some(&Fetched::Gone));
        if let Some(Fetched::Records(records)) = fetched.get(&0) {
            for record in records {
                assert_eq!(record.offset, next, "no record is missing");
                next += 1;
            }
        }
    }
}

/// A byte of the second of three records is changed on the broker's disk.
fn damaged() {
    let mut fleet = Fleet::new("damaged").with_standin(&json!({}));
    let kafka = fleet.start_kafka(&[]);
    for id in ["before", "damaged", "after"] {
        fleet.produce_to("tasks", 0, &task(&fleet, id, 0));
    }
    fleet.damage(&kafka.0, "tasks", 1);
    let server = fleet.ready_scand("a", &LIBRDKAFKA);
    for id in ["before", "after"] {
        assert_eq!(fleet.wait_ended(id, SOON).status, State::Completed);
    }
    server.wait_for_log("rejected, partition 0 offset 1: ");
}

/// Partition 1 is read from beyond its end.
fn attributed() {
    const BEYOND: i64 = 1000;
    let fleet = Fleet::new("attributed").with_partitions(2);
    for _ in 0..3 {
        fleet.produce_to("tasks", 0, "a record");
    }
    let settings = KafkaSettings::new(
        fleet.kafka.parse().unwrap(),
        ClientChoice::Librdkafka,
        Security::default(),
    )
    .unwrap();
    let mut reader = Reader::connect(&settings, &fleet.topic("tasks")).unwrap();
    for next in [3, 1, 3, 0, 3] {
        let mut offsets = Vec::new();
        let mut has_failed = false;
        wait_until("the error of partition 1", SOON, || {
            let cursors = BTreeMap::from([(0, next + offsets.len() as i64), (1, BEYOND)]);
            let fetched = reader.fetch(&cursors, Duration::from_millis(500)).unwrap();
            match fetched.get(&0) {
                Some(Fetched::Records(records)) => {
                    offsets.extend(records.iter().map(|record| record.offset));
                }
                None => {}
                Some(other) => panic!("partition 0 is all right: {other:?}"),
            }
            has_failed |= fetched.get(&1) == Some(&Fetched::OutOfRange);
            has_failed && next + offsets.len() as i64 == 3
        });
        assert_eq!(offsets, (next..3).collect::<Vec<_>>());
    }
}
