//! The order of masscan's probes: which probes an index stands for, and which runs have the same order. Pure.
//!
//! From the transmit loop of masscan 1.3.2 (`transmit_thread` in its `src/main.c`), with one network interface:
//! - the range is the number of addresses less all exclusions × ports; the index `i` begins at `--resume-index` + shard − 1, grows by the
//!   number of shards, and ends before the range (without `--retries`, which is never used, see `passes.rs`);
//! - at `i` masscan probes place (`i` + rate) mod range of an order that depends on range and seed; which address and port a place stands for
//!   depends on the sorted set of addresses and on the ports;
//! - the percentage is `i` relative to the range, with two decimals; with shards the last `i` may be beyond it.
//!
//! So an index stands for other probes if the addresses, the ports, the seed, the shard **or the rate** differ. The order also depends on
//! masscan's version (`masscan/binary.rs` decides which versions may share a job). Each pass of a task has its own order; its seed follows
//! from the task's.

use super::resume::{Position, ProbeOrderId, Resume};
use super::targets::Targets;
use super::task::{Shard, Task};
use super::text::fingerprint;

/// masscan rounds the percentage to two decimals: the index may be this much lower than shown.
const PERCENT_ROUNDING: f64 = 0.0051;

/// The order of the probes in each pass of a task.
#[derive(Clone, Copy, Debug)]
pub struct ProbeOrder {
    name: ProbeOrderId,
    addresses: u128,
    ports: u64,
    passes: u32,
    shard: Shard,
}

/// Where an attempt begins after an earlier one left a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begin {
    /// The first pass and its `--resume-index`.
    pub position: Position,
    /// Why that is before the checkpoint, if it is more than one step before it.
    pub why: Option<String>,
}

impl ProbeOrder {
    /// The probe order of `task` on a server that also excludes `exclude` and sends `rate_pps` packets per second.
    pub fn new(task: &Task, exclude: &Targets, rate_pps: u64) -> ProbeOrder {
        let addresses = task.ip_range.without(&task.exclude).without(exclude);
        let shard = task.shard.unwrap_or(Shard { index: 1, count: 1 });
        let other = format!("{} {} {shard} {}", task.ports, task.seed, task.passes());
        ProbeOrder {
            name: ProbeOrderId {
                addresses: fingerprint(&addresses.to_string()),
                other: fingerprint(&other),
                rate_pps,
                masscan: 0,
            },
            addresses: addresses.count(),
            ports: task.ports.count(),
            passes: task.passes(),
            shard,
        }
    }

    /// The same for this version of masscan. Only a run with the same version can continue it.
    pub fn by(mut self, version: &str) -> ProbeOrder {
        self.name.masscan = fingerprint(version);
        self
    }

    /// Identifies this probe order in a checkpoint.
    pub fn name(&self) -> ProbeOrderId {
        self.name
    }

    /// Addresses less all exclusions.
    pub fn addresses(&self) -> u128 {
        self.addresses
    }

    /// Ports of each address.
    pub fn ports(&self) -> u64 {
        self.ports
    }

    /// Whether no index belongs to this shard. masscan must not be started then: it would never end, because it only considers a scan as sent
    /// when it reaches the end from below.
    pub fn is_empty(&self) -> bool {
        u128::from(self.shard.index) > self.range()
    }

    /// Percent of the whole task at `position`.
    pub fn percent_at(&self, position: Position) -> f64 {
        let percent = position.index as f64 * 100.0 / self.range().max(1) as f64;
        self.percent_of_task(position.pass, percent)
    }

    /// Percent of the whole task if masscan shows `percent` in `pass` (from 1).
    pub fn percent_of_task(&self, pass: u32, percent: f64) -> f64 {
        let before = f64::from(pass.max(1) - 1) * 100.0;
        (before + percent.min(100.0)) / f64::from(self.passes)
    }

    /// Seconds of sending in a pass after masscan showed `percent`, at the full rate.
    pub fn sending_s(&self, percent: f64) -> f64 {
        let left = self.range() as f64 * (100.0 - percent).clamp(0.0, 100.0) / 100.0;
        left / f64::from(self.shard.count) / self.name.rate_pps.max(1) as f64
    }

