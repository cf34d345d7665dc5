//! Kafka freezes, dies, is cut off, loses a topic or the beginning of its log.

use crate::support::Proxy;
use crate::support::{Fleet, OwnPeer, SOON, shared_kafka, wait_for, wait_until};
use crate::support::{Proof, offsets};
use crate::{Needs, Test};
use redis::Commands;
use rustix::process::Signal;
use scan::model::State;
use serde_json::json;
use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

pub const TESTS: &[Test] = &[
    (
        "a_full_buffer_suspends_the_scan_and_loses_nothing",
        Needs::Servers,
        full_buffer,
    ),
    (
        "leases_are_renewed_while_kafka_is_stuck",
        Needs::Servers,
        stuck,
    ),
    (
        "a_time_out_does_not_run_while_kafka_is_away",
        Needs::Servers,
        time_out_without_kafka,
    ),
    (
        "what_was_sent_and_not_acknowledged_is_sent_again",
        Needs::Servers,
        swallowed,
    ),
    (
        "a_recreated_topic_is_reported_and_read_from_its_beginning",
        Needs::Servers,
        made_anew,
    ),
    (
        "a_log_cut_below_the_cursor_is_reported_and_counted",
        Needs::Servers,
        cut_log,
    ),
];

/// Findings of about 190 bytes: 16 384 of them are three times the smallest buffer.
const PORTS: &str = "1-4";

fn full_buffer() {
    let mut fleet = Fleet::new("buffer").with_standin(&json!({}));
    fleet.lease_s = 15;
    let kafka = OwnPeer::start("kafka", &fleet, &[]);
    fleet.kafka = kafka.0.address();
    let server = fleet.ready_scand("a", &["-buffer", "1"]);
    let mut proof = Proof::default();
    proof.server(&server);
    let range = fleet.network(0).replace("/24", "/20");
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
    let all: BTreeSet<(String, u64)> = (0..16)
        .flat_map(|n| (1..5).flat_map(move |port| [(n, port)]))
        .flat_map(|(n, port)| crate::support::addresses(&fleet.network(n), port))
        .collect();
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
    proof.hold(&fleet, SOON);
}

/// A claimed task waits for Kafka before its masscan begins, for longer here than it may take.
fn time_out_without_kafka() {
    const TIME_OUT_S: u64 = 4;
    let mut fleet = Fleet::new("no-time").with_standin(&json!({}));
    fleet.lease_s = 15;
    let kafka = OwnPeer::start("kafka", &fleet, &[]);
    fleet.kafka = kafka.0.address();
    let server = fleet.ready_scand("a", &["-slots", "1"]);
    let first = fleet.push_network(&fleet.network(0), 100, &[]);
    let limit = ["-timeout", &TIME_OUT_S.to_string(), "-attempts", "1"];
    let second = fleet.push_network(&fleet.network(1), 1000, &limit);
    wait_for("both to be ingested", SOON, || {
        fleet.task(&first).filter(|task| task.progress > 0.0)?;
        fleet.task(&second)
    });
    kafka.0.kill().unwrap();
    // The first one's slot is free once it has sent everything.
    server.wait_for_log(&format!("task {second}: claimed"));
    thread::sleep(Duration::from_secs(TIME_OUT_S + 1));
    kafka.0.restart().unwrap();
    for id in [&first, &second] {
        let ended = fleet.wait_ended(id, SOON);
        assert_eq!((ended.status, ended.attempt), (State::Completed, 1));
    }
}

/// Invariant: renewal has its own thread and connection, which do no Kafka work.
fn stuck() {
    let mut fleet = Fleet::new("stuck").with_standin(&json!({}));
    fleet.lease_s = 2;
    let kafka = OwnPeer::start("kafka", &fleet, &[]);
    fleet.kafka = kafka.0.address();
    let servers = [fleet.ready_scand("a", &[]), fleet.ready_scand("b", &[])];
    let mut proof = Proof::default();
    servers.iter().for_each(|server| proof.server(server));
    let id = fleet.push_network(&fleet.network(0), 30, &[]);
    proof.pushed_network(&id, &fleet.network(0));
    let running = wait_for("some findings", SOON, || {
        fleet.task(&id).filter(|task| task.progress > 10.0)
    });
    kafka.0.signal(Signal::STOP).unwrap();
    // Three leases.
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
    proof.hold(&fleet, SOON);
}

/// The broker takes the records, the connection is cut before the answer: duplicates, no loss.
fn swallowed() {
    let mut fleet = Fleet::new("swallowed").with_standin(&json!({}));
    let proxy = Proxy::start();
    let advertised = format!("advertised.listeners=BROKER://127.0.0.1:{}", proxy.port);
    let kafka = OwnPeer::start("kafka", &fleet, &[&advertised]);
    proxy.lead_to(kafka.0.port);
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
    proxy.swallow_answers(12);
    wait_until("answers to be swallowed", SOON, || {
        proxy.left_to_swallow() == 0
    });
    proof.hold(&fleet, SOON);
    let sent = fleet.records("results").len();
    assert!(sent > 512, "what was swallowed was sent again: {sent}");
}

fn made_anew() {
    let mut fleet = Fleet::new("made-anew").with_standin(&json!({}));
    fleet.lease_s = 60;
    let server = fleet.ready_scand("a", &[]);
    let topic = fleet.topic("tasks");
    let first = fleet.push_network(&fleet.network(0), 5000, &[]);
    fleet.wait_ended(&first, SOON);
    let running = fleet.push_network(&fleet.network(1), 40, &[]);
    wait_for("it to run", SOON, || {
        fleet.task(&running).filter(|task| task.progress > 1.0)
    });
    // It sees neither the topic's absence nor a log that ends before its cursor: the records alone can tell.
    server.signal(Signal::STOP);
    shared_kafka()
        .tool("topic", &["--delete", "--topic", &topic])
        .unwrap();
    // The first push makes it again. More than there were before, so that
    // the old cursor lies within the new log.
    let ids: Vec<String> = (2..7)
        .map(|n| {
            wait_for("a push to the new topic", SOON, || {
                let (network, words) = (fleet.network(n), ["-ports", "443", "-bandwidth", "5000"]);
                let words = [&["-ip", &network, "-wait", "1"][..], &words[..]].concat();
                let output = fleet.scanpush(&words);
                let said = String::from_utf8(output.stdout).unwrap();
                output.status.success().then(|| said.trim().to_owned())
            })
        })
        .collect();
    server.signal(Signal::CONT);
    server.wait_for_log("was deleted and recreated");
    for id in ids.iter().chain([&running]) {
        assert_eq!(fleet.wait_ended(id, SOON).status, State::Completed);
    }
    assert!(lost(&fleet, "lost_ranges") >= 1, "it is counted");
    wait_until("the committed offset to reach the end", SOON, || {
        offsets(&fleet)[&0] == (5, 5)
    });
}

fn cut_log() {
    let fleet = Fleet::new("cut-log").with_standin(&json!({}));
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

/// A counter of losses in the group's cursors.
fn lost(fleet: &Fleet, counter: &str) -> u64 {
    let client = redis::Client::open(fleet.redis.as_str()).unwrap();
    let key = format!("scan:{{{}}}:cursor", fleet.group);
    let count: Option<u64> = client.get_connection().unwrap().hget(key, counter).unwrap();
    count.unwrap_or(0)
}
