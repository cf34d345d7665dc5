//! Packets that this machine's kernel has dropped: in the queue of masscan's interface, and because its connection tracking table was full.
//!
//! masscan sends through a packet socket. So the local firewall's output chain and connection tracking do not see its probes (measured: an nftables
//! output chain with policy drop drops none), but the interface's queue does (measured: a tbf of 8 kbit/s dropped 229 of 256), and the machine
//! that forwards for a container or another namespace tracks them.

use super::netlink::queue_drops;
use super::network::{NetworkError, NetworkOf, in_network_of};
use super::routes::route_of_masscan;
use crate::model::source::Interface;
use std::fs;

/// The counters, which only increase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drops {
    interface: Interface,
    /// Packets dropped by the interface's queue.
    queue: u64,
    /// Packets dropped and connections evicted by connection tracking, usually because its table was full.
    conntrack: u64,
}

/// Reads the counters in the network of `whose`; `named` is the interface of `-interface`. A counter that cannot be read is 0.
pub fn drops(whose: NetworkOf, named: Option<&Interface>) -> Result<Drops, NetworkError> {
    let named = named.cloned();
    in_network_of(whose, move || {
        let routes = fs::read_to_string("/proc/thread-self/net/route")?;
        let (interface, _) =
            route_of_masscan(&routes, named.as_ref()).ok_or(NetworkError::NoRoute)?;
        // A thread that has entered another network still sees this process's in /proc/self.
        let tables = [
            "/proc/thread-self/net/stat/nf_conntrack",
            "/proc/self/net/stat/nf_conntrack",
        ];
        let conntrack =
            tables.map(|table| conntrack_drops(&fs::read_to_string(table).unwrap_or_default()));
        Ok(Drops {
            queue: queue_drops(&interface).unwrap_or(0),
            conntrack: conntrack.into_iter().max().unwrap_or(0),
            interface,
        })
    })
}

impl Drops {
    /// What was dropped since `before`, with the remedy; none if nothing was.
    pub fn since(&self, before: &Drops) -> Option<String> {
        let interface = &self.interface;
        let (queue, conntrack) = (
            self.queue.saturating_sub(before.queue),
            self.conntrack.saturating_sub(before.conntrack),
        );
        let queue = (queue > 0).then(|| {
            format!(
                "the queue of {interface} dropped {queue} packets during the scan, so probes were probably lost: lower the rate (tc -s qdisc show dev {interface})"
            )
        });
        let conntrack = (conntrack > 0).then(|| {
            format!(
                "connection tracking dropped packets or evicted connections {conntrack} times during the scan (its table is probably full), so probes \
                 or answers may be lost: raise net.netfilter.nf_conntrack_max, or exempt the scan's traffic from tracking (NOTRACK)"
            )
        });
        let all: Vec<String> = queue.into_iter().chain(conntrack).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

/// The sum of `drop` and `early_drop` of all processors in `/proc/net/stat/nf_conntrack`.
fn conntrack_drops(table: &str) -> u64 {
    let mut lines = table.lines();
    let names: Vec<&str> = lines
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let columns: Vec<usize> = (0..names.len())
        .filter(|&at| matches!(names[at], "drop" | "early_drop"))
        .collect();
    lines
        .flat_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let number = |&at: &usize| u64::from_str_radix(words.get(at)?, 16).ok();
            columns.iter().filter_map(number).collect::<Vec<u64>>()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_of_all_processors_count() {
        let table = "entries  searched found new invalid ignore delete delete_list insert insert_failed drop early_drop icmp_error\n\
            0000000a 0 0 0 0 0 0 0 0 00000002 00000010 00000001 0\n\
            0000000a 0 0 0 0 0 0 0 0 00000000 00000001 00000000 0\n";
        assert_eq!(conntrack_drops(table), 18);
        assert_eq!(conntrack_drops(""), 0);
        assert_eq!(conntrack_drops("drop\nx\n"), 0);
    }

    #[test]
    fn only_what_was_dropped_in_between_is_reported() {
        let at = |queue, conntrack| Drops {
            interface: "eth0".parse().unwrap(),
            queue,
            conntrack,
        };
        assert_eq!(at(7, 9).since(&at(7, 9)), None);
        assert_eq!(at(0, 0).since(&at(7, 9)), None, "the counters were reset");
        let queue = at(9, 9).since(&at(7, 9)).unwrap();
        assert!(
            queue.starts_with("the queue of eth0 dropped 2 packets"),
            "{queue}"
        );
        let both = at(9, 12).since(&at(7, 9)).unwrap();
        assert!(both.contains("evicted connections 3 times"), "{both}");
    }
}
