//! Records from and for other Kafka clients: tasks with four fields, hostile and malformed tasks, duplicates, and findings read with kcat.

use crate::support::{Fleet, SOON, addresses, kcat_command, shared_kafka, wait_for};
use crate::{Needs, Test};
use scan::model::State;
use serde_json::{Value, json};

pub const TESTS: &[Test] = &[
    (
        "a_four_field_record_from_another_client_is_scanned",
        Needs::Lab,
        four_fields,
    ),
    (
        "bad_records_are_rejected_and_block_no_others",
        Needs::KafkaAndRedis,
        bad_records,
    ),
    (
        "topics_of_every_compression_are_read_and_written",
        Needs::KafkaAndRedis,
        compressed,
    ),
    (
        "an_id_pushed_again_changes_nothing",
        Needs::KafkaAndRedis,
        duplicates,
    ),
    (
        "a_batch_that_cannot_be_decoded_is_not_skipped_unless_the_group_is_moved_past_it",
        Needs::KafkaCrate,
        undecodable,
    ),
    (
        "a_group_that_is_set_back_reads_again_and_scans_nothing_twice",
        Needs::KafkaAndRedis,
        set_back,
    ),
    (
        "a_missing_topic_is_reported_with_the_command_that_creates_it",
        Needs::KafkaAndRedis,
        missing_topic,
    ),
];

fn four_fields() {
    let fleet = Fleet::new("four-fields");
    let _server = fleet.ready_scand("a", &[]);
    let (id, network) = ("6f9619ff-8b86-d011-b42d-00c04fc964ff", fleet.network(0));
    let record = json!({"task_id": id, "ip_range": network, "ports": "443", "band_width": "800"});
    fleet.push_raw(&[record.to_string()]);
    let task = fleet.wait_ended(id, SOON);
    assert_eq!((task.status, task.found), (State::Completed, 256));

    // Findings as kcat reads them: JSON objects, keyed by the service.
    let output = kcat_command()
        .args([
            "-C",
            "-e",
            "-q",
            "-b",
            &fleet.kafka,
            "-t",
            &fleet.topic("results"),
            "-f",
            "%k %s\n",
        ])
        .output()
        .unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let mut ips = std::collections::BTreeSet::new();
    for line in lines.lines() {
        let (key, value) = line.split_once(' ').unwrap();
        let value: Value = serde_json::from_str(value).unwrap();
        let ip = value["ip"].as_str().unwrap();
        assert_eq!(key, format!("{ip}/443/tcp"));
        assert_eq!(value["task_id"], id);
        assert_eq!(
            (value["port"].as_u64(), &value["proto"]),
            (Some(443), &json!("tcp"))
        );
        assert_eq!(
            (&value["status"], &value["reason"]),
            (&json!("open"), &json!("syn-ack"))
        );
        assert!(value["ttl"].is_u64() && value["timestamp"].as_u64().unwrap() > 1_700_000_000);
        assert_eq!(
            (&value["server"], value["attempt"].as_u64()),
            (&json!("a"), Some(1))
        );
        ips.insert((ip.to_owned(), 443));
    }
    assert_eq!(ips, addresses(&network, 443));
}

