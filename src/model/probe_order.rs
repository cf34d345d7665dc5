//! The order of masscan's probes: which probes an index stands for, and for which runs it stands for the same ones. Pure.
//!
//! From the transmit loop of masscan 1.3.2 (`transmit_thread` in its `src/main.c`), with one network interface:
//! - the range is the number of addresses less all exclusions × ports; the index `i` begins at `--resume-index` + shard − 1, grows by the
//!   number of shards, and ends before range + retries × rate;
//! - at `i` masscan probes, for each `k` from retries + 1 down to 1, place (`i` + `k` × rate) mod range of an order that depends on range and
//!   seed; which address and port a place stands for depends on the sorted set of addresses and on the ports;
//! - the percentage is `i` relative to that end, with two decimals; with shards the last `i` may be beyond it.
//!
//! So an index stands for other probes if the addresses, the ports, the seed, the shard, the retries **or the rate** differ. The order also
//! depends on masscan's version (`masscan/binary.rs` decides which versions may share a job).

use super::resume::ProbeOrderId;
use super::targets::Targets;
use super::task::{Shard, Task};
use super::text::fingerprint;

/// masscan rounds the percentage to two decimals: the index may be this much lower than shown.
const PERCENT_ROUNDING: f64 = 0.0051;

/// The probes of one run of masscan.
#[derive(Clone, Copy, Debug)]
pub struct ProbeOrder {
    name: ProbeOrderId,
    addresses: u128,
    ports: u64,
    retries: u64,
    shard: Shard,
}

/// Where a run begins after an earlier one left a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begin {
    /// masscan's `--resume-index`.
    pub index: u64,
    /// Why that is before the checkpoint, if it is more than one step before it.
    pub why: Option<String>,
}

impl ProbeOrder {
    /// The probe order of `task` on a server that also excludes `exclude` and sends `rate_pps` packets per second.
    pub fn new(task: &Task, exclude: &Targets, rate_pps: u64) -> ProbeOrder {
        let addresses = task.ip_range.without(&task.exclude).without(exclude);
        let shard = task.shard.unwrap_or(Shard { index: 1, count: 1 });
        let other = format!("{} {} {shard} {}", task.ports, task.seed, task.retries);
        ProbeOrder {
            name: ProbeOrderId {
                addresses: fingerprint(&addresses.to_string()),
                other: fingerprint(&other),
                rate_pps,
                masscan: 0,
            },
            addresses: addresses.count(),
            ports: task.ports.count(),
            retries: task.retries.into(),
            shard,
        }
    }

    /// The same for a masscan of this version; only such a one can continue it.
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

    /// The index after the last one.
    pub fn end(&self) -> u128 {
        self.range() + u128::from(self.retries * self.name.rate_pps)
    }

    /// Whether no index belongs to this shard. masscan must not be started then: it would never end, because it only considers a scan as sent
    /// when it reaches the end from below.
    pub fn is_empty(&self) -> bool {
        u128::from(self.shard.index) > self.end()
    }

    /// The percentage that masscan shows at `index`.
    pub fn percent_at(&self, index: u64) -> f64 {
        (index as f64 * 100.0 / self.end().max(1) as f64).min(100.0)
    }

    /// Seconds of sending after masscan showed `percent`, at the full rate.
    pub fn sending_s(&self, percent: f64) -> f64 {
        let left = self.end() as f64 * (100.0 - percent).clamp(0.0, 100.0) / 100.0;
        let packets = left * (self.retries + 1) as f64 / f64::from(self.shard.count);
        packets / self.name.rate_pps.max(1) as f64
    }

    /// An index that was reached when masscan showed `percent` (below 100).
    pub fn index_at(&self, percent: f64) -> u64 {
        let reached = (percent - PERCENT_ROUNDING).clamp(0.0, 100.0);
        self.floor((self.end() as f64 * reached / 100.0) as u64)
    }

