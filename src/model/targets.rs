//! Targets: addresses, CIDR blocks and ranges of IPv4 and IPv6, as sets of ranges. They are never expanded into single addresses.

use super::text::Invalid;
use ipnet::{IpNet, Ipv4Net};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

/// Maximum number of target ranges in one task. They fit into an argument vector.
pub const TASK_TARGETS_MAX: usize = 4096;

const EXPECTED: &str =
    "is not an address, a CIDR block or a range like 10.0.0.1, 10.0.0.0/24, 10.0.0.1-10.0.0.9";

/// A range of addresses of one family, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddressRange {
    family: Family,
    first: u128,
    last: u128,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn address(self, bits: u128) -> IpAddr {
        match self {
            Family::V4 => {
                let bits = u32::try_from(bits)
                    .expect("an IPv4 range is made from IPv4 addresses only, so 32 bits hold it");
                Ipv4Addr::from(bits).into()
            }
            Family::V6 => Ipv6Addr::from(bits).into(),
        }
    }
}

impl AddressRange {
    /// An IPv4-mapped IPv6 address (`::ffff:192.0.2.7`, RFC 4291) is the IPv4 address: otherwise an IPv4 exclusion would not apply to it, and
    /// masscan 1.3.2 skips some of them silently (FACTS).
    fn new(first: IpAddr, last: IpAddr) -> Option<AddressRange> {
        let (family, first, last) = match (first.to_canonical(), last.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (
                Family::V4,
                u128::from(u32::from(a)),
                u128::from(u32::from(b)),
            ),
            (IpAddr::V6(a), IpAddr::V6(b)) => (Family::V6, u128::from(a), u128::from(b)),
            _ => return None,
        };
        (first <= last).then_some(AddressRange {
            family,
            first,
            last,
        })
    }

    /// The lowest address.
    pub fn first(&self) -> IpAddr {
        self.family.address(self.first)
    }

    /// The highest address.
    pub fn last(&self) -> IpAddr {
        self.family.address(self.last)
    }

    /// Number of addresses; all of IPv6 counts as `u128::MAX`.
    pub fn count(&self) -> u128 {
        (self.last - self.first).saturating_add(1)
    }

    /// Whether all addresses of `other` are in it.
    pub fn contains(&self, other: &AddressRange) -> bool {
        self.family == other.family && self.first <= other.first && other.last <= self.last
    }

    /// Whether they have an address in common.
    pub fn overlaps(&self, other: &AddressRange) -> bool {
        self.family == other.family && self.first <= other.last && other.first <= self.last
    }

    /// The union of both as one range, if `next`, which does not begin before `self`, overlaps it or follows without a gap.
    pub fn joined(&self, next: &AddressRange) -> Option<AddressRange> {
        let last = self.last.max(next.last);
        self.touches(next).then_some(AddressRange { last, ..*self })
    }

    /// The part below all of `other`, which is of the same family.
    pub fn below(&self, other: &AddressRange) -> Option<AddressRange> {
        let last = self.last.min(other.first.checked_sub(1)?);
        (self.first <= last).then_some(AddressRange { last, ..*self })
    }

    /// The part above all of `other`, which is of the same family.
    pub fn above(&self, other: &AddressRange) -> Option<AddressRange> {
        let first = self.first.max(other.last.checked_add(1)?);
        (first <= self.last).then_some(AddressRange { first, ..*self })
    }

    fn touches(&self, next: &AddressRange) -> bool {
        self.family == next.family && next.first <= self.last.saturating_add(1)
    }
}

impl From<IpAddr> for AddressRange {
    /// The range of one address.
    fn from(address: IpAddr) -> AddressRange {
        AddressRange::new(address, address).expect("one address does not run backwards")
    }
}

impl From<Ipv4Net> for AddressRange {
    /// The addresses of a network, whatever its host bits are.
    fn from(net: Ipv4Net) -> AddressRange {
        AddressRange::new(net.network().into(), net.broadcast().into())
            .expect("a network's first address is not above its last one")
    }
}

impl FromStr for AddressRange {
    type Err = Invalid;

