//! Several Redis servers: Sentinel names another primary, and a Redis Cluster moves the group's keys.

use crate::support::{Fleet, OwnPeer, Proof, SOON, free_port, wait_for, wait_until};
use crate::{Needs, Test};
use redis::Connection;
use scan::model::State;
use serde_json::json;
use std::thread;
use std::time::{Duration, Instant};

pub const TESTS: &[Test] = &[
    (
        "a_scan_goes_on_when_sentinel_names_another_primary",
        Needs::KafkaAndRedis,
        failover,
    ),
    (
        "an_error_of_sentinel_is_one_line",
        Needs::KafkaAndRedis,
        sentinel_errors,
    ),
    (
        "a_scan_goes_on_when_a_cluster_moves_the_groups_keys",
        Needs::KafkaAndRedis,
        moved,
    ),
    (
        "settings_of_redis_that_may_lose_something_are_warned_about",
        Needs::KafkaAndRedis,
        warned,
    ),
];

/// Slots of a Redis Cluster.
const SLOTS: u16 = 16_384;

fn connect(redis: &OwnPeer) -> Connection {
    let client = redis::Client::open(format!("redis://{}", redis.0.address())).unwrap();
    client.get_connection().unwrap()
}

/// The answer to a command, given as words separated by spaces.
fn ask<T: redis::FromRedisValue>(redis: &OwnPeer, command: &str) -> T {
    let mut words = command.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    for word in words {
        command.arg(word);
    }
    command.query(&mut connect(redis)).unwrap()
}

fn wait_replicated(primary: &OwnPeer) {
    wait_until("the replica to be in step", SOON, || {
        ask::<String>(primary, "INFO replication").contains("state=online")
    });
}

fn failover() {
    let mut fleet = Fleet::new("sentinel").with_standin(&json!({}));
    fleet.lease_s = 15;
    let primary = fleet.start_redis(&[]);
    let follows = format!("127.0.0.1 {}", primary.0.port);
    let replica = fleet.another_redis("replica", &["--replicaof", &follows]);
    wait_replicated(&primary);
    let sentinel = fleet.start_sentinel("sentinel", "main", &primary);
    wait_until("Sentinel to find the replica", SOON, || {
        ask::<Vec<redis::Value>>(&sentinel, "SENTINEL replicas main").len() == 1
    });
    // The first Sentinel of the list does not run.
    fleet.redis = format!("redis+sentinel://localhost:1,{}/main", sentinel.0.address());
    let mut proof = Proof::default();
    let server = fleet.ready_scand("a", &[]);
    proof.server(&server);
    let network = fleet.network(0);
    let id = fleet.push_network(&network, 20, &[]);
    proof.pushed_network(&id, &network);
    fleet.wait_progress(&id, 10.0);
    assert!(
        server.log().contains("min-replicas-to-write 0"),
        "{}",
        server.log()
    );
    // Replication of everything so far: what asynchronous failover loses is tested elsewhere.
    let waited: u32 = ask(&primary, "WAIT 1 2000");
    assert_eq!(waited, 1);

    primary.0.kill().unwrap();
    let killed = Instant::now();
    wait_until("a write to the new primary", SOON, || {
        let replica_is_primary =
            ask::<String>(&replica, "INFO replication").contains("role:master");
        replica_is_primary && fleet.task(&id).is_some_and(|task| task.progress > 30.0)
    });
    println!("progress at the new primary after {:.1?}", killed.elapsed());
    let next = fleet.network(1);
    let second = fleet.push_network(&next, 10_000, &[]);
    proof.pushed_network(&second, &next);
    for id in [&id, &second] {
        let ended = fleet.wait_ended(id, SOON);
        assert_eq!((ended.status, ended.attempt), (State::Completed, 1));
    }
    assert_eq!(fleet.standin_starts(), 2, "{}", server.log());
    let status = fleet.scanpush(&["status", &id]);
    assert!(status.status.success());
    proof.check(&fleet, SOON);

    // The old primary is a replica now, and refused as such.
    primary.0.restart().unwrap();
    wait_until("the old primary to be a replica", SOON, || {
        ask::<String>(&primary, "INFO replication").contains("role:slave")
    });
    fleet.redis = format!("redis://{}", primary.0.address());
    let (_, checked) = crate::check::check(&fleet, &[]);
    assert!(
        checked.contains("is a replica, and what is written to a replica is lost"),
        "{checked}"
    );
}