    /// Probes of a pass that began at `index`, when masscan shows `percent`.
    pub fn probes_between(&self, index: u64, percent: f64) -> u64 {
        let reached = (self.range() as f64 * percent.clamp(0.0, 100.0) / 100.0) as u64;
        reached.saturating_sub(index) / u64::from(self.shard.count)
    }

    /// An index that was reached when masscan showed `percent` (below 100).
    pub fn index_at(&self, percent: f64) -> u64 {
        let reached = (percent - PERCENT_ROUNDING).clamp(0.0, 100.0);
        self.floor((self.range() as f64 * reached / 100.0) as u64)
    }

    /// Where an attempt with this order begins after another one left the checkpoint `resume`, so that both together send every probe of every
    /// pass.
    pub fn begin(&self, resume: &Resume) -> Begin {
        let restart = |why: &str| Begin {
            position: Position::START,
            why: Some(why.to_owned()),
        };
        let Position { pass, index } = resume.position;
        let at = |index, why| Begin {
            position: Position { pass, index },
            why,
        };
        if resume.position == Position::START {
            return at(0, None);
        }
        let Some(made_by) = resume.probe_order else {
            return restart("the checkpoint has no probe order");
        };
        if made_by.addresses != self.name.addresses {
            return restart(
                "this server's exclusions leave other addresses of the task, so its probe order is different",
            );
        }
        if made_by.other != self.name.other || !(1..=self.passes).contains(&pass) {
            return restart(
                "the checkpoint belongs to other ports, another seed, shard or number of retries",
            );
        }
        if made_by.masscan != self.name.masscan {
            return restart("the checkpoint belongs to another version of masscan");
        }
        if made_by.rate_pps == self.name.rate_pps || index == 0 {
            return at(self.floor(index), None);
        }
        let why = format!(
            "at {} instead of {} pps an index stands for other probes",
            self.name.rate_pps, made_by.rate_pps
        );
        at(self.after_another_rate(index, made_by.rate_pps), Some(why))
    }

    /// A checkpoint at `index` of the same order at another rate covers `index` places from that rate on, in the circle of the range. This run
    /// begins where the first missing place comes, or before it.
    ///
    /// The shards of a job divide the indices among them. At another rate a shard's indices stand for other places, so it begins at 0.
    fn after_another_rate(&self, index: u64, rate_pps: u64) -> u64 {
        if self.shard.count > 1 {
            return 0;
        }
        let range = self.range().max(1) as i128;
        let faster = i128::from(self.name.rate_pps) - i128::from(rate_pps);
        let begin = i128::from(index) - faster.rem_euclid(range);
        self.floor(u64::try_from(begin).unwrap_or(0))
    }

    /// The highest index up to `index` at which a run may begin. It is a multiple of the number of shards, because other indices belong to other
    /// shards, and something is left to send after it (see [`ProbeOrder::is_empty`]).
    fn floor(&self, index: u64) -> u64 {
        let last = self.range().saturating_sub(self.shard.index.into());
        let index = index.min(u64::try_from(last).unwrap_or(u64::MAX));
        index - index % u64::from(self.shard.count)
    }

