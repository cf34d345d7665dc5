//! Single scans: live progress and findings, what counts as completed, and masscan's failures.

use crate::support::{Fleet, SOON, masscan_of, masscans, now_ms, span_ms, wait_for, wait_until};
use crate::{Needs, Test};
use scan::model::State;
use serde_json::json;
use std::time::Duration;

pub const TESTS: &[Test] = &[
    (
        "progress_and_findings_are_published_while_a_scan_runs",
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
        "a_server_without_masscan_says_so_and_claims_nothing_until_it_is_installed",
        Needs::KafkaAndRedis,
        missing_masscan,
    ),
    (
        "masscans_error_message_becomes_the_tasks_error",
        Needs::KafkaAndRedis,
        failing_masscan,
    ),
    (
        "a_masscan_that_was_interrupted_has_not_completed",
        Needs::Lab,
        interrupted,
    ),
    (
        "a_masscan_that_hangs_after_its_wait_is_killed",
        Needs::KafkaAndRedis,
        hanging,
    ),
    (
        "the_next_task_sends_while_another_waits_for_late_answers",
        Needs::KafkaAndRedis,
        overlap,
    ),
];

fn live() {
    let fleet = Fleet::new("live");
    let _server = fleet.ready_scand("a", &[]);
    // 256 probes at 40 per second (half of 80, because each answer causes a reset) take more than 6 seconds.
    let id = fleet.push_network(&fleet.network(0), 80, &[]);
    let mut seen: Vec<(f64, u64)> = Vec::new();
    let mut early_finding = None;
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
            if early_finding.is_none() {
                early_finding = fleet.records("results").first().cloned();
            }
        }
        task.finished_ms.map(|_| task)
    });
    assert_eq!((ended.status, ended.found), (State::Completed, 256));
    assert!(
        seen.len() >= 4,
        "progress advances while the scan runs: {seen:?}"
    );
    assert!(
        seen.is_sorted_by(|a, b| a.0 <= b.0),
        "never backwards: {seen:?}"
    );
    let gaps: Vec<u64> = seen.windows(2).map(|pair| pair[1].1 - pair[0].1).collect();
    assert!(
        gaps.iter().all(|&gap| gap < 2000),
        "updated at least about once a second: {gaps:?}"
    );
    let early_finding = early_finding.expect("findings arrive while the scan runs");
    assert!(early_finding["timestamp"].as_u64().unwrap() * 1000 <= now_ms());
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
    // 32 source ports for 16 scans: two for each.
    let arguments = "--interface scan0 --source-ip 192.0.2.1 --source-port 500";
    assert!(server.log().contains(arguments), "{}", server.log());
    drop(server);
    let wrong = fleet.ready_scand("b", &["-interface", "nowhere0"]);
    wrong.wait_for_log("there is no interface nowhere0");
    let id = fleet.push_network(&network, 2000, &["-attempts", "1"]);
    wait_until("the task to be ingested", SOON, || {
        fleet.task(&id).is_some()
    });
    let _able = fleet.ready_scand("c", &[]);
    let task = fleet.wait_ended(&id, SOON);
    assert_eq!(
        (task.status, task.attempt, task.server.as_deref()),
        (State::Completed, 1, Some("c")),
        "{}",
        wrong.log()
    );
}

fn missing_masscan() {
    let mut fleet = Fleet::new("no-masscan").with_standin(&json!({}));
    fleet.masscan = fleet.folder.join("nowhere/masscan");
    let mut server = fleet.ready_scand("a", &[]);
    server.wait_for_log("this server cannot scan, and claims nothing until it can");
    let id = fleet.push_network(&fleet.network(0), 100, &["-attempts", "1"]);
    let fault = wait_for("the server's fault", SOON, || {
        let shown = fleet.shown_server("a")?;
        shown["fault"].as_str().map(str::to_owned)
    });
    assert!(fault.contains("not found: install masscan"), "{fault}");
    assert!(
        server.child.try_wait().unwrap().is_none(),
        "the server keeps running"
    );

    // masscan is installed later: the server finds it without a restart, and chooses how to make it write each line at once.
    server.wait_for_log("it writes to a terminal");
    let later = fleet.with_standin_in("later", &json!({}));
    std::fs::rename(
        later.masscan.parent().unwrap(),
        fleet.folder.join("nowhere"),
    )
    .unwrap();
    server.wait_for_log("able to scan again");
    let scan = masscan_of(&fleet.network(0));
    let output = format!("/proc/{}/fd/1", scan.as_raw_nonzero());
    let output = std::fs::read_link(output).unwrap();
    assert!(output.to_string_lossy().starts_with("pipe:"), "{output:?}");
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!((ended.status, ended.attempt), (State::Completed, 1));
}

fn failing_masscan() {
    let message = "FAIL: permission denied";
    let fleet =
        Fleet::new("failing").with_standin(&json!({"fail": {"stderr": message, "exit_code": 1}}));
    let _server = fleet.ready_scand("a", &[]);
    let id = fleet.push_network(&fleet.network(0), 800, &["-attempts", "2"]);
    let task = fleet.wait_ended(&id, SOON);
    assert_eq!((task.status, task.attempt), (State::Failed, 2));
    assert_eq!(
        task.error.as_deref(),
        Some("masscan exited with code 1: FAIL: permission denied")
    );
    // Without the record of its ingestion, which may come after that of the claim.
    let states: Vec<_> = fleet
        .status_records(&id)
        .iter()
        .filter(|record| record["fence"] != 0)
        .map(|record| record["status"].clone())
        .collect();
    assert_eq!(states, ["running", "queued", "running", "failed"]);
}

fn interrupted() {
    let fleet = Fleet::new("interrupted");
    let _server = fleet.ready_scand("a", &[]);
    let network = fleet.network(0);
    let id = fleet.push_network(&network, 80, &[]);
    fleet.wait_progress(&id, 20.0);
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
    assert!(took < 8000, "{took} ms; its wait is 1 s");
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
        "{took:?}; 6 × 5 s and more without overlap"
    );
}
