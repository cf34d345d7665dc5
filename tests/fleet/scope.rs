//! A server's scope: tasks are scanned without what is excluded, left to other servers, or rejected; the scope can change while a scan runs.

use crate::support::{Fleet, SOON, addresses, wait_until};
use crate::{Needs, Test};
use rustix::process::Signal;
use scan::model::State;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

pub const TESTS: &[Test] = &[
    (
        "a_target_that_contains_an_excluded_network_is_scanned_without_it",
        Needs::Lab,
        excluded_part,
    ),
    (
        "a_task_out_of_a_servers_scope_goes_to_another_server",
        Needs::KafkaAndRedis,
        left_to_others,
    ),
    (
        "a_task_that_no_server_may_scan_is_rejected",
        Needs::KafkaAndRedis,
        rejected,
    ),
    (
        "a_task_waits_for_the_only_server_that_may_scan_it_to_come_back",
        Needs::KafkaAndRedis,
        comes_back,
    ),
    (
        "a_running_scan_restarts_without_a_newly_excluded_network",
        Needs::KafkaAndRedis,
        reloaded,
    ),
    (
        "a_scope_file_that_became_a_fifo_delays_no_signal",
        Needs::KafkaAndRedis,
        fifo,
    ),
    (
        "findings_outside_the_task_are_dropped_and_counted",
        Needs::KafkaAndRedis,
        outside,
    ),
    (
        "an_ipv4_exclusion_applies_to_ipv4_mapped_targets",
        Needs::Lab,
        mapped,
    ),
    (
        "a_long_list_of_exclusions_reaches_masscan_as_a_file",
        Needs::Lab,
        long_list,
    ),
    (
        "a_server_does_not_start_with_an_invalid_exclusion_file",
        Needs::KafkaAndRedis,
        bad_file,
    ),
];

/// The addresses of a /24 without those whose last number is in `excluded`.
fn without(network: &str, excluded: std::ops::Range<u32>) -> BTreeSet<(String, u64)> {
    let prefix = network.strip_suffix("0/24").unwrap();
    let excluded: BTreeSet<_> = excluded.map(|n| (format!("{prefix}{n}"), 443)).collect();
    &addresses(network, 443) - &excluded
}

fn excluded_part() {
    let fleet = Fleet::new("excluded-part");
    let network = fleet.network(0);
    let file = fleet.folder.join("exclude.conf");
    let first = network.replace("0/24", "0/26");
    fs::write(&file, format!("# not ours\n{first}  # the first quarter\n")).unwrap();
    let allow = network.replace("0/24", "0/25");
    let words = ["-excludefile", file.to_str().unwrap(), "-allow", &allow];
    let server = fleet.ready_scand("a", &words);
    let id = fleet.push_network(&network, 2000, &[]);
    let task = fleet.wait_ended(&id, SOON);
    assert_eq!((task.status, task.found), (State::Completed, 64));
    // The second quarter: the first is excluded, the second half is not allowed.
    let expected = &without(&network, 0..64) - &without(&network, 0..128);
    assert_eq!(fleet.findings(&id), expected);
    server
        .wait_for_log("not scanned, because this server may not: 192 of the task's 256 addresses");
}

fn left_to_others() {
    let fleet = Fleet::new("left").with_standin(&json!({}));
    let (ours, others) = (fleet.network(0), fleet.network(1));
    let a = fleet.ready_scand("a", &["-exclude", &others, "-slots", "1"]);
    let _b = fleet.ready_scand("b", &["-slots", "1"]);
    // b is busy for a long time. Many tasks that only b may run are queued before one that a may run.
    let long = fleet.push_network(&others, 10, &["-priority", "9"]);
    fleet.wait_progress(&long, 0.0);
    let many: Vec<String> = (0..600)
        .map(|n| {
            json!({"task_id": format!("t{n}"), "ip_range": others.replace("0/24", &(n % 256).to_string()), "ports": "443",
                   "band_width": "1000", "wait_s": 0, "priority": 6, "attempts": 1}).to_string()
        })
        .collect();
    fleet.push_raw(&many);
    let behind = fleet.push_network(&ours, 2000, &[]);
    let task = fleet.wait_ended(&behind, SOON);
    assert_eq!(task.server.as_deref(), Some("a"));
    let refused_by = fleet.task_field("t599", "refused_by").unwrap();
    assert!(refused_by.starts_with("a="), "{refused_by}");
    let waits = fleet.task("t599").unwrap();
    assert_eq!(
        (waits.status, waits.attempt),
        (State::Queued, 0),
        "{waits:?}"
    );
    let done = fleet.wait_ended("t0", SOON);
    assert_eq!(
        (done.status, done.server.as_deref(), done.attempt),
        (State::Completed, Some("b"), 1)
    );
    a.wait_for_log("task t0: left to other servers: all of");
    assert_eq!(a.log().matches("task t0: left to other").count(), 1, "once");
}

