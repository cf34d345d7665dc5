//! Redis goes away for a while, for longer than a lease, or refuses.

use crate::support::Proof;
use crate::support::{Fleet, OwnPeer, SOON, Scand, now_ms, wait_for, wait_until};
use crate::{Needs, Test};
use rustix::process::Signal;
use scan::model::State;
use scan::scand::DISPATCH_IDLE_TICK;
use serde_json::json;
use std::thread;
use std::time::Duration;

pub const TESTS: &[Test] = &[
    (
        "redis_away_for_less_than_a_lease_is_a_pause_in_progress",
        Needs::Servers,
        pause,
    ),
    (
        "redis_away_for_longer_than_a_lease_suspends_the_scan",
        Needs::Servers,
        suspended,
    ),
    (
        "a_claim_that_redis_carries_out_late_is_still_this_servers",
        Needs::Servers,
        claimed_late,
    ),
    (
        "the_scans_are_drained_though_redis_does_not_answer",
        Needs::Servers,
        drained,
    ),
    (
        "a_redis_that_refuses_is_named_and_nothing_is_dropped",
        Needs::Servers,
        refuses,
    ),
    (
        "a_redis_restored_from_an_old_snapshot_runs_nothing_twice",
        Needs::Servers,
        restored,
    ),
];

fn with_redis(name: &str, lease_s: u32, settings: &[&str]) -> (Fleet, OwnPeer) {
    let mut fleet = Fleet::new(name).with_standin(&json!({}));
    fleet.lease_s = lease_s;
    let redis = OwnPeer::start("redis", &fleet, settings);
    fleet.redis = format!("redis://{}", redis.0.address());
    (fleet, redis)
}

/// One scan under way.
fn scanning(fleet: &Fleet, proof: &mut Proof) -> (Scand, String) {
    let server = fleet.ready_scand("a", &[]);
    proof.server(&server);
    let network = fleet.network(0);
    let id = fleet.push_network(&network, 40, &[]);
    proof.pushed_network(&id, &network);
    wait_for("some progress", SOON, || {
        fleet.task(&id).filter(|task| task.progress > 10.0)
    });
    (server, id)
}

fn starts(fleet: &Fleet) -> usize {
    let events = fleet.standin_events();
    events
        .iter()
        .filter(|event| event["event"] == "start")
        .count()
}

fn pause() {
    let (fleet, redis) = with_redis("redis-pause", 12, &[]);
    let mut proof = Proof::default();
    let (server, id) = scanning(&fleet, &mut proof);
    redis.0.signal(Signal::STOP).unwrap();
    // Longer than a command may take.
    server.wait_for_log("cannot renew leases in Redis, waiting");
    redis.0.signal(Signal::CONT).unwrap();
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!((ended.status, ended.attempt), (State::Completed, 1));
    assert_eq!(starts(&fleet), 1, "{}", server.log());
    proof.hold(&fleet, SOON);
}

fn suspended() {
    let (fleet, redis) = with_redis("redis-suspended", 3, &[]);
    let mut proof = Proof::default();
    let (server, id) = scanning(&fleet, &mut proof);
    let away_ms = now_ms();
    redis.0.signal(Signal::STOP).unwrap();
    server.wait_for_log("the lease could not be renewed in time");
    let last_ms = fleet
        .standin_events()
        .iter()
        .map(|event| event["at_ms"].as_u64().unwrap())
        .max();
    assert!(
        last_ms.unwrap() <= away_ms + 3000,
        "masscan was ended before Redis could call the lease expired"
    );
    // Well past the lease.
    thread::sleep(Duration::from_secs(1));
    redis.0.signal(Signal::CONT).unwrap();
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!(ended.status, State::Completed, "taken up again");
    assert_eq!(starts(&fleet), 2);
    proof.hold(&fleet, SOON);
}

/// The task becomes claimable while Redis is frozen, with calls for a task already in its sockets and given up by the server.
fn claimed_late() {
    let (mut fleet, redis) = with_redis("redis-claimed-late", 15, &[]);
    fleet = fleet.with_standin(&json!({"only_first": 1, "crash_after_s": 0.5}));
    let mut proof = Proof::default();
    let server = fleet.ready_scand("a", &[]);
    proof.server(&server);
    let network = fleet.network(0);
    let id = fleet.push_network(&network, 100, &["-attempts", "2"]);
    proof.pushed_network(&id, &network);
    wait_for("the wait for the second attempt", SOON, || {
        fleet.task(&id).filter(|task| task.retry_ms.is_some())
    });
    redis.0.signal(Signal::STOP).unwrap();
    server.wait_for_log("cannot claim tasks, waiting");
    redis.0.signal(Signal::CONT).unwrap();
    let ended = fleet.wait_ended(&id, SOON);
    let logged = server.log();
    assert_eq!((ended.status, ended.attempt), (State::Completed, 2));
    assert!(!logged.contains("stopped renewing"), "{logged}");
    proof.hold(&fleet, SOON);
}