    /// Where this run begins after a run with the order `made_by` left a checkpoint at `index`, so that both together send every probe.
    pub fn begin(&self, index: u64, made_by: Option<ProbeOrderId>) -> Begin {
        let restart = |why: &str| Begin {
            index: 0,
            why: Some(why.to_owned()),
        };
        if index == 0 {
            return Begin {
                index: 0,
                why: None,
            };
        }
        let Some(made_by) = made_by else {
            return restart("the checkpoint doesn't say what it is valid for");
        };
        if made_by.addresses != self.name.addresses {
            return restart(
                "this server's exclusions leave other addresses of the task, so the order of the probes is another",
            );
        }
        if made_by.other != self.name.other {
            return restart("the checkpoint is one of other ports, seed, shard or retries");
        }
        if made_by.masscan != self.name.masscan {
            return restart("the checkpoint is one of another version of masscan");
        }
        if made_by.rate_pps == self.name.rate_pps {
            return Begin {
                index: self.floor(index),
                why: None,
            };
        }
        let index = self.after_another_rate(index, made_by.rate_pps);
        Begin {
            index,
            why: Some(format!(
                "at {} instead of {} pps an index stands for other probes",
                self.name.rate_pps, made_by.rate_pps
            )),
        }
    }

    /// A checkpoint at `index` of the same order at another rate covers, for each `k`, `index` places from `k` × that rate on, in the circle of
    /// the range. This run begins where the first missing place comes, or before it.
    ///
    /// The shards of a job share the indices: at another rate this shard's indices stand for other places, so it begins at 0.
    fn after_another_rate(&self, index: u64, rate_pps: u64) -> u64 {
        if self.shard.count > 1 {
            return 0;
        }
        let range = self.range().max(1) as i128;
        let faster = i128::from(self.name.rate_pps) - i128::from(rate_pps);
        let begin = (1..=i128::from(self.retries) + 1)
            .map(|k| i128::from(index) - (k * faster).rem_euclid(range))
            .min()
            .unwrap_or(0);
        self.floor(u64::try_from(begin).unwrap_or(0))
    }

    /// The highest index not above this one at which a run may begin: a multiple of the number of shards, because other indices belong to other
    /// shards, and with something left to send (see [`ProbeOrder::is_empty`]).
    fn floor(&self, index: u64) -> u64 {
        let last = self.end().saturating_sub(self.shard.index.into());
        let index = index.min(u64::try_from(last).unwrap_or(u64::MAX));
        index - index % u64::from(self.shard.count)
    }

