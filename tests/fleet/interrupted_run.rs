//! A run of these tests that is terminated in the middle leaves no process, namespace or folder behind.

use crate::support::{Fleet, SOON, wait_for, wait_until};
use crate::{Needs, Test};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

pub const TESTS: &[Test] = &[(
    "a_terminated_test_run_leaves_nothing_behind",
    Needs::Lab,
    terminated,
)];

/// A test that starts its own Kafka and a server, and takes several seconds.
const NESTED_TEST: &str = "a_full_buffer_suspends_the_scan_and_loses_nothing";

fn terminated() {
    let fleet = Fleet::new("interrupted-run");
    let log = fleet.folder.join("run.log");
    let run = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NESTED_TEST])
        .env("TMPDIR", &fleet.folder)
        .stdin(Stdio::null())
        .stdout(File::create(&log).unwrap())
        .stderr(Stdio::null())
        .spawn();
    let mut run = Run(run.unwrap());
    let pid = Pid::from_child(&run.0);
    wait_until("its server to be ready", SOON * 2, || {
        assert_eq!(run.0.try_wait().unwrap(), None, "it is still running");
        is_ready(&fleet.folder)
    });
    assert!(running_with(&fleet.folder) > 4, "its servers and its lab");
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

/// Whether a server of the nested run is ready, according to its log two folders below `folder`.
fn is_ready(folder: &Path) -> bool {
    let below = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let environments = below(folder);
    let fleets = environments
        .iter()
        .flat_map(|environment| below(environment));
    let mut logs = fleets.map(|fleet| fleet.join("a.log"));
    logs.any(|log| {
        fs::read_to_string(log).is_ok_and(|log| log.contains("ready: waiting for tasks"))
    })
}

/// The number of processes whose TMPDIR is this folder or whose working folder is in it. Zombies are not counted.
fn running_with(folder: &Path) -> usize {
    let temporary = format!("TMPDIR={}", folder.display());
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let ours = processes.filter(|process| {
        let environment = fs::read(process.path().join("environ")).unwrap_or_default();
        let has_tmpdir = environment
            .split(|&b| b == 0)
            .any(|word| word == temporary.as_bytes());
        let works_in_folder =
            fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
        has_tmpdir || works_in_folder
    });
    ours.count()
}
