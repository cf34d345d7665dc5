//! The lab: the network namespaces in which masscan runs, and the probes that arrive at its targets.
//!
//! masscan runs in a lab's namespace only. A test that needs no real answers uses the stand-in, which sends nothing.

use super::environment::{lab, report, script, text};
use super::fleet::Fleet;
use super::wait::{SOON, wait_for};
use scan::model::Targets;
use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// A lab for one test, which may change its interfaces. Removed on drop.
pub struct OwnLab {
    name: String,
    folder: PathBuf,
}

impl OwnLab {
    pub fn start(fleet: &Fleet) -> OwnLab {
        let lab = OwnLab {
            name: OwnLab::name(fleet.number),
            folder: fleet.folder.join("lab"),
        };
        fs::create_dir_all(&lab.folder).unwrap();
        script("lab.sh", &["up", &lab.name, text(&lab.folder), "443"]).unwrap();
        lab
    }

    pub fn name(fleet: u32) -> String {
        format!("t{}n{fleet}", std::process::id())
    }

    /// The wrapper that runs masscan in this lab.
    pub fn masscan(&self) -> PathBuf {
        self.folder.join("masscan")
    }

    /// Runs a command in the scanner's namespace.
    pub fn run(&self, command: &str) {
        let namespace = format!("{}-scan", self.name);
        let output = Command::new("ip")
            .args(["netns", "exec", &namespace])
            .args(command.split_whitespace())
            .output()
            .unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
    }
}

impl Drop for OwnLab {
    fn drop(&mut self) {
        report(script("lab.sh", &["down", &self.name, text(&self.folder)]));
    }
}

/// Counts the TCP probes that arrive at these targets from now on, in the targets' namespace.
pub fn count_probes(network: &str) {
    script("lab.sh", &["count", &lab(), network]).unwrap();
}

/// How many probes have arrived since [`count_probes`].
pub fn probes_counted(network: &str) -> u64 {
    let counted = script("lab.sh", &["counted", &lab(), network]).unwrap();
    counted.trim().parse().unwrap()
}

/// From now on, `percent` of the probes of these targets are dropped at random, in the targets' namespace.
pub fn drop_some_probes(network: &str, percent: u32) {
    script("lab.sh", &["lose", &lab(), network, &percent.to_string()]).unwrap();
}

/// As [`count_probes`], but these targets do not answer. So masscan sends no resets, and its packet rate is its probe rate.
pub fn count_probes_of_silent(network: &str) {
    count_probes(network);
    script("lab.sh", &["silence", &lab(), network]).unwrap();
}

/// Counts the probes that arrive at these targets until `is_over`. Returns the highest rate over any interval of at least two seconds, in probes
/// per second. Reading a counter takes a moment, so an interval lasts from before its first reading to after its last one.
pub fn peak_probe_rate(network: &str, mut is_over: impl FnMut() -> bool) -> f64 {
    const WINDOW: Duration = Duration::from_secs(2);
    let deadline = Instant::now() + SOON;
    let mut readings: Vec<(Instant, u64, Instant)> = Vec::new();
    loop {
        let before = Instant::now();
        readings.push((before, probes_counted(network), Instant::now()));
        if is_over() {
            break;
        }
        assert!(before < deadline, "it has not ended");
        thread::sleep(Duration::from_millis(100));
    }
    let pairs = readings
        .iter()
        .flat_map(|first| readings.iter().map(move |last| (first, last)));
    pairs
        .filter(|(first, last)| last.0.saturating_duration_since(first.2) >= WINDOW)
        .map(|(first, last)| (last.1 - first.1) as f64 / (last.2 - first.0).as_secs_f64())
        .fold(0.0, f64::max)
}

/// The processes that scan `network`, by their command lines.
pub fn masscans(network: &str) -> Vec<rustix::process::Pid> {
    fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let words = fs::read(entry.path().join("cmdline")).ok()?;
            let words: Vec<&[u8]> = words.split(|&b| b == 0).collect();
            let ours = words.contains(&network.as_bytes()) && words.contains(&&b"-oD"[..]);
            rustix::process::Pid::from_raw(pid).filter(|_| ours)
        })
        .collect()
}

/// The masscan that scans `network`, once there is one.
pub fn masscan_of(network: &str) -> rustix::process::Pid {
    wait_for("masscan's process", SOON, || {
        masscans(network).first().copied()
    })
}

/// The 256 addresses of a /24 with this port, in the form of [`Fleet::findings`].
pub fn addresses(network: &str, port: u64) -> BTreeSet<(String, u64)> {
    let prefix = network.strip_suffix("0/24").expect("a /24");
    (0..256)
        .map(|last| (format!("{prefix}{last}"), port))
        .collect()
}

/// Each address of these targets with each of these ports, in the form of [`Fleet::findings`]. IPv4 only.
pub fn findings_of(targets: &str, ports: &[u64]) -> BTreeSet<(String, u64)> {
    let targets: Targets = targets.parse().unwrap();
    let addresses = targets.ranges().iter().flat_map(|range| {
        let (IpAddr::V4(first), IpAddr::V4(last)) = (range.first(), range.last()) else {
            panic!("{range} is not IPv4");
        };
        (u32::from(first)..=u32::from(last)).map(Ipv4Addr::from)
    });
    addresses
        .flat_map(|address| ports.iter().map(move |&port| (address.to_string(), port)))
        .collect()
}
