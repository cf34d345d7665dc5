//! Builds masscan's argument vector from typed values. Pure.

use crate::model::source::Source;
use crate::model::task::ARGUMENT_MAX_BYTES;
use crate::model::text::{RECORD_FIELD_SHOWN_MAX_CHARS, shortened};
use crate::model::{Targets, Task};
use std::fmt;

/// masscan requires an exclusion as confirmation if a range has more addresses than this.
const MASSCAN_UNCONFIRMED_ADDRESSES_MAX: u128 = 1_000_000_000;

/// The file in masscan's working folder for exclusions that are too long for an argument.
pub(super) const EXCLUDE_FILE: &str = "exclude.txt";

/// The parameters of one run of masscan, a pass of a task.
#[derive(Clone, Copy, Debug)]
pub struct ScanArguments<'a> {
    /// The task.
    pub task: &'a Task,
    /// The pass, from 1. Never masscan's `--retries`, see `model/passes.rs`.
    pub pass: u32,
    /// Packets per second; at most the task's `band_width`.
    pub rate_pps: u64,
    /// The index at which it begins; 0 is the first probe.
    pub resume_index: u64,
    /// Addresses that this server may not scan, besides the task's own exclusions; usually empty.
    pub exclude: &'a Targets,
    /// The interface, addresses, ports and router to send with.
    pub source: &'a Source,
}

/// masscan 1.3.2 refuses a range of more than [`MASSCAN_UNCONFIRMED_ADDRESSES_MAX`] addresses without an exclusion ("range too big, need
/// confirmation") and names this one as the way to confirm it: the limited broadcast address, which no host has.
const CONFIRMATION: &str = "255.255.255.255";

impl ScanArguments<'_> {
    /// The argument vector, without the program. Findings come as NDJSON on standard output (`-oD -`).
    ///
    /// Each value is the `Display` of a parsed type: digits, addresses, commas, dashes, colons, slashes.
    pub fn to_vec(&self) -> Vec<String> {
        let task = self.task;
        let mut words: Vec<String> = vec!["-oD".to_owned(), "-".to_owned()];
        let mut flag = |name: &str, value: &dyn fmt::Display| {
            words.extend([name.to_owned(), value.to_string()]);
        };
        flag("--range", &task.ip_range);
        flag("-p", &task.ports);
        flag("--rate", &self.rate_pps);
        flag("--wait", &task.wait_s_of(self.pass));
        flag("--seed", &task.seed_of(self.pass));
        if let Some(shard) = &task.shard {
            flag("--shard", shard);
        }
        match self.excluded() {
            Excluded::Nothing => {}
            Excluded::Argument(list) => flag("--exclude", &list),
            Excluded::File(_) => flag("--excludefile", &EXCLUDE_FILE),
        }
        if self.resume_index > 0 {
            flag("--resume-index", &self.resume_index);
        }
        let source = self.source;
        if let Some(interface) = &source.interface {
            flag("--interface", interface);
        }
        if let Some(addresses) = &source.addresses {
            flag("--source-ip", addresses);
        }
        if let Some(ports) = &source.ports {
            flag("--source-port", ports);
        }
        if let Some(mac) = &source.router_mac {
            flag("--router-mac", mac);
        }
        words
    }
}

/// The exclusions in the form that masscan gets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Excluded {
    Nothing,
    Argument(String),
    /// The content of [`EXCLUDE_FILE`]: one range a line.
    File(String),
}

impl ScanArguments<'_> {
    /// The command line for a log: a word that is long, such as a list of thousands of targets, is its beginning and its size.
    pub fn abridged(&self) -> String {
        let words = self.to_vec();
        let words: Vec<String> = words
            .iter()
            .map(|word| shortened(word, RECORD_FIELD_SHOWN_MAX_CHARS))
            .collect();
        words.join(" ")
    }

    /// The task's exclusions and the server's.
    pub(super) fn excluded(&self) -> Excluded {
        let both = [self.task.exclude.ranges(), self.exclude.ranges()].concat();
        let list = Targets::from_ranges(both).to_string();
        match list.len() {
            0 if self.task.ip_range.count() > MASSCAN_UNCONFIRMED_ADDRESSES_MAX => {
                Excluded::Argument(CONFIRMATION.to_owned())
            }
            0 => Excluded::Nothing,
            bytes if bytes <= ARGUMENT_MAX_BYTES => Excluded::Argument(list),
            _ => Excluded::File(list.replace(',', "\n") + "\n"),
        }
    }
}

