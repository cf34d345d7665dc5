//! `completed` means complete: what others do to masscan in the middle, what it hangs in, and that what it found is not lost.

use crate::support::{
    Fleet, SOON, Scand, count_probes, findings_of, lab, masscan_of, probes_counted, span_ms,
    wait_until,
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
        "a_wait_ended_from_outside_is_not_a_completion",
        Needs::Lab,
        ended_while_waiting,
    ),
    (
        "a_finding_printed_just_before_a_kill_is_not_lost",
        Needs::Lab,
        last_words,
    ),
    (
        "a_silent_masscan_is_ended_and_its_attempt_failed",
        Needs::Servers,
        silent,
    ),
    (
        "after_a_standstill_a_scan_continues_from_its_checkpoint",
        Needs::Servers,
        stood_still,
    ),
    (
        "a_short_standstill_loses_no_answer",
        Needs::Lab,
        stood_still_shortly,
    ),
    (
        "after_an_overrun_the_probes_are_sent_again",
        Needs::Servers,
        overrun,
    ),
    (
        "ten_small_scans_share_their_waits",
        Needs::Lab,
        ten_in_a_row,
    ),
];

/// Killed, interrupted, and interrupted twice, while it only waits for late answers.
fn ended_while_waiting() {
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
        let told = fleet.status_records(&ids[n]);
        let failure = told.iter().find_map(|record| record["error"].as_str());
        assert!(failure.is_some_and(|said| said.contains(error)), "{told:?}");
        let all = findings_of(&fleet.network(n as u32), &[443]);
        assert_eq!(fleet.findings(&ids[n]), all);
    }
}

/// masscan with file capabilities, started by an unprivileged user: the loader ignores preloaded libraries, so only the terminal makes it print
/// line by line.
fn last_words() {
    let (fleet, is_told) = (Fleet::new("last-words"), ": it writes to a terminal");
    let log = printed_before_a_kill(&fleet);
    assert!(!log.contains(is_told), "{log}");
    let mut fleet = Fleet::new("capable");
    let folder = masscan_of_nobody();
    fleet.masscan = folder.path().join("masscan");
    let log = printed_before_a_kill(&fleet);
    assert_eq!(log.matches(is_told).count(), 1, "{log}");
}

/// Gives the server's log.
fn printed_before_a_kill(fleet: &Fleet) -> String {
    let server = fleet.ready_scand("a", &[]);
    let network = fleet.network(0);
    count_probes(&network);
    let id = fleet.push_network(&network, 100, &["-attempts", "1"]);
    wait_until("some progress", SOON, || {
        fleet.task(&id).is_some_and(|task| task.progress > 40.0)
    });
    kill_process(masscan_of(&network), Signal::KILL).unwrap();
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!(ended.status, State::Failed, "{ended:?}");
    assert!(
        ended.progress > 30.0,
        "the last progress is kept: {ended:?}"
    );
    let (probes, found) = (probes_counted(&network), fleet.findings(&id).len() as u64);
    // At 50 probes a second hardly one was on its way; a block of 4096 bytes holds 27 findings.
    assert!(found + 4 >= probes, "{found} found, {probes} probed");
    assert_eq!(ended.found, found);
    server.log()
}

/// A copy of masscan with file capabilities in a folder that every user may enter, and a script that starts it in the lab as the user nobody.
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
        "a failed attempt leaves its checkpoint too: {failure}"
    );
    assert!(server.log().contains(&format!("--resume-index {resumed}")));
}

/// Stops `server` for so long once the checkpoint of its task is behind `index`.
fn stand_still(fleet: &Fleet, server: &Scand, id: &str, index: u64, time: Duration) {
    wait_until("a checkpoint", SOON, || {
        fleet.task(id).is_some_and(|task| task.resume_index > index)
    });
    server.signal(Signal::STOP);
    std::thread::sleep(time); // how long it stands still, nothing is waited for
    server.signal(Signal::CONT);
}

/// A server that is frozen for less than its lease keeps its task, but cannot know whether its masscan lost answers meanwhile.
fn stood_still() {
    let mut fleet = Fleet::new("still").with_standin(&json!({}));
    fleet.lease_s = 30;
    let server = fleet.ready_scand("a", &[]);
    let id = fleet.push_network(&fleet.network(0), 25, &[]);
    stand_still(&fleet, &server, &id, 10, Duration::from_secs(4));
    server.wait_for_log("in which masscan may have lost answers");
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!(
        (ended.status, ended.attempt),
        (State::Completed, 1),
        "it costs no attempt"
    );
    assert!(server.log().contains("--resume-index"));
    assert_eq!(fleet.findings(&id), findings_of(&fleet.network(0), &[443]));
}

/// A server that takes nothing of masscan's output for 1.2 s, while up to 1200 targets answer: what masscan prints has room elsewhere,
/// and so nothing is lost in its capture ring. A terminal has no such room, and the scan goes on from its checkpoint.
fn stood_still_shortly() {
    let fleet = Fleet::new("shortly");
    let log = whole_despite_a_standstill(&fleet, "172.30.48.0/20");
    assert!(!log.contains("--resume-index"), "{log}");
    let mut fleet = Fleet::new("shortly-by-terminal");
    let folder = masscan_of_nobody();
    fleet.masscan = folder.path().join("masscan");
    let log = whole_despite_a_standstill(&fleet, "172.30.64.0/20");
    assert!(log.contains("answers came faster than the server could read them"));
    assert!(log.contains("--resume-index"), "{log}");
}

/// Long enough for more answers than a terminal and a capture ring hold; a longer one ends a scan whatever it holds.
const SHORTLY: Duration = Duration::from_millis(1200);

/// Gives the server's log.
fn whole_despite_a_standstill(fleet: &Fleet, network: &str) -> String {
    let server = fleet.ready_scand("a", &[]);
    let id = fleet.push_network(network, 1000, &["-wait", "0"]);
    stand_still(fleet, &server, &id, 0, SHORTLY);
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

/// The same where more is printed than has room: a real masscan loses the rest in its capture ring (the stand-in only waits).
fn overrun() {
    let mut fleet = Fleet::new("overrun").with_standin(&json!({}));
    fleet.lease_s = 30;
    let server = fleet.ready_scand("a", &[]);
    let network = "172.16.0.0/15";
    let id = fleet.push_network(network, 10_000, &["-wait", "0"]);
    stand_still(&fleet, &server, &id, 0, SHORTLY);
    server.wait_for_log("answers came faster than the server could read them");
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!((ended.status, ended.attempt), (State::Completed, 1));
    assert!(server.log().contains("--resume-index"));
    assert!(fleet.findings(&id) == findings_of(network, &[443]));
}

fn ten_in_a_row() {
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
        "{took} ms instead of 10 × 10 s and more\n{}",
        server.log()
    );
    println!("ten small scans took {took} ms");
}
