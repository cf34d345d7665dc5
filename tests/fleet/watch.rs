//! `scanpush watch` and `-watch` of a push, in a pipe and on a terminal: their output, when they end and with which exit code. Also the listings.

use crate::support::{Fleet, SOON, wait_for, wait_until};
use crate::{Needs, Test};
use rustix::process::{Pid, Signal, kill_process};
use scan::model::State;
use serde_json::{Value, json};
use std::process::{Child, Command, Output, Stdio};

pub const TESTS: &[Test] = &[
    (
        "a_watch_ends_with_its_tasks_and_reports_how_they_ended",
        Needs::KafkaAndRedis,
        ends,
    ),
    (
        "push_with_watch_prints_only_ids_on_stdout",
        Needs::KafkaAndRedis,
        push_with_watch,
    ),
    (
        "ctrl_c_ends_the_watch_but_not_the_scan",
        Needs::KafkaAndRedis,
        ctrl_c,
    ),
    (
        "a_terminal_gets_progress_bars_without_colours",
        Needs::KafkaAndRedis,
        terminal,
    ),
    (
        "listings_show_tasks_servers_and_jobs",
        Needs::KafkaAndRedis,
        listings,
    ),
];

fn wait(mut child: Child) -> Output {
    wait_for("the command to end", SOON, || child.try_wait().unwrap());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn ends() {
    let fleet = Fleet::new("watch").with_standin(&json!({}));
    // The watch begins before any server has ingested the tasks.
    let ids = [
        fleet.push_network(&fleet.network(0), 100, &["-wait", "0"]),
        fleet.push_network(&fleet.network(1), 40, &["-wait", "0"]),
    ];
    let watch = fleet.start_scanpush(&["watch", &ids[0], &ids[1]]);
    let events = fleet.start_scanpush(&["watch", &ids[0], "-json"]);
    let _server = fleet.ready_scand("a", &[]);
    wait_for("the first to complete", SOON, || {
        fleet
            .task(&ids[0])
            .filter(|task| task.status == State::Completed)
    });
    let cancelled = fleet.scanpush(&["cancel", &ids[1]]);
    assert!(cancelled.status.success(), "{cancelled:?}");
    let output = wait(watch);
    let out = text(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(4),
        "one was cancelled: {output:?}"
    );
    assert!(out.contains(&format!("{}  running ", ids[0])), "{out}");
    assert!(
        out.contains(&format!("{}  completed 100% found 256", ids[0])),
        "{out}"
    );
    assert!(out.contains(&format!("{}  cancelled ", ids[1])), "{out}");
    assert!(!out.contains('\r') && !out.contains('\x1b'), "{out}");
    let output = wait(events);
    assert_eq!(output.status.code(), Some(0));
    let last: Value = serde_json::from_str(text(&output.stdout).lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["status"], &last["found"]),
        (&json!("completed"), &json!(256))
    );
    // A task that has already ended is reported at once.
    let output = wait(fleet.start_scanpush(&["watch", &ids[0][..8]]));
    assert_eq!(output.status.code(), Some(0));
}

fn push_with_watch() {
    let plan = json!({"fail": {"stderr": "FAIL: permission denied", "exit_code": 1}});
    let fleet = Fleet::new("push-watch").with_standin(&plan);
    let _server = fleet.ready_scand("a", &[]);
    let output = wait(fleet.start_scanpush(&[
        "-ip",
        &fleet.network(0),
        "-ports",
        "443",
        "-attempts",
        "1",
        "-id",
        "watched",
        "-watch",
    ]));
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert_eq!(text(&output.stdout), "watched\n");
    let err = text(&output.stderr);
    assert!(err.contains("watched  failed 0% found 0"), "{err}");
    assert!(err.contains("FAIL: permission denied"), "{err}");
}

