//! A failover of Redis that loses the last writes: the replica becomes the primary while its replication is stopped, then the servers are moved
//! to it.

use crate::support::{Fleet, Proof, ReplicatedRedis, SOON, Scand, now_ms, wait_for, wait_until};
use crate::{Needs, Test};
use rustix::process::Signal;
use scan::model::State;
use serde_json::json;
use std::thread;
use std::time::{Duration, Instant};

pub const TESTS: &[Test] = &[
    (
        "a_task_whose_end_a_failover_lost_is_not_scanned_again",
        Needs::KafkaAndRedis,
        lost_end,
    ),
    (
        "a_scan_whose_claim_a_failover_lost_goes_on",
        Needs::KafkaAndRedis,
        lost_claim,
    ),
    (
        "a_task_that_is_claimed_twice_after_a_failover_ends_once",
        Needs::KafkaAndRedis,
        claimed_twice,
    ),
    (
        "a_cancel_that_a_failover_lost_stays_in_force",
        Needs::KafkaAndRedis,
        lost_cancel,
    ),
    (
        "a_cancel_that_a_failover_lost_before_it_was_in_force_is_repeated",
        Needs::KafkaAndRedis,
        lost_order,
    ),
    (
        "tasks_whose_ingestion_a_failover_lost_run_once",
        Needs::KafkaAndRedis,
        lost_ingest,
    ),
    (
        "decisions_wait_for_a_replica_but_not_for_one_that_does_not_answer",
        Needs::KafkaAndRedis,
        waits_for_a_replica,
    ),
];

const LEASE_S: u32 = 10;

/// What every test has.
struct Setup {
    fleet: Fleet,
    redis: ReplicatedRedis,
    proof: Proof,
}

impl Setup {
    fn new(name: &str, lease_s: u32) -> Setup {
        let mut fleet = Fleet::new(name).with_standin(&json!({}));
        fleet.lease_s = lease_s;
        let redis = ReplicatedRedis::start(&mut fleet);
        Setup {
            fleet,
            redis,
            proof: Proof::default(),
        }
    }

    fn server(&mut self, name: &str) -> Scand {
        let server = self.fleet.ready_scand(name, &["-slots", "1"]);
        self.proof.server(&server);
        server
    }

    /// Pushes the `n`-th network.
    fn push(&mut self, n: u32, rate: u32) -> String {
        let network = self.fleet.network(n);
        let id = self.fleet.push_network(&network, rate, &[]);
        self.proof.pushed_network(&id, &network);
        id
    }

    fn wait_running(&self, id: &str) {
        wait_for("it to run", SOON, || {
            let task = self.fleet.task(id);
            task.filter(|task| task.status == State::Running)
        });
    }

    /// Waits for the end of all tasks, and checks that each has exactly one terminal record, and that the fences of its claims increase.
    fn check(&self, ids: &[&str]) {
        self.proof.check(&self.fleet, SOON);
        for id in ids {
            let records = self.fleet.status_records(id);
            let is_terminal = |status: &str| status.parse::<State>().unwrap().is_terminal();
            let ends = records
                .iter()
                .filter(|record| is_terminal(record["status"].as_str().unwrap()));
            assert_eq!(ends.count(), 1, "{id}: {records:#?}");
            let fences: Vec<u64> = records
                .iter()
                .filter(|record| record["status"] == "running")
                .map(|record| record["fence"].as_u64().unwrap())
                .collect();
            assert!(fences.is_sorted_by(|a, b| a < b), "{id}: {fences:?}");
        }
    }
}

/// The lease in the replica has expired when the servers are moved to it, so that any server could take the task.
fn lost_end() {
    let mut setup = Setup::new("lost-end", 3);
    let servers = [setup.server("a"), setup.server("b")];
    let ended = setup.push(0, 200);
    setup.wait_running(&ended);
    setup.redis.promote();
    assert_eq!(
        setup.fleet.wait_ended(&ended, SOON).status,
        State::Completed
    );
    thread::sleep(Duration::from_secs(4));
    setup.redis.switch();
    wait_until("the loss to be noticed", SOON, || {
        let noticed = |server: &Scand| server.log().contains("Redis went back in time");
        servers.iter().any(noticed)
    });
    let after = setup.push(1, 1000);
    assert_eq!(
        setup.fleet.wait_ended(&after, SOON).status,
        State::Completed
    );
    setup.check(&[&ended, &after]);
    assert_eq!(setup.fleet.standin_starts(), 2);
}

/// The claim, and the end of the task before it.
fn lost_claim() {
    let mut setup = Setup::new("lost-claim", LEASE_S);
    let server = setup.server("a");
    let first = setup.push(0, 100);
    setup.wait_running(&first);
    let second = setup.push(1, 40);
    wait_until("it to be queued", SOON, || {
        setup.fleet.task(&second).is_some()
    });
    setup.redis.promote();
    setup.fleet.wait_progress(&second, 10.0);
    setup.redis.switch();
    server.wait_for_log("Redis went back in time");
    let task = setup.fleet.wait_ended(&second, SOON);
    assert_eq!((task.status, task.attempt), (State::Completed, 1));
    setup.check(&[&first, &second]);
    assert_eq!(setup.fleet.standin_starts(), 2, "{}", server.log());
}

