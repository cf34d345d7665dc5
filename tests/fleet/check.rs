//! `scand -check`, and the warning about offloads.

use crate::support::{Fleet, OwnLab, SOON};
use crate::{Needs, Test};
use serde_json::json;
use std::net::TcpListener;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

pub const TESTS: &[Test] = &[
    ("check_passes_in_the_lab", Needs::Lab, passes),
    (
        "offloads_are_warned_about_once_and_the_suggested_commands_fix_them",
        Needs::Lab,
        offloads,
    ),
    (
        "check_ends_soon_if_nothing_answers",
        Needs::KafkaAndRedis,
        nothing_answers,
    ),
];

fn check(fleet: &Fleet, words: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, .. } = Command::new(env!("CARGO_BIN_EXE_scand"))
        .args(["-check", "-group", &fleet.group])
        .args(["-kafka", &fleet.kafka, "-redis", &fleet.redis])
        .args(["-topic", &fleet.topic("tasks")])
        .args(["-results-topic", &fleet.topic("results")])
        .args(["-status-topic", &fleet.topic("status")])
        .arg("-masscan")
        .arg(&fleet.masscan)
        .args(words)
        .output()
        .unwrap();
    (status.code(), String::from_utf8(stdout).unwrap())
}

fn passes() {
    let fleet = Fleet::new("check");
    let (code, stdout) = check(&fleet, &[]);
    assert_eq!(code, Some(0), "{stdout}");
    let names: Vec<&str> = stdout
        .lines()
        .filter_map(|line| line.strip_prefix("ok ")?.split_whitespace().next())
        .collect();
    assert_eq!(
        names,
        [
            "masscan",
            "shards",
            "libpcap",
            "rights",
            "setsid",
            "resources",
            "interface",
            "route",
            "reach",
            "offloads",
            "mtu",
            "kafka",
            "topics",
            "topics",
            "topics",
            "redis",
            "eviction",
            "exclusions"
        ],
        "{stdout}"
    );
    assert!(stdout.contains("scan0, from the default route"), "{stdout}");
    let (code, stdout) = check(&fleet, &["-interface", "nowhere0"]);
    assert_eq!(code, Some(1));
    assert!(
        stdout.contains("FAIL  interface  there is no interface nowhere0"),
        "{stdout}"
    );
    let (code, stdout) = check(&fleet, &["-excludefile", "/nowhere/e"]);
    assert_eq!(code, Some(1));
    assert!(
        stdout.contains("FAIL  exclusions -excludefile: /nowhere/e"),
        "{stdout}"
    );
}

fn offloads() {
    let mut fleet = Fleet::new("offloads");
    let lab = OwnLab::start(&fleet);
    fleet.masscan = lab.masscan();
    lab.run("ethtool -K scan0 gro on gso on tso on tx on rx on sg on");
    lab.run("ip link set scan0 mtu 9000");
    let (code, stdout) = check(&fleet, &[]);
    assert_eq!(code, Some(1), "{stdout}");
    assert!(stdout.contains("\nwarn  offloads   rx-gro, "), "{stdout}");
    assert!(stdout.contains("\nwarn  mtu        9000: "), "{stdout}");
    let server = fleet.ready_scand("a", &[]);
    for n in 0..2 {
        let id = fleet.push_network(&fleet.network(n), 2000, &[]);
        fleet.wait_ended(&id, SOON);
    }
    server.wait_for_log("interface scan0 has offloads on (rx-gro, ");
    server.wait_for_log("interface scan0 has an MTU of 9000: masscan loses answers");
    for warning in ["has offloads on", "has an MTU"] {
        assert_eq!(server.log().matches(warning).count(), 1, "once: {warning}");
    }
    let warnings = stdout.lines().filter(|line| line.starts_with("warn"));
    for (_, command) in warnings.filter_map(|line| line.rsplit_once(": ")) {
        lab.run(command);
    }
    let (code, stdout) = check(&fleet, &[]);
    assert_eq!(code, Some(0), "{stdout}");
}

fn nothing_answers() {
    let mut fleet = Fleet::new("silent").with_standin(&json!({}));
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    fleet.kafka = address.to_string();
    fleet.redis = format!("redis://{address}");
    let began = Instant::now();
    let (code, stdout) = check(&fleet, &[]);
    assert_eq!(code, Some(1));
    assert!(began.elapsed() < Duration::from_secs(12), "{stdout}");
    for name in ["kafka", "topics", "redis"] {
        assert!(stdout.contains(&format!("FAIL  {name} ")), "{stdout}");
    }
    assert!(fleet.standin_events().is_empty(), "nothing was scanned");
}
