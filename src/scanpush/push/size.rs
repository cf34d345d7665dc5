//! The size of tasks: addresses, probes, and the estimated duration. Pure.

use crate::model::Task;
use crate::model::targets::AddressRange;
use crate::model::text::counted;
use std::collections::BTreeSet;
use std::fmt;

/// The size of a task or of a whole push.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Size {
    /// Addresses minus exclusions. Addresses that several shards share count once.
    pub addresses: u128,
    /// Addresses × ports × passes: what leaves. For a shard, only its share.
    pub probes: u128,
    /// Packets per second of all tasks that run at the same time.
    pub rate_pps: u64,
    /// Seconds to send all probes at that rate and to wait for late answers after each pass.
    pub duration_s: f64,
}

impl Size {
    /// The duration in its two largest units.
    pub fn duration(&self) -> String {
        format_duration(self.duration_s)
    }

    /// The size of one task.
    pub fn of_task(task: &Task) -> Size {
        let (addresses, probes) = (
            task.ip_range.without(&task.exclude).count(),
            own_probes(task),
        );
        let rate_pps = task.band_width.pps();
        let duration_s = seconds_to_send(task, probes) + f64::from(task.wait_s);
        Size {
            addresses,
            probes,
            rate_pps,
            duration_s,
        }
    }

    /// The size of a push. The duration assumes that as many tasks run at the same time as their job allows. Without such a limit
    /// it assumes one at a time, because the number of servers is not known here.
    pub fn of_push(tasks: &[Task]) -> Size {
        let mut all = Size::default();
        let mut shared: BTreeSet<(u64, Option<AddressRange>)> = BTreeSet::new();
        let mut wait_s = 0;
        for task in tasks {
            let size = Size::of_task(task);
            let parallel = u64::from(task.parallel.unwrap_or(1));
            // The shards of one set of addresses have the same seed.
            let first = task.ip_range.ranges().first().copied();
            if task.shard.is_none() || shared.insert((task.seed, first)) {
                all.addresses = all.addresses.saturating_add(size.addresses);
            }
            all.probes = all.probes.saturating_add(size.probes);
            all.rate_pps = all.rate_pps.max(size.rate_pps.saturating_mul(parallel));
            all.duration_s += seconds_to_send(task, size.probes) / parallel as f64;
            wait_s = wait_s.max(task.wait_s);
        }
        all.duration_s += f64::from(wait_s);
        all
    }
}

/// masscan assigns probes to shards in turn: shard i of n sends every n-th probe, starting with the i-th.
fn own_probes(task: &Task) -> u128 {
    let all = task.probes();
    let in_one_pass = match task.shard {
        None => all,
        Some(shard) => {
            (all + u128::from(shard.count) - u128::from(shard.index)) / u128::from(shard.count)
        }
    };
    in_one_pass * u128::from(task.passes())
}

/// From the first probe to the last one, with the waits between passes.
fn seconds_to_send(task: &Task, probes: u128) -> f64 {
    let waits_s: u32 = (1..task.passes()).map(|pass| task.wait_s_of(pass)).sum();
    probes as f64 / task.band_width.pps() as f64 + f64::from(waits_s)
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: u128| if count == 1 { "" } else { "es" };
        write!(
            f,
            "{} address{}, {} probe{}, {} at {}",
            self.addresses,
            plural(self.addresses),
            self.probes,
            if self.probes == 1 { "" } else { "s" },
            format_duration(self.duration_s),
            counted(self.rate_pps, "packet per second", "packets per second")
        )
    }
}

/// A duration in its two largest units: `12 s`, `3 min 20 s`, `49 d 17 h`.
fn format_duration(seconds: f64) -> String {
    const UNITS: [(u64, &str); 4] = [(24 * 3600, "d"), (3600, "h"), (60, "min"), (1, "s")];
    // The cast saturates.
    let seconds = seconds.ceil() as u64;
    let Some(at) = UNITS.iter().position(|&(unit_s, _)| seconds >= unit_s) else {
        return "0 s".to_owned();
    };
    let (unit_s, unit) = UNITS[at];
    let (count, rest) = (seconds / unit_s, seconds % unit_s);
    match UNITS.get(at + 1) {
        Some(&(next_s, next)) if rest / next_s > 0 => {
            format!("{count} {unit} {} {next}", rest / next_s)
        }
        _ => format!("{count} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TaskId;

    fn task(ip_range: &str, ports: &str, pps: &str) -> Task {
        let parts = (
            ip_range.parse().unwrap(),
            ports.parse().unwrap(),
            pps.parse().unwrap(),
        );
        Task {
            wait_s: 10,
            ..Task::new(TaskId::random(), parts.0, parts.1, parts.2)
        }
    }

    #[test]
    fn the_duration_of_a_task_is_sending_plus_waiting() {
        let mut task = task("10.0.0.0/24", "80,443", "256");
        task.exclude = "10.0.0.0/25".parse().unwrap();
        task.retries = 3;
        let size = Size::of_task(&task);
        assert_eq!(
            (size.addresses, size.probes, size.rate_pps),
            (128, 1024, 256)
        );
        assert_eq!(size.duration_s, 4.0 + 3.0 * 2.0 + 10.0);
        assert_eq!(
            size.to_string(),
            "128 addresses, 1024 probes, 20 s at 256 packets per second"
        );
    }

    #[test]
    fn tasks_are_counted_in_sequence_unless_the_job_limits_parallel_ones() {
        let two = [
            task("10.0.0.0/24", "80", "128"),
            task("10.0.1.0/24", "80", "128"),
        ];
        let size = Size::of_push(&two);
        assert_eq!(
            (size.addresses, size.probes, size.rate_pps),
            (512, 512, 128)
        );
        assert_eq!(size.duration_s, 4.0 + 10.0);
        let shards: Vec<Task> = (1..=3)
            .map(|index| Task {
                shard: Some(format!("{index}/3").parse().unwrap()),
                seed: 7,
                parallel: Some(2),
                ..task("10.0.0.0/24", "80", "64")
            })
            .collect();
        let probes: Vec<u128> = shards
            .iter()
            .map(|task| Size::of_task(task).probes)
            .collect();
        assert_eq!(probes, [86, 85, 85]);
        let size = Size::of_push(&shards);
        assert_eq!(
            (size.addresses, size.probes, size.rate_pps),
            (256, 256, 128)
        );
        assert_eq!(size.duration_s, 2.0 + 10.0);
    }

    #[test]
    fn durations_have_two_units() {
        for (seconds, text) in [
            (0.0, "0 s"),
            (0.2, "1 s"),
            (59.0, "59 s"),
            (60.0, "1 min"),
            (200.0, "3 min 20 s"),
            (3600.0, "1 h"),
            (4_294_967.0, "49 d 17 h"),
            (90_061.0, "1 d 1 h"),
            (86_401.0, "1 d"),
            (f64::INFINITY, "213503982334601 d 7 h"),
        ] {
            assert_eq!(format_duration(seconds), text, "{seconds}");
        }
    }
}
