//! Splits lists of targets and exclusions into the addresses of each task. Pure.
//!
//! **Invariant:** ranges are never expanded into addresses: the time depends on the number of list entries, not on the number of
//! addresses. The targets of each task fit into one record and one argument vector of masscan. All tasks together cover the
//! targets minus the exclusions, each address exactly once.

use crate::model::Targets;
use crate::model::targets::AddressRange;
use crate::model::targets::TASK_TARGETS_MAX;
use crate::model::task::ARGUMENT_MAX_BYTES;

/// Most exclusions that a push puts into one task: half of what masscan accepts, because the server adds its own exclusions.
const PUSH_EXCLUDE_MAX: usize = TASK_TARGETS_MAX / 2;
/// Most bytes of these exclusions; half, for the same reason.
const PUSH_EXCLUDE_MAX_BYTES: usize = ARGUMENT_MAX_BYTES / 2;

/// How targets are grouped into tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// One task for each target.
    PerTarget,
    /// Targets are combined into tasks of at most this many addresses. A larger target is not split.
    UpTo(u128),
    /// As few tasks as possible.
    Minimal,
}

/// The addresses of one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskTargets {
    /// Not empty.
    pub ip_range: Targets,
    /// The exclusions: a proper subset of `ip_range`.
    pub exclude: Targets,
}

/// The targets of all tasks, and which targets were merged or excluded.
#[derive(Debug, Default)]
pub struct SplitTargets {
    /// In the order of the targets; in ascending order if targets are combined.
    pub tasks: Vec<TaskTargets>,
    /// Number of targets that overlap an earlier one and were merged into it.
    pub merged: usize,
    /// The first range into which another target was merged.
    pub first_merged: Option<AddressRange>,
    /// Targets that the exclusions cover completely.
    pub excluded: Vec<AddressRange>,
}

/// Splits `entries` minus `exclude` into the targets of tasks.
pub fn split_targets(
    entries: &[AddressRange],
    exclude: &Targets,
    grouping: Grouping,
) -> SplitTargets {
    let mut split = SplitTargets::default();
    let mut ranges = merge_overlapping(entries, &mut split);
    let addresses_max = match grouping {
        Grouping::PerTarget => 0,
        Grouping::UpTo(addresses) => addresses,
        Grouping::Minimal => u128::MAX,
    };
    if grouping != Grouping::PerTarget {
        ranges.sort_unstable();
    }
    let mut task = TaskBuilder::default();
    for range in ranges {
        let sections = sections(range, exclude);
        if sections.is_empty() {
            split.excluded.push(range);
        }
        for section in sections {
            if !task.accepts(&section, addresses_max) {
                split.tasks.extend(task.finish());
            }
            task.add(section);
        }
    }
    split.tasks.extend(task.finish());
    split
}

/// The entries in their order, with overlapping ones merged at the position of the first. Adjacent ranges are not merged:
/// a user who gives two networks expects two tasks.
fn merge_overlapping(entries: &[AddressRange], split: &mut SplitTargets) -> Vec<AddressRange> {
    let mut sorted: Vec<(AddressRange, usize)> = entries.iter().copied().zip(0..).collect();
    sorted.sort_unstable();
    let mut merged: Vec<(AddressRange, usize)> = Vec::with_capacity(sorted.len());
    for (range, place) in sorted {
        match merged.last_mut() {
            Some((last, first_place)) if last.overlaps(&range) => {
                *last = last.joined(&range).unwrap_or(*last);
                *first_place = place.min(*first_place);
                split.merged += 1;
                split.first_merged.get_or_insert(*last);
            }
            _ => merged.push((range, place)),
        }
    }
    merged.sort_unstable_by_key(|&(_, place)| place);
    merged.into_iter().map(|(range, _)| range).collect()
}

/// A target, or a section of one, with its exclusions.
struct Section {
    range: AddressRange,
    exclude: Vec<AddressRange>,
    exclude_bytes: usize,
}

/// A target with its exclusions, cut into sections if there are too many exclusions for one task. Empty if all of it is excluded.
fn sections(range: AddressRange, exclude: &Targets) -> Vec<Section> {
    let holes = Targets::from_ranges(vec![range]).intersection(exclude);
    let mut sections = Vec::new();
    if holes.ranges() == [range] {
        return sections;
    }
    let new = |range| Section {
        range,
        exclude: Vec::new(),
        exclude_bytes: 0,
    };
    let mut section = new(range);
    for hole in holes.ranges() {
        let bytes = shown_bytes(hole);
        let full = section.exclude.len() == PUSH_EXCLUDE_MAX
            || section.exclude_bytes + bytes > PUSH_EXCLUDE_MAX_BYTES;
        if !full {
            section.exclude.push(*hole);
            section.exclude_bytes += bytes;
            continue;
        }
        // Cut at this exclusion. Exclusions are never adjacent, so some addresses remain below it, and between it and the next.
        let rest = section.range.above(hole);
        section.range = section.range.below(hole).unwrap_or(section.range);
        sections.push(section);
        let Some(rest) = rest else { return sections };
        section = new(rest);
    }
    sections.push(section);
    sections
}

