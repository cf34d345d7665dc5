//! Three brokers, each partition on all of them, two of which must have a record before it is acknowledged: brokers are killed, frozen, restarted,
//! or lose their disk. Nothing is lost, and no probe is sent twice.

use crate::support::{
    Fleet, Proof, Rack, SESSION_WAIT, SOON, Scand, new_network, wait_for, wait_until,
};
use crate::{Needs, Test};
use rustix::process::Signal;
use scan::model::State;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

pub const TESTS: &[Test] = &[
    (
        "each_broker_of_three_is_killed_in_turn",
        Needs::KafkaAndRedis,
        killed_in_turn,
    ),
    (
        "a_broker_of_three_returns_with_an_empty_disk",
        Needs::KafkaAndRedis,
        empty_disk,
    ),
    (
        "a_rack_of_three_brokers_is_restarted_one_by_one",
        Needs::KafkaAndRedis,
        rolling_restart,
    ),
    (
        "a_broker_of_three_is_unreachable_from_the_start",
        Needs::KafkaAndRedis,
        unreachable_from_the_start,
    ),
    (
        "the_leader_of_three_brokers_freezes",
        Needs::KafkaAndRedis,
        frozen_leader,
    ),
    (
        "a_push_fails_in_time_without_two_of_three_brokers",
        Needs::KafkaAndRedis,
        without_a_majority,
    ),
    (
        "scans_go_on_while_the_coordinator_of_the_group_is_frozen",
        Needs::KafkaAndRedis,
        frozen_coordinator,
    ),
    (
        "memory_is_bounded_while_kafka_takes_no_findings",
        Needs::KafkaAndRedis,
        bounded_memory,
    ),
];

/// Longest time in which a task that is pushed right after a fault has to end: the leader's session, an election, and with the kafka crate one or two
/// requests to a frozen broker that are given up after 10 s each. The rest is for
/// a busy machine.
const GAP_MAX: Duration = Duration::from_secs(60);

/// A rack with two servers and a task on each that lasts for the whole test.
struct Case {
    fleet: Fleet,
    rack: Rack,
    servers: Vec<Scand>,
    proof: Proof,
    ids: Vec<String>,
}

impl Case {
    /// `probes_per_s` of a /24: 5 are 51 s.
    fn start(name: &str, probes_per_s: u32) -> Case {
        let mut case = Case::with_rack(name);
        case.start_servers();
        for _ in 0..2 {
            let id = case.push(probes_per_s);
            case.fleet.wait_progress(&id, 1.0);
        }
        case.rack.wait_in_sync();
        case
    }

    fn with_rack(name: &str) -> Case {
        let mut fleet = Fleet::new(name).with_standin(&json!({}));
        // A machine that is busy with three brokers may be late with a renewal.
        fleet.lease_s = 15;
        let rack = fleet.start_rack(&[]);
        fleet.create_topics(&rack);
        Case {
            fleet,
            rack,
            servers: Vec::new(),
            proof: Proof::default(),
            ids: Vec::new(),
        }
    }

    fn start_servers(&mut self) {
        for name in ["a", "b"] {
            let server = self.fleet.ready_scand(name, &[]);
            self.proof.server(&server);
            self.servers.push(server);
        }
    }

    /// Pushes the next /24.
    fn push(&mut self, probes_per_s: u32) -> String {
        let network = self.fleet.network(self.ids.len() as u32);
        let id = self.fleet.push_network(&network, probes_per_s, &[]);
        self.proof.pushed_network(&id, &network);
        self.ids.push(id.clone());
        id
    }

    /// Pushes a small task right after a fault and waits until it has ended. Prints how long both took.
    fn push_after(&mut self, fault: &str) {
        let from = Instant::now();
        let id = self.push(2000);
        let pushed = from.elapsed();
        let ended = self.fleet.wait_ended(&id, GAP_MAX);
        let took = from.elapsed();
        eprintln!("{fault}: push acknowledged after {pushed:.1?}, task ended after {took:.1?}");
        assert_eq!(ended.status, State::Completed);
    }

    /// Every task has ended with everything found in its first attempt, by one masscan that began with the first probe.
    fn check(&self) {
        self.proof.check(&self.fleet, SOON);
        for id in &self.ids {
            let ended = self.fleet.task(id).unwrap();
            assert_eq!((ended.status, ended.attempt), (State::Completed, 1), "{id}");
        }
        let events = self.fleet.standin_events();
        let starts = events.iter().filter(|event| event["event"] == "start");
        let mut seeds = BTreeSet::new();
        for start in starts {
            assert!(
                seeds.insert(start["seed"].as_u64()),
                "scanned twice: {start}"
            );
            assert_eq!(start["resume_index"], 0);
        }
        for server in &self.servers {
            for line in server
                .log()
                .lines()
                .filter(|line| line.contains(" again after "))
            {
                eprintln!("{}: {line}", server.name);
            }
        }
    }
}

