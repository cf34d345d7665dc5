//! scand's log: a flood of invalid records, long and hostile fields, and a log file that logrotate renames.

use crate::support::{Fleet, SOON, shared_kafka, wait_for, wait_until};
use crate::{Needs, Test};
use rustix::process::Signal;
use scan::model::State;
use serde_json::{Value, json};
use std::fs;

pub const TESTS: &[Test] = &[
    (
        "a_flood_of_tasks_that_no_server_may_run_delays_no_other_and_is_a_bounded_log",
        Needs::KafkaAndRedis,
        refused_flood,
    ),
    (
        "a_flood_of_invalid_records_is_a_bounded_log_and_one_count",
        Needs::KafkaAndRedis,
        flood,
    ),
    (
        "a_flood_of_one_id_is_a_bounded_log_and_one_count",
        Needs::KafkaAndRedis,
        duplicates,
    ),
    (
        "long_and_hostile_fields_are_short_and_visible_in_the_log",
        Needs::KafkaAndRedis,
        long_fields,
    ),
    (
        "a_renamed_log_file_is_opened_again",
        Needs::KafkaAndRedis,
        rotated,
    ),
];

/// Records in a flood.
const FLOOD: usize = 10_000;
/// More than scand reports of a flood: a burst of 100, and one more each 10 s.
const REPORTED_MAX: usize = 130;

fn valid(fleet: &Fleet, id: &str) -> Value {
    json!({"task_id": id, "ip_range": fleet.network(0), "ports": "443", "band_width": "800", "wait_s": 0})
}

/// The number in the only line that counts the records of a flood.
fn counted(log: &str, before: &str, after: &str) -> usize {
    let counts: Vec<usize> = log
        .lines()
        .filter_map(|line| {
            let (number, _) = line.split_once(before)?.1.split_once(after)?;
            number.parse().ok()
        })
        .collect();
    assert_eq!(counts.len(), 1, "{log}");
    counts[0]
}

fn flood() {
    let fleet = Fleet::new("flood").with_standin(&json!({}));
    let server = fleet.ready_scand("a", &[]);
    let invalid = |n: usize| {
        json!({"task_id": format!("bad-{n}"), "ip_range": "oops", "ports": "443", "band_width": "1"}).to_string()
    };
    let mut records: Vec<String> = (0..FLOOD).map(invalid).collect();
    records.push(valid(&fleet, "honest").to_string());
    fleet.push_raw(&records);
    assert_eq!(fleet.wait_ended("honest", SOON).status, State::Completed);
    server.wait_for_log("more records");

    let log = server.log();
    let rejected = log.matches(": rejected, partition 0").count();
    assert!((100..REPORTED_MAX).contains(&rejected), "{rejected}");
    let left_out = counted(&log, " poll: ", " more records were rejected");
    assert_eq!(rejected + left_out, FLOOD);
    assert!(log.contains("offset 9999: ip_range: \"oops\""), "{log}");
    assert!(log.len() < 64 * 1024, "{} bytes", log.len());

    fleet.wait_committed(shared_kafka());
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg(fleet.key("task:bad-*"))
        .query(&mut fleet.redis_connection())
        .unwrap();
    assert_eq!(keys.len(), rejected);
    let records = fleet.records("status");
    let reported = records
        .iter()
        .filter(|record| record["status"] == "rejected");
    assert_eq!(reported.count(), rejected);
}

fn refused_flood() {
    // Enough to delay the honest task for longer than `SOON` if claims skip the refused ones again and again.
    const REFUSED: usize = 3000;
    let fleet = Fleet::new("refused-flood").with_standin(&json!({}));
    let mut server = fleet.ready_scand("a", &[]);
    let id = |n: usize| format!("out-{n}");
    let mut records: Vec<String> = (0..REFUSED)
        .map(|n| {
            let mut task = valid(&fleet, &id(n));
            task["ip_range"] = "127.0.0.9".into();
            task["priority"] = 9.into();
            task.to_string()
        })
        .collect();
    records.push(valid(&fleet, "honest").to_string());
    fleet.push_raw(&records);
    assert_eq!(fleet.wait_ended("honest", SOON).status, State::Completed);
    // All of them were refused before, because their priority is higher, and none was rejected yet.
    assert_eq!(fleet.task(&id(0)).unwrap().status, State::Queued);
    let mut pipe = redis::pipe();
    pipe.del(fleet.key("departed"));
    for n in 0..REFUSED {
        pipe.hset(fleet.key(&format!("task:{}", id(n))), "refused_ms", 1);
    }
    pipe.exec(&mut fleet.redis_connection()).unwrap();
    fleet.push_raw(&[valid(&fleet, "later").to_string()]);
    assert_eq!(fleet.wait_ended("later", SOON).status, State::Completed);
    fleet.wait_committed(shared_kafka());
    let rejected = fleet
        .records("status")
        .iter()
        .filter(|record| record["status"] == "rejected")
        .count();
    assert_eq!(rejected, REFUSED, "every state change is on Kafka");
    server.signal(Signal::TERM);
    assert!(server.wait(SOON).success());
    let log = server.log();
    let lines = log.matches(" dispatch task out-").count();
    assert!((200..2 * REPORTED_MAX).contains(&lines), "{lines}\n{log}");
    let left_out: usize = log
        .lines()
        .filter_map(|line| {
            let (before, _) = line.split_once(" more task")?;
            before.rsplit(' ').next()?.parse::<usize>().ok()
        })
        .sum();
    assert_eq!(lines + left_out, 2 * REFUSED, "refused, then rejected");
    assert!(
        log.contains(
            "task out-0: refused by every server of the group; it will be rejected after 60 s"
        ),
        "{log}"
    );
    assert!(!log.contains("left to other servers"), "it has none");
}

