//! Servers that freeze or end, tasks that time out, and a task on which masscan always crashes.

use crate::support::{Fleet, Proof, SOON, now_ms, offsets, wait_for, wait_until};
use crate::{Needs, Test};
use rustix::process::Signal;
use scan::model::State;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

pub const TESTS: &[Test] = &[
    (
        "a_frozen_server_writes_nothing_after_it_resumes",
        Needs::KafkaAndRedis,
        frozen,
    ),
    (
        "a_lost_server_costs_no_attempt",
        Needs::KafkaAndRedis,
        lost_server,
    ),
    (
        "a_failure_after_a_lost_server_counts_as_the_first",
        Needs::KafkaAndRedis,
        failure_after_lost,
    ),
    (
        "a_task_that_times_out_moves_to_another_server_and_then_fails",
        Needs::KafkaAndRedis,
        timed_out,
    ),
    (
        "a_second_sigterm_ends_the_server_at_once",
        Needs::KafkaAndRedis,
        second_signal,
    ),
    (
        "a_long_task_blocks_no_other_task_and_holds_back_the_committed_offset",
        Needs::KafkaAndRedis,
        long_task,
    ),
    (
        "a_poison_task_fails_and_blocks_no_other_task",
        Needs::KafkaAndRedis,
        poison,
    ),
    (
        "a_queued_task_gets_a_free_slot_soon",
        Needs::KafkaAndRedis,
        slot_soon,
    ),
];

/// The stand-in's events of the runs that the server with this process id started.
fn events_of(fleet: &Fleet, parent: u32) -> Vec<Value> {
    let mut events = fleet.standin_events();
    events.retain(|event| event["parent"] == parent);
    events
}

fn frozen() {
    let mut fleet = Fleet::new("frozen").with_standin(&json!({}));
    fleet.lease_s = 2;
    let mut proof = Proof::default();
    let frozen = fleet.ready_scand("a", &[]);
    proof.server(&frozen);
    let network = fleet.network(0);
    let id = fleet.push_network(&network, 30, &["-attempts", "1"]);
    proof.pushed_network(&id, &network);
    fleet.wait_progress(&id, 20.0);
    let other = fleet.ready_scand("b", &[]);
    proof.server(&other);
    let from_ms = now_ms();
    frozen.signal(Signal::STOP);
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!(
        (ended.status, ended.server.as_deref()),
        (State::Completed, Some("b"))
    );
    let resumed_ms = now_ms();
    frozen.signal(Signal::CONT);
    frozen.wait_for_log(&format!("task {id}: abandoned after"));
    proof.froze("a", from_ms, resumed_ms);
    // Its masscan continued while the server was frozen; now it has been killed.
    let last_ms = events_of(&fleet, frozen.child.id())
        .iter()
        .map(|event| event["at_ms"].as_u64().unwrap())
        .max();
    assert!(
        last_ms.unwrap() < resumed_ms + 1500,
        "its masscan is killed"
    );
    let late = |record: &&Value| {
        record["server"] == "a" && record["timestamp"].as_u64().unwrap() * 1000 > from_ms + 1000
    };
    let results = fleet.records("results");
    let late: Vec<_> = results.iter().filter(late).collect();
    assert!(
        late.is_empty(),
        "no findings of the time in which it was frozen: {late:?}"
    );
    let after = fleet.task(&id).unwrap();
    assert_eq!(after.finished_ms, ended.finished_ms, "nothing was changed");
    // The resumed server works normally.
    let next = fleet.push_network(&fleet.network(1), 1000, &[]);
    proof.pushed_network(&next, &fleet.network(1));
    proof.check(&fleet, SOON);
}

fn lost_server() {
    let mut fleet = Fleet::new("lost-server").with_standin(&json!({}));
    fleet.lease_s = 2;
    let mut proof = Proof::default();
    let network = fleet.network(0);
    let id = fleet.push_network(&network, 100, &["-attempts", "1"]);
    proof.pushed_network(&id, &network);
    for name in ["a", "b"] {
        let mut server = fleet.ready_scand(name, &[]);
        proof.server(&server);
        wait_for("the server to run it", SOON, || {
            fleet
                .task(&id)
                .filter(|task| task.server.as_deref() == Some(name) && task.progress > 1.0)
        });
        server.kill();
    }
    let last = fleet.ready_scand("c", &[]);
    proof.server(&last);
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!(
        (ended.status, ended.attempt),
        (State::Completed, 3),
        "its only attempt was not used up"
    );
    proof.check(&fleet, SOON);
}

/// A lost server does not use up an attempt, so the task still has two attempts after it.
fn failure_after_lost() {
    let plan = json!({"only_first": 2, "crash_after_s": 3.0});
    let mut fleet = Fleet::new("failure-after-lost").with_standin(&plan);
    fleet.lease_s = 2;
    let network = fleet.network(0);
    let id = fleet.push_network(&network, 40, &["-attempts", "2"]);
    let mut server = fleet.ready_scand("a", &[]);
    fleet.wait_progress(&id, 1.0);
    server.kill();
    let other = fleet.ready_scand("b", &[]);
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!(
        (ended.status, ended.attempt),
        (State::Completed, 3),
        "{}",
        other.log()
    );
}