/// A claim that waits for its answer, for two times as long as is granted below, keeps no scan running.
fn drained() {
    let (fleet, redis) = with_redis("redis-drained", 30, &[]);
    let mut proof = Proof::default();
    let (mut server, id) = scanning(&fleet, &mut proof);
    redis.0.signal(Signal::STOP).unwrap();
    // Until a claim is under way: where nothing is queued, there is one a second.
    thread::sleep(DISPATCH_IDLE_TICK * 2);
    server.signal(Signal::TERM);
    let released = format!("task {id}: released at");
    wait_until("the scan to be released", Duration::from_secs(3), || {
        server.log().contains(&released)
    });
    redis.0.signal(Signal::CONT).unwrap();
    assert_eq!(server.wait(SOON).code(), Some(0), "{}", server.log());
    let queued = fleet.task(&id).unwrap();
    assert_eq!((queued.status, queued.attempt), (State::Queued, 0));
    let next = fleet.ready_scand("b", &[]);
    proof.server(&next);
    assert_eq!(fleet.wait_ended(&id, SOON).status, State::Completed);
    proof.hold(&fleet, SOON);
}

/// Out of memory, read-only, wrong password: each is said in the words that help, and all goes on afterwards.
fn refuses() {
    let (fleet, _redis) = with_redis("redis-refuses", 15, &[]);
    let mut proof = Proof::default();
    let (server, id) = scanning(&fleet, &mut proof);
    let client = redis::Client::open(fleet.redis.as_str()).unwrap();
    let mut connection = client.get_connection().unwrap();
    let mut command = |words: &str| {
        let mut parts = words.split(' ');
        let mut command = redis::cmd(parts.next().unwrap());
        for part in parts {
            command.arg(if part == "''" { "" } else { part });
        }
        command.exec(&mut connection).unwrap();
    };
    let dead = "REPLICAOF 127.0.0.1 1";
    let cases: [(&[&str], &[&str], &str); 3] = [
        (
            &["CONFIG SET maxmemory 1"],
            &["CONFIG SET maxmemory 0"],
            "is out of memory: raise its maxmemory",
        ),
        (
            &[dead],
            &["REPLICAOF NO ONE"],
            "is a read-only replica: give the address of the primary",
        ),
        (
            &[
                "CONFIG SET requirepass secret",
                "CLIENT KILL TYPE normal SKIPME yes",
            ],
            &["CONFIG SET requirepass ''"],
            "wants a password: give it in -redis",
        ),
    ];
    for (begin, end, said) in cases {
        begin.iter().for_each(|words| command(words));
        server.wait_for_log(said);
        end.iter().for_each(|words| command(words));
        let network = fleet.network(1);
        wait_until(&format!("work to go on after {said}"), SOON, || {
            fleet
                .task(&id)
                .is_some_and(|task| task.updated_ms + 1000 > now_ms() || task.finished_ms.is_some())
        });
        assert!(!server.log().contains("secret"), "{network}");
    }
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!((ended.status, ended.attempt), (State::Completed, 1));
    assert_eq!(starts(&fleet), 1, "{}", server.log());
    proof.hold(&fleet, SOON);
}

/// Without an append-only file, a crash of Redis throws it back to its last snapshot: a task that has ended since looks queued.
fn restored() {
    let (fleet, redis) = with_redis("redis-restored", 15, &["--appendonly", "no"]);
    let mut proof = Proof::default();
    let server = fleet.ready_scand("a", &[]);
    proof.server(&server);
    let push = |proof: &mut Proof, n: u32, rate: u32| {
        let id = fleet.push_network(&fleet.network(n), rate, &[]);
        proof.pushed_network(&id, &fleet.network(n));
        id
    };
    let ended = push(&mut proof, 0, 200);
    let running = push(&mut proof, 1, 25);
    for id in [&ended, &running] {
        wait_for("it to run", SOON, || {
            fleet.task(id).filter(|task| task.status == State::Running)
        });
    }
    let client = redis::Client::open(fleet.redis.as_str()).unwrap();
    redis::cmd("SAVE")
        .exec(&mut client.get_connection().unwrap())
        .unwrap();
    fleet.wait_ended(&ended, SOON);
    redis.0.kill().unwrap();
    redis.0.restart().unwrap();
    server.wait_for_log("Redis went back in time");
    let after = push(&mut proof, 2, 1000);
    for id in [&running, &after] {
        let task = fleet.wait_ended(id, SOON);
        assert_eq!((task.status, task.attempt), (State::Completed, 1));
    }
    assert_eq!(starts(&fleet), 3, "{}", server.log());
    proof.hold(&fleet, SOON);
}