    /// Parses `ADDRESS`, `ADDRESS/PREFIX` (host bits are cleared, as masscan does) or `ADDRESS-ADDRESS`.
    fn from_str(text: &str) -> Result<AddressRange, Invalid> {
        if let Some((first, last)) = text.split_once('-') {
            let parse = |address: &str| address.trim().parse::<IpAddr>();
            let (Ok(first), Ok(last)) = (parse(first), parse(last)) else {
                return Err(Invalid::new(text, EXPECTED));
            };
            return AddressRange::new(first, last).ok_or_else(|| {
                Invalid::new(
                    text,
                    "runs backwards or mixes IPv4 and IPv6: write the lower address first",
                )
            });
        }
        let net = if text.contains('/') {
            text.parse::<IpNet>().ok()
        } else {
            text.parse::<IpAddr>().ok().map(IpNet::from)
        };
        let net = net
            .ok_or_else(|| Invalid::new(text, error_of(text)))?
            .trunc();
        let last = match net {
            IpNet::V4(net) => net.broadcast().into(),
            IpNet::V6(net) => net.broadcast().into(),
        };
        // `::/80` ends with an IPv4-mapped address, which is an IPv4 address here.
        AddressRange::new(net.network(), last).ok_or_else(|| {
            let wrong = "mixes IPv4 and IPv6, because its last address is IPv4-mapped (::ffff:0:0/96): write IPv4 networks as such";
            Invalid::new(text, wrong)
        })
    }
}

impl fmt::Display for AddressRange {
    /// `ADDRESS`, `ADDRESS/PREFIX` if it is exactly one block, else `ADDRESS-ADDRESS`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (self.first(), self.last());
        if first == last {
            return write!(f, "{first}");
        }
        let bits: u8 = if first.is_ipv4() { 32 } else { 128 };
        let host_bits = (self.first ^ self.last).checked_ilog2().unwrap_or(0) as u8 + 1;
        let block = IpNet::new(first, bits - host_bits)
            .ok()
            .filter(|net| net.network() == first && net.broadcast() == last);
        match block {
            Some(net) => write!(f, "{net}"),
            None => write!(f, "{first}-{last}"),
        }
    }
}

/// A set of addresses: sorted ranges that neither overlap nor touch. May be empty, as exclusions often are. Clones share the ranges,
/// because the shards of a job are many tasks with one long list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets(Arc<[AddressRange]>);

impl Targets {
    /// The set of all addresses in `ranges`, in any order, overlapping or not.
    pub fn from_ranges(mut ranges: Vec<AddressRange>) -> Targets {
        ranges.sort_unstable();
        let mut merged: Vec<AddressRange> = Vec::with_capacity(ranges.len());
        for range in ranges {
            match merged.last_mut() {
                Some(last) if last.touches(&range) => last.last = last.last.max(range.last),
                _ => merged.push(range),
            }
        }
        Targets(merged.into())
    }

    /// Number of addresses; saturates at `u128::MAX`.
    pub fn count(&self) -> u128 {
        self.0
            .iter()
            .fold(0, |sum, range| sum.saturating_add(range.count()))
    }

    /// The ranges in ascending order, IPv4 first.
    pub fn ranges(&self) -> &[AddressRange] {
        &self.0
    }

    /// The first `most` ranges, and how many follow, for the log.
    pub fn shortened(&self, most: usize) -> String {
        match self.0.len().saturating_sub(most) {
            0 => self.to_string(),
            more => format!("{} and {more} more ranges", Targets(self.0[..most].into())),
        }
    }