fn rejected() {
    let fleet = Fleet::new("rejected").with_standin(&json!({}));
    let network = fleet.network(0);
    let _servers = [
        fleet.ready_scand("a", &["-exclude", "172.16.0.0/12"]),
        fleet.ready_scand("b", &["-allow", "10.0.0.0/8"]),
    ];
    let id = fleet.push_network(&network, 2000, &[]);
    fleet.wait_refused_by_all(&id);
    let task = fleet.wait_ended(&id, SOON);
    assert_eq!(task.status, State::Rejected);
    let error = task.error.unwrap();
    assert!(
        error.starts_with("no server of the group may run it; on "),
        "{error}"
    );
    assert!(error.contains(&network), "{error}");
    let records: Vec<Value> = fleet.status_records(&id);
    assert_eq!(records.last().unwrap()["status"], "rejected");
    assert!(fleet.standin_events().is_empty(), "nothing was started");
    fleet.wait_committed(crate::support::shared_kafka());
}

fn comes_back() {
    let fleet = Fleet::new("comes-back").with_standin(&json!({}));
    let network = fleet.network(0);
    let other = fleet.ready_scand("other", &["-exclude", &network]);
    let mut able = fleet.ready_scand("able", &["-slots", "1"]);
    let running = fleet.push_network(&network, 10, &["-priority", "9"]);
    fleet.wait_progress(&running, 0.0);
    let queued = fleet.push_network(&network, 2000, &[]);
    other.wait_for_log(&format!("task {queued}: left to other servers"));
    // A refusal by all servers is dropped when a server has not refused the task.
    fleet.age_refusal(&queued);
    wait_until("the refusal to be dropped", SOON, || {
        fleet.task_field(&queued, "refused_ms").is_none()
    });
    able.signal(Signal::TERM);
    assert!(able.wait(SOON).success());
    for id in [&running, &queued] {
        wait_until("the remaining server to refuse the task", SOON, || {
            fleet.task_field(id, "refused_ms").is_some()
        });
        assert_eq!(fleet.task(id).unwrap().status, State::Queued, "{id}");
    }
    let _able = fleet.ready_scand("able", &["-slots", "1"]);
    for id in [&running, &queued] {
        let task = fleet.wait_ended(id, SOON);
        assert_eq!(task.status, State::Completed, "{task:?}");
        assert!(
            fleet
                .status_records(id)
                .iter()
                .all(|record| record["status"] != "rejected")
        );
    }
}

fn fifo() {
    let fleet = Fleet::new("scope-fifo").with_standin(&json!({}));
    let file = fleet.folder.join("exclude.conf");
    fs::write(&file, "192.0.2.0/24\n").unwrap();
    let mut server = fleet.ready_scand("a", &["-excludefile", file.to_str().unwrap()]);
    fs::remove_file(&file).unwrap();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, &file, mode).unwrap();
    server.signal(Signal::HUP);
    server.wait_for_log("SIGHUP: the old scope stays in force");
    let log = server.log();
    assert!(log.contains("exclude.conf is not a regular file"), "{log}");
    let from = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(server.wait(SOON).code(), Some(0), "{}", server.log());
    assert!(
        from.elapsed() < Duration::from_secs(5),
        "{:?}",
        from.elapsed()
    );
    // At the start it is an error.
    let mut refused = fleet.scand("b", &["-excludefile", file.to_str().unwrap()]);
    assert_eq!(refused.wait(SOON).code(), Some(2), "{}", refused.log());
}

fn reloaded() {
    let fleet = Fleet::new("reloaded").with_standin(&json!({}));
    let network = fleet.network(0);
    let file = fleet.folder.join("exclude.conf");
    fs::write(&file, "192.0.2.0/24\n").unwrap();
    let server = fleet.ready_scand("a", &["-excludefile", file.to_str().unwrap()]);
    let id = fleet.push_network(&network, 40, &[]);
    let running = fleet.wait_progress(&id, 20.0);
    fs::write(&file, "oops\n").unwrap();
    server.signal(Signal::HUP);
    server.wait_for_log("SIGHUP: the old scope stays in force");
    assert!(server.log().contains("exclude.conf:1: \"oops\" is not"));
    fs::write(&file, "198.51.100.0/24\n").unwrap();
    server.signal(Signal::HUP);
    server.wait_for_log("SIGHUP: new scope: 256 addresses in 1 range are excluded");
    let excluded = network.replace("0/24", "128/25");
    fs::write(&file, format!("{excluded}\n")).unwrap();
    server.signal(Signal::HUP);
    server.wait_for_log("starts again without them");
    let task = fleet.wait_ended(&id, SOON);
    assert_eq!(
        (task.status, task.attempt),
        (State::Completed, 1),
        "no attempt is used up: {task:?}"
    );
    assert!(task.started_ms > running.started_ms);
    let again = format!("--exclude {excluded}");
    assert!(server.log().contains(&again), "{}", server.log());
    assert_eq!(server.log().matches("-oD - --range").count(), 2);
    let allowed = without(&network, 128..256);
    assert!(fleet.findings(&id).is_superset(&allowed));
}

