//! Networks as ranges of addresses in the order of the tables.

use crate::model::Targets;
use crate::model::service::ordered_bytes;

/// Rows that are read without an order and sorted here. An index that finds them is faster than one that has them in order, if there are so few;
/// no database knows that in advance.
pub(super) const FEW_ROWS: usize = 4_000;
/// With more networks than this, the database is asked for the range from the first to the last address, and the networks are applied to the rows:
/// each network is a query.
const NETWORKS_IN_SQL_MAX: usize = 1_000;

/// The first and last address of each range, in order. Without a filter: one range with all addresses. With more than [`NETWORKS_IN_SQL_MAX`]
/// networks: one range from the first to the last of them.
pub(super) fn ranges_of(networks: Option<&Targets>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let Some(networks) = networks else {
        return vec![(vec![0; 16], vec![0xff; 16])];
    };
    let mut ranges: Vec<(Vec<u8>, Vec<u8>)> = networks
        .ranges()
        .iter()
        .map(|range| {
            (
                ordered_bytes(range.first()).to_vec(),
                ordered_bytes(range.last()).to_vec(),
            )
        })
        .collect();
    // IPv4 is not before all of IPv6 in the order of the table.
    ranges.sort_unstable();
    if ranges.len() > NETWORKS_IN_SQL_MAX
        && let (Some((first, _)), Some((_, last))) = (ranges.first(), ranges.last())
    {
        return vec![(first.clone(), last.clone())];
    }
    ranges
}
