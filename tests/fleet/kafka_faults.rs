//! Kafka freezes, crashes, is disconnected, or loses a topic or the beginning of a log.

use crate::support::{
    Fleet, OwnPeer, Proof, Proxy, SOON, findings_of, is_kafka_4, new_network, offsets,
    shared_kafka, wait_for, wait_until,
};
use crate::{Needs, Test};
use redis::Commands;
use rustix::process::Signal;
use scan::model::State;
use serde_json::json;
use std::thread;
use std::time::Duration;

pub const TESTS: &[Test] = &[
    (
        "a_full_buffer_suspends_the_scan_and_loses_nothing",
        Needs::KafkaAndRedis,
        full_buffer,
    ),
    (
        "leases_are_renewed_while_kafka_is_frozen",
        Needs::KafkaAndRedis,
        frozen,
    ),
    (
        "a_tasks_timeout_does_not_count_the_wait_for_kafka",
        Needs::KafkaAndRedis,
        timeout_without_kafka,
    ),
    (
        "unacknowledged_records_are_sent_again",
        Needs::KafkaAndRedis,
        dropped_answers,
    ),
    (
        "partitions_are_read_while_the_leader_of_another_one_does_not_answer",
        Needs::KafkaAndRedis,
        silent_leader,
    ),
    (
        "a_push_waits_for_a_new_leader",
        Needs::KafkaAndRedis,
        new_leader,
    ),
    (
        "a_recreated_topic_is_reported_and_read_from_its_beginning",
        Needs::KafkaAndRedis,
        recreated,
    ),
    (
        "removed_records_of_unfinished_tasks_are_reported",
        Needs::KafkaAndRedis,
        removed_unfinished,
    ),
    (
        "records_removed_before_they_were_ingested_are_reported_and_counted",
        Needs::KafkaAndRedis,
        removed_records,
    ),
];

/// 4096 addresses with these ports are 16 384 findings of about 190 bytes: three times the smallest buffer.
const PORTS: &str = "1-4";

fn full_buffer() {
    let mut fleet = Fleet::new("buffer").with_standin(&json!({}));
    fleet.lease_s = 15;
    let kafka = fleet.start_kafka(&[]);
    let server = fleet.ready_scand("a", &["-buffer", "1"]);
    let mut proof = Proof::default();
    proof.server(&server);
    let range = new_network(20);
    let words = [
        "-ip",
        &range,
        "-ports",
        PORTS,
        "-bandwidth",
        "3000",
        "-wait",
        "1",
    ];
    let id = fleet.push(&words).remove(0);
    let all = findings_of(&range, &[1, 2, 3, 4]);
    assert_eq!(all.len(), 16_384);
    proof.pushed(&id, all);
    wait_for("some findings", SOON, || {
        fleet.task(&id).filter(|task| task.found > 500)
    });
    kafka.0.kill().unwrap();
    server.wait_for_log("Kafka accepts findings too slowly and the buffer is full");
    assert!(server.log().contains("cannot write findings, waiting"));
    kafka.0.restart().unwrap();
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!((ended.status, ended.attempt), (State::Completed, 1));
    proof.check(&fleet, SOON);
}

/// A claimed task waits for Kafka before its masscan starts, here for longer than the task's timeout.
fn timeout_without_kafka() {
    const TIMEOUT_S: u64 = 4;
    let mut fleet = Fleet::new("no-time").with_standin(&json!({}));
    fleet.lease_s = 15;
    let kafka = fleet.start_kafka(&[]);
    let server = fleet.ready_scand("a", &["-slots", "1"]);
    let first = fleet.push_network(&fleet.network(0), 100, &[]);
    let limit = ["-timeout", &TIMEOUT_S.to_string(), "-attempts", "1"];
    let second = fleet.push_network(&fleet.network(1), 1000, &limit);
    wait_for("both to be ingested", SOON, || {
        fleet.task(&first).filter(|task| task.progress > 0.0)?;
        fleet.task(&second)
    });
    kafka.0.kill().unwrap();
    // The second task is claimed when the first one has sent everything and frees the slot.
    server.wait_for_log(&format!("task {second}: claimed"));
    thread::sleep(Duration::from_secs(TIMEOUT_S + 1));
    kafka.0.restart().unwrap();
    for id in [&first, &second] {
        let ended = fleet.wait_ended(id, SOON);
        assert_eq!((ended.status, ended.attempt), (State::Completed, 1));
    }
}

