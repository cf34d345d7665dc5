//! Servers that are not able to scan: their tasks lose no attempt and run on other servers, and the servers come back by themselves.

use crate::support::{Fleet, OwnLab, SOON, wait_for, wait_until};
use crate::{Needs, Test};
use scan::model::State;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub const TESTS: &[Test] = &[
    (
        "a_server_with_a_full_temporary_folder_costs_no_attempts",
        Needs::Lab,
        full_folder,
    ),
    (
        "every_fault_of_a_server_is_found_before_it_claims",
        Needs::KafkaAndRedis,
        faults_at_start,
    ),
    (
        "a_masscan_that_does_not_start_costs_no_attempt_if_the_server_is_to_blame",
        Needs::Lab,
        lost_interface,
    ),
    (
        "a_router_that_does_not_answer_costs_no_attempt",
        Needs::KafkaAndRedis,
        silent_router,
    ),
    (
        "a_task_runs_on_a_server_that_reaches_its_targets",
        Needs::Lab,
        without_ipv6,
    ),
    (
        "a_task_in_the_servers_own_network_is_rejected_with_the_remedy",
        Needs::Lab,
        own_network,
    ),
    (
        "probes_dropped_by_the_interfaces_queue_are_reported",
        Needs::Lab,
        dropped_probes,
    ),
];

/// Waits until the task has completed, which must be in its first attempt and on this server.
fn completed_in_first_attempt(fleet: &Fleet, id: &str, server: &str) {
    let ended = fleet.wait_ended(id, SOON);
    assert_eq!(
        (ended.status, ended.attempt, ended.server.as_deref()),
        (State::Completed, 1, Some(server))
    );
}

/// A file system with room for a number of files; unmounted on drop.
struct TinyFolder(PathBuf);

impl TinyFolder {
    fn new(path: PathBuf, files: u32) -> TinyFolder {
        fs::create_dir_all(&path).unwrap();
        // The folder itself counts as one.
        let size = format!("nr_inodes={}", files + 1);
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &size, "scan-test"])
            .arg(&path);
        assert!(mount.status().unwrap().success());
        TinyFolder(path)
    }

    /// Creates files until it is full.
    fn fill(&self) -> usize {
        let created =
            (0..100).take_while(|n| fs::write(self.0.join(format!("fill-{n}")), "").is_ok());
        created.count()
    }

    fn clear(&self) {
        for n in 0..100 {
            let _ = fs::remove_file(self.0.join(format!("fill-{n}")));
        }
    }
}