fn killed_in_turn() {
    let mut case = Case::start("in-turn", 4);
    for number in Rack::numbers() {
        case.rack.broker(number).kill().unwrap();
        case.push_after(&format!("broker {number} killed"));
        case.rack.broker(number).restart().unwrap();
        case.rack.wait_in_sync();
    }
    case.check();
}

/// The records of the lost disk come back from the other two brokers: then each of those is killed.
fn empty_disk() {
    let mut case = Case::start("empty-disk", 5);
    case.rack.broker(2).kill().unwrap();
    case.rack.empty_disk(2);
    case.push_after("broker 2 killed");
    case.rack.broker(2).restart().unwrap();
    case.rack.wait_in_sync();
    case.push_after("broker 2 returned with an empty disk");
    case.rack.broker(1).kill().unwrap();
    case.push_after("broker 1 killed");
    case.check();
}

fn rolling_restart() {
    let mut case = Case::start("rolling", 6);
    for number in Rack::numbers() {
        case.rack.broker(number).stop().unwrap();
        case.push_after(&format!("broker {number} stopped"));
        case.rack.broker(number).restart().unwrap();
        case.rack.wait_in_sync();
    }
    case.check();
}

/// The first address in the list refuses connections, and is still the leader of partitions when the servers start.
fn unreachable_from_the_start() {
    let mut case = Case::with_rack("unreachable");
    case.rack.broker(1).kill().unwrap();
    case.start_servers();
    case.push_after("broker 1 dead from the start");
    case.check();
}

/// The leader of a partition of findings does not answer, with all its connections open, until others are elected.
fn frozen_leader() {
    let mut case = Case::start("frozen-leader", 5);
    let topic = case.fleet.topic("results");
    let leader = wait_for("a leader", SOON, || case.rack.leader(&topic, 0));
    case.rack.broker(leader).signal(Signal::STOP).unwrap();
    case.push_after(&format!("broker {leader} frozen"));
    let elected = || case.rack.leader(&topic, 0).filter(|&new| new != leader);
    wait_for("another leader", SESSION_WAIT * 5, elected);
    case.rack.broker(leader).signal(Signal::CONT).unwrap();
    case.push_after(&format!("broker {leader} thawed"));
    case.rack.wait_in_sync();
    case.check();
}

/// Longest time of a push that fails: it waits for leaders (20 s) and for the acknowledgement (30 s). The rest is for a busy machine.
const FAILED_PUSH_MAX: Duration = Duration::from_secs(65);

/// Nothing is acknowledged, and running scans wait until the other brokers are back.
fn without_a_majority() {
    let mut case = Case::start("minority", 4);
    for number in [1, 2] {
        case.rack.broker(number).kill().unwrap();
    }
    case.proof.pushed_without_acknowledgement("unacknowledged");
    let from = Instant::now();
    let network = case.fleet.network(15);
    let words = ["-ip", &network, "-ports", "443", "-id", "unacknowledged"];
    let output = case.fleet.scanpush(&words);
    let took = from.elapsed();
    let stderr = String::from_utf8_lossy(&output.stderr);
    eprintln!("the push failed after {took:.1?}: {stderr}");
    assert!(
        !output.status.success() && output.stdout.is_empty(),
        "{output:?}"
    );
    assert!(took < FAILED_PUSH_MAX);
    for number in [1, 2] {
        case.rack.broker(number).restart().unwrap();
    }
    case.push_after("brokers 1 and 2 returned");
    case.rack.wait_in_sync();
    case.check();
}

/// How long the coordinator is frozen: several times the wait for one commit (10 s).
const COORDINATOR_FROZEN: Duration = Duration::from_secs(45);
/// Threads that may be added meanwhile. The kafka crate leaves one behind with each commit that it gives up after 10 s, until its sockets time out
/// after 120 s; a first contact takes one for each broker.
const ADDED_THREADS_MAX: usize = 20;
/// A drain takes at most 10 s; the rest is for a busy machine.
const DRAIN_WITHIN: Duration = Duration::from_secs(15);

