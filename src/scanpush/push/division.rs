//! From lists of targets and exclusions to the addresses of each task. Pure.
//!
//! **Invariant:** nothing is expanded address by address: the time depends on the entries of the lists, not on how many
//! addresses they stand for. Each part fits into one record and one argument vector of masscan, and the parts together are the
//! targets less the exclusions, each address once.

use crate::model::Targets;
use crate::model::targets::AddressRange;
use crate::model::targets::TASK_TARGETS_MAX;
use crate::model::task::ARGUMENT_MAX_BYTES;

/// Most exclusions that a push gives one task, and their bytes: half of what masscan takes, since the server that scans may
/// have exclusions of its own.
const PUSH_EXCLUDE_MAX: usize = TASK_TARGETS_MAX / 2;
/// See [`PUSH_EXCLUDE_MAX`].
const PUSH_EXCLUDE_MAX_BYTES: usize = ARGUMENT_MAX_BYTES / 2;

/// How targets become tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Division {
    /// Each target is a task.
    Each,
    /// Targets are put together up to so many addresses; a larger target stays whole.
    Packed(u128),
    /// As few tasks as possible.
    Whole,
}

/// The addresses of one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it scans; not empty.
    pub ip_range: Targets,
    /// What of that it leaves out: only what lies in `ip_range`, and not all of it.
    pub exclude: Targets,
}

/// What became of the lists.
#[derive(Debug, Default)]
pub struct Divided {
    /// In the order of the targets; packed ones in ascending order.
    pub parts: Vec<Part>,
    /// Targets that are part of another one now, because they overlap.
    pub merged: usize,
    /// The first target that holds others now.
    pub merged_into: Option<AddressRange>,
    /// Targets of which the exclusions leave nothing.
    pub dropped: Vec<AddressRange>,
}

/// Divides `entries` less `exclude`.
pub fn divide(entries: &[AddressRange], exclude: &Targets, division: Division) -> Divided {
    let mut divided = Divided::default();
    let mut ranges = merge_overlapping(entries, &mut divided);
    let most = match division {
        Division::Each => 0,
        Division::Packed(addresses) => addresses,
        Division::Whole => u128::MAX,
    };
    if division != Division::Each {
        ranges.sort_unstable();
    }
    let mut pack = Pack::default();
    for range in ranges {
        let pieces = pieces(range, exclude);
        if pieces.is_empty() {
            divided.dropped.push(range);
        }
        for piece in pieces {
            if !pack.takes(&piece, most) {
                divided.parts.extend(pack.closed());
            }
            pack.add(piece);
        }
    }
    divided.parts.extend(pack.closed());
    divided
}

/// The entries in their order, those that overlap as one in the place of the first of them. Ranges that only touch stay apart:
/// whoever wrote two networks wants two tasks.
fn merge_overlapping(entries: &[AddressRange], divided: &mut Divided) -> Vec<AddressRange> {
    let mut sorted: Vec<(AddressRange, usize)> = entries.iter().copied().zip(0..).collect();
    sorted.sort_unstable();
    let mut merged: Vec<(AddressRange, usize)> = Vec::with_capacity(sorted.len());
    for (range, place) in sorted {
        match merged.last_mut() {
            Some((last, first_place)) if last.overlaps(&range) => {
                *last = last.joined(&range).unwrap_or(*last);
                *first_place = place.min(*first_place);
                divided.merged += 1;
                divided.merged_into.get_or_insert(*last);
            }
            _ => merged.push((range, place)),
        }
    }
    merged.sort_unstable_by_key(|&(_, place)| place);
    merged.into_iter().map(|(range, _)| range).collect()
}

/// A part of a target with its exclusions.
struct Piece {
    range: AddressRange,
    holes: Vec<AddressRange>,
    holes_bytes: usize,
}

