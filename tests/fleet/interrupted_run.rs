//! A run of these tests that is terminated in the middle leaves no process, namespace or folder behind.

use crate::support::{Fleet, SOON, wait_for, wait_until};
use crate::{Needs, Test};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

pub const TESTS: &[Test] = &[
    (
        "a_terminated_test_run_leaves_nothing_behind",
        Needs::Lab,
        with_servers,
    ),
    (
        "a_terminated_test_run_leaves_no_browser_behind",
        Needs::Browser,
        with_browser,
    ),
];

/// This test starts its own Kafka and a server, and takes several seconds.
fn with_servers() {
    terminate(
        "a_full_buffer_suspends_the_scan_and_loses_nothing",
        |fleet| {
            let log = fs::read_to_string(fleet.join("a.log"));
            log.is_ok_and(|log| log.contains("ready: waiting for tasks"))
        },
    );
}

/// This test has a browser most of the time.
fn with_browser() {
    terminate(
        "the_browser_of_these_tests_shows_what_it_is_given",
        |fleet| fleet.join("browser/data/DevToolsActivePort").exists(),
    );
}

/// Terminates a run of another test once one of its fleets' folders is as `is_ready` wants it.
fn terminate(nested_test: &str, is_ready: impl Fn(&Path) -> bool) {
    // A short name, because the paths of sockets below its folder are limited.
    let fleet = Fleet::new("nested");
    let log = fleet.folder.join("run.log");
    let run = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", nested_test])
        .env("TMPDIR", &fleet.folder)
        .stdin(Stdio::null())
        .stdout(File::create(&log).unwrap())
        .stderr(Stdio::null())
        .spawn();
    let mut run = Run(run.unwrap());
    let pid = Pid::from_child(&run.0);
    wait_until("its test to be in the middle", SOON * 2, || {
        if let Some(status) = run.0.try_wait().unwrap() {
            panic!(
                "it has ended, {status}: {}",
                fs::read_to_string(&log).unwrap()
            );
        }
        fleets_below(&fleet.folder)
            .iter()
            .any(|path| is_ready(path))
    });
    assert!(running_with(&fleet.folder) > 4, "its programs and its lab");
    kill_process(pid, Signal::TERM).unwrap();
    let status = wait_for("its end", SOON, || run.0.try_wait().unwrap());
    assert_eq!(
        status.code(),
        Some(130),
        "{}",
        fs::read_to_string(&log).unwrap()
    );
    // Killed processes take a moment to disappear.
    wait_until("all processes to end", SOON, || {
        running_with(&fleet.folder) == 0
    });
    let namespaces = fs::read_dir("/run/netns").unwrap().flatten();
    let name = format!("t{}", pid.as_raw_nonzero());
    let left = namespaces.filter(|left| {
        let left = left.file_name().into_string().unwrap();
        left.split(['-', 'n']).next() == Some(&name)
    });
    assert_eq!(left.count(), 0);
    let folders = fs::read_dir(&fleet.folder).unwrap().flatten();
    assert_eq!(folders.filter(|entry| entry.path().is_dir()).count(), 0);
}

/// Terminated with SIGTERM on drop.
struct Run(Child);

impl Drop for Run {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
            let _ = self.0.wait();
        }
    }
}

/// The folders of the nested run's fleets, two below `folder`.
fn fleets_below(folder: &Path) -> Vec<PathBuf> {
    let below = |folder: PathBuf| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path())
    };
    below(folder.to_owned()).flat_map(below).collect()
}

/// The number of processes whose TMPDIR or working folder is this folder or in it. Zombies are not counted.
fn running_with(folder: &Path) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let ours = processes.filter(|process| {
        let environment = fs::read(process.path().join("environ")).unwrap_or_default();
        let has_tmpdir = environment
            .split(|&b| b == 0)
            .filter_map(|word| word.strip_prefix(b"TMPDIR="))
            .any(|tmpdir| Path::new(OsStr::from_bytes(tmpdir)).starts_with(folder));
        let works_in_folder =
            fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
        has_tmpdir || works_in_folder
    });
    ours.count()
}
