//! A task is `completed` only if its scan was complete: masscan is killed, hangs or loses answers, and no finding is lost.

use crate::support::{
    Fleet, SOON, Scand, count_probes, findings_of, lab, masscan_of, new_network, probes_counted,
    span_ms, wait_for, wait_until,
};
use crate::{Needs, Test};
use rustix::process::{Signal, kill_process};
use scan::model::State;
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

pub const TESTS: &[Test] = &[
    (
        "a_masscan_killed_while_it_waits_for_late_answers_has_not_completed",
        Needs::Lab,
        killed_while_waiting,
    ),
    (
        "a_finding_printed_just_before_a_kill_is_not_lost",
        Needs::Lab,
        killed_after_printing,
    ),
    (
        "a_silent_masscan_is_killed_and_its_attempt_fails",
        Needs::KafkaAndRedis,
        silent,
    ),
    (
        "after_a_standstill_a_scan_continues_from_its_checkpoint",
        Needs::KafkaAndRedis,
        standstill,
    ),
    (
        "a_short_standstill_loses_no_answers",
        Needs::Lab,
        short_standstill,
    ),
    (
        "after_an_overrun_the_probes_are_sent_again",
        Needs::KafkaAndRedis,
        overrun,
    ),
    (
        "the_waits_of_ten_small_scans_overlap",
        Needs::Lab,
        overlapping_waits,
    ),
];

/// masscan is killed, interrupted, and interrupted twice while it waits for late answers.
fn killed_while_waiting() {
    let fleet = Fleet::new("waiting");
    let _server = fleet.ready_scand("a", &["-slots", "3"]);
    let interrupted = "masscan was interrupted from outside at 100.00 %";
    let cases: [(&[Signal], &str); 3] = [
        (&[Signal::KILL], "masscan was killed by signal 9"),
        (&[Signal::INT], interrupted),
        (&[Signal::INT, Signal::INT], interrupted),
    ];
    let ids: Vec<String> = (0..3)
        .map(|n| {
            let words = ["-wait", "4", "-attempts", "2"];
            fleet.push_network(&fleet.network(n), 2000, &words)
        })
        .collect();
    for (n, (signals, _)) in cases.iter().enumerate() {
        let pid = masscan_of(&fleet.network(n as u32));
        wait_until("the wait", SOON, || {
            fleet
                .task(&ids[n])
                .is_some_and(|task| task.progress >= 100.0)
        });
        for &signal in *signals {
            kill_process(pid, signal).unwrap();
        }
    }
    for (n, (_, error)) in cases.iter().enumerate() {
        let ended = fleet.wait_ended(&ids[n], SOON);
        assert_eq!(
            (ended.status, ended.attempt),
            (State::Completed, 2),
            "{ended:?}"
        );
        let records = fleet.status_records(&ids[n]);
        let failure = records.iter().find_map(|record| record["error"].as_str());
        assert!(
            failure.is_some_and(|text| text.contains(error)),
            "{records:?}"
        );
        let all = findings_of(&fleet.network(n as u32), &[443]);
        assert_eq!(fleet.findings(&ids[n]), all);
    }
}

/// If masscan has file capabilities and runs as an unprivileged user, the loader ignores preloaded libraries. Then only a terminal makes masscan
/// write each line at once.
fn killed_after_printing() {
    let (fleet, terminal) = (Fleet::new("killed"), ": it writes to a terminal");
    let log = printed_before_a_kill(&fleet);
    assert!(!log.contains(terminal), "{log}");
    let mut fleet = Fleet::new("capable");
    let folder = masscan_of_nobody();
    fleet.masscan = folder.path().join("masscan");
    let log = printed_before_a_kill(&fleet);
    assert_eq!(log.matches(terminal).count(), 1, "{log}");
}

/// Kills masscan in the middle of a scan; nearly all answers are found. Returns the server's log.
fn printed_before_a_kill(fleet: &Fleet) -> String {
    let server = fleet.ready_scand("a", &[]);
    let network = fleet.network(0);
    count_probes(&network);
    let id = fleet.push_network(&network, 100, &["-attempts", "1"]);
    fleet.wait_progress(&id, 40.0);
    kill_process(masscan_of(&network), Signal::KILL).unwrap();
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!(ended.status, State::Failed, "{ended:?}");
    assert!(
        ended.progress > 30.0,
        "the last progress is kept: {ended:?}"
    );
    let (probes, found) = (probes_counted(&network), fleet.findings(&id).len() as u64);
    // At 50 probes per second at most a few answers were in flight. Buffered in blocks of 4096 bytes, up to 27 findings would be missing.
    assert!(found + 4 >= probes, "{found} found, {probes} probed");
    assert_eq!(ended.found, found);
    server.log()
}