impl fmt::Display for ScanArguments<'_> {
    /// As a command line. No value needs quotes in a shell.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_vec().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn task(record: serde_json::Value) -> Task {
        Task::from_record(record.to_string().as_bytes()).unwrap()
    }

    fn shown(task: &Task, pass: u32, resume_index: u64, exclude: &str) -> String {
        let exclude: Targets = match exclude {
            "" => Targets::default(),
            list => list.parse().unwrap(),
        };
        ScanArguments {
            task,
            pass,
            rate_pps: 500,
            resume_index,
            exclude: &exclude,
            source: &Source::default(),
        }
        .to_string()
    }

    #[test]
    fn a_task_becomes_a_command_line() {
        let plain = task(serde_json::json!({
            "task_id": "a", "ip_range": "172.16.0.0/24", "ports": "443", "band_width": "800", "seed": 7
        }));
        assert_eq!(
            shown(&plain, 1, 0, ""),
            "-oD - --range 172.16.0.0/24 -p 443 --rate 500 --wait 10 --seed 7"
        );
        let full = task(serde_json::json!({
            "task_id": "a", "ip_range": "172.16.0.0/24,fd00::/120", "ports": "U:53,T:80-90", "band_width": "800", "seed": 7,
            "retries": 2, "wait_s": 3, "shard": "2/4", "exclude": "172.16.0.9"
        }));
        assert_eq!(
            shown(&full, 3, 99, "172.16.0.8"),
            format!(
                "-oD - --range 172.16.0.0/24,fd00::/120 -p 80-90,U:53 --rate 500 --wait 3 --seed {} --shard 2/4 --exclude 172.16.0.8/31 \
                 --resume-index 99",
                full.seed_of(3)
            )
        );
    }

    #[test]
    fn a_long_list_is_shortened_in_a_log() {
        let list: Vec<String> = (0..4096)
            .map(|n| std::net::Ipv4Addr::from(0x0a01_0000 + 2 * n).to_string())
            .collect();
        let task = task(serde_json::json!({
            "task_id": "a", "ip_range": list.join(","), "ports": "443", "band_width": "800", "seed": 7
        }));
        let exclude = Targets::default();
        let arguments = ScanArguments {
            task: &task,
            pass: 1,
            rate_pps: 500,
            resume_index: 0,
            exclude: &exclude,
            source: &Source::default(),
        };
        let (full, abridged) = (arguments.to_string(), arguments.abridged());
        assert!(full.len() > 40_000 && abridged.len() < 400, "{abridged}");
        let size = format!("… ({} bytes) -p 443", list.join(",").len());
        assert!(abridged.contains(&size), "{abridged}");
    }

    #[test]
    fn exclusions_that_are_too_long_for_an_argument_are_a_file() {
        let plain = task(serde_json::json!({
            "task_id": "a", "ip_range": "10.0.0.0/8", "ports": "443", "band_width": "800", "seed": 7, "exclude": "10.0.0.1"
        }));
        let many = (0..20_000u32).map(|n| {
            std::net::Ipv4Addr::from(0x0a01_0000 + 2 * n)
                .to_string()
                .parse()
                .unwrap()
        });
        let exclude = Targets::from_ranges(many.collect());
        let arguments = ScanArguments {
            task: &plain,
            pass: 1,
            rate_pps: 500,
            resume_index: 0,
            exclude: &exclude,
            source: &Source::default(),
        };
        assert!(arguments.to_string().ends_with("--excludefile exclude.txt"));
        let Excluded::File(text) = arguments.excluded() else {
            panic!("{:?}", arguments.excluded());
        };
        assert!(text.starts_with("10.0.0.1\n10.1.0.0\n10.1.0.2\n"));
        assert_eq!(text.lines().count(), 20_001);
    }

    #[test]
    fn a_large_range_gets_the_exclusion_that_masscan_requires() {
        for (range, exclude, words) in [
            ("0.0.0.0/0", "", Some("255.255.255.255")),
            ("10.0.0.0-69.154.202.0", "", Some("255.255.255.255")),
            ("10.0.0.0-69.154.201.255", "", None),
            ("0.0.0.0/0", "10.0.0.1", Some("10.0.0.1")),
        ] {
            let task = task(serde_json::json!({
                "task_id": "a", "ip_range": range, "ports": "443", "band_width": "800", "seed": 7
            }));
            let shown = shown(&task, 1, 0, exclude);
            let excluded = shown.split_once(" --exclude ").map(|(_, list)| list);
            assert_eq!(excluded, words, "{range} less {exclude}");
        }
    }

    #[test]
    fn the_source_becomes_arguments() {
        let plain = task(serde_json::json!({
            "task_id": "a", "ip_range": "172.16.0.1", "ports": "443", "band_width": "800", "seed": 7
        }));
        let source = Source {
            interface: Some("eth0.5".parse().unwrap()),
            addresses: Some("192.0.2.1-192.0.2.2".parse().unwrap()),
            ports: Some("40000-40015".parse().unwrap()),
            router_mac: Some("00:11:22:33:44:55".parse().unwrap()),
        };
        let arguments = ScanArguments {
            task: &plain,
            pass: 1,
            rate_pps: 500,
            resume_index: 0,
            exclude: &Targets::default(),
            source: &source,
        };
        assert!(arguments.to_string().ends_with(
            "--seed 7 --interface eth0.5 --source-ip 192.0.2.1-192.0.2.2 --source-port 40000-40015 --router-mac 00-11-22-33-44-55"
        ));
    }

    proptest! {
        /// Whatever a record contains: either it is not a valid task, or every word of the vector is one of our flags or a harmless value.
        #[test]
        fn no_text_of_a_record_reaches_masscan(ip_range in "[-0-9a-f.:/, ;$\n]{1,30}", ports in "[-0-9TUS:, ;]{1,20}") {
            let record = serde_json::json!({"task_id": "a", "ip_range": ip_range, "ports": ports, "band_width": "1"});
            let Ok(task) = Task::from_record(record.to_string().as_bytes()) else { return Ok(()) };
            let words = ScanArguments { task: &task, pass: 1, rate_pps: 1, resume_index: 0, exclude: &Targets::default(), source: &Source::default() }.to_vec();
            let ours = ["-oD", "-", "--range", "-p", "--rate", "--wait", "--seed"];
            for word in &words {
                let value = word.bytes().all(|b| b.is_ascii_hexdigit() || b"US.:/,-".contains(&b));
                prop_assert!(ours.contains(&word.as_str()) || (value && !word.starts_with('-')), "{word:?}");
            }
        }
    }
}