/// A target with its exclusions, in several pieces where these are too many for one task; none where nothing is left of it.
fn pieces(range: AddressRange, exclude: &Targets) -> Vec<Piece> {
    let holes = Targets::from_ranges(vec![range]).intersection(exclude);
    let mut pieces = Vec::new();
    if holes.ranges() == [range] {
        return pieces;
    }
    let new = |range| Piece {
        range,
        holes: Vec::new(),
        holes_bytes: 0,
    };
    let mut piece = new(range);
    for hole in holes.ranges() {
        let bytes = shown_bytes(hole);
        let full = piece.holes.len() == PUSH_EXCLUDE_MAX
            || piece.holes_bytes + bytes > PUSH_EXCLUDE_MAX_BYTES;
        if !full {
            piece.holes.push(*hole);
            piece.holes_bytes += bytes;
            continue;
        }
        // The cut goes through this hole. Holes don't touch, so something is left below it, and above it before the next.
        let rest = piece.range.above(hole);
        piece.range = piece.range.below(hole).unwrap_or(piece.range);
        pieces.push(piece);
        let Some(rest) = rest else { return pieces };
        piece = new(rest);
    }
    pieces.push(piece);
    pieces
}

/// Pieces that are becoming one task.
#[derive(Default)]
struct Pack {
    ranges: Vec<AddressRange>,
    ranges_bytes: usize,
    holes: Vec<AddressRange>,
    holes_bytes: usize,
    addresses: u128,
}

impl Pack {
    /// Whether it is within all bounds with `piece` in it; an empty one takes any.
    fn takes(&self, piece: &Piece, most_addresses: u128) -> bool {
        // One more range at most; fewer where it follows the last one.
        self.ranges.is_empty()
            || self.addresses.saturating_add(piece.addresses()) <= most_addresses
                && self.ranges.len() < TASK_TARGETS_MAX
                && self.ranges_bytes + shown_bytes(&piece.range) <= ARGUMENT_MAX_BYTES
                && self.holes.len() + piece.holes.len() <= PUSH_EXCLUDE_MAX
                && self.holes_bytes + piece.holes_bytes <= PUSH_EXCLUDE_MAX_BYTES
    }

    fn add(&mut self, piece: Piece) {
        self.addresses = self.addresses.saturating_add(piece.addresses());
        self.holes.extend(piece.holes);
        self.holes_bytes += piece.holes_bytes;
        self.ranges_bytes += shown_bytes(&piece.range);
        let joined = self
            .ranges
            .last()
            .and_then(|last| last.joined(&piece.range));
        match (joined, self.ranges.last_mut()) {
            (Some(joined), Some(last)) => {
                let apart = shown_bytes(last) + shown_bytes(&piece.range);
                self.ranges_bytes = self.ranges_bytes - apart + shown_bytes(&joined);
                *last = joined;
            }
            _ => self.ranges.push(piece.range),
        }
    }

    /// What it holds as a part; it is empty then.
    fn closed(&mut self) -> Option<Part> {
        let Pack { ranges, holes, .. } = std::mem::take(self);
        (!ranges.is_empty()).then(|| Part {
            ip_range: Targets::from_ranges(ranges),
            exclude: Targets::from_ranges(holes),
        })
    }
}

impl Piece {
    fn addresses(&self) -> u128 {
        let holes = self.holes.iter().map(AddressRange::count).sum::<u128>();
        self.range.count().saturating_sub(holes)
    }
}

