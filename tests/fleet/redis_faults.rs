//! Redis is unreachable for less or more than a lease, reports errors, or loses its latest data.

use crate::support::{
    Fleet, OwnPeer, Proof, SOON, Scand, documented_user, now_ms, run_command, wait_for, wait_until,
};
use crate::{Needs, Test};
use rustix::process::Signal;
use scan::model::State;
use scan::scand::DISPATCH_IDLE_TICK;
use serde_json::json;
use std::thread;
use std::time::Duration;

pub const TESTS: &[Test] = &[
    (
        "a_redis_outage_shorter_than_a_lease_only_delays_progress",
        Needs::KafkaAndRedis,
        short_outage,
    ),
    (
        "a_redis_outage_longer_than_a_lease_suspends_the_scan",
        Needs::KafkaAndRedis,
        long_outage,
    ),
    (
        "a_claim_that_redis_executes_late_is_kept",
        Needs::KafkaAndRedis,
        claimed_late,
    ),
    (
        "scans_are_drained_even_if_redis_does_not_answer",
        Needs::KafkaAndRedis,
        drained,
    ),
    (
        "errors_from_redis_are_explained_and_nothing_is_lost",
        Needs::KafkaAndRedis,
        redis_errors,
    ),
    (
        "a_redis_user_with_the_documented_rights_is_enough_and_a_missing_one_is_named",
        Needs::KafkaAndRedis,
        rights,
    ),
    (
        "keys_of_a_wrong_type_are_removed_and_named_and_nothing_is_lost",
        Needs::KafkaAndRedis,
        wrong_types,
    ),
    (
        "a_redis_restored_from_an_old_snapshot_runs_nothing_twice",
        Needs::KafkaAndRedis,
        restored,
    ),
];

fn with_redis(name: &str, lease_s: u32, settings: &[&str]) -> (Fleet, OwnPeer) {
    let mut fleet = Fleet::new(name).with_standin(&json!({}));
    fleet.lease_s = lease_s;
    let redis = fleet.start_redis(settings);
    (fleet, redis)
}

fn rights() {
    let (mut fleet, redis) = with_redis("rights", 3, &[]);
    let admin = fleet.redis.clone();
    let set_user = |words: &[String]| {
        let client = redis::Client::open(admin.as_str()).unwrap();
        let mut connection = client.get_connection().unwrap();
        redis::cmd("ACL")
            .arg("SETUSER")
            .arg(words)
            .exec(&mut connection)
            .unwrap();
    };
    let mut words = documented_user(&fleet.group);
    assert_eq!(
        (words[0].as_str(), words[2].as_str()),
        ("scan", ">PASSWORD"),
        "{words:?}"
    );
    words.push("-zinter".to_owned());
    set_user(&words);
    fleet.redis = format!("redis://scan:PASSWORD@{}", redis.0.address());
    let server = fleet.scand("a", &[]);
    server.wait_for_log("cannot reach Redis, waiting");
    assert!(
        server.log().contains("no right to ZINTER") && server.log().contains("docs/security.md"),
        "{}",
        server.log()
    );
    assert!(!server.log().contains("PASSWORD"), "{}", server.log());
    let check = fleet.scand("check", &["-check"]);
    drop(check);

    // With the right, and without INFO, which is not needed.
    words.pop();
    words.push("-info".to_owned());
    set_user(&words);
    server.wait_for_log("ready: waiting for tasks");
    let id = fleet.push_network(&fleet.network(0), 10_000, &[]);
    assert_eq!(fleet.wait_ended(&id, SOON).status, State::Completed);
    for words in [
        &["list"][..],
        &["servers"],
        &["status", &id],
        &["job", &id],
        &["cancel", &id],
    ] {
        let output = fleet.scanpush(words);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!stderr.contains("permission"), "{words:?}: {stderr}");
    }
}

fn wrong_types() {
    let (fleet, _redis) = with_redis("types", 3, &[]);
    let server = fleet.ready_scand("a", &[]);
    let first = fleet.push_network(&fleet.network(0), 40, &[]);
    fleet.wait_progress(&first, 5.0);
    let second = fleet.push_network(&fleet.network(1), 10_000, &["-attempts", "1"]);
    fleet.redis_command(&format!("SET {} x", fleet.key("server:X")));
    fleet.redis_command(&format!("ZADD {} 99999999999999 X", fleet.key("servers")));
    server.wait_for_log("removed server:X from Redis");
    for (key, type_of) in [
        ("delayed", "SET"),
        ("ready", "SADD"),
        ("outbox", "SADD"),
        ("cursor", "SET"),
        ("open:0", "SADD"),
    ] {
        fleet.redis_command(&format!("DEL {}", fleet.key(key)));
        fleet.redis_command(&format!("{type_of} {} x", fleet.key(key)));
        server.wait_for_log(&format!("removed {key} from Redis"));
    }
    let third = fleet.push_network(&fleet.network(2), 10_000, &[]);
    for id in [&first, &second, &third] {
        let ended = fleet.wait_ended(id, SOON);
        assert_eq!(
            (ended.status, ended.attempt),
            (State::Completed, 1),
            "{}",
            server.log()
        );
    }
    let listed = fleet.scanpush(&["servers"]);
    assert!(listed.status.success());
}