/// The broker with the group's offsets leads nothing else. It is frozen for longer than the controller takes to notice, which is never.
fn frozen_coordinator() {
    let mut fleet = Fleet::new("coordinator").with_standin(&json!({}));
    fleet.lease_s = 15;
    let kafka = fleet.start_kafka(&["broker.session.timeout.ms=600000"]);
    let other = fleet.join_kafka(&kafka, &[]);
    let create = |topic: &str, broker: &str| {
        let words = ["--create", "--topic", topic, "--replica-assignment", broker];
        let more = ["--config", "cleanup.policy=compact"];
        let more: &[&str] = if topic.starts_with("__") { &more } else { &[] };
        kafka.0.tool("topic", &[&words, more].concat()).unwrap();
    };
    create("__consumer_offsets", &other.0.port.to_string());
    for kind in ["tasks", "results", "status"] {
        create(&fleet.topic(kind), "1");
    }
    let mut proof = Proof::default();
    let mut server = fleet.ready_scand("a", &[]);
    proof.server(&server);
    let mut pushed = 0;
    let mut push = |proof: &mut Proof| {
        let network = fleet.network(pushed);
        pushed += 1;
        let id = fleet.push_network(&network, 2000, &["-wait", "0"]);
        proof.pushed_network(&id, &network);
        let from = Instant::now();
        assert_eq!(fleet.wait_ended(&id, SOON).status, State::Completed);
        from.elapsed()
    };
    push(&mut proof);
    proof.check(&fleet, SOON);
    let before = threads(&server);
    other.0.signal(Signal::STOP).unwrap();
    let (from, mut most, mut longest) = (Instant::now(), before, Duration::ZERO);
    let mut next_push = from;
    wait_until(
        "the coordinator to have been frozen for long",
        SOON * 2,
        || {
            if Instant::now() >= next_push {
                longest = longest.max(push(&mut proof));
                next_push = Instant::now() + Duration::from_secs(3);
            }
            most = most.max(threads(&server));
            from.elapsed() >= COORDINATOR_FROZEN
        },
    );
    eprintln!("threads: {before} before, {most} at most; a task took {longest:.1?} at most");
    assert!(
        most <= before + ADDED_THREADS_MAX,
        "{before} to {most} threads"
    );
    server.wait_for_log("cannot commit the group's offsets, waiting");
    let from = Instant::now();
    server.signal(Signal::TERM);
    server.wait(DRAIN_WITHIN);
    eprintln!("the server ended {:.1?} after SIGTERM", from.elapsed());
    other.0.signal(Signal::CONT).unwrap();
    let server = fleet.ready_scand("b", &[]);
    proof.server(&server);
    proof.check(&fleet, SOON);
}

/// The number of threads of a server.
fn threads(server: &Scand) -> usize {
    let tasks = format!("/proc/{}/task", server.child.id());
    std::fs::read_dir(tasks).unwrap().count()
}

/// `-buffer` of the server, in MiB.
const BUFFER_MIB: u64 = 8;
/// What the producers of librdkafka hold at most (`PRODUCER_QUEUE_KIB`), in MiB. The other client holds one request.
const PRODUCER_QUEUE_MIB: u64 = 16;
/// For messages of four scans that are being read and packed, and what the allocator keeps, in MiB.
const SLACK_MIB: u64 = 24;

/// Four scans with 20 000 findings a second each: 15 MiB a second.
fn bounded_memory() {
    const SCANS: usize = 4;
    const FROZEN: Duration = Duration::from_secs(40);
    let mut fleet = Fleet::new("memory").with_standin(&json!({}));
    fleet.lease_s = 15;
    let kafka = fleet.start_kafka(&[]);
    let buffer = BUFFER_MIB.to_string();
    let words = ["-buffer", &buffer, "-slots", &SCANS.to_string()];
    let server = fleet.ready_scand("a", &words);
    let before = memory_mib(&server, "VmRSS");
    let range = new_network(20);
    let ids: Vec<String> = (0..SCANS)
        .flat_map(|_| {
            let words = ["-ip", &range, "-ports", "1-1000", "-bandwidth", "20000"];
            fleet.push(&[&words[..], &["-yes"]].concat())
        })
        .collect();
    for id in &ids {
        wait_for("findings", SOON, || {
            fleet.task(id).filter(|task| task.found > 0)
        });
    }
    let running = memory_mib(&server, "VmHWM");
    kafka.0.signal(Signal::STOP).unwrap();
    let from = Instant::now();
    server.wait_for_log("Kafka accepts findings too slowly and the buffer is full");
    wait_until("what the producers do about it", SOON, || {
        from.elapsed() >= FROZEN
    });
    let most = memory_mib(&server, "VmHWM");
    eprintln!("memory in MiB: {before} before, {running} while scanning, {most} at most");
    assert!(most <= before + BUFFER_MIB + PRODUCER_QUEUE_MIB + SLACK_MIB);
    kafka.0.signal(Signal::CONT).unwrap();
    for id in &ids {
        fleet.scanpush(&["cancel", id]);
        assert_eq!(fleet.wait_ended(id, SOON).status, State::Cancelled);
    }
}

/// A value of the server's process status, in MiB.
pub fn memory_mib(server: &Scand, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1024
}