    /// Whether the set has no address.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `address` is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        !self.overlapping(&address.into()).is_empty()
    }

    /// The addresses of `self` that are not in `excluded`. Takes n log m steps, and one for each hole.
    pub fn without(&self, excluded: &Targets) -> Targets {
        let mut left = Vec::with_capacity(self.0.len());
        for range in self.0.iter() {
            let mut rest = Some(*range);
            for hole in excluded.overlapping(range) {
                let Some(now) = rest else { break };
                left.extend(now.below(hole));
                rest = now.above(hole);
            }
            left.extend(rest);
        }
        Targets(left.into())
    }

    /// The addresses in both. Takes n log m steps, with n ranges in `self`: the smaller set should be `self`.
    pub fn intersection(&self, other: &Targets) -> Targets {
        let mut both = Vec::new();
        for range in self.0.iter() {
            both.extend(other.overlapping(range).iter().map(|met| AddressRange {
                first: met.first.max(range.first),
                last: met.last.min(range.last),
                ..*range
            }));
        }
        Targets(both.into())
    }

    /// The smallest range of each family that contains all addresses of the set.
    pub fn hull(&self) -> Targets {
        let mut hull: Vec<AddressRange> = Vec::with_capacity(2);
        for range in self.0.iter() {
            match hull.last_mut() {
                Some(last) if last.family == range.family => last.last = range.last,
                _ => hull.push(*range),
            }
        }
        Targets(hull.into())
    }

    /// The ranges that have an address in common with `range`.
    fn overlapping(&self, range: &AddressRange) -> &[AddressRange] {
        let before = |met: &AddressRange| (met.family, met.last) < (range.family, range.first);
        let begins_in_time =
            |met: &AddressRange| (met.family, met.first) <= (range.family, range.last);
        let from_here = &self.0[self.0.partition_point(before)..];
        &from_here[..from_here.partition_point(begins_in_time)]
    }
}

impl FromStr for Targets {
    type Err = Invalid;

    /// Parses a comma-separated list of [`AddressRange`]s. An empty text is an error; for an empty set use [`Targets::default`].
    fn from_str(text: &str) -> Result<Targets, Invalid> {
        Entries::from_str(text).map(|entries| Targets::from_ranges(entries.0))
    }
}

/// The entries of a list as they were written: at least one, in any order, not merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entries(Vec<AddressRange>);

impl Entries {
    /// The entries, in the order of the list.
    pub fn ranges(&self) -> &[AddressRange] {
        &self.0
    }
}

impl FromStr for Entries {
    type Err = Invalid;

    /// Parses a comma-separated list of [`AddressRange`]s, at most [`TASK_TARGETS_MAX`].
    fn from_str(text: &str) -> Result<Entries, Invalid> {
        if text.trim().is_empty() {
            return Err(Invalid::new(
                text,
                "is an empty list: give addresses, CIDR blocks or ranges",
            ));
        }
        let mut ranges = Vec::new();
        for item in text.split(',') {
            if ranges.len() == TASK_TARGETS_MAX {
                return Err(Invalid::about(format!(
                    "has more than {TASK_TARGETS_MAX} entries"
                )));
            }
            ranges.push(item.trim().parse()?);
        }
        Ok(Entries(ranges))
    }
}

impl fmt::Display for Targets {
    /// The ranges separated by commas: the form of masscan's `--range` and a task's `ip_range`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_list(f, &self.0)
    }
}

impl fmt::Display for Entries {
    /// The entries separated by commas.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_list(f, &self.0)
    }
}

fn write_list(f: &mut fmt::Formatter<'_>, ranges: &[AddressRange]) -> fmt::Result {
    for (i, range) in ranges.iter().enumerate() {
        let comma = if i == 0 { "" } else { "," };
        write!(f, "{comma}{range}")?;
    }
    Ok(())
}

