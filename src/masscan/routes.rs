//! The kernel's tables of routes and addresses, as text from /proc, and what masscan makes of them. Pure.
//!
//! masscan 1.3.2 takes the interface of the route with the lowest metric in the main table whose destination is 0.0.0.0, whatever its prefix
//! length (0.0.0.0/1 of a VPN counts too), and sends everything to that route's router. If that route has no router, it takes no interface at
//! all. It ignores policy rules, and all routes except those to 0.0.0.0. (From its `rawsock-getif.c`; measured with two routers, the two halves of a VPN, a policy
//! rule and a more specific route.)

use crate::model::Targets;
use crate::model::source::Interface;
use crate::model::targets::AddressRange;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A route of `/proc/net/route`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Route {
    interface: Interface,
    destination: Ipv4Addr,
    /// 0.0.0.0 if there is none.
    gateway: Ipv4Addr,
    metric: u32,
    prefix: u32,
}

fn routes(table: &str) -> Vec<Route> {
    let route = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| u32::from_str_radix(words.get(at)?, 16).ok();
        // The kernel prints addresses in memory order.
        let address = |at: usize| Some(Ipv4Addr::from(number(at)?.to_ne_bytes()));
        Some(Route {
            interface: words.first()?.parse().ok()?,
            destination: address(1)?,
            gateway: address(2)?,
            metric: words.get(6)?.parse().ok()?,
            prefix: number(7)?.count_ones(),
        })
    };
    table.lines().skip(1).filter_map(route).collect()
}

/// The interface that masscan takes (`named`, if -interface gives one) and its router. None if masscan finds no interface; the router is none if
/// the interface has no route to 0.0.0.0 via a router.
pub(super) fn route_of_masscan(
    table: &str,
    named: Option<&Interface>,
) -> Option<(Interface, Option<Ipv4Addr>)> {
    let all = routes(table);
    let is_to_any = |route: &&Route| route.destination.is_unspecified();
    let interface = match named {
        Some(named) => named.clone(),
        None => {
            let first = all
                .iter()
                .filter(is_to_any)
                .min_by_key(|route| route.metric)?;
            if first.gateway.is_unspecified() {
                return None;
            }
            first.interface.clone()
        }
    };
    let router = all
        .iter()
        .filter(is_to_any)
        .filter(|route| route.interface == interface && !route.gateway.is_unspecified())
        .min_by_key(|route| route.metric);
    Some((interface.clone(), router.map(|route| route.gateway)))
}

/// The networks that `interface` is in: the targets of its routes without a router.
pub(super) fn own_networks(table: &str, interface: &Interface) -> Vec<AddressRange> {
    routes(table)
        .iter()
        .filter(|route| route.interface == *interface && route.gateway.is_unspecified())
        .filter(|route| route.prefix > 0)
        .filter_map(|route| network(route.destination.into(), route.prefix))
        .collect()
}

/// The addresses of this machine in `/proc/net/fib_trie`, loopback included.
pub(super) fn own_addresses(trie: &str) -> Vec<AddressRange> {
    let mut last = None;
    let mut found = Vec::new();
    for line in trie.lines() {
        if let Some((_, address)) = line.split_once("|-- ") {
            last = address.trim().parse::<Ipv4Addr>().ok();
        } else if line.trim() == "/32 host LOCAL" {
            found.extend(last.and_then(|address| network(address.into(), 32)));
        }
    }
    found.extend(network(Ipv4Addr::LOCALHOST.into(), 8));
    found.sort_by_key(AddressRange::first);
    found.dedup();
    found
}

/// The IPv6 networks of `interface` in `/proc/net/if_inet6`, for addresses from which masscan sends. It sends from no link-local address, and
/// from none of fc00::/7 or 2001:db8::/32.
pub(super) fn ipv6_networks(table: &str, interface: &Interface) -> Vec<AddressRange> {
    const TENTATIVE_OR_FAILED: u32 = 0x40 | 0x08;
    let network_of = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| u32::from_str_radix(words.get(at)?, 16).ok();
        let address = Ipv6Addr::from(u128::from_str_radix(words.first()?, 16).ok()?);
        let [first, second, ..] = address.segments();
        let is_accepted = first & 0xfe00 != 0xfc00 && (first, second) != (0x2001, 0xdb8);
        let is_usable = number(3)? == 0 && number(4)? & TENTATIVE_OR_FAILED == 0 && is_accepted;
        (is_usable && words.get(5)?.parse::<Interface>().ok()? == *interface)
            .then(|| network(address.into(), number(2)?))?
    };
    table.lines().filter_map(network_of).collect()
}