fn timed_out() {
    let fleet = Fleet::new("timed-out").with_standin(&json!({}));
    let _servers = [fleet.ready_scand("a", &[]), fleet.ready_scand("b", &[])];
    let words = ["-timeout", "1", "-attempts", "2"];
    let id = fleet.push_network(&fleet.network(0), 10, &words);
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!((ended.status, ended.attempt), (State::Failed, 2));
    let error = ended.error.unwrap();
    assert!(error.starts_with("timed out after 1 s"), "{error}");
    let records = fleet.status_records(&id);
    let servers: Vec<&Value> = records
        .iter()
        .filter(|record| record["status"] == "running")
        .map(|record| &record["server"])
        .collect();
    assert_eq!(servers.len(), 2, "{records:?}");
    assert_ne!(
        servers[0], servers[1],
        "the second attempt is on another server"
    );
}

fn second_signal() {
    let mut fleet = Fleet::new("second-signal").with_standin(&json!({}));
    let redis = fleet.start_redis(&[]);
    let mut server = fleet.ready_scand("a", &[]);
    let id = fleet.push_network(&fleet.network(0), 20, &[]);
    fleet.wait_progress(&id, 1.0);
    // So that the server cannot release the scan.
    redis.0.signal(Signal::STOP).unwrap();
    server.signal(Signal::TERM);
    server.wait_for_log("SIGTERM: no new claims");
    let signalled = Instant::now();
    server.signal(Signal::TERM);
    let status = server.wait(SOON);
    assert!(signalled.elapsed() < Duration::from_secs(3));
    assert_eq!(status.code(), Some(1), "{}", server.log());
    assert!(server.log().contains("SIGTERM: exiting at once"));
    // The claim expires as after a crash.
    redis.0.signal(Signal::CONT).unwrap();
    let other = fleet.ready_scand("b", &[]);
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!(ended.status, State::Completed, "{}", other.log());
}

fn long_task() {
    let fleet = Fleet::new("long").with_standin(&json!({}));
    let mut server = fleet.ready_scand("a", &["-slots", "2"]);
    let long = fleet.push_network(&fleet.network(0), 5, &["-priority", "9"]);
    let short: Vec<String> = (1..5)
        .map(|n| fleet.push_network(&fleet.network(n), 2000, &["-priority", "1"]))
        .collect();
    for id in &short {
        assert_eq!(fleet.wait_ended(id, SOON).status, State::Completed);
    }
    assert_eq!(fleet.task(&long).unwrap().status, State::Running);
    let lag = |what: &str, lag: (i64, i64)| {
        wait_until(what, SOON, || offsets(&fleet).get(&0) == Some(&lag));
    };
    lag("the committed offset to stay at the long task", (0, 5));
    server.signal(Signal::TERM);
    assert_eq!(server.wait(SOON).code(), Some(0));
    assert_eq!(offsets(&fleet)[&0], (0, 5), "a released task has not ended");
}

fn poison() {
    let fleet = Fleet::new("poison");
    let (bad_network, plan) = (
        fleet.network(0),
        json!({"only_range": fleet.network(0), "crash_after_s": 0.1, "crash_signal": 11}),
    );
    let fleet = fleet.with_standin(&plan);
    let server = fleet.ready_scand("a", &["-slots", "1"]);
    let mut proof = Proof::default();
    proof.server(&server);
    let poison = fleet.push_network(&bad_network, 100, &["-attempts", "2", "-priority", "9"]);
    proof.pushed_network(&poison, &bad_network);
    for n in 1..4 {
        let id = fleet.push_network(&fleet.network(n), 2000, &[]);
        proof.pushed_network(&id, &fleet.network(n));
    }
    let ended = fleet.wait_ended(&poison, SOON);
    assert_eq!((ended.status, ended.attempt), (State::Failed, 2));
    let error = ended.error.unwrap();
    assert!(error.contains("killed by signal 11"), "{error}");
    proof.check(&fleet, SOON);
}

/// Invariant 8: at most the poll time (zero, because it is a long poll), the interval between claim calls (200 ms if something is queued) and
/// the deferral (1 s); the rest is for a busy machine.
fn slot_soon() {
    let fleet = Fleet::new("slot-soon").with_standin(&json!({}));
    let _servers = [fleet.ready_scand("a", &[]), fleet.ready_scand("b", &[])];
    for n in 0..3 {
        let id = fleet.push_network(&fleet.network(n), 5000, &[]);
        let task = fleet.wait_ended(&id, SOON);
        let waited_ms = task.started_ms.unwrap() - task.queued_ms;
        assert!(waited_ms < 2500, "{waited_ms} ms");
    }
}