fn long_list() {
    let fleet = Fleet::new("long-list");
    let network = fleet.network(0);
    let second: u32 = network.split('.').nth(1).unwrap().parse().unwrap();
    // Every odd address of a /16. The first task has only a /24 of it, so the exclusions that apply to it are few.
    let odd: String = (0..32_768u32)
        .map(|n| format!("172.{second}.{}.{}\n", n / 128, n % 128 * 2 + 1))
        .collect();
    let file = fleet.folder.join("exclude.conf");
    fs::write(&file, odd).unwrap();
    let server = fleet.ready_scand("a", &["-excludefile", file.to_str().unwrap()]);
    let id = fleet.push_network(&network, 2000, &[]);
    let task = fleet.wait_ended(&id, SOON);
    assert_eq!((task.status, task.found), (State::Completed, 128));
    assert!(server.log().contains("--exclude 172."));
    let whole = format!("172.{second}.0.0/16");
    let id = fleet.push_network(&whole, 10_000, &["-wait", "2"]);
    let task = fleet.wait_ended(&id, SOON);
    assert_eq!(task.status, State::Completed, "{task:?}");
    assert!(server.log().contains("--excludefile exclude.txt"));
    let found = fleet.findings(&id);
    assert!(found.len() > 16_000, "most of 32 768: {}", found.len());
    assert!(
        found
            .iter()
            .all(|(ip, _)| ip.ends_with(['0', '2', '4', '6', '8'])),
        "no odd address is scanned"
    );
}

fn bad_file() {
    let fleet = Fleet::new("bad-file");
    let file = fleet.folder.join("exclude.conf");
    fs::write(&file, "10.0.0.0/8\n10.0.0/8\n").unwrap();
    for (file, named) in [
        (
            file.to_str().unwrap(),
            "exclude.conf:2: \"10.0.0/8\" is not an address",
        ),
        (
            "/nowhere/e",
            "-excludefile: /nowhere/e cannot be read: No such file",
        ),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_scand"))
            .args([
                "-excludefile",
                file,
                "-kafka",
                &fleet.kafka,
                "-redis",
                &fleet.redis,
            ])
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(named), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

/// A masscan that scans something else than it was given, although it announces the right number of addresses.
fn outside() {
    let answer = |ip: &str, port: u16| {
        json!({"ip": ip, "timestamp": "1795333296", "port": port, "proto": "tcp", "rec_type": "status",
            "data": {"status": "open", "reason": "syn-ack", "ttl": 64}})
        .to_string()
    };
    let lines = [answer("172.17.0.1", 443), answer("172.17.0.2", 443)];
    let fleet = Fleet::new("outside").with_standin(&json!({"extra_stdout": lines}));
    let server = fleet.ready_scand("a", &["-allow", "172.16.0.0/12"]);
    let network = fleet.network(0);
    let id = fleet.push_network(&network, 1000, &[]);
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!((ended.status, ended.found), (State::Completed, 256));
    assert_eq!(fleet.findings(&id), addresses(&network, 443));
    let error = ended.error.unwrap();
    assert!(error.starts_with("2 findings outside"), "{error}");
    server.wait_for_log("masscan reports 172.17.0.1 port 443 (tcp)");
}

fn mapped() {
    let fleet = Fleet::new("mapped");
    let network = fleet.network(0);
    let address = |last: &str| network.replace("0/24", last);
    let excluded = address("6");
    let _server = fleet.ready_scand("a", &["-exclude", &excluded]);
    let targets = format!(
        "::ffff:{},::ffff:{}-::ffff:{}",
        address("1"),
        address("5"),
        address("7")
    );
    let record = json!({"task_id": "mapped", "ip_range": targets, "ports": "443", "band_width": "100", "wait_s": 1});
    let translated = json!({"task_id": "nat64", "ip_range": "64:ff9b::c000:207", "ports": "443", "band_width": "100"});
    fleet.push_raw(&[record.to_string(), translated.to_string()]);
    assert_eq!(fleet.wait_ended("mapped", SOON).status, State::Completed);
    let found: BTreeSet<_> = ["1", "5", "7"].map(|last| (address(last), 443)).into();
    assert_eq!(fleet.findings("mapped"), found);
    let rejected = fleet.wait_ended("nat64", SOON);
    assert_eq!(rejected.status, State::Rejected);
    assert!(rejected.error.unwrap().contains("NAT64"));
}
