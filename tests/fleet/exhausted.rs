//! Memory or disks of others are used up: Redis evicts keys, Kafka's disk or the disk of scand's log is full. Nothing that was acknowledged is lost.

use crate::store::SmallDisk;
use crate::support::{Fleet, OwnPeer, Proof, SOON, is_kafka_4, wait_for, wait_until};
use crate::{Needs, Test};
use scan::model::State;
use serde_json::json;
use std::fs;
use std::time::Duration;

pub const TESTS: &[Test] = &[
    (
        "keys_that_redis_evicts_are_restored_and_nothing_is_lost",
        Needs::KafkaAndRedis,
        evicted,
    ),
    (
        "a_full_disk_of_kafka_loses_nothing_that_was_acknowledged",
        Needs::Lab,
        kafka_disk,
    ),
    ("a_full_disk_of_the_log_stops_no_scan", Needs::Lab, log_disk),
];

/// Tasks whose keys are evicted.
const TASKS: u32 = 15;
/// Scans whose lines fill a block of a file.
const SCANS_MAX: u32 = 10;
/// Times that Redis evicts.
const EVICTIONS: u32 = 4;
/// Bytes that Redis has too few each time.
const EVICTED_BYTES: u64 = 60_000;
/// Audits find lost keys every 10 s; a restored table is worked off after that.
const RESTORED_WITHIN: Duration = Duration::from_secs(90);

/// A number of INFO.
fn info(fleet: &Fleet, name: &str) -> u64 {
    let info: String = redis::cmd("INFO")
        .query(&mut fleet.redis_connection())
        .unwrap();
    let line = info.lines().find_map(|line| line.strip_prefix(name));
    let value = line.unwrap().trim_start_matches(':').trim();
    value.parse().unwrap()
}

fn evicted() {
    let mut fleet = Fleet::new("evicted").with_standin(&json!({}));
    fleet.lease_s = 5;
    let settings = [
        "--maxmemory-policy",
        "allkeys-lru",
        "--maxmemory-samples",
        "1",
    ];
    let _redis: OwnPeer = fleet.start_redis(&settings);
    let mut proof = Proof::default();
    let server = fleet.ready_scand("a", &["-slots", "1"]);
    proof.server(&server);
    server.wait_for_log("Redis may delete tasks when its memory is full (allkeys-lru)");
    let ids: Vec<String> = (0..TASKS)
        .map(|n| {
            let network = fleet.network(n);
            // The first one runs for a while, so that most of the others wait.
            let rate = if n == 0 { 30 } else { 400 };
            let id = fleet.push_network(&network, rate, &["-wait", "0"]);
            proof.pushed_network(&id, &network);
            id
        })
        .collect();
    wait_until("all to be ingested", SOON, || {
        ids.iter().all(|id| fleet.task(id).is_some())
    });
    let paused = ids.last().unwrap();
    assert!(fleet.scanpush(&["pause", paused]).status.success());
    for round in 0..EVICTIONS {
        let before = info(&fleet, "evicted_keys");
        let memory = info(&fleet, "used_memory:") - EVICTED_BYTES;
        fleet.redis_command(&format!("CONFIG SET maxmemory {memory}"));
        wait_until("keys to be evicted", SOON, || {
            info(&fleet, "evicted_keys") > before + 2
        });
        fleet.redis_command("CONFIG SET maxmemory 0");
        println!(
            "round {round}: {} keys evicted",
            info(&fleet, "evicted_keys") - before
        );
        wait_until("it to be noticed", RESTORED_WITHIN, || {
            let log = server.log();
            log.contains("Redis lost keys of")
                || log.contains("Redis went back in time")
                || log.contains("read again from Kafka")
        });
    }
    let state = |id: &str| fleet.task(id).map(|task| task.status);
    wait_until("all but the paused one to end", RESTORED_WITHIN, || {
        ids.iter()
            .all(|id| id == paused || state(id).is_none_or(State::is_terminal))
            && state(paused) == Some(State::Paused)
    });
    assert!(fleet.scanpush(&["resume", paused]).status.success());
    proof.check(&fleet, RESTORED_WITHIN);
}

fn kafka_disk() {
    let mut fleet = Fleet::new("kafka-full").with_standin(&json!({}));
    fleet.lease_s = 15;
    let disk = SmallDisk::mount_at(&fleet.folder.join("kafka/data"), "size=64m");
    let kafka = fleet.start_kafka(&[]);
    let server = fleet.ready_scand("a", &[]);
    let mut proof = Proof::default();
    proof.server(&server);
    let network = fleet.network(0);
    let id = fleet.push_network(&network, 40, &[]);
    proof.pushed_network(&id, &network);
    fleet.wait_progress(&id, 10.0);
    disk.fill();
    server.wait_for_log("cannot write findings, waiting");
    let log = server.log();
    let line = log
        .lines()
        .find(|line| line.contains("cannot write findings, waiting"));
    println!("{}", line.unwrap());
    // librdkafka sends again until the broker is gone.
    assert!(is_kafka_4() || line.unwrap().contains("disk"), "{log}");
    // Kafka ends by itself when its disk is full. It needs space before it is started again.
    let _ = kafka.0.kill();
    disk.free();
    kafka.0.restart().unwrap();
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!((ended.status, ended.attempt), (State::Completed, 1));
    proof.check(&fleet, SOON);
    for kind in ["tasks", "status", "results"] {
        let records = fleet.records(kind);
        let bytes: usize = records.iter().map(|record| record.to_string().len()).sum();
        println!(
            "{kind}: {} records of {} bytes",
            records.len(),
            bytes / records.len()
        );
    }
}

fn log_disk() {
    let fleet = Fleet::new("log-full").with_standin(&json!({}));
    let disk = SmallDisk::mount_at(&fleet.folder.join("log"), "size=64k");
    let file = disk.0.join("scand.log");
    let server = fleet.ready_scand("a", &["-log-file", file.to_str().unwrap()]);
    let mut proof = Proof::default();
    proof.server(&server);
    disk.fill();
    let scan = |proof: &mut Proof, n: u32| {
        let network = fleet.network(n);
        let id = fleet.push_network(&network, 1000, &[]);
        proof.pushed_network(&id, &network);
        assert_eq!(fleet.wait_ended(&id, SOON).status, State::Completed);
        id
    };
    let complaint = "scand.log cannot be written, lines are missing there: No space left";
    // The last block of the file has room for some lines.
    let mut scans = 0;
    while !server.log().contains(complaint) {
        assert!(scans < SCANS_MAX, "{}", server.log());
        scan(&mut proof, scans);
        scans += 1;
    }
    let first = scan(&mut proof, scans);
    // Standard error has what the file lacks.
    let log = server.log();
    assert!(log.contains(&format!("task {first}: completed")));
    assert_eq!(log.matches(complaint).count(), 1, "{log}");
    disk.free();
    let second = scan(&mut proof, scans + 1);
    wait_for("the file to be written again", SOON, || {
        let log = fs::read_to_string(&file).unwrap();
        log.contains(&format!("task {second}: completed"))
            .then_some(())
    });
    proof.check(&fleet, SOON);
}
