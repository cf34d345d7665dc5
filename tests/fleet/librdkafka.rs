//! What only librdkafka can read: records compressed with lz4 and zstd, and transactions.

use crate::support::{Fleet, SOON, shared_kafka};
use crate::{Needs, Test};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use scan::model::State;
use serde_json::json;
use std::time::Duration;

pub const TESTS: &[Test] = &[
    (
        "topics_with_lz4_and_zstd_are_read_and_written_with_librdkafka",
        Needs::KafkaAndRedis,
        compressed,
    ),
    (
        "records_of_aborted_transactions_are_not_scanned",
        Needs::KafkaAndRedis,
        aborted,
    ),
];

const LIBRDKAFKA: [&str; 2] = ["-kafka-client", "librdkafka"];

fn task(fleet: &Fleet, id: &str, network: u32) -> String {
    json!({"task_id": id, "ip_range": fleet.network(network), "ports": "443", "band_width": "9000", "wait_s": 0}).to_string()
}

/// An administrator made the topics, and the broker compresses what it is sent.
fn compressed() {
    let fleet = Fleet::new("compressed").with_standin(&json!({}));
    for (kind, codec) in [("tasks", "lz4"), ("results", "zstd"), ("status", "gzip")] {
        let topic = fleet.topic(kind);
        let codec = format!("compression.type={codec}");
        let words = ["--create", "--topic", &topic, "--config", &codec];
        shared_kafka().tool("topic", &words).unwrap();
    }
    let server = fleet.ready_scand("a", &LIBRDKAFKA);
    for (network, codec) in (0..).zip(["none", "gzip", "snappy", "lz4", "zstd"]) {
        fleet.produce_with("tasks", &[task(&fleet, codec, network)], codec);
    }
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        assert_eq!(fleet.wait_ended(codec, SOON).status, State::Completed);
        assert_eq!(fleet.findings(codec).len(), 256);
    }
    assert!(
        server
            .log()
            .contains("connected with librdkafka (as -kafka-client says)")
    );
    fleet.wait_committed(shared_kafka());
    let topic = fleet.topic("results");
    let words = [
        &["results", "zstd", "-json", "-results-topic", &topic][..],
        &LIBRDKAFKA,
    ]
    .concat();
    let output = fleet.scanpush(&words);
    assert_eq!(
        String::from_utf8(output.stdout).unwrap().lines().count(),
        256
    );
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