    /// Addresses × ports: masscan's range, the probes of one pass, and the most findings.
    pub fn range(&self) -> u128 {
        self.addresses.saturating_mul(self.ports.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const FIRST: u32 = 1;

    fn order_of(addresses: u128, passes: u32, shard: &str, rate_pps: u64) -> ProbeOrder {
        ProbeOrder {
            name: ProbeOrderId {
                addresses: 1,
                other: 2,
                rate_pps,
                masscan: 3,
            },
            addresses,
            ports: 1,
            passes,
            shard: shard.parse().unwrap(),
        }
    }

    fn checkpoint(pass: u32, index: u64, probe_order: Option<ProbeOrderId>) -> Resume {
        Resume {
            position: Position { pass, index },
            probe_order,
            ..Resume::default()
        }
    }

    /// The places that masscan sends to from index `from` up to `to` of a pass.
    fn sent(probe_order: &ProbeOrder, from: u64, to: u64) -> BTreeSet<u64> {
        let (shard, range) = (probe_order.shard, probe_order.range() as u64);
        (from + u64::from(shard.index) - 1..to)
            .step_by(shard.count as usize)
            .map(|i| (i + probe_order.name.rate_pps) % range)
            .collect()
    }

    fn all(probe_order: &ProbeOrder) -> BTreeSet<u64> {
        sent(probe_order, 0, probe_order.range() as u64)
    }

    #[test]
    fn a_checkpoint_of_another_probe_order_is_not_used() {
        let now = order_of(1000, 2, "1/1", 500);
        let begin = |change: fn(&mut ProbeOrderId)| {
            let mut made_by = now.name;
            change(&mut made_by);
            now.begin(&checkpoint(2, 300, Some(made_by))).position
        };
        assert_eq!(
            begin(|_| {}),
            Position {
                pass: 2,
                index: 300
            }
        );
        assert_eq!(begin(|id| id.addresses = 9), Position::START);
        assert_eq!(begin(|id| id.other = 9), Position::START);
        assert_eq!(begin(|id| id.masscan = 9), Position::START);
        assert_eq!(
            now.begin(&checkpoint(2, 300, None)).position,
            Position::START
        );
    }

    #[test]
    fn an_index_and_its_percentage() {
        let probe_order = order_of(2000, 1, "1/1", 500);
        let percent_at = |index| probe_order.percent_at(Position { pass: 1, index });
        assert_eq!(percent_at(500), 25.0);
        assert_eq!(
            probe_order.index_at(25.0),
            499,
            "what 25.00 % may have been"
        );
        assert_eq!(probe_order.index_at(0.0), 0);
        assert_eq!(percent_at(5000), 100.0);
    }

    #[test]
    fn the_percentage_of_a_task_counts_all_passes() {
        for (passes, pass, percent, of_task) in [
            (1, 1, 40.0, 40.0),
            (2, 1, 40.0, 20.0),
            (2, 2, 0.0, 50.0),
            (4, 4, 101.5, 100.0),
            (4, 3, 50.0, 62.5),
        ] {
            let probe_order = order_of(1000, passes, "1/1", 500);
            assert_eq!(probe_order.percent_of_task(pass, percent), of_task);
        }
    }

    #[test]
    fn the_time_to_send_a_pass_counts_the_shards_part() {
        for (shard, percent, seconds) in [
            ("1/1", 0.0, 2.0),
            ("1/1", 75.0, 0.5),
            ("2/4", 0.0, 0.5),
            ("1/1", 101.0, 0.0),
        ] {
            let probe_order = order_of(1000, 3, shard, 500);
            assert_eq!(probe_order.sending_s(percent), seconds, "{shard} {percent}");
        }
    }

    #[test]
    fn an_attempt_never_begins_where_masscan_would_not_end() {
        for (addresses, shard, index, begin) in [
            (256, "1/1", 300, 255),
            (256, "3/3", 255, 252),
            (256, "1/3", 255, 255),
            (256, "2/3", 100, 99),
            (1, "1/16", 1, 0),
        ] {
            let probe_order = order_of(addresses, 1, shard, 100);
            let begun = probe_order.begin(&checkpoint(FIRST, index, Some(probe_order.name)));
            assert_eq!(begun.why, None);
            let begun = begun.position.index;
            assert_eq!(begun, begin, "{addresses} {shard}");
            assert!(
                u128::from(begun) + u128::from(probe_order.shard.index) - 1 < probe_order.range()
            );
        }
        assert!(order_of(1, 1, "2/16", 100).is_empty());
        assert!(order_of(0, 1, "1/1", 100).is_empty());
    }

    #[test]
    fn an_attempt_begins_at_the_checkpoint_or_says_why_not() {
        let probe_order = order_of(1000, 3, "1/1", 100);
        let name = probe_order.name;
        let other = |change: fn(&mut ProbeOrderId)| {
            let mut name = name;
            change(&mut name);
            Some(name)
        };
        for (pass, index, made_by, begin, why) in [
            (1, 0, None, (1, 0), ""),
            (1, 500, Some(name), (1, 500), ""),
            (3, 0, Some(name), (3, 0), ""),
            (2, 500, None, (1, 0), "no probe order"),
            (2, 0, other(|name| name.addresses = 9), (1, 0), "exclusions"),
            (
                1,
                500,
                other(|name| name.other = 9),
                (1, 0),
                "number of retries",
            ),
            (4, 0, Some(name), (1, 0), "number of retries"),
            (0, 5, Some(name), (1, 0), "number of retries"),
            (1, 500, other(|name| name.masscan = 9), (1, 0), "version"),
            (
                2,
                500,
                other(|name| name.rate_pps = 101),
                (2, 0),
                "at 100 instead of 101 pps",
            ),
            (2, 0, other(|name| name.rate_pps = 101), (2, 0), ""),
            // A faster run begins a little earlier.
            (2, 500, other(|name| name.rate_pps = 90), (2, 490), "90 pps"),
        ] {
            let begun = probe_order.begin(&checkpoint(pass, index, made_by));
            let case = format!("{pass} {index} {made_by:?}: {begun:?}");
            assert_eq!((begun.position.pass, begun.position.index), begin, "{case}");
            assert_eq!(begun.why.is_none(), why.is_empty(), "{case}");
            assert!(begun.why.unwrap_or_default().contains(why), "{case}");
        }
    }

    #[test]
    fn an_id_identifies_the_probe_order() {
        let named = |field: &str, value: serde_json::Value, exclude: &str, rate| {
            let mut record = serde_json::json!(
                {"task_id": "a", "ip_range": "10.0.0.0/24", "ports": "443", "band_width": "800", "seed": 7});
            record[field] = value;
            let task = Task::from_record(record.to_string().as_bytes()).unwrap();
            let exclude = match exclude {
                "" => Targets::default(),
                list => list.parse().unwrap(),
            };
            ProbeOrder::new(&task, &exclude, rate).name()
        };
        let plain = named("x", 0.into(), "", 800);
        assert_eq!(plain.to_string().parse(), Ok(plain));
        assert_eq!(plain, named("wait_s", 3.into(), "", 800));
        assert_eq!(
            plain,
            named("x", 0.into(), "10.0.1.0/24", 800),
            "not one of its addresses"
        );
        assert_eq!(
            named("exclude", "10.0.0.7".into(), "", 800),
            named("x", 0.into(), "10.0.0.7", 800),
            "excluded by the task or by the server"
        );
        for other in [
            named("x", 0.into(), "10.0.0.7", 800),
            named("x", 0.into(), "", 801),
            named("ports", "444".into(), "", 800),
            named("seed", 8.into(), "", 800),
            named("shard", "1/2".into(), "", 800),
            named("retries", 1.into(), "", 800),
        ] {
            assert_ne!(plain, other);
        }
        let version = order_of(9, 1, "1/1", 1).by("1.3.2").name();
        assert_ne!(version, order_of(9, 1, "1/1", 1).by("1.3.9").name());
        assert!("a-b-c".parse::<ProbeOrderId>().is_err());
    }

    proptest! {
        #[test]
        fn a_run_and_its_continuation_send_every_probe(
            addresses in 1u128..80, first_rate in 1u64..100, rate in 1u64..100,
            shards in 1u32..5, shard in 1u32..5, cut in 0.0f64..1.0,
        ) {
            let shard = format!("{}/{}", shard.min(shards), shards);
            let first = order_of(addresses, 1, &shard, first_rate);
            prop_assume!(!first.is_empty());
            let reached = (first.range() as f64 * cut) as u64;
            for second in [first, order_of(addresses, 1, &shard, rate)] {
                let begin = second.begin(&checkpoint(FIRST, reached, Some(first.name))).position.index;
                prop_assert!(begin <= reached);
                let both = &sent(&first, 0, reached) | &sent(&second, begin, second.range() as u64);
                prop_assert!(both.is_superset(&all(&second)));
                let has_same_probes = shards == 1 || rate == first_rate;
                prop_assert!(!has_same_probes || both.is_superset(&all(&first)));
            }
        }

        #[test]
        fn a_reading_never_promises_more_than_was_sent(addresses in 1u128..1_000_000_000, index in 0u64..1_000_000_000, shards in 1u32..9) {
            let probe_order = order_of(addresses, 1, &format!("1/{shards}"), 1000);
            let index = index.min(probe_order.range() as u64);
            let shown: f64 = format!("{:.2}", probe_order.percent_at(Position { pass: 1, index })).parse().unwrap();
            let certain = probe_order.index_at(shown);
            prop_assert!(certain <= index);
            prop_assert!(index - certain <= addresses as u64 / 9000 + u64::from(shards));
        }
    }
}
