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
        "check_shows_masscans_interface_if_the_kernel_takes_another",
        Needs::Lab,
        other_interface,
    ),
    (
        "check_ends_soon_if_nothing_answers",
        Needs::KafkaAndRedis,
        nothing_answers,
    ),
];

pub fn check(fleet: &Fleet, words: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, .. } = check_command(fleet, words).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap())
}

/// `scand -check` with this fleet's flags.
pub fn check_command(fleet: &Fleet, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scand"));
    command
        .args(["-check", "-group", &fleet.group])
        .args(fleet.connection_flags())
        .args(["-topic", &fleet.topic("tasks")])
        .args(["-results-topic", &fleet.topic("results")])
        .args(["-status-topic", &fleet.topic("status")])
        .arg("-masscan")
        .arg(&fleet.masscan)
        .args(words);
    command
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
            "group",
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

/// Both interfaces stay in the lab: the other one leads nowhere.
fn other_interface() {
    let mut fleet = Fleet::new("two-nics");
    let lab = OwnLab::start(&fleet);
    fleet.masscan = lab.masscan();
    lab.run("ip link add other0 type veth peer name other1");
    lab.run("ip link set other0 up");
    lab.run("ip link set other1 up");
    lab.run("ip addr add 192.0.2.9/30 dev other0");
    lab.run("ip route add default via 192.0.2.10 dev other0 table 7");
    lab.run("ip rule add pref 100 table 7");
    let (code, stdout) = check(&fleet, &[]);
    assert_eq!(code, Some(1), "{stdout}");
    let warning = "warn  interface  scan0, from the default route, but the kernel sends to other networks through other0";
    assert!(stdout.contains(warning), "{stdout}");
    // masscan does take the interface that is shown.
    let _server = fleet.ready_scand("a", &[]);
    let id = fleet.push_network(&fleet.network(0), 2000, &[]);
    assert_eq!(fleet.wait_ended(&id, SOON).found, 256);

    // Half of all addresses, as a VPN does it, with a lower metric than the default route: masscan takes that one.
    lab.run("ip rule del pref 100");
    lab.run("ip route add 0.0.0.0/1 via 192.0.2.10 dev other0");
    let (_, stdout) = check(&fleet, &[]);
    assert!(
        stdout.contains("interface  other0, from the default route"),
        "{stdout}"
    );
    lab.run("ip route del 0.0.0.0/1 via 192.0.2.10 dev other0");
    lab.run("ip route add 0.0.0.0/1 dev other0");
    let (_, stdout) = check(&fleet, &[]);
    assert!(
        stdout.contains("FAIL  interface  no default route via a router"),
        "{stdout}"
    );
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
