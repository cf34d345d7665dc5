//! The networks of the tests in the lab's range. No two tests share an address, because a test may drop or count the probes of its targets.

use std::collections::BTreeMap;
use std::sync::Mutex;

/// The lab's range, 172.16.0.0/12, in networks of 256 addresses.
const LAB_NETWORKS: u32 = 16 * 256;

/// The first network of 256 addresses that is free. They are given away in ascending order.
static NEXT_FREE: Mutex<u32> = Mutex::new(0);
/// The networks of fleets, by the fleet's number and the network's.
static FLEET_NETWORKS: Mutex<BTreeMap<(u32, u32), String>> = Mutex::new(BTreeMap::new());

/// A network that no other test has, with a prefix of `prefix` bits, at most 24.
pub fn new_network(prefix: u32) -> String {
    let size = 1 << (24 - prefix);
    let mut next_free = NEXT_FREE.lock().unwrap();
    let first = next_free.next_multiple_of(size);
    *next_free = first + size;
    assert!(
        *next_free <= LAB_NETWORKS,
        "the lab's range is used up: take smaller networks"
    );
    format!("172.{}.{}.0/{prefix}", 16 + first / 256, first % 256)
}

/// The `n`-th network of a fleet, of 256 addresses.
pub fn network_of_fleet(fleet: u32, n: u32) -> String {
    let mut networks = FLEET_NETWORKS.lock().unwrap();
    let network = networks.entry((fleet, n));
    network.or_insert_with(|| new_network(24)).clone()
}