/// The error for an invalid `text`.
fn error_of(text: &str) -> &'static str {
    let looks_like_a_name = text.bytes().any(|b| b.is_ascii_alphabetic())
        && text.contains('.')
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-');
    if looks_like_a_name {
        "is a host name: names are not resolved here, give its address"
    } else {
        EXPECTED
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn targets(text: &str) -> Targets {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_is_the_range_that_it_is_written_as() {
        for text in ["10.1.0.0/16", "0.0.0.0/0", "192.0.2.7/32", "10.1.2.3/8"] {
            let net: Ipv4Net = text.parse().unwrap();
            assert_eq!(AddressRange::from(net), text.parse().unwrap(), "{text}");
        }
    }

    #[test]
    fn a_long_set_is_shortened() {
        let set = targets("10.0.0.1,10.0.0.3,10.0.0.5");
        assert_eq!(set.shortened(3), "10.0.0.1,10.0.0.3,10.0.0.5");
        assert_eq!(set.shortened(1), "10.0.0.1 and 2 more ranges");
    }

    #[test]
    fn entries_stay_as_they_were_written() {
        let text = "10.0.0.2,10.0.0.1,10.0.0.0/24";
        let entries: Entries = text.parse().unwrap();
        assert_eq!(entries.to_string(), text);
        assert_eq!(targets(text).to_string(), "10.0.0.0/24");
        let range = |text: &str| text.parse::<AddressRange>().unwrap();
        for (outer, inner, expected) in [
            ("10.0.0.0/24", "10.0.0.0/24", true),
            ("10.0.0.0/24", "10.0.0.255", true),
            ("10.0.0.0/24", "10.0.0.128-10.0.1.0", false),
            ("0.0.0.0/0", "::1", false),
        ] {
            assert_eq!(
                range(outer).contains(&range(inner)),
                expected,
                "{outer} {inner}"
            );
        }
    }

    #[test]
    fn lists_become_sets_of_ranges() {
        for (text, shown, count) in [
            ("172.16.0.0/24", "172.16.0.0/24", 256),
            ("172.16.0.77/24", "172.16.0.0/24", 256),
            ("10.0.0.1", "10.0.0.1", 1),
            ("10.0.0.1-10.0.0.9", "10.0.0.1-10.0.0.9", 9),
            ("10.0.0.0-10.0.0.255", "10.0.0.0/24", 256),
            ("10.0.0.0/25, 10.0.0.128/25", "10.0.0.0/24", 256),
            ("10.0.0.5,10.0.0.1", "10.0.0.1,10.0.0.5", 2),
            ("0.0.0.0/0", "0.0.0.0/0", 1 << 32),
            ("fd00::/120", "fd00::/120", 256),
            ("fd00::1,10.0.0.1", "10.0.0.1,fd00::1", 2),
            ("::/0", "::/0", u128::MAX),
            // IPv4-mapped addresses are the IPv4 addresses.
            ("::ffff:192.0.2.7", "192.0.2.7", 1),
            ("::ffff:c000:207", "192.0.2.7", 1),
            ("::ffff:10.0.0.0/120", "10.0.0.0/24", 256),
            ("::ffff:10.0.0.1-::ffff:10.0.0.9", "10.0.0.1-10.0.0.9", 9),
            ("::ffff:10.0.0.1-10.0.0.9", "10.0.0.1-10.0.0.9", 9),
            ("::ffff:0:0/96", "0.0.0.0/0", 1 << 32),
            ("10.0.0.1,::ffff:10.0.0.1", "10.0.0.1", 1),
        ] {
            let set = targets(text);
            assert_eq!(set.to_string(), shown, "{text}");
            assert_eq!(set.count(), count, "{text}");
        }
    }

    #[test]
    fn an_invalid_target_is_named() {
        for (text, named) in [
            ("", "empty list"),
            ("10.0.0.0/33", "\"10.0.0.0/33\" is not"),
            ("10.0.0/8", "\"10.0.0/8\" is not"),
            ("10.0.0.9-10.0.0.1", "runs backwards"),
            ("10.0.0.1-fd00::1", "mixes IPv4 and IPv6"),
            ("::1-::ffff:10.0.0.1", "mixes IPv4 and IPv6"),
            ("::/80", "mixes IPv4 and IPv6, because its last address"),
            ("::fffe:0:0/95", "mixes IPv4 and IPv6, because its last"),
            ("5-1", "\"5-1\" is not"),
            ("10.0.0.1,", "\"\" is not"),
            ("example.org", "host name"),
            ("--banners", "\"--banners\" is not"),
            ("10.0.0.1;reboot", "\"10.0.0.1;reboot\" is not"),
            ("10.0.0.1 -oX /etc/passwd", "is not"),
            ("10.0.0.1\n10.0.0.2", "\\n"),
        ] {
            let error = text.parse::<Targets>().unwrap_err().to_string();
            assert!(error.contains(named), "{text:?}: {error}");
        }
    }

    #[test]
    fn membership_is_that_of_the_ranges() {
        let set = targets("10.0.0.0/30,10.0.0.9,fd00::/126");
        for (address, is_member) in [
            ("10.0.0.0", true),
            ("10.0.0.3", true),
            ("10.0.0.4", false),
            ("10.0.0.9", true),
            ("::ffff:10.0.0.9", true),
            ("::10.0.0.9", false),
            ("fd00::3", true),
            ("fd00::4", false),
        ] {
            assert_eq!(
                set.contains(address.parse().unwrap()),
                is_member,
                "{address}"
            );
        }
        assert!(!Targets::default().contains("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn a_hole_is_carved_out() {
        for (all, holes, left) in [
            (
                "10.0.0.0/24",
                "10.0.0.7",
                "10.0.0.0-10.0.0.6,10.0.0.8-10.0.0.255",
            ),
            ("10.0.0.0/24", "10.0.0.0/25", "10.0.0.128/25"),
            ("10.0.0.0/24", "10.0.0.0/8", ""),
            ("10.0.0.0/24", "fd00::/8", "10.0.0.0/24"),
            (
                "10.0.0.0/30,10.0.1.0/30",
                "10.0.0.3-10.0.1.0",
                "10.0.0.0-10.0.0.2,10.0.1.1-10.0.1.3",
            ),
        ] {
            assert_eq!(targets(all).without(&targets(holes)).to_string(), left);
        }
    }

    #[test]
    fn a_hull_is_one_range_for_each_family() {
        for (set, hull) in [
            ("10.0.0.7", "10.0.0.7"),
            (
                "10.0.0.1,10.0.0.9,fd00::1,fd00::7-fd00::8",
                "10.0.0.1-10.0.0.9,fd00::1-fd00::8",
            ),
            ("fd00::/120,0.0.0.0/0", "0.0.0.0/0,fd00::/120"),
        ] {
            assert_eq!(targets(set).hull().to_string(), hull);
        }
        assert!(Targets::default().hull().is_empty());
    }

    #[test]
    fn intersection_keeps_common_addresses() {
        for (one, other, both) in [
            ("10.0.0.0/24", "10.0.0.7", "10.0.0.7"),
            ("10.0.0.7", "10.0.0.0/8", "10.0.0.7"),
            ("10.0.0.0/24", "fd00::/8", ""),
            (
                "10.0.0.0/30,10.0.1.0/30,fd00::/120",
                "10.0.0.3-10.0.1.0,fd00::5",
                "10.0.0.3,10.0.1.0,fd00::5",
            ),
            ("::/0,0.0.0.0/0", "255.255.255.255,::", "255.255.255.255,::"),
        ] {
            assert_eq!(targets(one).intersection(&targets(other)).to_string(), both);
            assert_eq!(targets(other).intersection(&targets(one)).to_string(), both);
        }
    }

    type Spans = Vec<(u32, u32)>;

    fn of_spans(spans: &Spans) -> Targets {
        let ranges = spans.iter().filter_map(|&(first, length)| {
            let last = first.saturating_add(length);
            AddressRange::new(Ipv4Addr::from(first).into(), Ipv4Addr::from(last).into())
        });
        Targets::from_ranges(ranges.collect())
    }

    /// Whether an address is in one of the spans, for comparison.
    fn holds(spans: &Spans, address: u32) -> bool {
        let within = |&(first, length): &(u32, u32)| (first..=first + length).contains(&address);
        spans.iter().any(within)
    }

    proptest! {
        #[test]
        fn without_and_intersection_agree_with_a_check_of_each_address(
            one in prop::collection::vec((0u32..200, 0u32..20), 0..12),
            other in prop::collection::vec((0u32..200, 0u32..20), 0..12),
        ) {
            let (set, others) = (of_spans(&one), of_spans(&other));
            let (left, both) = (set.without(&others), set.intersection(&others));
            let has = |set: &Targets, address: u32| {
                set.ranges().iter().any(|range| (range.first..=range.last).contains(&address.into()))
            };
            for address in 0..230 {
                let (in_one, in_other) = (holds(&one, address), holds(&other, address));
                prop_assert_eq!(has(&left, address), in_one && !in_other);
                prop_assert_eq!(has(&both, address), in_one && in_other);
            }
            // Sorted, disjoint and not touching, like any other set.
            prop_assert_eq!(&Targets::from_ranges(left.0.to_vec()), &left);
            prop_assert_eq!(&Targets::from_ranges(both.0.to_vec()), &both);
        }

        #[test]
        fn displayed_targets_parse_to_the_same_set(spans in prop::collection::vec((any::<u32>(), 0u32..70_000), 1..8)) {
            let set = of_spans(&spans);
            prop_assert_eq!(set.to_string().parse::<Targets>().unwrap(), set);
        }
    }
}
