//! Servers that freeze, end, take too long or meet a task that kills masscan each time.

use crate::support::{Fleet, OwnPeer, SOON, now_ms, wait_for, wait_until};
use crate::support::{Proof, offsets};
use crate::{Needs, Test};
use rustix::process::Signal;
use scan::model::State;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

pub const TESTS: &[Test] = &[
    (
        "a_frozen_server_writes_nothing_when_it_wakes",
        Needs::Servers,
        frozen,
    ),
    (
        "a_lost_server_costs_no_attempt",
        Needs::Servers,
        lost_server,
    ),
    (
        "a_failure_after_a_lost_server_is_the_first",
        Needs::Servers,
        failure_after_lost,
    ),
    (
        "a_task_that_takes_too_long_moves_on_and_fails_as_timed_out",
        Needs::Servers,
        timed_out,
    ),
    (
        "a_second_signal_ends_at_once",
        Needs::Servers,
        second_signal,
    ),
    (
        "a_long_task_blocks_no_other_and_holds_the_committed_offset",
        Needs::Servers,
        long_task,
    ),
    (
        "a_poison_task_fails_and_stops_no_other",
        Needs::Servers,
        poison,
    ),
    (
        "a_free_slot_and_a_task_meet_soon",
        Needs::Servers,
        meet_soon,
    ),
];

/// The events of the runs of one server, by its process id.
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
    wait_for("some progress", SOON, || {
        fleet.task(&id).filter(|task| task.progress > 20.0)
    });
    let other = fleet.ready_scand("b", &[]);
    proof.server(&other);
    let from_ms = now_ms();
    frozen.signal(Signal::STOP);
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!(
        (ended.status, ended.server.as_deref()),
        (State::Completed, Some("b"))
    );
    let woken_ms = now_ms();
    frozen.signal(Signal::CONT);
    frozen.wait_for_log(&format!("task {id}: abandoned after"));
    proof.froze("a", from_ms, woken_ms);
    // Its masscan went on; it is dead by now.
    let last_ms = events_of(&fleet, frozen.child.id())
        .iter()
        .map(|event| event["at_ms"].as_u64().unwrap())
        .max();
    assert!(last_ms.unwrap() < woken_ms + 1500, "its masscan is ended");
    let late = |record: &&Value| {
        record["server"] == "a" && record["timestamp"].as_u64().unwrap() * 1000 > from_ms + 1000
    };
    let results = fleet.records("results");
    let late: Vec<_> = results.iter().filter(late).collect();
    assert!(late.is_empty(), "found while it was frozen: {late:?}");
    let after = fleet.task(&id).unwrap();
    assert_eq!(after.finished_ms, ended.finished_ms, "nothing was changed");
    // It is as good as any other again.
    let next = fleet.push_network(&fleet.network(1), 1000, &[]);
    proof.pushed_network(&next, &fleet.network(1));
    proof.hold(&fleet, SOON);
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
        wait_for("it to run there", SOON, || {
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
    proof.hold(&fleet, SOON);
}

/// A bad host can't use up a good task's attempts: its two attempts are two failures of masscan.
fn failure_after_lost() {
    let plan = json!({"only_first": 2, "crash_after_s": 3.0});
    let mut fleet = Fleet::new("failure-after-lost").with_standin(&plan);
    fleet.lease_s = 2;
    let network = fleet.network(0);
    let id = fleet.push_network(&network, 40, &["-attempts", "2"]);
    let mut server = fleet.ready_scand("a", &[]);
    wait_for("it to run", SOON, || {
        fleet.task(&id).filter(|task| task.progress > 1.0)
    });
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
    let told = fleet.status_records(&id);
    let on: Vec<&Value> = told
        .iter()
        .filter(|record| record["status"] == "running")
        .map(|record| &record["server"])
        .collect();
    assert_eq!(on.len(), 2, "{told:?}");
    assert_ne!(on[0], on[1], "another server has a try");
}

fn second_signal() {
    let mut fleet = Fleet::new("second-signal").with_standin(&json!({}));
    let redis = OwnPeer::start("redis", &fleet, &[]);
    fleet.redis = format!("redis://{}", redis.0.address());
    let mut server = fleet.ready_scand("a", &[]);
    let id = fleet.push_network(&fleet.network(0), 20, &[]);
    wait_for("some progress", SOON, || {
        fleet.task(&id).filter(|task| task.progress > 1.0)
    });
    // It can't give the scan back.
    redis.0.signal(Signal::STOP).unwrap();
    server.signal(Signal::TERM);
    server.wait_for_log("SIGTERM: no new claims");
    let asked = Instant::now();
    server.signal(Signal::TERM);
    let status = server.wait(SOON);
    assert!(asked.elapsed() < Duration::from_secs(3));
    assert_eq!(status.code(), Some(1), "{}", server.log());
    assert!(server.log().contains("SIGTERM: exiting at once"));
    // What that leaves is a crash like any other.
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
    lag("a true lag: all of the log is behind the long task", (0, 5));
    server.signal(Signal::TERM);
    assert_eq!(server.wait(SOON).code(), Some(0));
    assert_eq!(offsets(&fleet)[&0], (0, 5), "it is only handed back");
}

fn poison() {
    let fleet = Fleet::new("poison");
    let (bad, plan) = (
        fleet.network(0),
        json!({"only_range": fleet.network(0), "crash_after_s": 0.1, "crash_signal": 11}),
    );
    let fleet = fleet.with_standin(&plan);
    let server = fleet.ready_scand("a", &["-slots", "1"]);
    let mut proof = Proof::default();
    proof.server(&server);
    let poison = fleet.push_network(&bad, 100, &["-attempts", "2", "-priority", "9"]);
    proof.pushed_network(&poison, &bad);
    for n in 1..4 {
        let id = fleet.push_network(&fleet.network(n), 2000, &[]);
        proof.pushed_network(&id, &fleet.network(n));
    }
    let ended = fleet.wait_ended(&poison, SOON);
    assert_eq!((ended.status, ended.attempt), (State::Failed, 2));
    let error = ended.error.unwrap();
    assert!(error.contains("killed by signal 11"), "{error}");
    proof.hold(&fleet, SOON);
}

/// Invariant 8: the poll time (a long poll: at once), a look for work (200 ms where something is queued) and the deferral (1 s) at
/// most; the rest is for a busy machine.
fn meet_soon() {
    let fleet = Fleet::new("meet-soon").with_standin(&json!({}));
    let _servers = [fleet.ready_scand("a", &[]), fleet.ready_scand("b", &[])];
    for n in 0..3 {
        let id = fleet.push_network(&fleet.network(n), 5000, &[]);
        let task = fleet.wait_ended(&id, SOON);
        let waited_ms = task.started_ms.unwrap() - task.queued_ms;
        assert!(waited_ms < 2500, "{waited_ms} ms");
    }
}