/// A folder with a copy of masscan that has file capabilities, and a wrapper `masscan` that starts it in the lab as the user nobody.
fn masscan_of_nobody() -> TempDir {
    let folder = tempfile::Builder::new()
        .prefix("scan-nobody-")
        .tempdir()
        .unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    let copy = folder.path().join("copy");
    fs::copy("/usr/bin/masscan", &copy).unwrap();
    let capable = Command::new("setcap")
        .arg("cap_net_raw,cap_net_admin+ep")
        .arg(&copy)
        .status()
        .unwrap();
    assert!(capable.success());
    let wrapper = folder.path().join("masscan");
    let script = format!(
        "#!/bin/sh\nexec ip netns exec {}-scan setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=+all {} \"$@\"\n",
        lab(),
        copy.display()
    );
    fs::write(&wrapper, script).unwrap();
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn silent() {
    let fleet = Fleet::new("silent").with_standin(&json!({"silent_after_s": 3, "only_first": 1}));
    let server = fleet.ready_scand("a", &[]);
    let id = fleet.push_network(&fleet.network(0), 50, &[]);
    let ended = fleet.wait_ended(&id, SOON + SOON);
    assert_eq!((ended.status, ended.attempt), (State::Completed, 2));
    assert_eq!(fleet.findings(&id), findings_of(&fleet.network(0), &[443]));
    let failure = fleet
        .status_records(&id)
        .into_iter()
        .find(|record| record["error"].is_string())
        .unwrap();
    assert_eq!(
        failure["error"],
        "masscan printed no progress and was killed"
    );
    let resumed = failure["resume_index"].as_u64().unwrap();
    assert!(
        resumed > 0,
        "a failed attempt leaves its checkpoint: {failure}"
    );
    assert!(server.log().contains(&format!("--resume-index {resumed}")));
}

/// Freezes `server` for `time` when the checkpoint of the task is beyond `index`.
fn freeze(fleet: &Fleet, server: &Scand, id: &str, index: u64, time: Duration) {
    wait_until("a checkpoint", SOON, || {
        fleet.task(id).is_some_and(|task| task.resume_index > index)
    });
    server.signal(Signal::STOP);
    std::thread::sleep(time);
    server.signal(Signal::CONT);
}

/// A server that is frozen for less than its lease keeps its task, but masscan may have lost answers in that time.
fn standstill() {
    let mut fleet = Fleet::new("still").with_standin(&json!({}));
    fleet.lease_s = 30;
    let server = fleet.ready_scand("a", &[]);
    let id = fleet.push_network(&fleet.network(0), 25, &[]);
    freeze(&fleet, &server, &id, 10, Duration::from_secs(4));
    server.wait_for_log("in which masscan may have lost answers");
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!(
        (ended.status, ended.attempt),
        (State::Completed, 1),
        "no attempt is used up"
    );
    assert!(server.log().contains("--resume-index"));
    assert_eq!(fleet.findings(&id), findings_of(&fleet.network(0), &[443]));
}

/// A server does not read masscan's output for 1.2 s while up to 1200 targets answer. A pipe buffers that output, so masscan's capture ring does
/// not overflow. A terminal does not, so the scan continues from its checkpoint.
fn short_standstill() {
    let fleet = Fleet::new("shortly");
    let log = complete_despite_a_standstill(&fleet, &new_network(20));
    assert!(!log.contains("--resume-index"), "{log}");
    let mut fleet = Fleet::new("shortly-by-terminal");
    let folder = masscan_of_nobody();
    fleet.masscan = folder.path().join("masscan");
    let log = complete_despite_a_standstill(&fleet, &new_network(20));
    assert!(log.contains("answers came faster than the server could read them"));
    assert!(log.contains("--resume-index"), "{log}");
}

/// Long enough for more answers than a terminal and the capture ring can hold, but too short to count as a standstill by itself.
const SHORT_STANDSTILL: Duration = Duration::from_millis(1200);

/// Returns the server's log.
fn complete_despite_a_standstill(fleet: &Fleet, network: &str) -> String {
    let server = fleet.ready_scand("a", &[]);
    let id = fleet.push_network(network, 1000, &["-wait", "0"]);
    freeze(fleet, &server, &id, 0, SHORT_STANDSTILL);
    let ended = fleet.wait_ended(&id, SOON + SOON);
    let log = server.log();
    assert_eq!(
        (ended.status, ended.attempt),
        (State::Completed, 1),
        "{log}"
    );
    assert!(
        fleet.findings(&id) == findings_of(network, &[443]),
        "found {}\n{log}",
        ended.found
    );
    log
}

/// More output than the pipe can hold. A real masscan would lose answers in its capture ring; the stand-in blocks instead.
fn overrun() {
    let mut fleet = Fleet::new("overrun").with_standin(&json!({}));
    fleet.lease_s = 30;
    let server = fleet.ready_scand("a", &[]);
    let network = &new_network(15);
    let id = fleet.push_network(network, 10_000, &["-wait", "0"]);
    // On a busy machine the stand-in prints too slowly to fill the pipe in this time; then the next pause may do it.
    let text = "answers came faster than the server could read them";
    for index in (0..8).map(|n| n * 10_000) {
        freeze(&fleet, &server, &id, index, SHORT_STANDSTILL);
        let is_noticed = wait_for("an overrun or more progress", SOON, || {
            let task = fleet.task(&id)?;
            let advanced = task.resume_index > index + 10_000 || task.finished_ms.is_some();
            let noticed = server.log().contains(text);
            (noticed || advanced).then_some(noticed)
        });
        if is_noticed {
            break;
        }
    }
    server.wait_for_log(text);
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!((ended.status, ended.attempt), (State::Completed, 1));
    assert!(server.log().contains("--resume-index"));
    assert!(fleet.findings(&id) == findings_of(network, &[443]));
}

fn overlapping_waits() {
    let fleet = Fleet::new("ten");
    let server = fleet.ready_scand("a", &["-slots", "1"]);
    let prefix = fleet.network(0).replace("0/24", "");
    let network = |n: u32| format!("{prefix}{}/28", n * 16);
    let ids: Vec<String> = (0..10)
        .map(|n| fleet.push_network(&network(n), 1000, &["-wait", "10"]))
        .collect();
    let ended: Vec<_> = ids
        .iter()
        .map(|id| fleet.wait_ended(id, SOON + SOON))
        .collect();
    for task in &ended {
        assert_eq!(
            (task.status, task.attempt, task.found),
            (State::Completed, 1, 16)
        );
    }
    let took = span_ms(&ended);
    assert!(
        took < 25_000,
        "{took} ms; 10 × 10 s and more without overlap\n{}",
        server.log()
    );
    println!("ten small scans took {took} ms");
}