/// Leases are renewed by a thread of their own, which never waits for Kafka.
fn frozen() {
    let mut fleet = Fleet::new("frozen-kafka").with_standin(&json!({}));
    fleet.lease_s = 2;
    let kafka = fleet.start_kafka(&[]);
    let servers = [fleet.ready_scand("a", &[]), fleet.ready_scand("b", &[])];
    let mut proof = Proof::default();
    servers.iter().for_each(|server| proof.server(server));
    let id = fleet.push_network(&fleet.network(0), 30, &[]);
    proof.pushed_network(&id, &fleet.network(0));
    let running = fleet.wait_progress(&id, 10.0);
    kafka.0.signal(Signal::STOP).unwrap();
    // Three times the lease.
    thread::sleep(Duration::from_secs(6));
    let still = fleet.task(&id).unwrap();
    assert_eq!(
        (still.status, &still.server, still.attempt),
        (State::Running, &running.server, 1)
    );
    assert!(still.progress > running.progress, "progress goes on");
    kafka.0.signal(Signal::CONT).unwrap();
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!((ended.status, ended.attempt), (State::Completed, 1));
    proof.check(&fleet, SOON);
}

fn removed_unfinished() {
    let fleet = Fleet::new("short-retention").with_standin(&json!({}));
    let server = fleet.ready_scand("a", &[]);
    let id = fleet.push_network(&fleet.network(0), 10, &[]);
    fleet.wait_progress(&id, 1.0);
    fleet.push_raw(&["a record that is rejected".to_owned()]);
    let words = [&fleet.topic("tasks"), "0", "1"];
    shared_kafka().tool("cut", &words).unwrap();
    server.wait_for_log(
        "retention has removed records of tasks that have not ended (from offset 0 on)",
    );
    fleet.scanpush(&["cancel", &id]);
    assert_eq!(fleet.wait_ended(&id, SOON).status, State::Cancelled);
}

/// Creates a topic whose partitions have these brokers as replicas, the leader first: `1,2` are two partitions, `2:1` is one with two replicas.
fn create_topic(fleet: &Fleet, kafka: &OwnPeer, kind: &str, replicas: &str) {
    let topic = fleet.topic(kind);
    let words = [
        "--create",
        "--topic",
        &topic,
        "--replica-assignment",
        replicas,
    ];
    kafka.0.tool("topic", &words).unwrap();
}

/// The two partitions of the tasks are led by different brokers. The second broker is frozen, and later killed, while the metadata still names it.
fn silent_leader() {
    let mut fleet = Fleet::new("silent").with_standin(&json!({}));
    let kafka = fleet.start_kafka(&["broker.session.timeout.ms=600000"]);
    let other = fleet.join_kafka(&kafka, &[]);
    create_topic(&fleet, &kafka, "tasks", &format!("1,{}", other.0.port));
    create_topic(&fleet, &kafka, "results", "1");
    create_topic(&fleet, &kafka, "status", "1");
    let server = fleet.ready_scand("a", &[]);
    let push = |id: &str, partition: u32| {
        let task = json!({"task_id": id, "ip_range": fleet.network(0), "ports": "443", "band_width": "9000", "wait_s": 0});
        fleet.produce_to("tasks", partition, &task.to_string());
    };
    for (id, partition) in [("first", 0), ("second", 1)] {
        push(id, partition);
        assert_eq!(fleet.wait_ended(id, SOON).status, State::Completed);
    }
    other.0.signal(Signal::STOP).unwrap();
    for id in ["frozen-1", "frozen-2"] {
        push(id, 0);
        assert_eq!(fleet.wait_ended(id, SOON).status, State::Completed);
    }
    let topic = fleet.topic("tasks");
    server.wait_for_log(&format!("cannot read {topic} partition 1, waiting"));
    other.0.signal(Signal::CONT).unwrap();
    push("thawed", 1);
    assert_eq!(fleet.wait_ended("thawed", SOON).status, State::Completed);
    server.wait_for_log(&format!("can read {topic} partition 1 again"));

    other.0.kill().unwrap();
    for id in ["killed-1", "killed-2"] {
        push(id, 0);
        assert_eq!(fleet.wait_ended(id, SOON).status, State::Completed);
    }
}

/// The partition's leader is killed; the other replica is elected once the leader's session has expired.
fn new_leader() {
    let mut fleet = Fleet::new("election").with_standin(&json!({}));
    let kafka = fleet.start_kafka(&["broker.session.timeout.ms=6000"]);
    let other = fleet.join_kafka(&kafka, &[]);
    create_topic(&fleet, &kafka, "tasks", &format!("{}:1", other.0.port));
    let push = || fleet.push_network(&fleet.network(0), 1000, &[]);
    push();
    other.0.kill().unwrap();
    push();
}

