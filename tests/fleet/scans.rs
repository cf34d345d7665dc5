//! One scan at a time: live progress, findings as they come, what counts as completed, masscan that can't do it.

use crate::support::{Fleet, SOON, masscan_of, masscans, now_ms, span_ms, wait_for};
use crate::{Needs, Test};
use scan::model::State;
use serde_json::json;
use std::time::Duration;

pub const TESTS: &[Test] = &[
    (
        "progress_is_live_and_findings_come_as_they_are_printed",
        Needs::Lab,
        live,
    ),
    (
        "udp_and_ipv6_and_ranges_reach_masscan",
        Needs::Lab,
        other_targets,
    ),
    (
        "interface_source_address_and_ports_reach_masscan",
        Needs::Lab,
        source,
    ),
    (
        "a_missing_masscan_fails_the_task_in_its_words",
        Needs::Servers,
        missing_masscan,
    ),
    (
        "masscans_own_words_are_the_tasks_error",
        Needs::Servers,
        failing_masscan,
    ),
    (
        "a_masscan_that_was_interrupted_has_not_completed",
        Needs::Lab,
        interrupted,
    ),
    (
        "a_masscan_that_hangs_after_its_wait_is_ended",
        Needs::Servers,
        hanging,
    ),
    (
        "the_next_task_sends_while_one_only_waits",
        Needs::Servers,
        overlap,
    ),
];

fn live() {
    let fleet = Fleet::new("live");
    let _server = fleet.ready_scand("a", &[]);
    // 256 probes at 40 a second (half of 80: each answer costs a reset) take more than 6 seconds.
    let id = fleet.push_network(&fleet.network(0), 80, &[]);
    let mut seen: Vec<(f64, u64)> = Vec::new();
    let mut early = None;
    let ended = wait_for("the scan to end", SOON, || {
        let task = fleet.task(&id)?;
        if task.status == State::Running && task.progress < 100.0 && task.progress > 0.0 {
            if seen
                .last()
                .is_none_or(|(progress, _)| *progress != task.progress)
            {
                seen.push((task.progress, task.updated_ms));
            }
            assert!(task.rate_pps >= 0.0);
            if early.is_none() {
                early = fleet.records("results").first().cloned();
            }
        }
        task.finished_ms.map(|_| task)
    });
    assert_eq!((ended.status, ended.found), (State::Completed, 256));
    assert!(seen.len() >= 4, "progress moves while it runs: {seen:?}");
    assert!(
        seen.is_sorted_by(|a, b| a.0 <= b.0),
        "never backwards: {seen:?}"
    );
    let gaps: Vec<u64> = seen.windows(2).map(|pair| pair[1].1 - pair[0].1).collect();
    assert!(
        gaps.iter().all(|&gap| gap < 2000),
        "about once a second at least: {gaps:?}"
    );
    let early = early.expect("findings are there while it runs");
    assert!(early["timestamp"].as_u64().unwrap() * 1000 <= now_ms());
}

fn other_targets() {
    let fleet = Fleet::new("targets");
    let _server = fleet.ready_scand("a", &[]);
    let words = ["-ports", "80,443", "-bandwidth", "500", "-wait", "1"];
    let network = fleet.network(0);
    let first = network.replace("0/24", "5");
    let last = network.replace("0/24", "9");
    let list = format!("{first}-{last},{}", network.replace("0/24", "77"));
    let ids = fleet.push(&[&["-ip", &list], &words[..]].concat());
    assert_eq!(ids.len(), 2, "each entry is a task");
    let found: Vec<u64> = ids
        .iter()
        .map(|id| fleet.wait_ended(id, SOON).found)
        .collect();
    assert_eq!(found, [10, 2]);
}

fn source() {
    let fleet = Fleet::new("source");
    let words = [
        ["-interface", "scan0"],
        ["-source-ip", "192.0.2.1"],
        ["-source-port", "50000-50031"],
    ];
    let server = fleet.ready_scand("a", &words.concat());
    let network = fleet.network(0);
    let id = fleet.push_network(&network, 2000, &[]);
    assert_eq!(fleet.wait_ended(&id, SOON).status, State::Completed);
    assert_eq!(
        fleet.findings(&id),
        crate::support::addresses(&network, 443)
    );
    // 32 ports for 16 scans: two each.
    let given = "--interface scan0 --source-ip 192.0.2.1 --source-port 500";
    assert!(server.log().contains(given), "{}", server.log());
    let wrong = fleet.ready_scand("b", &["-interface", "nowhere0"]);
    drop(server);
    let id = fleet.push_network(&network, 2000, &["-attempts", "1"]);
    let task = fleet.wait_ended(&id, SOON);
    assert_eq!(task.status, State::Failed, "{}", wrong.log());
    assert!(task.error.unwrap().contains("nowhere0"));
}