/// The task that sections are being added to.
#[derive(Default)]
struct TaskBuilder {
    ranges: Vec<AddressRange>,
    ranges_bytes: usize,
    exclude: Vec<AddressRange>,
    exclude_bytes: usize,
    addresses: u128,
}

impl TaskBuilder {
    /// Whether the task stays within all bounds with `section` added. An empty task accepts any section.
    fn accepts(&self, section: &Section, addresses_max: u128) -> bool {
        // Assumes one more range, even if `section` is adjacent to the last one and merges with it.
        self.ranges.is_empty()
            || self.addresses.saturating_add(section.addresses()) <= addresses_max
                && self.ranges.len() < TASK_TARGETS_MAX
                && self.ranges_bytes + shown_bytes(&section.range) <= ARGUMENT_MAX_BYTES
                && self.exclude.len() + section.exclude.len() <= PUSH_EXCLUDE_MAX
                && self.exclude_bytes + section.exclude_bytes <= PUSH_EXCLUDE_MAX_BYTES
    }

    fn add(&mut self, section: Section) {
        self.addresses = self.addresses.saturating_add(section.addresses());
        self.exclude.extend(section.exclude);
        self.exclude_bytes += section.exclude_bytes;
        self.ranges_bytes += shown_bytes(&section.range);
        let joined = self
            .ranges
            .last()
            .and_then(|last| last.joined(&section.range));
        match (joined, self.ranges.last_mut()) {
            (Some(joined), Some(last)) => {
                let apart = shown_bytes(last) + shown_bytes(&section.range);
                self.ranges_bytes = self.ranges_bytes - apart + shown_bytes(&joined);
                *last = joined;
            }
            _ => self.ranges.push(section.range),
        }
    }

    /// Takes the collected targets, if there are any, and starts over.
    fn finish(&mut self) -> Option<TaskTargets> {
        let TaskBuilder {
            ranges, exclude, ..
        } = std::mem::take(self);
        (!ranges.is_empty()).then(|| TaskTargets {
            ip_range: Targets::from_ranges(ranges),
            exclude: Targets::from_ranges(exclude),
        })
    }
}

impl Section {
    fn addresses(&self) -> u128 {
        let holes = self.exclude.iter().map(AddressRange::count).sum::<u128>();
        self.range.count().saturating_sub(holes)
    }
}

