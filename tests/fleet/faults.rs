//! Crashes, freezes, shutdowns, and the other side going away.

use crate::support::{Fleet, OwnPeer, SOON, addresses, kafka, now_ms, wait_for, wait_until};
use crate::{Needs, Test};
use rustix::process::Signal;
use scan::model::State;
use serde_json::json;
use std::time::Duration;

pub const TESTS: &[Test] = &[
    (
        "a_dead_servers_task_runs_elsewhere_within_a_lease",
        Needs::Lab,
        dead_server,
    ),
    ("sigterm_hands_a_scan_over_half_done", Needs::Lab, drain),
    (
        "a_server_started_before_kafka_and_redis_waits_and_says_so",
        Needs::Servers,
        started_first,
    ),
    (
        "a_restart_of_kafka_and_redis_is_survived",
        Needs::Servers,
        restarts,
    ),
    (
        "an_emptied_redis_is_rebuilt_from_kafka",
        Needs::Servers,
        flushed,
    ),
];

fn dead_server() {
    let fleet = Fleet::new("dead");
    let mut servers = [fleet.ready_scand("a", &[]), fleet.ready_scand("b", &[])];
    let network = fleet.network(0);
    let id = fleet.push_network(&network, 80, &[]);
    let running = wait_for("some progress", SOON, || {
        fleet.task(&id).filter(|task| task.progress > 30.0)
    });
    let lost = running.server.unwrap();
    let other = if lost == "a" { "b" } else { "a" };
    servers
        .iter_mut()
        .find(|server| server.name == lost)
        .unwrap()
        .kill();
    let killed_ms = now_ms();
    let taken = wait_for("the other server to run it", SOON, || {
        fleet
            .task(&id)
            .filter(|task| task.server.as_deref() == Some(other))
    });
    let took = taken.started_ms.unwrap().saturating_sub(killed_ms);
    assert!(
        took <= u64::from(fleet.lease_s) * 1000 + 1000,
        "within one lease + 1 s, not {took} ms"
    );
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!(ended.status, State::Completed);
    assert_eq!(fleet.findings(&id), addresses(&network, 443));
    fleet.wait_committed(kafka());
}

fn drain() {
    let fleet = Fleet::new("drain");
    let mut first = fleet.ready_scand("a", &[]);
    let network = fleet.network(0);
    let id = fleet.push_network(&network, 60, &[]);
    wait_for("some progress", SOON, || {
        fleet.task(&id).filter(|task| task.progress > 60.0)
    });
    first.signal(Signal::TERM);
    assert_eq!(
        first.wait(Duration::from_secs(10)).code(),
        Some(0),
        "{}",
        first.log()
    );
    let queued = fleet.task(&id).unwrap();
    assert_eq!(
        (queued.status, queued.attempt),
        (State::Queued, 0),
        "the attempt is given back"
    );
    assert!(
        queued.resume_index > 0 && queued.progress > 0.0,
        "{queued:?}"
    );
    let second = fleet.ready_scand("b", &[]);
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!((ended.status, ended.attempt), (State::Completed, 1));
    assert!(
        second
            .log()
            .contains(&format!("--resume-index {}", queued.resume_index)),
        "{}",
        second.log()
    );
    assert_eq!(fleet.findings(&id), addresses(&network, 443));
}

fn started_first() {
    let mut fleet = Fleet::new("started-first").with_standin(&json!({}));
    let (kafka, redis) = (
        OwnPeer::start("kafka", &fleet, &[]),
        OwnPeer::start("redis", &fleet, &[]),
    );
    kafka.0.stop().unwrap();
    redis.0.stop().unwrap();
    fleet.kafka = kafka.0.address();
    fleet.redis = format!("redis://{}", redis.0.address());
    let server = fleet.scand("a", &[]);
    server.wait_for_log("cannot reach Redis, waiting");
    redis.0.start_again().unwrap();
    server.wait_for_log("cannot reach Kafka, waiting");
    kafka.0.start_again().unwrap();
    server.wait_for_log("ready: waiting for tasks");
    let id = fleet.push_network(&fleet.network(0), 1000, &[]);
    assert_eq!(fleet.wait_ended(&id, SOON).status, State::Completed);
}

fn restarts() {
    let mut fleet = Fleet::new("restarts").with_standin(&json!({}));
    fleet.lease_s = 15;
    let (kafka, redis) = (
        OwnPeer::start("kafka", &fleet, &[]),
        OwnPeer::start("redis", &fleet, &[]),
    );
    fleet.kafka = kafka.0.address();
    fleet.redis = format!("redis://{}", redis.0.address());
    let server = fleet.ready_scand("a", &[]);
    let id = fleet.push_network(&fleet.network(0), 20, &[]);
    wait_for("some progress", SOON, || {
        fleet.task(&id).filter(|task| task.progress > 5.0)
    });
    redis.0.kill().unwrap();
    kafka.0.kill().unwrap();
    server.wait_for_log("cannot write progress, waiting");
    redis.0.start_again().unwrap();
    kafka.0.start_again().unwrap();
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!(
        (ended.status, ended.attempt, ended.found),
        (State::Completed, 1, 256),
        "{}",
        server.log()
    );
    assert_eq!(fleet.findings(&id), addresses(&fleet.network(0), 443));
    let next = fleet.push_network(&fleet.network(1), 1000, &[]);
    assert_eq!(fleet.wait_ended(&next, SOON).status, State::Completed);
    fleet.wait_committed(&kafka.0);
}

fn flushed() {
    let mut fleet = Fleet::new("flushed").with_standin(&json!({}));
    let redis = OwnPeer::start("redis", &fleet, &[]);
    fleet.redis = format!("redis://{}", redis.0.address());
    let _servers = [
        fleet.ready_scand("a", &["-slots", "1"]),
        fleet.ready_scand("b", &["-slots", "1"]),
    ];
    let ended = fleet.push_network(&fleet.network(0), 10_000, &[]);
    fleet.wait_ended(&ended, SOON);
    let running: Vec<String> = (1..3)
        .map(|n| fleet.push_network(&fleet.network(n), 30, &[]))
        .collect();
    let waiting = fleet.push_network(&fleet.network(3), 10_000, &[]);
    for id in &running {
        wait_for("some progress", SOON, || {
            fleet.task(id).filter(|task| task.progress > 10.0)
        });
    }
    let client = redis::Client::open(fleet.redis.as_str()).unwrap();
    redis::cmd("FLUSHALL")
        .exec(&mut client.get_connection().unwrap())
        .unwrap();
    for id in running.iter().chain([&waiting]) {
        let task = fleet.wait_ended(id, SOON);
        assert_eq!(
            (task.status, task.attempt),
            (State::Completed, 1),
            "{task:?}"
        );
    }
    assert!(
        fleet.task(&ended).is_none(),
        "what had ended is not run again"
    );
    let starts = fleet
        .standin_events()
        .iter()
        .filter(|event| event["event"] == "start")
        .count();
    assert_eq!(
        starts, 4,
        "each ran once: the running ones were taken up again by their servers"
    );
    wait_until("the offsets to be committed", SOON, || {
        fleet
            .offsets(kafka())
            .values()
            .all(|(committed, end)| committed == end)
    });
    for id in [&ended, &waiting].into_iter().chain(&running) {
        let terminal = fleet
            .told(id)
            .iter()
            .filter(|record| record["status"] == "completed")
            .count();
        assert_eq!(terminal, 1, "{id}");
    }
}