fn ctrl_c() {
    let fleet = Fleet::new("ctrl-c").with_standin(&json!({}));
    let _server = fleet.ready_scand("a", &[]);
    let id = fleet.push_network(&fleet.network(0), 40, &["-wait", "0"]);
    wait_until("it to run", SOON, || {
        fleet.task(&id).is_some_and(|task| task.progress > 5.0)
    });
    let mut watch = fleet.start_scanpush(&["watch", &id]);
    // Its first output shows that it is watching.
    let mut first = [0u8; 1];
    std::io::Read::read_exact(watch.stdout.as_mut().unwrap(), &mut first).unwrap();
    kill_process(Pid::from_child(&watch), Signal::INT).unwrap();
    let output = wait(watch);
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert_eq!(
        text(&output.stderr),
        format!(
            "scanpush: stopped watching; the scans continue; show the task: scanpush status {id}; cancel it: scanpush cancel {id}\n"
        )
    );
    assert_eq!(fleet.wait_ended(&id, SOON).status, State::Completed);
}

fn terminal() {
    let fleet = Fleet::new("bars").with_standin(&json!({}));
    let _server = fleet.ready_scand("a", &[]);
    let ids = [
        fleet.push_network(&fleet.network(0), 60, &["-wait", "0"]),
        fleet.push_network(&fleet.network(1), 80, &["-wait", "0"]),
    ];
    let line = format!(
        "stty rows 24 cols 60; exec {} -redis {} -group {} watch {} {}",
        env!("CARGO_BIN_EXE_scanpush"),
        fleet.redis,
        fleet.group,
        ids[0],
        ids[1]
    );
    let script = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env("TERM", "xterm")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = wait(script);
    let out = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{out}");
    for shown in [
        &ids[0][..12],
        &ids[1][..12],
        "all ",
        "[=",
        "% ",
        "pps found ",
    ] {
        assert!(out.contains(shown), "{shown:?} in {out:?}");
    }
    for id in &ids {
        assert!(
            out.contains(&format!("{id}  completed 100% found 256")),
            "{out:?}"
        );
    }
    assert!(!out.contains("\x1b[3"), "no colours: {out:?}");
}

fn listings() {
    let fleet = Fleet::new("listings").with_standin(&json!({}));
    let _servers = [
        fleet.ready_scand("alpha", &["-max-rate", "5000"]),
        fleet.ready_scand("beta", &["-slots", "3"]),
    ];
    let run = |words: &[&str]| {
        let output = fleet.scanpush(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        let out = text(&output.stdout).to_owned();
        assert!(
            out.lines().all(|line| line.chars().count() <= 80) || words.contains(&"-json"),
            "{out}"
        );
        out
    };
    let servers = run(&["servers"]);
    assert!(
        servers.lines().nth(1).unwrap().starts_with("alpha "),
        "{servers}"
    );
    assert!(servers.contains("0 of 3"), "{servers}");
    let alpha: Value =
        serde_json::from_str(run(&["servers", "-json"]).lines().next().unwrap()).unwrap();
    assert_eq!(
        (&alpha["max_rate"], &alpha["version"]),
        (&json!(5000), &json!(env!("CARGO_PKG_VERSION")))
    );
    assert!(alpha["age_ms"].as_u64().unwrap() < 30_000);
    let ids: Vec<String> = (0..3)
        .map(|n| {
            fleet.push_network(
                &fleet.network(n),
                10_000,
                &["-wait", "0", "-job", "the-job"],
            )
        })
        .collect();
    for id in &ids {
        fleet.wait_ended(id, SOON);
    }
    let list = run(&["list", "-limit", "2"]);
    assert_eq!(list.lines().count(), 3, "{list}");
    assert!(
        list.lines().nth(1).unwrap().starts_with(&ids[2]),
        "newest first: {list}"
    );
    assert_eq!(run(&["list", "-state", "queued,running"]), "");
    assert_eq!(
        run(&["list", "-state", "completed", "-json"])
            .lines()
            .count(),
        3
    );
    let job = run(&["job", "the-job"]);
    let summary = "job the-job: completed 100%, 0 pps, found 768\n  3 completed\n";
    assert!(job.starts_with(summary), "{job}");
    assert_eq!(run(&["status", "-job", "the-"]).lines().count(), 4);
}