    /// Addresses × ports: the range, and the maximum number of findings.
    pub fn range(&self) -> u128 {
        self.addresses.saturating_mul(self.ports.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn order_of(addresses: u128, retries: u64, shard: &str, rate_pps: u64) -> ProbeOrder {
        ProbeOrder {
            name: ProbeOrderId {
                addresses: 1,
                other: 2,
                rate_pps,
                masscan: 3,
            },
            addresses,
            ports: 1,
            retries,
            shard: shard.parse().unwrap(),
        }
    }

    /// What masscan sends from `from` up to `to`: for each k the places.
    fn sent(probe_order: &ProbeOrder, from: u64, to: u64) -> BTreeSet<(u64, u64)> {
        let (shard, range) = (probe_order.shard, probe_order.range() as u64);
        (from + u64::from(shard.index) - 1..to)
            .step_by(shard.count as usize)
            .flat_map(|i| {
                (1..=probe_order.retries + 1)
                    .map(move |k| (k, (i + k * probe_order.name.rate_pps) % range))
            })
            .collect()
    }

    fn all(probe_order: &ProbeOrder) -> BTreeSet<(u64, u64)> {
        sent(probe_order, 0, probe_order.end() as u64)
    }

    #[test]
    fn the_end_and_the_percentage_count_the_retries() {
        let probe_order = order_of(1000, 2, "1/1", 500);
        assert_eq!(probe_order.end(), 2000);
        assert_eq!(probe_order.percent_at(500), 25.0);
        assert_eq!(
            probe_order.index_at(25.0),
            499,
            "what 25.00 % may have been"
        );
        assert_eq!(probe_order.index_at(0.0), 0);
        assert_eq!(probe_order.percent_at(5000), 100.0);
    }

    #[test]
    fn the_time_to_send_counts_the_retries_and_the_shards_part() {
        for (retries, shard, percent, seconds) in [
            (0, "1/1", 0.0, 2.0),
            (0, "1/1", 75.0, 0.5),
            (2, "1/1", 0.0, 12.0),
            (2, "2/3", 0.0, 4.0),
            (0, "1/1", 101.0, 0.0),
        ] {
            assert_eq!(
                order_of(1000, retries, shard, 500).sending_s(percent),
                seconds,
                "{retries} {shard} {percent}"
            );
        }
    }

    #[test]
    fn a_run_never_begins_where_it_would_not_end() {
        for (addresses, shard, index, begin) in [
            (256, "1/1", 300, 255),
            (256, "3/3", 255, 252),
            (256, "1/3", 255, 255),
            (256, "2/3", 100, 99),
            (1, "1/16", 1, 0),
        ] {
            let probe_order = order_of(addresses, 0, shard, 100);
            let begun = probe_order.begin(index, Some(probe_order.name));
            assert_eq!(
                begun,
                Begin {
                    index: begin,
                    why: None
                },
                "{addresses} {shard}"
            );
            assert!(
                u128::from(begun.index) + u128::from(probe_order.shard.index) - 1
                    < probe_order.end()
            );
        }
        assert!(order_of(1, 0, "2/16", 100).is_empty());
        assert!(!order_of(1, 1, "2/16", 100).is_empty(), "its retries");
        assert!(order_of(0, 0, "1/1", 100).is_empty());
    }

    #[test]
    fn a_checkpoint_of_something_else_is_none() {
        let probe_order = order_of(1000, 0, "1/1", 100);
        let begins_at_0 = |made_by, why: &str| {
            let begin = probe_order.begin(500, made_by);
            assert_eq!(begin.index, 0);
            assert!(begin.why.unwrap().contains(why));
        };
        begins_at_0(None, "valid for");
        let name = probe_order.name;
        begins_at_0(
            Some(ProbeOrderId {
                addresses: 9,
                ..name
            }),
            "exclusions",
        );
        begins_at_0(
            Some(ProbeOrderId { other: 9, ..name }),
            "seed, shard or retries",
        );
        begins_at_0(
            Some(ProbeOrderId {
                rate_pps: 101,
                ..name
            }),
            "at 100 instead of 101 pps",
        );
        let slower = probe_order.begin(
            500,
            Some(ProbeOrderId {
                rate_pps: 90,
                ..name
            }),
        );
        assert_eq!(slower.index, 490, "a faster run begins a little earlier");
    }

    #[test]
    fn a_name_tells_what_a_checkpoint_is_valid_for() {
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
            "not its own"
        );
        assert_eq!(
            named("exclude", "10.0.0.7".into(), "", 800),
            named("x", 0.into(), "10.0.0.7", 800),
            "whoever excludes it"
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
        let task = Task::from_record(
            br#"{"task_id": "a", "ip_range": "10.0.0.0/24", "ports": "443", "band_width": "800"}"#,
        );
        let probe_order = ProbeOrder::new(&task.unwrap(), &Targets::default(), 800).by("1.3.2");
        assert_eq!(probe_order.begin(100, Some(probe_order.name())).index, 100);
        let by_another = probe_order.begin(100, Some(probe_order.by("1.3.9").name()));
        assert_eq!(by_another.index, 0);
        assert!(by_another.why.unwrap().contains("version of masscan"));
        assert!("a-b-c".parse::<ProbeOrderId>().is_err());
    }

    proptest! {
        #[test]
        fn a_run_and_its_continuation_send_every_probe(
            addresses in 1u128..80, retries in 0u64..4, first_rate in 1u64..100, rate in 1u64..100,
            shards in 1u32..5, shard in 1u32..5, cut in 0.0f64..1.0,
        ) {
            let shard = format!("{}/{}", shard.min(shards), shards);
            let first = order_of(addresses, retries, &shard, first_rate);
            prop_assume!(!first.is_empty());
            let reached = (first.end() as f64 * cut) as u64;
            for second in [order_of(addresses, retries, &shard, first_rate), order_of(addresses, retries, &shard, rate)] {
                prop_assume!(!second.is_empty());
                let begin = second.begin(reached, Some(first.name)).index;
                prop_assert!(begin <= reached);
                let both = &sent(&first, 0, reached) | &sent(&second, begin, second.end() as u64);
                prop_assert!(both.is_superset(&all(&second)));
                let whole = shards == 1 || rate == first_rate;
                prop_assert!(!whole || both.is_superset(&all(&first)));
            }
        }

        #[test]
        fn a_reading_never_promises_more_than_was_sent(addresses in 1u128..1_000_000_000, index in 0u64..1_000_000_000, shards in 1u32..9) {
            let probe_order = order_of(addresses, 0, &format!("1/{shards}"), 1000);
            let index = index.min(probe_order.end() as u64);
            let shown: f64 = format!("{:.2}", probe_order.percent_at(index)).parse().unwrap();
            let certain = probe_order.index_at(shown);
            prop_assert!(certain <= index);
            prop_assert!(index - certain <= addresses as u64 / 9000 + u64::from(shards));
        }
    }
}
