//! A run of these tests that is ended in the middle leaves nothing behind.

use crate::support::{Fleet, SOON, wait_for, wait_until};
use crate::{Needs, Test};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

pub const TESTS: &[Test] = &[(
    "a_run_of_these_tests_that_is_ended_leaves_nothing",
    Needs::Lab,
    ended,
)];

/// Has a Kafka and a server of its own, and takes a while.
const A_TEST: &str = "a_full_buffer_suspends_the_scan_and_loses_nothing";

fn ended() {
    let fleet = Fleet::new("broken-off");
    let log = fleet.folder.join("run.log");
    let run = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", A_TEST])
        .env("TMPDIR", &fleet.folder)
        .stdin(Stdio::null())
        .stdout(File::create(&log).unwrap())
        .stderr(Stdio::null())
        .spawn();
    let mut run = Run(run.unwrap());
    let pid = Pid::from_child(&run.0);
    wait_until("its server to be ready", SOON * 2, || {
        assert_eq!(run.0.try_wait().unwrap(), None, "it goes on");
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
    // What was killed takes a moment to be gone.
    wait_until("nothing to be left running", SOON, || {
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

/// Ended on drop, in order.
struct Run(Child);

impl Drop for Run {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
            let _ = self.0.wait();
        }
    }
}

/// Whether a server whose log lies three folders down is.
fn is_ready(folder: &Path) -> bool {
    let below = |folder: &Path| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let worlds = below(folder);
    let fleets = worlds.iter().flat_map(|world| below(world));
    let mut logs = fleets.map(|fleet| fleet.join("a.log"));
    logs.any(|log| {
        fs::read_to_string(log).is_ok_and(|log| log.contains("ready: waiting for tasks"))
    })
}

/// How many processes run with this folder for their temporary files, or in it. A zombie does neither.
fn running_with(folder: &Path) -> usize {
    let temporary = format!("TMPDIR={}", folder.display());
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let ours = processes.filter(|process| {
        let environment = fs::read(process.path().join("environ")).unwrap_or_default();
        let has_it = environment
            .split(|&b| b == 0)
            .any(|word| word == temporary.as_bytes());
        let is_in_it =
            fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
        has_it || is_in_it
    });
    ours.count()
}