fn bad_records() {
    let fleet = Fleet::new("bad").with_standin(&json!({}));
    let task = |id: &str, field: &str, value: Value| {
        let mut task = json!({"task_id": id, "ip_range": fleet.network(0), "ports": "443", "band_width": "800", "wait_s": 0});
        task[field] = value;
        task.to_string()
    };
    let hostile = [
        (
            "banners",
            "ip_range",
            json!("--banners"),
            "ip_range: \"--banners\"",
        ),
        (
            "reboot",
            "ports",
            json!("443;reboot"),
            "ports: \"443;reboot\"",
        ),
        (
            "passwd",
            "ip_range",
            json!("-oX /etc/passwd"),
            "ip_range: \"-oX /etc/passwd\"",
        ),
        ("newline", "ports", json!("443\n80"), "ports: \"443\\n80\""),
        ("huge", "ip_range", json!("1".repeat(500_000)), "bytes"),
        ("rate", "band_width", json!("0"), "band_width: \"0\""),
        ("priority", "priority", json!(11), "priority: 11"),
    ];
    let mut records = vec![
        "{not json".to_owned(),
        "[]".to_owned(),
        json!({"task_id": "lacks"}).to_string(),
    ];
    records.extend(
        hostile
            .iter()
            .map(|(id, field, value, _)| task(id, field, value.clone())),
    );
    records.push(task("good", "wait_s", json!(0)));
    fleet.push_raw(&records);
    let server = fleet.ready_scand("a", &[]);

    assert_eq!(fleet.wait_ended("good", SOON).status, State::Completed);
    for (id, _, _, reason) in &hostile[..4] {
        assert_rejected(&fleet, id, reason);
    }
    assert_rejected(&fleet, "record-0-0", "not JSON");
    assert_rejected(&fleet, "record-0-1", "not a task");
    assert_rejected(&fleet, "lacks", "missing, a string is required");
    assert_rejected(&fleet, "rate", "band_width: \"0\"");
    assert_rejected(&fleet, "priority", "priority: 11");
    assert_rejected(&fleet, "record-0-7", "bytes");
    fleet.wait_committed(shared_kafka());
    let log = server.log();
    assert_eq!(log.matches("task banners: rejected").count(), 1, "{log}");
    assert!(!log.contains("panicked"), "{log}");
    let scans = fleet.standin_events();
    assert!(
        scans.iter().all(|event| event["range"] == fleet.network(0)),
        "{scans:?}"
    );
}

fn assert_rejected(fleet: &Fleet, id: &str, reason: &str) {
    let records = wait_for(&format!("{id} to be rejected"), SOON, || {
        Some(fleet.status_records(id)).filter(|records| !records.is_empty())
    });
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0]["status"], "rejected");
    let error = records[0]["error"].as_str().unwrap();
    assert!(error.contains(reason), "{id}: {error}");
}

/// An administrator made the topics, and the broker compresses what it is sent.
fn compressed() {
    for client in ["auto", "librdkafka"] {
        let fleet = Fleet::new(&format!("compressed-{client}")).with_standin(&json!({}));
        for (kind, codec) in [("tasks", "lz4"), ("results", "zstd"), ("status", "gzip")] {
            let topic = fleet.topic(kind);
            let codec = format!("compression.type={codec}");
            let words = ["--create", "--topic", &topic, "--config", &codec];
            shared_kafka().tool("topic", &words).unwrap();
        }
        let client = ["-kafka-client", client];
        let _server = fleet.ready_scand("a", &client);
        let codecs = ["none", "gzip", "snappy", "lz4", "zstd"];
        for (network, codec) in (0..).zip(codecs) {
            let task = json!({"task_id": codec, "ip_range": fleet.network(network), "ports": "443", "band_width": "9000", "wait_s": 0});
            fleet.produce_with("tasks", &[task.to_string()], codec);
        }
        for codec in codecs {
            assert_eq!(fleet.wait_ended(codec, SOON).status, State::Completed);
            assert_eq!(fleet.findings(codec).len(), 256);
        }
        fleet.wait_committed(shared_kafka());
        let topic = fleet.topic("results");
        let words = ["results", "zstd", "-json", "-results-topic", &topic];
        let output = fleet.scanpush(&[&words[..], &client].concat());
        let findings = String::from_utf8(output.stdout).unwrap();
        assert_eq!(findings.lines().count(), 256);
    }
}

fn duplicates() {
    let fleet = Fleet::new("twice").with_standin(&json!({}));
    let server = fleet.ready_scand("a", &[]);
    let push = || fleet.push_network(&fleet.network(0), 800, &["-id", "mine"]);
    assert_eq!(push(), "mine");
    let first = fleet.wait_ended("mine", SOON);
    assert_eq!(push(), "mine");
    server.wait_for_log("task mine: pushed again");
    fleet.wait_committed(shared_kafka());
    let again = fleet.task("mine").unwrap();
    assert_eq!((again.finished_ms, again.attempt), (first.finished_ms, 1));
    assert_eq!(fleet.standin_starts(), 1);
}

