//! Retries are passes: exactly the announced probes leave, a pass is handed over like a scan, and two passes tell how complete they are.

use crate::support::{
    Fleet, SOON, addresses, count_probes, drop_some_probes, new_network, probes_counted, wait_for,
    wait_until,
};
use crate::{Needs, Test};
use scan::model::State;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

pub const TESTS: &[Test] = &[
    (
        "retries_send_exactly_the_announced_probes",
        Needs::Lab,
        exact_probes,
    ),
    (
        "a_scan_is_handed_over_in_its_second_pass",
        Needs::Lab,
        handed_over,
    ),
    (
        "two_passes_tell_how_complete_they_are",
        Needs::Lab,
        coverage,
    ),
    (
        "a_time_out_counts_all_passes",
        Needs::KafkaAndRedis,
        timed_out,
    ),
];

fn exact_probes() {
    let fleet = Fleet::new("passes");
    let server = fleet.ready_scand("a", &[]);
    for (network, addresses_, retries, rate) in [
        (fleet.network(0), 256, 2, 10_000),
        (fleet.network(1).replace("0/24", "4/30"), 4, 16, 10_000),
    ] {
        count_probes(&network);
        let retries_text = retries.to_string();
        let words = ["-retries", retries_text.as_str()];
        let announced = fleet.scanpush(
            &[
                &["-ip", &network, "-ports", "443", "-dry-run", "-json"][..],
                &words,
            ]
            .concat(),
        );
        let announced: Value = serde_json::from_slice(&announced.stdout).unwrap();
        let id = fleet.push_network(&network, rate, &words);
        let ended = fleet.wait_ended(&id, SOON);
        assert_eq!(ended.status, State::Completed, "{}", server.log());
        let probes = addresses_ * (retries + 1);
        assert_eq!(probes_counted(&network), probes, "{network}");
        assert_eq!(announced["probes"], probes, "{announced}");
        assert_eq!(ended.probes, Some(probes.into()));
        assert_eq!(ended.progress, 100.0);
        assert_eq!(ended.found, addresses_);
        assert_eq!(
            ended.found_by_pass.as_slice(),
            vec![addresses_; retries as usize + 1]
        );
        let last = fleet.status_records(&id).pop().unwrap();
        assert_eq!(last["found"], addresses_);
        assert_eq!(last["found_by_pass"], json!(ended.found_by_pass));
        let mut by_pass: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
        for record in fleet.records("results") {
            if record["task_id"] == id.as_str() {
                let found = by_pass.entry(record["pass"].as_u64().unwrap()).or_default();
                found.insert(record["ip"].as_str().unwrap().to_owned());
            }
        }
        assert_eq!(by_pass.len() as u64, retries + 1);
        assert!(
            by_pass
                .values()
                .all(|found| found.len() as u64 == addresses_)
        );
    }
}

/// The checkpoint is a pass and an index: a killed server's second pass continues where it was, and the first is not repeated.
fn handed_over() {
    let fleet = Fleet::new("second-pass");
    let network = fleet.network(0);
    count_probes(&network);
    let mut first = fleet.ready_scand("a", &[]);
    let id = fleet.push_network(&network, 60, &["-retries", "1", "-wait", "1"]);
    wait_until("a checkpoint in the second pass", SOON, || {
        fleet
            .task(&id)
            .is_some_and(|task| task.resume_pass == 2 && task.resume_index > 0)
    });
    first.kill();
    let second = fleet.ready_scand("b", &[]);
    second.wait_for_log(&format!("task {id}: continues at pass 2, index "));
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!(ended.status, State::Completed, "{}", second.log());
    assert_eq!(fleet.findings(&id), addresses(&network, 443));
    let probes = probes_counted(&network);
    assert!((512..640).contains(&probes), "{probes}");
    let found = ended.found_by_pass;
    assert_eq!((found.of(1), found.as_slice().len()), (256, 2));
}

fn coverage() {
    let fleet = Fleet::new("coverage");
    let _server = fleet.ready_scand("a", &[]);
    let network = &new_network(21);
    drop_some_probes(network, 20);
    let id = fleet.push_network(network, 4000, &["-retries", "1", "-wait", "1"]);
    let ended = wait_for("the scan to end", SOON, || {
        fleet.task(&id).filter(|task| task.finished_ms.is_some())
    });
    assert_eq!(ended.status, State::Completed);
    let topic = fleet.topic("results");
    let output = fleet.scanpush(&["results", "-results-topic", &topic, &id]);
    let notes = String::from_utf8_lossy(&output.stderr);
    let estimates: Vec<f64> = notes
        .split(" %")
        .filter_map(|before| before.rsplit(' ').next()?.parse().ok())
        .collect();
    let [first, together, at_least, ..] = estimates[..] else {
        panic!("{notes}");
    };
    let found = fleet.findings(&id).len() as f64;
    let truly = found * 100.0 / 2048.0;
    assert!((first - 80.0).abs() < 5.0, "{notes}");
    assert!((together - truly).abs() < 2.0, "truly {truly}: {notes}");
    assert!(at_least <= together, "{notes}");
}

/// `-timeout` is the time of an attempt, not of each of its passes.
fn timed_out() {
    let fleet = Fleet::new("passes-timed-out").with_standin(&json!({}));
    let _server = fleet.ready_scand("a", &[]);
    // Each pass takes about 2 s, the timeout is between one and three of them.
    let words = [
        "-retries",
        "2",
        "-wait",
        "1",
        "-timeout",
        "4",
        "-attempts",
        "1",
    ];
    let id = fleet.push_network(&fleet.network(0), 256, &words);
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!(ended.status, State::Failed);
    assert!(ended.error.unwrap().contains("timed out"));
}