/// Bytes of a range in a list, its comma with it.
fn shown_bytes(range: &AddressRange) -> usize {
    range.to_string().len() + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::target_file::parse;
    use proptest::prelude::*;

    fn list(text: &str) -> Vec<AddressRange> {
        parse(text).unwrap()
    }

    fn set(text: &str) -> Targets {
        Targets::from_ranges(list(text))
    }

    /// The parts as `RANGE-EXCLUSION` with spaces between them.
    fn shown(entries: &str, exclude: &str, division: Division) -> String {
        let divided = divide(&list(entries), &set(exclude), division);
        let part = |part: &Part| match part.exclude.is_empty() {
            true => part.ip_range.to_string(),
            false => format!("{}!{}", part.ip_range, part.exclude),
        };
        let parts: Vec<String> = divided.parts.iter().map(part).collect();
        parts.join(" ")
    }

    #[test]
    fn targets_become_parts() {
        use Division::{Each, Packed, Whole};
        for (entries, exclude, division, parts) in [
            ("", "", Each, ""),
            ("10.0.0.9 10.0.0.1", "", Each, "10.0.0.9 10.0.0.1"),
            (
                "10.0.0.0/25 10.0.0.128/25",
                "",
                Each,
                "10.0.0.0/25 10.0.0.128/25",
            ),
            (
                "10.0.0.0/24 10.0.0.7 10.1.0.1 10.0.0.0/24",
                "",
                Each,
                "10.0.0.0/24 10.1.0.1",
            ),
            (
                "10.1.0.1 10.0.0.5-10.0.0.9 10.0.0.0-10.0.0.5",
                "",
                Each,
                "10.1.0.1 10.0.0.0-10.0.0.9",
            ),
            ("10.0.0.0/24", "10.0.0.9", Each, "10.0.0.0/24!10.0.0.9"),
            (
                "10.0.0.0/24 10.0.1.0/24",
                "10.0.1.0/30 10.9.0.0/16",
                Each,
                "10.0.0.0/24 10.0.1.0/24!10.0.1.0/30",
            ),
            (
                "10.0.0.0/24 10.0.1.0/24",
                "10.0.0.0/24",
                Each,
                "10.0.1.0/24",
            ),
            ("10.0.0.0/24 fd00::/120", "0.0.0.0/0", Each, "fd00::/120"),
            (
                "10.0.0.9 10.0.0.1 10.0.0.5",
                "",
                Packed(2),
                "10.0.0.1,10.0.0.5 10.0.0.9",
            ),
            (
                "10.0.0.0/30 10.0.0.4 10.0.0.5",
                "",
                Packed(3),
                "10.0.0.0/30 10.0.0.4/31",
            ),
            (
                "10.0.0.0/30 10.0.0.4 10.0.0.5",
                "10.0.0.0/31",
                Packed(3),
                "10.0.0.0-10.0.0.4!10.0.0.0/31 10.0.0.5",
            ),
            (
                "10.0.0.9 fd00::1 10.0.0.8",
                "",
                Whole,
                "10.0.0.8/31,fd00::1",
            ),
            (
                "0.0.0.0/0",
                "10.0.0.0/8,192.168.0.0/16",
                Each,
                "0.0.0.0/0!10.0.0.0/8,192.168.0.0/16",
            ),
        ] {
            assert_eq!(
                shown(entries, exclude, division),
                parts,
                "{entries} less {exclude}"
            );
        }
    }

    #[test]
    fn what_was_merged_and_dropped_is_known() {
        let divided = divide(
            &list("10.0.0.0/24 10.0.0.7 10.1.0.1 10.0.0.7 10.2.0.0/24"),
            &set("10.1.0.0/16"),
            Division::Each,
        );
        assert_eq!(divided.merged, 2);
        assert_eq!(divided.merged_into, Some(list("10.0.0.0/24")[0]));
        assert_eq!(divided.dropped, list("10.1.0.1"));
        assert_eq!(divided.parts.len(), 2);
    }

    fn assert_within_bounds(part: &Part) {
        assert!(part.ip_range.ranges().len() <= TASK_TARGETS_MAX);
        assert!(part.ip_range.to_string().len() <= ARGUMENT_MAX_BYTES);
        assert!(part.exclude.ranges().len() <= PUSH_EXCLUDE_MAX);
        assert!(part.exclude.to_string().len() <= PUSH_EXCLUDE_MAX_BYTES);
        assert!(!part.ip_range.without(&part.exclude).is_empty());
        assert_eq!(part.ip_range.intersection(&part.exclude), part.exclude);
    }

    #[test]
    fn a_target_with_too_many_exclusions_is_cut() {
        for (all, hole) in [
            ("0.0.0.0/0", "10.{}.{}.1"),
            ("::/0", "2001:db8:1234:5678:9abc:{}:{}:1"),
        ] {
            let holes: Vec<String> = (0..40_000)
                .map(|n| {
                    hole.replacen("{}", &(n / 256).to_string(), 1).replacen(
                        "{}",
                        &(n % 256).to_string(),
                        1,
                    )
                })
                .collect();
            let (entries, exclude) = (list(all), set(&holes.join("\n")));
            let divided = divide(&entries, &exclude, Division::Each);
            assert!(
                (10..60).contains(&divided.parts.len()),
                "{}",
                divided.parts.len()
            );
            divided.parts.iter().for_each(assert_within_bounds);
            let left: Vec<AddressRange> = divided
                .parts
                .iter()
                .flat_map(|part| part.ip_range.without(&part.exclude).ranges().to_vec())
                .collect();
            assert_eq!(
                Targets::from_ranges(left),
                Targets::from_ranges(entries).without(&exclude)
            );
        }
    }

    #[test]
    fn a_pack_is_within_what_a_task_may_hold() {
        let apart: Vec<String> = (0..100_000u32)
            .map(|n| format!("10.{}.{}.{}", n >> 15, n >> 7 & 255, n << 1 & 255))
            .collect();
        let divided = divide(
            &list(&apart.join("\n")),
            &Targets::default(),
            Division::Whole,
        );
        divided.parts.iter().for_each(assert_within_bounds);
        assert_eq!(divided.parts.len(), 100_000usize.div_ceil(TASK_TARGETS_MAX));
        // Single addresses without a gap are one range, however many they are.
        let dense: Vec<String> = (0..20_000u32)
            .map(|n| format!("10.0.{}.{}", n >> 8, n & 255))
            .collect();
        let divided = divide(
            &list(&dense.join("\n")),
            &Targets::default(),
            Division::Packed(1000),
        );
        assert_eq!(divided.parts.len(), 20);
        assert!(
            divided
                .parts
                .iter()
                .all(|part| part.ip_range.count() == 1000 && part.ip_range.ranges().len() == 1)
        );
    }

    proptest! {
        #[test]
        fn the_parts_are_the_targets_less_the_exclusions_each_address_once(
            entries in prop::collection::vec((0u32..300, 0u32..40), 0..12),
            holes in prop::collection::vec((0u32..300, 0u32..60), 0..6),
            packed in prop::option::of(0u128..100),
        ) {
            let ranges = |spans: &[(u32, u32)]| -> Vec<AddressRange> {
                let ip = std::net::Ipv4Addr::from;
                spans.iter().map(|&(first, length)| format!("{}-{}", ip(first), ip(first + length)).parse().unwrap()).collect()
            };
            let (entries, exclude) = (ranges(&entries), Targets::from_ranges(ranges(&holes)));
            let divided = divide(&entries, &exclude, packed.map_or(Division::Each, Division::Packed));
            let left: Vec<Targets> = divided.parts.iter().map(|part| part.ip_range.without(&part.exclude)).collect();
            let expected = Targets::from_ranges(entries.clone()).without(&exclude);
            prop_assert_eq!(left.iter().map(Targets::count).sum::<u128>(), expected.count());
            prop_assert_eq!(Targets::from_ranges(left.iter().flat_map(|set| set.ranges().to_vec()).collect()), expected);
            for (part, left) in divided.parts.iter().zip(&left) {
                assert_within_bounds(part);
                if let Some(most) = packed {
                    let alone = entries.iter().any(|entry| Targets::from_ranges(vec![*entry]).intersection(left).count() > most);
                    prop_assert!(left.count() <= most || alone || divided.merged > 0 || most == 0);
                }
            }
        }
    }
}