/// A damaged record is neither scanned nor skipped. Kafka sends it together with the record before it.
fn undecodable() {
    let fleet = Fleet::new("undecodable").with_standin(&json!({}));
    let record = |id: &str| {
        json!({"task_id": id, "ip_range": fleet.network(0), "ports": "443", "band_width": "800", "wait_s": 0}).to_string()
    };
    for id in ["before", "damaged", "after"] {
        fleet.push_raw(&[record(id)]);
    }
    fleet.damage(shared_kafka(), "tasks", 1);
    let server = fleet.ready_scand("a", &[]);
    assert_eq!(fleet.wait_ended("before", SOON).status, State::Completed);
    let topic = fleet.topic("tasks");
    server.wait_for_log(&format!(
        "cannot read {topic} partition 0, waiting: partition 0 of {topic}, offsets 1 to 1: the checksum of the batch is wrong"
    ));
    assert!(fleet.task("after").is_none(), "nothing is skipped");

    // The operator skips the record.
    let to = format!("{topic}:0");
    let words = [
        "--group",
        &fleet.group,
        "--topic",
        &to,
        "--reset-offsets",
        "--to-offset",
        "2",
        "--execute",
    ];
    shared_kafka().tool("groups", &words).unwrap();
    server.wait_for_log(
        "partition 0: the group's offset was set forward to 2: records 1 to 1 are skipped",
    );
    assert_eq!(fleet.wait_ended("after", SOON).status, State::Completed);
    assert!(fleet.task("damaged").is_none());
    fleet.wait_committed(shared_kafka());
}

/// Ended tasks stay ended, and a record that the group had been moved past is ingested after all.
fn set_back() {
    let fleet = Fleet::new("set-back").with_standin(&json!({}));
    let server = fleet.ready_scand("a", &[]);
    let scan = |id: &str| {
        let task = json!({"task_id": id, "ip_range": fleet.network(0), "ports": "443", "band_width": "9000", "wait_s": 0});
        fleet.push_raw(&[task.to_string()]);
        assert_eq!(fleet.wait_ended(id, SOON).status, State::Completed);
    };
    scan("first");
    scan("second");
    fleet.wait_committed(shared_kafka());
    let topic = format!("{}:0", fleet.topic("tasks"));
    let reset = |to: &str| {
        let words = [
            "--group",
            &fleet.group,
            "--topic",
            &topic,
            "--reset-offsets",
            "--to-offset",
            to,
            "--execute",
        ];
        shared_kafka().tool("groups", &words).unwrap();
    };
    reset("0");
    // A task that ends moves the offset that the group may commit; that must not overwrite the reset.
    scan("third");
    server.wait_for_log("partition 0: the group's offset was set back to 0: reading again from 0");
    server.wait_for_log("tasks have a history");
    fleet.wait_committed(shared_kafka());
    assert_eq!(fleet.standin_starts(), 3, "{}", server.log());
    let ended = |id: &str| {
        let records = fleet.status_records(id);
        records
            .iter()
            .filter(|record| record["status"] == "completed")
            .count()
    };
    assert_eq!((ended("first"), ended("second")), (1, 1));
}

fn missing_topic() {
    let mut fleet = Fleet::new("missing-topic").with_standin(&json!({}));
    let _kafka = fleet.start_kafka(&["auto.create.topics.enable=false"]);
    let output = fleet.scanpush(&["-ip", "172.16.0.1", "-ports", "443"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let command = format!(
        "kafka-topics.sh --bootstrap-server {} --create --topic {}",
        fleet.kafka,
        fleet.topic("tasks")
    );
    assert!(stderr.contains(&command), "{stderr}");
    let server = fleet.scand("a", &[]);
    server.wait_for_log(&command);
}