/// The server that lost its claim is frozen at the moment of the failover, so that another one claims the task first.
fn claimed_twice() {
    let mut setup = Setup::new("claimed-twice", LEASE_S);
    let first_server = setup.server("a");
    let first = setup.push(0, 100);
    setup.wait_running(&first);
    let second = setup.push(1, 20);
    wait_until("it to be queued", SOON, || {
        setup.fleet.task(&second).is_some()
    });
    setup.redis.promote();
    setup.fleet.wait_progress(&second, 5.0);
    let frozen_ms = now_ms();
    first_server.signal(Signal::STOP);
    setup.redis.switch();
    let other_server = setup.server("b");
    wait_until("the other server to run it", SOON, || {
        setup.fleet.standin_starts() == 3
    });
    first_server.signal(Signal::CONT);
    let thawed_ms = now_ms();
    first_server.wait_for_log("Redis went back in time");
    let task = setup.fleet.wait_ended(&second, SOON);
    assert_eq!(task.status, State::Completed);
    assert_eq!(task.server.as_deref(), Some("b"), "{}", other_server.log());
    // It may trust its claim for one lease, and no longer.
    let trusted_ms = thawed_ms + u64::from(LEASE_S) * 1000;
    setup.proof.froze("a", frozen_ms, trusted_ms);
    setup.check(&[&first, &second]);
    assert_eq!(setup.fleet.standin_starts(), 3);
}

fn lost_cancel() {
    let mut setup = Setup::new("lost-cancel", LEASE_S);
    let server = setup.server("a");
    let running = setup.push(0, 20);
    setup.fleet.wait_progress(&running, 1.0);
    let queued = setup.push(1, 20);
    wait_until("it to be queued", SOON, || {
        setup.fleet.task(&queued).is_some()
    });
    setup.redis.promote();
    let output = setup.fleet.scanpush(&["cancel", &running, &queued]);
    assert!(output.status.success(), "{output:?}");
    setup.redis.switch();
    server.wait_for_log("Redis went back in time");
    let after = setup.push(2, 1000);
    assert_eq!(
        setup.fleet.wait_ended(&after, SOON).status,
        State::Completed
    );
    setup.check(&[&running, &queued, &after]);
    assert_eq!(setup.fleet.standin_starts(), 2, "{}", server.log());
}

/// The order is lost before the server reads it.
fn lost_order() {
    let mut setup = Setup::new("lost-order", LEASE_S);
    let server = setup.server("a");
    let id = setup.push(0, 20);
    setup.fleet.wait_progress(&id, 1.0);
    server.signal(Signal::STOP);
    setup.redis.promote();
    let cancel = setup.fleet.start_scanpush(&["cancel", &id]);
    wait_until("the order", SOON, || {
        setup.fleet.task(&id).unwrap().order.is_some()
    });
    setup.redis.switch();
    assert_eq!(setup.fleet.task(&id).unwrap().order, None, "it is lost");
    server.signal(Signal::CONT);
    let output = cancel.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    setup.check(&[&id]);
    assert_eq!(setup.fleet.standin_starts(), 1, "{}", server.log());
}

/// One task has ended by then, the other one is running. The replica has a cursor, so it looks as if they were new.
fn lost_ingest() {
    let mut setup = Setup::new("lost-ingest", LEASE_S);
    let server = setup.server("a");
    let before = setup.push(0, 1000);
    setup.fleet.wait_ended(&before, SOON);
    setup.redis.promote();
    let ended = setup.push(1, 500);
    assert_eq!(
        setup.fleet.wait_ended(&ended, SOON).status,
        State::Completed
    );
    let running = setup.push(2, 40);
    setup.fleet.wait_progress(&running, 10.0);
    setup.redis.switch();
    server.wait_for_log("Redis went back in time");
    let task = setup.fleet.wait_ended(&running, SOON);
    assert_eq!((task.status, task.attempt), (State::Completed, 1));
    setup.check(&[&before, &ended, &running]);
    assert_eq!(setup.fleet.standin_starts(), 3, "{}", server.log());
}

fn waits_for_a_replica() {
    const WARNING: &str = "no replica of Redis had a decision";
    let mut setup = Setup::new("replica", LEASE_S);
    let server = setup.server("a");
    let first = setup.push(0, 1000);
    setup.fleet.wait_ended(&first, SOON);
    let waits = setup.redis.waits();
    assert!(waits >= 2, "{waits}: for the decision and the end");
    assert!(!server.log().contains(WARNING), "{}", server.log());

    setup.redis.replica.0.signal(Signal::STOP).unwrap();
    let ids: Vec<String> = (1..4).map(|n| setup.push(n, 10_000)).collect();
    let began = Instant::now();
    for id in &ids {
        assert_eq!(setup.fleet.wait_ended(id, SOON).status, State::Completed);
    }
    println!("three tasks took {:?}", began.elapsed());
    assert_eq!(server.log().matches(WARNING).count(), 1, "{}", server.log());
    assert_eq!(setup.redis.waits(), waits + 1, "then there is a pause");
    let mut all: Vec<&str> = ids.iter().map(String::as_str).collect();
    all.push(&first);
    setup.check(&all);
}