/// Whether `/proc/net/ipv6_route` has a default route through a router on `interface`.
pub(super) fn has_ipv6_router(table: &str, interface: &Interface) -> bool {
    const UP_VIA_GATEWAY: u32 = 0x1 | 0x2;
    table.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let flags = words
            .get(8)
            .and_then(|flags| u32::from_str_radix(flags, 16).ok());
        let is_default = words
            .first()
            .is_some_and(|to| to.bytes().all(|digit| digit == b'0'))
            && words.get(1) == Some(&"00");
        is_default
            && flags.is_some_and(|flags| flags & UP_VIA_GATEWAY == UP_VIA_GATEWAY)
            && words.get(9).is_some_and(|name| *name == interface.as_str())
    })
}

fn network(address: IpAddr, prefix: u32) -> Option<AddressRange> {
    let network: Targets = format!("{address}/{prefix}").parse().ok()?;
    network.ranges().first().copied()
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;

    const HEAD: &str =
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";

    /// Lines of `interface destination gateway metric mask`, all in the kernel's notation.
    fn table(lines: &[&str]) -> String {
        let line = |line: &&str| {
            let words: Vec<&str> = line.split(' ').collect();
            let [interface, to, via, metric, mask] = words[..] else {
                panic!("{line}");
            };
            format!("{interface}\t{to}\t{via}\t0003\t0\t0\t{metric}\t{mask}\t0\t0\t0\n")
        };
        HEAD.to_owned() + &lines.iter().map(line).collect::<String>()
    }

    const E0: &str = "e0 00000000 020200C0 200 00000000";
    const E1: &str = "e1 00000000 060200C0 100 00000000";
    const HALF: &str = "e0 00000000 020200C0 0 00000080";
    const HALF_WITHOUT_ROUTER: &str = "tun0 00000000 00000000 0 00000080";
    const LINK: &str = "e1 040200C0 00000000 0 FCFFFFFF";

    #[test]
    fn masscans_interface_is_that_of_the_lowest_metric_to_0() {
        for (lines, named, shown) in [
            (&[E0, E1][..], None, Some("e1 192.0.2.6")),
            (&[E1, HALF], None, Some("e0 192.0.2.2")),
            (&[E1, HALF_WITHOUT_ROUTER], None, None),
            (&[E0, E1], Some("e0"), Some("e0 192.0.2.2")),
            (&[E1, LINK], Some("e0"), Some("e0 -")),
            (&[LINK], None, None),
            (&[], None, None),
        ] {
            let named = named.map(|name: &str| name.parse::<Interface>().unwrap());
            let found = route_of_masscan(&table(lines), named.as_ref()).map(|(name, router)| {
                let router = router.map_or("-".to_owned(), |router| router.to_string());
                format!("{name} {router}")
            });
            assert_eq!(found.as_deref(), shown, "{lines:?}");
        }
        for odd in [
            "",
            "Iface\n",
            "Iface\neth0 x",
            "Iface\neth0\t0\t1\t3\t0\t0\t0",
        ] {
            assert_eq!(route_of_masscan(odd, None), None, "{odd:?}");
        }
    }

    #[test]
    fn own_networks_and_addresses_are_read() {
        let shown = |ranges: Vec<AddressRange>| Targets::from_ranges(ranges).to_string();
        let (e0, e1): (Interface, Interface) = ("e0".parse().unwrap(), "e1".parse().unwrap());
        let routes = table(&[E0, E1, LINK, HALF_WITHOUT_ROUTER]);
        assert_eq!(shown(own_networks(&routes, &e1)), "192.0.2.4/30");
        assert_eq!(shown(own_networks(&routes, &e0)), "");
        let trie = "\
Local:
  +-- 0.0.0.0/0 3 0 4
     |-- 192.0.2.4
        /30 link UNICAST
     |-- 192.0.2.5
        /32 host LOCAL
     |-- 127.0.0.1
        /32 host LOCAL
";
        assert_eq!(shown(own_addresses(trie)), "127.0.0.0/8,192.0.2.5");
        let inet6 = "\
20010002000000000000000000000001 02 40 00 80     e1
fe80000000000000e8d1ffffff000001 02 40 20 80     e1
fd00000000000000000000000000000a 02 40 00 80     e1
20010db8000000000000000000000001 02 40 00 80     e1
20010003000000000000000000000001 03 40 00 c0     e0
";
        assert_eq!(shown(ipv6_networks(inet6, &e1)), "2001:2::/64");
        assert_eq!(shown(ipv6_networks(inet6, &e0)), "", "it is tentative");
        let zero = "00000000000000000000000000000000";
        let default = format!(
            "{zero} 00 {zero} 00 20010002000000000000000000000002 00000400 1 0 00000003       e1\n"
        );
        let direct = format!("{zero} 00 {zero} 00 {zero} ffffffff 1 0 00200200       lo\n");
        assert!(has_ipv6_router(&default, &e1));
        assert!(!has_ipv6_router(&default, &e0) && !has_ipv6_router(&direct, &e1));
    }
}
