//! Which services opened, closed, stayed the same, or cannot be compared. Pure.

use super::side::Side;
use crate::scanpush::results::diff::Change;
use crate::scanpush::results::endpoints::EndpointSet;

/// The result.
#[derive(Debug, PartialEq, Eq)]
pub struct Comparison {
    /// What opened or closed, by address and port.
    pub changes: Vec<Change>,
    /// Services that both found.
    pub same: usize,
    /// Services that only the first found, where the second did not cover.
    pub only_before: usize,
    /// Services that only the second found, where the first did not cover.
    pub only_after: usize,
}

/// Compares what two sides found. A service that one of them found needs no coverage on that side.
pub fn compare(
    found_before: &EndpointSet,
    found_after: &EndpointSet,
    before: &Side,
    after: &Side,
) -> Comparison {
    let mut changes = Vec::new();
    let mut judge = |found: &EndpointSet, by_other: &EndpointSet, other: &Side, opened: bool| {
        let (mut only_here, mut not_comparable) = (0, 0);
        for endpoint in found.without(by_other) {
            only_here += 1;
            match other.covers(&endpoint) {
                true => changes.push(Change { endpoint, opened }),
                false => not_comparable += 1,
            }
        }
        (only_here, not_comparable)
    };
    let (only_first, only_before) = judge(found_before, found_after, after, false);
    let (_, only_after) = judge(found_after, found_before, before, true);
    changes.sort_unstable_by_key(|change| change.endpoint);
    Comparison {
        changes,
        same: found_before.len() - only_first,
        only_before,
        only_after,
    }
}