/// Bytes of a range in a list, including the comma.
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

    /// The tasks as `RANGES` or `RANGES!EXCLUSIONS`, separated by spaces.
    fn shown(entries: &str, exclude: &str, grouping: Grouping) -> String {
        let split = split_targets(&list(entries), &set(exclude), grouping);
        let part = |part: &TaskTargets| match part.exclude.is_empty() {
            true => part.ip_range.to_string(),
            false => format!("{}!{}", part.ip_range, part.exclude),
        };
        let parts: Vec<String> = split.tasks.iter().map(part).collect();
        parts.join(" ")
    }

    #[test]
    fn targets_are_grouped_into_tasks() {
        use Grouping::{Minimal, PerTarget, UpTo};
        for (entries, exclude, grouping, parts) in [
            ("", "", PerTarget, ""),
            ("10.0.0.9 10.0.0.1", "", PerTarget, "10.0.0.9 10.0.0.1"),
            (
                "10.0.0.0/25 10.0.0.128/25",
                "",
                PerTarget,
                "10.0.0.0/25 10.0.0.128/25",
            ),
            (
                "10.0.0.0/24 10.0.0.7 10.1.0.1 10.0.0.0/24",
                "",
                PerTarget,
                "10.0.0.0/24 10.1.0.1",
            ),
            (
                "10.1.0.1 10.0.0.5-10.0.0.9 10.0.0.0-10.0.0.5",
                "",
                PerTarget,
                "10.1.0.1 10.0.0.0-10.0.0.9",
            ),
            ("10.0.0.0/24", "10.0.0.9", PerTarget, "10.0.0.0/24!10.0.0.9"),
            (
                "10.0.0.0/24 10.0.1.0/24",
                "10.0.1.0/30 10.9.0.0/16",
                PerTarget,
                "10.0.0.0/24 10.0.1.0/24!10.0.1.0/30",
            ),
            (
                "10.0.0.0/24 10.0.1.0/24",
                "10.0.0.0/24",
                PerTarget,
                "10.0.1.0/24",
            ),
            (
                "10.0.0.0/24 fd00::/120",
                "0.0.0.0/0",
                PerTarget,
                "fd00::/120",
            ),
            (
                "10.0.0.9 10.0.0.1 10.0.0.5",
                "",
                UpTo(2),
                "10.0.0.1,10.0.0.5 10.0.0.9",
            ),
            (
                "10.0.0.0/30 10.0.0.4 10.0.0.5",
                "",
                UpTo(3),
                "10.0.0.0/30 10.0.0.4/31",
            ),
            (
                "10.0.0.0/30 10.0.0.4 10.0.0.5",
                "10.0.0.0/31",
                UpTo(3),
                "10.0.0.0-10.0.0.4!10.0.0.0/31 10.0.0.5",
            ),
            (
                "10.0.0.9 fd00::1 10.0.0.8",
                "",
                Minimal,
                "10.0.0.8/31,fd00::1",
            ),
            (
                "0.0.0.0/0",
                "10.0.0.0/8,192.168.0.0/16",
                PerTarget,
                "0.0.0.0/0!10.0.0.0/8,192.168.0.0/16",
            ),
        ] {
            assert_eq!(
                shown(entries, exclude, grouping),
                parts,
                "{entries} minus {exclude}"
            );
        }
    }

    #[test]
    fn merged_and_excluded_targets_are_counted() {
        let split = split_targets(
            &list("10.0.0.0/24 10.0.0.7 10.1.0.1 10.0.0.7 10.2.0.0/24"),
            &set("10.1.0.0/16"),
            Grouping::PerTarget,
        );
        assert_eq!(split.merged, 2);
        assert_eq!(split.first_merged, Some(list("10.0.0.0/24")[0]));
        assert_eq!(split.excluded, list("10.1.0.1"));
        assert_eq!(split.tasks.len(), 2);
    }

    fn assert_within_bounds(part: &TaskTargets) {
        assert!(part.ip_range.ranges().len() <= TASK_TARGETS_MAX);
        assert!(part.ip_range.to_string().len() <= ARGUMENT_MAX_BYTES);
        assert!(part.exclude.ranges().len() <= PUSH_EXCLUDE_MAX);
        assert!(part.exclude.to_string().len() <= PUSH_EXCLUDE_MAX_BYTES);
        assert!(!part.ip_range.without(&part.exclude).is_empty());
        assert_eq!(part.ip_range.intersection(&part.exclude), part.exclude);
    }

    #[test]
    fn a_target_with_too_many_exclusions_becomes_several_tasks() {
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
            let split = split_targets(&entries, &exclude, Grouping::PerTarget);
            assert!(
                (10..60).contains(&split.tasks.len()),
                "{}",
                split.tasks.len()
            );
            split.tasks.iter().for_each(assert_within_bounds);
            let left: Vec<AddressRange> = split
                .tasks
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
    fn a_combined_task_stays_within_the_bounds_of_a_task() {
        let apart: Vec<String> = (0..100_000u32)
            .map(|n| format!("10.{}.{}.{}", n >> 15, n >> 7 & 255, n << 1 & 255))
            .collect();
        let split = split_targets(
            &list(&apart.join("\n")),
            &Targets::default(),
            Grouping::Minimal,
        );
        split.tasks.iter().for_each(assert_within_bounds);
        assert_eq!(split.tasks.len(), 100_000usize.div_ceil(TASK_TARGETS_MAX));
        // Adjacent addresses are merged into one range.
        let dense: Vec<String> = (0..20_000u32)
            .map(|n| format!("10.0.{}.{}", n >> 8, n & 255))
            .collect();
        let split = split_targets(
            &list(&dense.join("\n")),
            &Targets::default(),
            Grouping::UpTo(1000),
        );
        assert_eq!(split.tasks.len(), 20);
        assert!(
            split
                .tasks
                .iter()
                .all(|part| part.ip_range.count() == 1000 && part.ip_range.ranges().len() == 1)
        );
    }

    proptest! {
        #[test]
        fn the_tasks_cover_the_targets_minus_the_exclusions_each_address_once(
            entries in prop::collection::vec((0u32..300, 0u32..40), 0..12),
            holes in prop::collection::vec((0u32..300, 0u32..60), 0..6),
            packed in prop::option::of(0u128..100),
        ) {
            let ranges = |spans: &[(u32, u32)]| -> Vec<AddressRange> {
                let ip = std::net::Ipv4Addr::from;
                spans.iter().map(|&(first, length)| format!("{}-{}", ip(first), ip(first + length)).parse().unwrap()).collect()
            };
            let (entries, exclude) = (ranges(&entries), Targets::from_ranges(ranges(&holes)));
            let split = split_targets(&entries, &exclude, packed.map_or(Grouping::PerTarget, Grouping::UpTo));
            let left: Vec<Targets> = split.tasks.iter().map(|part| part.ip_range.without(&part.exclude)).collect();
            let expected = Targets::from_ranges(entries.clone()).without(&exclude);
            prop_assert_eq!(left.iter().map(Targets::count).sum::<u128>(), expected.count());
            prop_assert_eq!(Targets::from_ranges(left.iter().flat_map(|set| set.ranges().to_vec()).collect()), expected);
            for (part, left) in split.tasks.iter().zip(&left) {
                assert_within_bounds(part);
                if let Some(addresses_max) = packed {
                    let alone = entries.iter().any(|entry| Targets::from_ranges(vec![*entry]).intersection(left).count() > addresses_max);
                    prop_assert!(left.count() <= addresses_max || alone || split.merged > 0 || addresses_max == 0);
                }
            }
        }
    }
}