/// The broker writes the records, but the connection is closed before the answer arrives: duplicates, but no loss.
fn dropped_answers() {
    let mut fleet = Fleet::new("dropped-answers").with_standin(&json!({}));
    let proxy = Proxy::start();
    let kafka = fleet.start_kafka(&[&proxy.as_advertised_listener()]);
    proxy.set_target(kafka.0.port);
    fleet.kafka = format!("localhost:{}", proxy.port);
    let server = fleet.ready_scand("a", &[]);
    let mut proof = Proof::default();
    proof.server(&server);
    for n in 0..2 {
        let id = fleet.push_network(&fleet.network(n), 60, &[]);
        proof.pushed_network(&id, &fleet.network(n));
    }
    wait_until("some findings", SOON, || {
        !fleet.records("results").is_empty()
    });
    proxy.drop_answers(12);
    wait_until("answers to be dropped", SOON, || {
        proxy.answers_to_drop() == 0
    });
    proof.check(&fleet, SOON);
    let sent = fleet.records("results").len();
    // What librdkafka itself sends again is not written again.
    let at_least = if is_kafka_4() { 512 } else { 513 };
    assert!(
        sent >= at_least,
        "unacknowledged records were sent again: {sent}"
    );
}

fn recreated() {
    let mut fleet = Fleet::new("recreated").with_standin(&json!({}));
    fleet.lease_s = 60;
    let server = fleet.ready_scand("a", &[]);
    let topic = fleet.topic("tasks");
    let first = fleet.push_network(&fleet.network(0), 5000, &[]);
    fleet.wait_ended(&first, SOON);
    let running = fleet.push_network(&fleet.network(1), 40, &[]);
    fleet.wait_progress(&running, 1.0);
    // While frozen, the server notices neither that the topic is missing nor that the log ends before its cursor. Only the records themselves
    // differ.
    server.signal(Signal::STOP);
    shared_kafka()
        .tool("topic", &["--delete", "--topic", &topic])
        .unwrap();
    // The first push recreates the topic. More records than before, so that the old cursor lies within the new log.
    let ids: Vec<String> = (2..7)
        .map(|n| {
            wait_for("a push to the new topic", SOON, || {
                let (network, words) = (fleet.network(n), ["-ports", "443", "-bandwidth", "5000"]);
                let words = [&["-ip", &network, "-wait", "1"][..], &words[..]].concat();
                let output = fleet.scanpush(&words);
                let stdout = String::from_utf8(output.stdout).unwrap();
                output.status.success().then(|| stdout.trim().to_owned())
            })
        })
        .collect();
    server.signal(Signal::CONT);
    server.wait_for_log("was deleted and recreated");
    for id in ids.iter().chain([&running]) {
        assert_eq!(fleet.wait_ended(id, SOON).status, State::Completed);
    }
    assert!(lost(&fleet, "lost_ranges") >= 1, "the loss is counted");
    wait_until("the committed offset to reach the end", SOON, || {
        offsets(&fleet)[&0] == (5, 5)
    });
}

fn removed_records() {
    let fleet = Fleet::new("removed-records").with_standin(&json!({}));
    let mut server = fleet.ready_scand("a", &[]);
    for n in 0..2 {
        let id = fleet.push_network(&fleet.network(n), 5000, &[]);
        fleet.wait_ended(&id, SOON);
    }
    server.signal(Signal::TERM);
    server.wait(SOON);
    let ids: Vec<String> = (2..7)
        .map(|n| fleet.push_network(&fleet.network(n), 5000, &[]))
        .collect();
    shared_kafka()
        .tool("cut", &[&fleet.topic("tasks"), "0", "5"])
        .unwrap();
    let server = fleet.ready_scand("b", &[]);
    server.wait_for_log("Kafka no longer has offsets 2 to 4: 3 records are lost");
    for id in &ids[3..] {
        assert_eq!(fleet.wait_ended(id, SOON).status, State::Completed);
    }
    assert_eq!(lost(&fleet, "lost_records"), 3);
    wait_until("the committed offset to reach the end", SOON, || {
        offsets(&fleet)[&0] == (7, 7)
    });
}

/// A counter of lost records or ranges in the group's `cursor` hash.
fn lost(fleet: &Fleet, counter: &str) -> u64 {
    let mut redis = fleet.redis_connection();
    let count: Option<u64> = redis.hget(fleet.key("cursor"), counter).unwrap();
    count.unwrap_or(0)
}