fn duplicates() {
    let fleet = Fleet::new("same-id").with_standin(&json!({}));
    let server = fleet.ready_scand("a", &[]);
    let mut records = vec![valid(&fleet, "mine").to_string(); FLOOD];
    records.push(valid(&fleet, "honest").to_string());
    fleet.push_raw(&records);
    assert_eq!(fleet.wait_ended("honest", SOON).status, State::Completed);
    server.wait_for_log("more records");
    let log = server.log();
    let ignored = log.matches("task mine: pushed again").count();
    assert!((100..REPORTED_MAX).contains(&ignored), "{ignored}");
    let left_out = counted(&log, " poll: ", " more records were pushed again");
    assert_eq!(1 + ignored + left_out, FLOOD);
    assert!(log.len() < 64 * 1024, "{} bytes", log.len());
}

fn long_fields() {
    let fleet = Fleet::new("long").with_standin(&json!({}));
    let server = fleet.ready_scand("a", &[]);
    let addresses = |count: u32| {
        let list: Vec<String> = (0..count)
            .map(|n| std::net::Ipv4Addr::from(0xac10_0001 + 2 * n).to_string())
            .collect();
        list.join(",")
    };
    let (targets, exclude) = (addresses(4096), addresses(4095));
    let mut task = valid(&fleet, "long");
    task["ip_range"] = json!(targets);
    task["exclude"] = json!(exclude);
    let mut hostile = valid(&fleet, "hostile");
    hostile["ports"] = json!(format!("80\u{202e}\u{200b}{}", "x".repeat(77_000)));
    fleet.push_raw(&[task.to_string(), hostile.to_string()]);
    let ended = fleet.wait_ended("long", SOON);
    assert!(ended.status.is_terminal(), "{ended:?}");
    server.wait_for_log("task hostile: rejected");
    let log = server.log();
    assert!(
        log.contains(&format!("… ({} bytes)", targets.len())),
        "{log}"
    );
    assert!(log.contains("80\\u{202e}\\u{200b}xxx"), "{log}");
    assert!(log.contains("… (77008 bytes)"), "{log}");
    assert!(!log.contains(['\u{202e}', '\u{200b}']));
    let longest = log.lines().map(str::len).max().unwrap();
    assert!(
        log.len() < 16 * 1024 && longest < 2048,
        "{longest} of {}",
        log.len()
    );
}

fn rotated() {
    let fleet = Fleet::new("rotated").with_standin(&json!({}));
    let (file, renamed) = (
        fleet.folder.join("file.log"),
        fleet.folder.join("file.log.1"),
    );
    let server = fleet.ready_scand("a", &["-log-file", file.to_str().unwrap()]);
    fs::rename(&file, &renamed).unwrap();
    fleet.push_raw(&[valid(&fleet, "before").to_string()]);
    assert_eq!(fleet.wait_ended("before", SOON).status, State::Completed);
    assert!(
        !file.exists(),
        "without a signal it writes to the renamed file"
    );

    server.signal(Signal::HUP);
    let opened = || fs::read_to_string(&file).unwrap_or_default();
    wait_until("a new log file", SOON, || opened().contains("SIGHUP:"));
    assert!(
        opened().contains("the log file was opened again"),
        "{}",
        opened()
    );
    fleet.push_raw(&[valid(&fleet, "after").to_string()]);
    assert_eq!(fleet.wait_ended("after", SOON).status, State::Completed);
    wait_for("the end of the task in the new file", SOON, || {
        opened().contains("task after: completed").then_some(())
    });
    let old = fs::read_to_string(&renamed).unwrap();
    assert!(old.contains("task before: completed") && !old.contains("task after"));

    // What cannot be opened does not stop the log.
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    server.signal(Signal::HUP);
    server.wait_for_log("the log goes on in the file that is open: -log-file:");
}