impl Drop for TinyFolder {
    fn drop(&mut self) {
        // Lazily, because a server may still run there.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn full_folder() {
    let fleet = Fleet::new("full").with_standin(&json!({}));
    let folder = TinyFolder::new(fleet.folder.join("tmp"), 64);
    let tmp = folder.0.to_string_lossy().into_owned();
    let broken = fleet.scand_with("a", &["-slots", "4"], &[("TMPDIR", &tmp)]);
    broken.wait_for_log("ready: waiting for tasks");
    let able = fleet.ready_scand("b", &["-slots", "1"]);
    assert!(folder.fill() > 10);
    let ids: Vec<String> = (0..12)
        .map(|n| fleet.push_network(&fleet.network(n), 10_000, &["-attempts", "1"]))
        .collect();
    for id in &ids {
        let ended = fleet.wait_ended(id, SOON);
        assert_eq!(
            (ended.status, ended.attempt, ended.server.as_deref()),
            (State::Completed, 1, Some("b")),
            "{}",
            broken.log()
        );
    }
    broken.wait_for_log("given back without an attempt: this server cannot scan: ");
    let fault = wait_for("the server's fault", SOON, || {
        fleet.shown_server("a")?["fault"]
            .as_str()
            .map(str::to_owned)
    });
    assert!(fault.contains("No space left on device"), "{fault}");
    let listed = fleet.scanpush(&["servers"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(
        listed.contains("claims nothing, because it cannot scan: "),
        "{listed}"
    );

    drop(able);
    folder.clear();
    broken.wait_for_log("able to scan again");
    let id = fleet.push_network(&fleet.network(0), 10_000, &["-attempts", "1"]);
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!(
        (ended.status, ended.server.as_deref()),
        (State::Completed, Some("a"))
    );
    wait_until("no fault to be shown", SOON, || {
        fleet
            .shown_server("a")
            .is_some_and(|shown| shown["fault"].is_null())
    });
}

fn faults_at_start() {
    let fleet = Fleet::new("faulty").with_standin(&json!({}));
    let nowhere = fleet.folder.join("nowhere");
    let missing = nowhere.to_string_lossy().into_owned();
    // masscan is given with its path, so nothing else is needed from PATH but setsid.
    let without_setsid = [("PATH", missing.as_str())];
    let without_folder = [("TMPDIR", missing.as_str())];
    let (standin, no_program) = (fleet.masscan.clone(), PathBuf::from(&missing));
    type Variables<'a> = &'a [(&'a str, &'a str)];
    let cases: [(&str, PathBuf, Variables, &str); 4] = [
        (
            "no-setsid",
            standin.clone(),
            &without_setsid,
            "apt install util-linux",
        ),
        (
            "no-folder",
            standin,
            &without_folder,
            "a temporary folder: No such file or directory",
        ),
        ("no-masscan", no_program, &[], "install masscan"),
        ("other", "/bin/true".into(), &[], "is not masscan"),
    ];
    let servers: Vec<_> = cases
        .iter()
        .map(|(name, masscan, variables, _)| {
            let fleet = Fleet {
                masscan: masscan.clone(),
                ..fleet.clone_for_thread()
            };
            fleet.scand_with(name, &[], variables)
        })
        .collect();
    for (server, (_, _, _, fault)) in servers.iter().zip(&cases) {
        server.wait_for_log("this server cannot scan, and claims nothing until it can");
        assert!(server.log().contains(fault), "{}", server.log());
    }
    let id = fleet.push_network(&fleet.network(0), 10_000, &["-attempts", "1"]);
    wait_until("the task to be ingested", SOON, || {
        fleet.task(&id).is_some()
    });
    let _able = fleet.ready_scand("able", &[]);
    completed_in_first_attempt(&fleet, &id, "able");
    assert_eq!(fleet.standin_starts(), 1);
}

/// An interface of this machine that leads nowhere; removed on drop.
struct Interface(String);

impl Interface {
    fn new(name: String) -> Interface {
        let (mut add, peer) = (Command::new("ip"), format!("{name}p"));
        add.args(["link", "add", &name, "type", "veth", "peer", "name", &peer]);
        assert!(add.status().unwrap().success());
        Interface(name)
    }

    fn remove(&self) {
        let _ = Command::new("ip").args(["link", "del", &self.0]).status();
    }
}

impl Drop for Interface {
    fn drop(&mut self) {
        if Path::new("/sys/class/net").join(&self.0).exists() {
            self.remove();
        }
    }
}

fn lost_interface() {
    let failure =
        json!({"fail": {"stderr": "FAIL: failed to detect IP of interface", "exit_code": 1}});
    let fleet = Fleet {
        source: &[],
        ..Fleet::new("lost-nic").with_standin(&failure)
    };
    let interface = Interface::new(format!("scan{}", std::process::id()));
    let broken = fleet.ready_scand(
        "a",
        &[
            "-interface",
            &interface.0,
            "-router-mac",
            "02-00-00-00-00-01",
        ],
    );
    wait_until("the server to claim", SOON, || {
        fleet
            .shown_server("a")
            .is_some_and(|shown| shown["fault"].is_null())
    });
    interface.remove();
    let id = fleet.push_network(&fleet.network(0), 10_000, &["-attempts", "1"]);
    broken.wait_for_log(
        "given back without an attempt: this server cannot scan: there is no interface",
    );
    wait_until("the task to be queued without an attempt", SOON, || {
        let task = fleet.task(&id);
        task.is_some_and(|task| (task.status, task.attempt) == (State::Queued, 0))
    });
    let able = fleet.with_standin_in("able", &json!({}));
    let _able = able.ready_scand("b", &[]);
    completed_in_first_attempt(&fleet, &id, "b");
}

/// The first server has no IPv6 address; the second server has one and starts later.
fn without_ipv6() {
    let fleet = Fleet::new("no-ipv6");
    let lab = OwnLab::start(&fleet);
    lab.run("ip -6 addr flush dev scan0 scope global");
    let limited = Fleet {
        masscan: lab.masscan(),
        ..fleet.clone_for_thread()
    };
    let without = limited.ready_scand("a", &[]);
    let words = [
        "-ip",
        "fd00:5ca0::/126",
        "-ports",
        "443",
        "-bandwidth",
        "200",
        "-wait",
        "1",
        "-attempts",
        "1",
    ];
    let id = fleet.push(&words).remove(0);
    without
        .wait_for_log("refused by every server of the group; it will be rejected after 60 s unless one can run it; \
         this server's reason: it has IPv6 targets, and scan0 has no IPv6 address");
    let ipv4 = fleet.push_network(&fleet.network(0), 2000, &[]);
    assert_eq!(fleet.wait_ended(&ipv4, SOON).server.as_deref(), Some("a"));
    let _with = fleet.ready_scand("b", &[]);
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!(
        (
            ended.status,
            ended.attempt,
            ended.server.as_deref(),
            ended.found
        ),
        (State::Completed, 1, Some("b"), 4)
    );
}

fn own_network() {
    let fleet = Fleet::new("own-net");
    let server = fleet.ready_scand("a", &[]);
    // The scanner is 192.0.2.1/30.
    let id = fleet.push_network("192.0.2.0/28", 200, &["-attempts", "1"]);
    server.wait_for_log("own network, or its own addresses: 4 (192.0.2.0/30 …)");
    fleet.wait_refused_by_all(&id);
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!(ended.status, State::Rejected);
    let error = ended.error.unwrap();
    assert!(
        error.contains("-exclude") && error.contains("-router-mac"),
        "{error}"
    );
    let rest = fleet.push_network("192.0.2.0/28", 200, &["-exclude", "192.0.2.0/30"]);
    assert_eq!(fleet.wait_ended(&rest, SOON).status, State::Completed);
}

fn dropped_probes() {
    let mut fleet = Fleet::new("queue");
    let lab = OwnLab::start(&fleet);
    fleet.masscan = lab.masscan();
    let server = fleet.ready_scand("a", &[]);
    let id = fleet.push_network(&fleet.network(0), 1000, &["-wait", "2"]);
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!((ended.status, ended.error), (State::Completed, None));
    lab.run("tc qdisc add dev scan0 root tbf rate 8kbit burst 1600 limit 1600");
    let id = fleet.push_network(&fleet.network(1), 1000, &["-wait", "2"]);
    let ended = fleet.wait_ended(&id, SOON);
    assert_eq!(ended.status, State::Completed);
    assert!(ended.found < 256, "{ended:?}");
    let error = ended.error.unwrap();
    assert!(error.starts_with("the queue of scan0 dropped "), "{error}");
    server.wait_for_log("packets during the scan, so probes were probably lost: lower the rate");
}

fn silent_router() {
    let stderr = "[-] FAIL: ARP timed-out resolving MAC address for router lo: \"192.0.2.2\"";
    let failure = json!({"fail": {"stderr": stderr, "exit_code": 1}});
    let fleet = Fleet::new("router").with_standin(&failure);
    let broken = fleet.ready_scand("a", &[]);
    let id = fleet.push_network(&fleet.network(0), 10_000, &["-attempts", "1"]);
    broken.wait_for_log("given back without an attempt: this server cannot scan: masscan exited");
    let able = fleet.with_standin_in("able", &json!({}));
    let _able = able.ready_scand("b", &[]);
    completed_in_first_attempt(&fleet, &id, "b");
}