fn missing_masscan() {
    let mut fleet = Fleet::new("no-masscan");
    fleet.masscan = fleet.folder.join("nowhere/masscan");
    let mut server = fleet.ready_scand("a", &[]);
    server.wait_for_log("every scan on this server will fail");
    let id = fleet.push_network(&fleet.network(0), 800, &["-attempts", "1"]);
    let task = fleet.wait_ended(&id, SOON);
    assert_eq!(task.status, State::Failed);
    let error = task.error.unwrap();
    assert!(error.contains("not found: install masscan"), "{error}");
    assert!(
        server.child.try_wait().unwrap().is_none(),
        "the server lives on"
    );

    // One that comes later is known without a new start, and how it is made to write each line too.
    server.wait_for_log("it writes to a terminal");
    let later = fleet.with_standin_in("later", &json!({}));
    std::fs::rename(
        later.masscan.parent().unwrap(),
        fleet.folder.join("nowhere"),
    )
    .unwrap();
    let id = fleet.push_network(&fleet.network(0), 100, &[]);
    let scan = masscan_of(&fleet.network(0));
    let output = format!("/proc/{}/fd/1", scan.as_raw_nonzero());
    let output = std::fs::read_link(output).unwrap();
    assert!(output.to_string_lossy().starts_with("pipe:"), "{output:?}");
    assert_eq!(fleet.wait_ended(&id, SOON).status, State::Completed);
}

fn failing_masscan() {
    let words = "FAIL: permission denied";
    let fleet =
        Fleet::new("failing").with_standin(&json!({"fail": {"stderr": words, "exit_code": 1}}));
    let _server = fleet.ready_scand("a", &[]);
    let id = fleet.push_network(&fleet.network(0), 800, &["-attempts", "2"]);
    let task = fleet.wait_ended(&id, SOON);
    assert_eq!((task.status, task.attempt), (State::Failed, 2));
    assert_eq!(
        task.error.as_deref(),
        Some("masscan exited with code 1: FAIL: permission denied")
    );
    // But for its ingest: a claim may be told before that.
    let told: Vec<_> = fleet
        .status_records(&id)
        .iter()
        .filter(|record| record["fence"] != 0)
        .map(|record| record["status"].clone())
        .collect();
    assert_eq!(told, ["running", "queued", "running", "failed"]);
}

fn interrupted() {
    let fleet = Fleet::new("interrupted");
    let _server = fleet.ready_scand("a", &[]);
    let network = fleet.network(0);
    let id = fleet.push_network(&network, 80, &[]);
    wait_for("some progress", SOON, || {
        fleet.task(&id).filter(|task| task.progress > 20.0)
    });
    let pid = wait_for("masscan's process", SOON, || masscans(&network).pop());
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let task = fleet.wait_ended(&id, SOON);
    assert_eq!(
        (task.status, task.attempt),
        (State::Completed, 2),
        "{task:?}"
    );
    assert_eq!(
        fleet.findings(&id),
        crate::support::addresses(&network, 443)
    );
}

fn hanging() {
    let fleet = Fleet::new("hanging").with_standin(&json!({"hang_after_wait": true}));
    let _server = fleet.ready_scand("a", &[]);
    let id = fleet.push_network(&fleet.network(0), 10_000, &[]);
    let task = fleet.wait_ended(&id, SOON);
    assert_eq!(
        (task.status, task.found, task.attempt),
        (State::Completed, 256, 1)
    );
    let took = task.finished_ms.unwrap() - task.started_ms.unwrap();
    assert!(took < 8000, "its wait of 1 s and a moment, not {took} ms");
}

fn overlap() {
    let fleet = Fleet::new("overlap").with_standin(&json!({}));
    let _server = fleet.ready_scand("a", &["-slots", "1"]);
    let ids: Vec<String> = (0..6)
        .map(|n| fleet.push_network(&fleet.network(n), 10_000, &["-wait", "5"]))
        .collect();
    let ended: Vec<_> = ids.iter().map(|id| fleet.wait_ended(id, SOON)).collect();
    let took = Duration::from_millis(span_ms(&ended));
    assert!(
        took < Duration::from_secs(25),
        "their waits overlap: {took:?} instead of 6 × 5 s and more"
    );
}