/// Starts a server and a scan, and waits until the scan has made some progress.
fn scanning(fleet: &Fleet, proof: &mut Proof) -> (Scand, String) {
    let server = fleet.ready_scand("a", &[]);
    proof.server(&server);
    let network = fleet.network(0);
    let id = fleet.push_network(&network, 40, &[]);
    proof.pushed_network(&id, &network);
    fleet.wait_progress(&id, 10.0);
    (server, id)
}

fn short_outage() {
    let (fleet, redis) = with_redis("redis-short", 12, &[]);
    let mut proof = Proof::default();
    let (server, id) = scanning(&fleet, &mut proof);
    redis.0.signal(Signal::STOP).unwrap();
    // The server logs this when a command has timed out.
    server.wait_for_log("cannot renew leases in Redis, waiting");
    redis.0.signal(Signal::CONT).unwrap();
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!((ended.status, ended.attempt), (State::Completed, 1));
    assert_eq!(fleet.standin_starts(), 1, "{}", server.log());
    proof.check(&fleet, SOON);
}

fn long_outage() {
    let (fleet, redis) = with_redis("redis-long", 3, &[]);
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
        "masscan is killed before the lease expires by Redis' clock"
    );
    // Until the lease has expired.
    thread::sleep(Duration::from_secs(1));
    redis.0.signal(Signal::CONT).unwrap();
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!(ended.status, State::Completed);
    assert_eq!(fleet.standin_starts(), 2);
    proof.check(&fleet, SOON);
}

/// The task becomes claimable while Redis is frozen. The server's claim calls are then already in Redis' socket, and the server has stopped
/// waiting for their answers.
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
    let log = server.log();
    assert_eq!((ended.status, ended.attempt), (State::Completed, 2));
    assert!(!log.contains("stopped renewing"), "{log}");
    proof.check(&fleet, SOON);
}

/// A claim call that still waits for Redis' answer does not delay the release of scans.
fn drained() {
    let (fleet, redis) = with_redis("redis-drained", 30, &[]);
    let mut proof = Proof::default();
    let (mut server, id) = scanning(&fleet, &mut proof);
    redis.0.signal(Signal::STOP).unwrap();
    // Until a claim call is waiting. If nothing is queued, there is one call per idle tick.
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
    proof.check(&fleet, SOON);
}

/// Out of memory, read-only, password required: each is log with its remedy, and work continues afterwards.
fn redis_errors() {
    let (fleet, _redis) = with_redis("redis-errors", 15, &[]);
    let mut proof = Proof::default();
    let (server, id) = scanning(&fleet, &mut proof);
    // One connection for all commands: it stays authenticated when a password is set.
    let mut connection = fleet.redis_connection();
    let mut run = |commands: &[&str]| {
        for command in commands {
            run_command(&mut connection, command);
        }
    };
    let cases: [(&[&str], &[&str], &str); 3] = [
        (
            &["CONFIG SET maxmemory 1"],
            &["CONFIG SET maxmemory 0"],
            "is out of memory: raise its maxmemory",
        ),
        (
            &["REPLICAOF 127.0.0.1 1"],
            &["REPLICAOF NO ONE"],
            "is a read-only replica: give the address of the primary",
        ),
        (
            &[
                "CONFIG SET requirepass secret",
                "CLIENT KILL TYPE normal SKIPME yes",
            ],
            &["CONFIG SET requirepass ''"],
            "requires a password: give it with -redis-password-file",
        ),
    ];
    for (begin, end, message) in cases {
        run(begin);
        server.wait_for_log(message);
        run(end);
        wait_until(&format!("work to continue after {message:?}"), SOON, || {
            fleet
                .task(&id)
                .is_some_and(|task| task.updated_ms + 1000 > now_ms() || task.finished_ms.is_some())
        });
        assert!(!server.log().contains("secret"));
    }
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!((ended.status, ended.attempt), (State::Completed, 1));
    assert_eq!(fleet.standin_starts(), 1, "{}", server.log());
    proof.check(&fleet, SOON);
}

/// Without an append-only file, Redis restarts from its last snapshot after a crash. A task that has ended since then looks unfinished.
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
    fleet.redis_command("SAVE");
    fleet.wait_ended(&ended, SOON);
    redis.0.kill().unwrap();
    redis.0.restart().unwrap();
    server.wait_for_log("Redis went back in time");
    let after = push(&mut proof, 2, 1000);
    for id in [&running, &after] {
        let task = fleet.wait_ended(id, SOON);
        assert_eq!((task.status, task.attempt), (State::Completed, 1));
    }
    assert_eq!(fleet.standin_starts(), 3, "{}", server.log());
    proof.check(&fleet, SOON);
}
