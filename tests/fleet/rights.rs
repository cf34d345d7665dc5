//! As whom masscan runs if scand is root.

use crate::check::check_command;
use crate::support::{Fleet, SOON, lab, masscans, wait_for, wait_until};
use crate::{Needs, Test};
use rustix::process::{Pid, Signal};
use scan::model::State;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

pub const TESTS: &[Test] = &[
    (
        "masscan_runs_as_another_user_with_raw_sockets_and_nothing_else",
        Needs::Lab,
        another_user,
    ),
    (
        "a_masscan_of_another_user_ends_with_its_server",
        Needs::Lab,
        ends_with_its_server,
    ),
    (
        "check_says_as_whom_masscan_runs",
        Needs::Lab,
        check_says_who,
    ),
];

/// The user of these tests: every Debian has it, and it is allowed nothing.
const NOBODY: u32 = 65534;
/// CAP_NET_RAW, as in /proc/PID/status.
const NET_RAW_ONLY: &str = "0000000000002000";

fn install(path: &Path, script: &str) {
    fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn path_of(program: &str) -> String {
    let output = Command::new("which").arg(program).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A folder with a `setpriv` that enters the lab first, because only root can, and a masscan that runs nowhere else.
struct Programs {
    folder: TempDir,
}

impl Programs {
    fn install() -> Programs {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let enter = format!("{} netns exec {}-scan", path_of("ip"), lab());
        let output = Command::new("sh")
            .args(["-c", &format!("{enter} readlink /proc/self/ns/net")])
            .output()
            .unwrap();
        let namespace = String::from_utf8(output.stdout).unwrap();
        let namespace = namespace.trim();
        assert!(namespace.starts_with("net:["), "{namespace}");
        install(
            &folder.path().join("setpriv"),
            &format!("exec {enter} {} \"$@\"", path_of("setpriv")),
        );
        let masscan = path_of("masscan");
        install(
            &folder.path().join("masscan"),
            &format!(
                "[ \"$(readlink /proc/self/ns/net)\" != '{namespace}' ] || exec {masscan} \"$@\"\nexec {enter} {masscan} \"$@\""
            ),
        );
        Programs { folder }
    }

    fn masscan(&self) -> PathBuf {
        self.folder.path().join("masscan")
    }

    /// `PATH` with this folder first.
    fn path(&self) -> String {
        let folder = self.folder.path().display();
        format!("{folder}:{}", std::env::var("PATH").unwrap())
    }
}

/// A field of /proc/PID/status.
fn status(pid: Pid, field: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap().trim().to_owned()
}

/// The masscan that scans `network`, once the programs before it have become masscan.
fn scanning(network: &str) -> Pid {
    let is_masscan = |pid: &Pid| {
        fs::read_link(format!("/proc/{}/exe", pid.as_raw_nonzero()))
            .is_ok_and(|program| program.ends_with("masscan"))
    };
    wait_for("masscan's process", SOON, || {
        masscans(network).into_iter().find(is_masscan)
    })
}

fn another_user() {
    let (mut fleet, programs) = (Fleet::new("nobody"), Programs::install());
    fleet.masscan = programs.masscan();
    // So many exclusions that masscan reads them from a file, which its user must be able to read: every odd address of half a /16.
    let network = fleet.network(0);
    let second = network.split('.').nth(1).unwrap();
    let targets = format!("172.{second}.0.0/17");
    let odd: String = (0..16_384)
        .map(|n| format!("172.{second}.{}.{}\n", n / 128, n % 128 * 2 + 1))
        .collect();
    let exclude = fleet.folder.join("exclude.conf");
    fs::write(&exclude, odd).unwrap();
    let words = [
        "-masscan-user",
        "nobody",
        "-excludefile",
        exclude.to_str().unwrap(),
    ];
    let server = fleet.scand_with("a", &words, &[("PATH", &programs.path())]);
    server.wait_for_log("ready: waiting for tasks");
    server.wait_for_log("masscan runs as nobody, with raw sockets and nothing else");
    let id = fleet.push_network(&targets, 4000, &[]);
    let masscan = scanning(&targets);
    let of_all = |id: u32| format!("{id}\t{id}\t{id}\t{id}");
    assert_eq!(status(masscan, "Uid"), of_all(NOBODY));
    assert_eq!(status(masscan, "Gid"), of_all(NOBODY));
    assert_eq!(status(masscan, "Groups"), "");
    assert_eq!(status(masscan, "NoNewPrivs"), "1");
    for set in ["CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"] {
        assert_eq!(status(masscan, set), NET_RAW_ONLY, "{set}");
    }
    let folder = fs::metadata(format!("/proc/{}/cwd", masscan.as_raw_nonzero())).unwrap();
    // It may write there, but not replace the file with the exclusions.
    let seen = (folder.uid(), folder.gid(), folder.mode() & 0o7777);
    assert_eq!(seen, (0, NOBODY, 0o1770));
    let task = fleet.wait_ended(&id, SOON);
    assert_eq!(task.status, State::Completed, "{task:?}");
    let found = fleet.findings(&id);
    assert!(found.len() > 8_192, "most of 16 384: {}", found.len());
    assert!(
        found
            .iter()
            .all(|(ip, _)| ip.ends_with(['0', '2', '4', '6', '8']))
    );
    assert!(server.log().contains("--excludefile exclude.txt"));
}

fn ends_with_its_server() {
    let (mut fleet, programs) = (Fleet::new("nobody-ends"), Programs::install());
    fleet.masscan = programs.masscan();
    let start = |name: &str| {
        let server = fleet.scand_with(
            name,
            &["-masscan-user", "nobody"],
            &[("PATH", &programs.path())],
        );
        server.wait_for_log("ready: waiting for tasks");
        server
    };
    let network = fleet.network(0);
    let id = fleet.push_network(&network, 20, &[]);
    let mut first = start("a");
    scanning(&network);
    first.signal(Signal::TERM);
    assert_eq!(first.wait(SOON).code(), Some(0), "{}", first.log());
    assert_eq!(masscans(&network), []);

    let mut second = start("b");
    let masscan = scanning(&network);
    assert!(status(masscan, "Uid").starts_with(&NOBODY.to_string()));
    second.kill();
    wait_until("the end of masscan", SOON, || masscans(&network).is_empty());
    assert!(!fleet.task(&id).unwrap().status.is_terminal());
}

fn check_says_who() {
    let mut fleet = Fleet::new("check-user");
    let rights = |fleet: &Fleet, words: &[&str], path: Option<&Path>| {
        let mut command = check_command(fleet, words);
        command.envs(path.map(|path| ("PATH", path)));
        let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let line = text.lines().find(|line| line.contains(" rights "));
        line.unwrap_or(&text).to_owned()
    };
    let masscan = path_of("masscan");
    let tools = fleet.folder.join("tools");
    fs::create_dir(&tools).unwrap();
    symlink(&masscan, tools.join("masscan")).unwrap();
    let (tools, whole) = (Some(tools.as_path()), None);
    // The lab's masscan is a script that only root can run. -check runs the others only for what they say about themselves.
    for (program, words, path, begins, contains) in [
        (None, &[][..], whole, "ok", "because it is a script:"),
        (
            None,
            &["-masscan-user", "nobody"],
            whole,
            "FAIL",
            "-masscan-user: nobody cannot run it",
        ),
        (
            Some("masscan"),
            &[],
            whole,
            "ok",
            ", with raw sockets and nothing else",
        ),
        (
            Some(masscan.as_str()),
            &[],
            whole,
            "ok",
            ", with raw sockets and nothing else",
        ),
        (
            Some("masscan"),
            &["-masscan-user", "root"],
            whole,
            "ok",
            "root, with raw sockets",
        ),
        (
            Some("masscan"),
            &["-masscan-user", "no-such"],
            whole,
            "FAIL",
            "there is no user no-such in /etc/passwd",
        ),
        (
            Some("masscan"),
            &[],
            tools,
            "warn",
            "setpriv is missing (apt install util-linux)",
        ),
        (
            Some("masscan"),
            &["-masscan-user", "nobody"],
            tools,
            "FAIL",
            "setpriv is missing",
        ),
        (
            Some("masscan"),
            &["-masscan-user", "root"],
            tools,
            "ok",
            "root, with raw sockets",
        ),
    ] {
        fleet.masscan = program.map_or(fleet.masscan.clone(), PathBuf::from);
        let line = rights(&fleet, words, path);
        assert!(
            line.starts_with(begins) && line.contains(contains),
            "{words:?}: {line}"
        );
    }
}