fn sentinel_errors() {
    let mut fleet = Fleet::new("sentinel-errors").with_standin(&json!({}));
    let primary = fleet.start_redis(&[]);
    let sentinel = fleet.start_sentinel("sentinel", "main", &primary);
    let at = sentinel.0.address();
    for (url, words) in [
        (
            format!("redis+sentinel://{at}/other"),
            format!("Sentinel {at}: knows no primary \"other\""),
        ),
        (
            "redis+sentinel://localhost:1,localhost:2/main".to_owned(),
            "Sentinel localhost:1: connection refused; Sentinel localhost:2: connection refused"
                .to_owned(),
        ),
        (
            // Not a Sentinel.
            format!("redis+sentinel://{}/main", primary.0.address()),
            "unknown command".to_owned(),
        ),
        (
            format!("rediss+sentinel://{at}/main"),
            "if the port has no TLS".to_owned(),
        ),
    ] {
        fleet.redis = url;
        let began = Instant::now();
        let output = fleet.scanpush(&["status"]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(began.elapsed() < Duration::from_secs(5), "{text}");
        assert!(
            text.contains(&words) && text.lines().count() == 1,
            "{words}: {text}"
        );
    }
    fleet.redis = format!("redis+sentinel://{at}/main");
    assert!(fleet.scanpush(&["status"]).status.success());
    // Sentinel still names it.
    ask::<()>(&primary, "REPLICAOF 127.0.0.1 1");
    let output = fleet.scanpush(&["status"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("is not a primary (now)") && text.lines().count() == 1,
        "{text}"
    );
    ask::<()>(&primary, "REPLICAOF NO ONE");
    assert!(fleet.scanpush(&["status"]).status.success());
    // Sentinel too has a password.
    ask::<()>(&sentinel, "ACL SETUSER default resetpass >s3cret");
    let output = fleet.scanpush(&["status"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains(&format!("Sentinel {at}: requires a password: give it")),
        "{text}"
    );
    ask::<()>(&primary, "CONFIG SET requirepass s3cret");
    fleet.redis = format!("redis+sentinel://:s3cret@{at}/main");
    assert!(fleet.scanpush(&["status"]).status.success());
    primary.0.kill().unwrap();
    let output = fleet.scanpush(&["status"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("connection refused") && text.lines().count() == 1,
        "{text}"
    );
}

/// A cluster of two nodes; the first one has all slots.
fn cluster(fleet: &Fleet) -> [OwnPeer; 2] {
    // Redis' default is the port plus 10000, which may be taken.
    let buses = [free_port(), free_port()];
    let start = |name: &str, bus: u16| {
        let bus = bus.to_string();
        fleet.another_redis(name, &["--cluster-enabled", "yes", "--cluster-port", &bus])
    };
    let nodes = [start("node-1", buses[0]), start("node-2", buses[1])];
    let last = SLOTS - 1;
    ask::<()>(&nodes[0], &format!("CLUSTER ADDSLOTSRANGE 0 {last}"));
    let (port, bus) = (nodes[0].0.port, buses[0]);
    ask::<()>(&nodes[1], &format!("CLUSTER MEET 127.0.0.1 {port} {bus}"));
    wait_until("the cluster to be complete", SOON, || {
        nodes.iter().all(|node| {
            let info: String = ask(node, "CLUSTER INFO");
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:2")
        })
    });
    nodes
}

/// Moves the keys of the group from one node to the other, and stays in the middle of it for `pause`.
fn move_keys(fleet: &Fleet, from: &OwnPeer, to: &OwnPeer, pause: Duration) {
    let slot: u16 = ask(from, &format!("CLUSTER KEYSLOT {}", fleet.key("")));
    let [from_id, to_id]: [String; 2] = [from, to].map(|node| ask(node, "CLUSTER MYID"));
    ask::<()>(to, &format!("CLUSTER SETSLOT {slot} IMPORTING {from_id}"));
    ask::<()>(from, &format!("CLUSTER SETSLOT {slot} MIGRATING {to_id}"));
    thread::sleep(pause);
    let port = to.0.port;
    loop {
        let keys: Vec<String> = ask(from, &format!("CLUSTER GETKEYSINSLOT {slot} 100"));
        if keys.is_empty() {
            break;
        }
        let mut migrate = redis::cmd("MIGRATE");
        migrate.arg("127.0.0.1").arg(port).arg("").arg(0).arg(5000);
        // Without REPLACE: a key that a program has written on the other node in the meantime is an error.
        migrate.arg("KEYS").arg(keys);
        migrate.exec(&mut connect(from)).unwrap();
    }
    for node in [to, from] {
        ask::<()>(node, &format!("CLUSTER SETSLOT {slot} NODE {to_id}"));
    }
}

fn moved() {
    let mut fleet = Fleet::new("cluster").with_standin(&json!({}));
    fleet.lease_s = 15;
    let [first, second] = cluster(&fleet);
    // The test itself needs the node with the keys.
    fleet.redis = format!("redis://{}", second.0.address());
    let mut proof = Proof::default();
    let server = fleet.ready_scand("a", &[]);
    proof.server(&server);
    let network = fleet.network(0);
    let id = fleet.push_network(&network, 15, &[]);
    proof.pushed_network(&id, &network);
    fleet.wait_progress(&id, 5.0);
    let listed = |fleet: &Fleet| {
        for words in [
            &["list"][..],
            &["status"],
            &["servers"],
            &["job", &id],
            &["status", &id],
            &["status", &id[..6]],
        ] {
            let output = fleet.scanpush(words);
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let shown = if words[0] == "servers" { "a" } else { &id };
            assert!(
                text.contains(shown) || words[0] == "job",
                "{words:?}: {text}"
            );
        }
    };
    listed(&fleet);

    move_keys(&fleet, &first, &second, Duration::from_secs(3));
    assert!(
        server
            .log()
            .contains("the group's keys are being moved to another node"),
        "{}",
        server.log()
    );
    fleet.redis = format!("redis://{}", first.0.address());
    let progress = wait_for("the task", SOON, || fleet.task(&id)).progress;
    fleet.wait_progress(&id, progress);
    listed(&fleet);

    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!((ended.status, ended.attempt), (State::Completed, 1));
    assert_eq!(fleet.standin_starts(), 1, "{}", server.log());
    let next = fleet.network(1);
    let second_id = fleet.push_network(&next, 10_000, &[]);
    proof.pushed_network(&second_id, &next);
    assert_eq!(fleet.wait_ended(&second_id, SOON).status, State::Completed);
    proof.check(&fleet, SOON);
}

fn warned() {
    let mut fleet = Fleet::new("redis-warned").with_standin(&json!({}));
    let settings = ["--appendonly", "no", "--maxmemory-policy", "allkeys-lru"];
    let redis = fleet.start_redis(&settings);
    let follows = format!("127.0.0.1 {}", redis.0.port);
    let _replica = fleet.another_redis("replica", &["--replicaof", &follows]);
    wait_replicated(&redis);
    let server = fleet.ready_scand("a", &[]);
    let (_, checked) = crate::check::check(&fleet, &[]);
    for (about, text) in [
        (
            "eviction",
            "Redis may delete tasks when its memory is full (allkeys-lru)",
        ),
        (
            "appendonly",
            "a restart of Redis loses its latest data (appendonly no)",
        ),
        (
            "replicas",
            "which a failover then discards (min-replicas-to-write 0)",
        ),
    ] {
        assert!(server.log().contains(text), "{}", server.log());
        let begins = format!("warn  {about:<10} ");
        let mut lines = checked.lines();
        assert!(
            lines.any(|line| line.starts_with(&begins) && line.contains(text)),
            "{checked}"
        );
    }
    fleet.redis_command("CONFIG SET min-replicas-to-write 1");
    let (_, checked) = crate::check::check(&fleet, &[]);
    assert!(!checked.contains("min-replicas"), "{checked}");
}
