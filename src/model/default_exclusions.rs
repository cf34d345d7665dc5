//! What a server excludes unless its `-allow` names it: networks that no scan should reach by accident, and the servers of Kafka and Redis. Pure.
//!
//! An entry of `-allow` names a network if the entry equals the network or lies within it: `-allow 127.0.0.0/8` and `-allow 127.0.0.9` name loopback, while
//! `-allow 0.0.0.0/0` names nothing. A server of Kafka or Redis is a network of one address, so only that address itself names it. Only
//! the addresses of that entry are no longer excluded.

use super::targets::{AddressRange, Targets};
use std::collections::BTreeMap;

/// The special networks, with what each is for (RFC 6890, RFC 5771, RFC 4291).
///
/// `::/8` contains `::`, `::1` and several prefixes with an IPv4 address in their last bits, of which IPv4-mapped addresses are IPv4 addresses
/// here. Teredo (RFC 4380) and 6to4 (RFC 7526) contain IPv4 addresses too, to which IPv4 exclusions would not apply. Site-local addresses (RFC 3879)
/// are deprecated.
const SPECIAL_NETWORKS: [(&str, &str); 11] = [
    ("0.0.0.0/8", "this network"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved, broadcast"),
    ("::/8", "reserved, loopback"),
    ("2001::/32", "Teredo"),
    ("2002::/16", "6to4"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "site-local"),
    ("ff00::/8", "multicast"),
];

/// The addresses of Kafka's and Redis' servers, as far as known, each with the name under which it was found. The default: none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerAddresses(BTreeMap<AddressRange, String>);

impl PeerAddresses {
    /// Adds an address that was found under `name`, such as `Kafka k1:9092`.
    pub fn add(&mut self, address: AddressRange, name: &str) {
        self.0.entry(address).or_insert_with(|| name.to_owned());
    }

    /// Adds the addresses of `others` that are not known yet.
    pub fn add_all(&mut self, others: &PeerAddresses) {
        for (address, name) in &others.0 {
            self.add(*address, name);
        }
    }

    /// The addresses in one line, for the log: `192.0.2.7 (Kafka k1:9092), 192.0.2.8 (Redis)`; `none`.
    pub fn summary(&self) -> String {
        match self.0.is_empty() {
            true => "none".to_owned(),
            false => listed(&self.0),
        }
    }
}

/// What is excluded by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DefaultExclusions {
    networks: Vec<(AddressRange, String)>,
    addresses: Targets,
    named: Targets,
}

impl DefaultExclusions {
    /// The special networks and `peers`, less what `allowed` names: the entries of `-allow`, as they were written.
    pub fn new(peers: &PeerAddresses, allowed: &[AddressRange]) -> DefaultExclusions {
        let special = SPECIAL_NETWORKS.iter().map(|&(network, what)| {
            let network = network.parse().expect("a valid address or CIDR block");
            (network, what.to_owned())
        });
        let peers = peers.0.iter().map(|(&range, name)| (range, name.clone()));
        let (mut networks, mut named) = (Vec::new(), Vec::new());
        // Naming a special network does not name a server of Kafka in it: each has to be named by itself.
        for (network, what) in special.chain(peers) {
            let its_named: Vec<_> = allowed
                .iter()
                .filter(|entry| network.contains(entry))
                .copied()
                .collect();
            let left = Targets::from_ranges(vec![network])
                .without(&Targets::from_ranges(its_named.clone()));
            named.extend(its_named);
            let left = left.ranges().iter();
            networks.extend(left.map(|&range| (range, what.clone())));
        }
        DefaultExclusions {
            addresses: Targets::from_ranges(networks.iter().map(|(range, _)| *range).collect()),
            named: Targets::from_ranges(named),
            networks,
        }
    }

    /// All addresses that are excluded by default.
    pub fn addresses(&self) -> &Targets {
        &self.addresses
    }

    /// The networks in one line, for the log: `127.0.0.0/8 (loopback), 192.0.2.7 (Kafka k1:9092)`.
    pub fn summary(&self) -> String {
        listed(self.networks.iter().map(|(range, what)| (range, what)))
    }

    /// What would be excluded by default, but is named by `-allow`.
    pub fn named(&self) -> &Targets {
        &self.named
    }
}

fn listed<'a>(networks: impl IntoIterator<Item = (&'a AddressRange, &'a String)>) -> String {
    let all: Vec<_> = networks
        .into_iter()
        .map(|(range, what)| format!("{range} ({what})"))
        .collect();
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::targets::Entries;

    fn exclusions(peers: &[(&str, &str)], allow: &str) -> DefaultExclusions {
        let mut known = PeerAddresses::default();
        for (address, name) in peers {
            known.add(address.parse().unwrap(), name);
        }
        let allowed = match allow {
            "" => Vec::new(),
            allow => allow.parse::<Entries>().unwrap().ranges().to_vec(),
        };
        DefaultExclusions::new(&known, &allowed)
    }

    fn excludes(exclusions: &DefaultExclusions, address: &str) -> bool {
        exclusions.addresses().contains(address.parse().unwrap())
    }

    /// With these peers and this `-allow`, `excluded` and not `not_excluded`, both separated by spaces, are excluded.
    fn check(peers: &[(&str, &str)], allow: &str, excluded: &str, not_excluded: &str) {
        let exclusions = exclusions(peers, allow);
        for (addresses, is_excluded) in [(excluded, true), (not_excluded, false)] {
            for address in addresses.split_whitespace() {
                assert_eq!(
                    excludes(&exclusions, address),
                    is_excluded,
                    "-allow {allow:?}: {address}"
                );
            }
        }
    }

    #[test]
    fn special_networks_are_excluded_unless_an_entry_of_allow_names_them() {
        for (allow, excluded, not_excluded) in [
            (
                "",
                "0.0.0.1 127.0.0.1 127.255.255.255 169.254.169.254 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 \
                 :: ::1 ::2 ::127.0.0.1 ::ffff:0:127.0.0.1 ff:ffff:: 2002:7f00:1:: fe80::1 febf::1 fec0::1 feff::1 ff02::1 ::ffff:127.0.0.1",
                "1.0.0.0 126.255.255.255 128.0.0.0 169.253.255.255 169.255.0.0 223.255.255.255 10.0.0.1 172.16.0.1 192.168.0.1 \
                 ::ffff:10.0.0.1 100:: 2001:ffff:: 2003:: fe7f::1 fe00::1 2001:db8::1",
            ),
            // Wide entries name nothing, and neither does one that only overlaps.
            ("0.0.0.0/0,::/0", "127.0.0.1 ::1 224.0.0.1", "10.0.0.1"),
            ("126.0.0.0/7", "127.0.0.1", "126.0.0.1"),
            ("127.0.0.0-128.0.0.0", "127.0.0.1", "128.0.0.0"),
            // The network itself, and parts of it.
            (
                "127.0.0.0/8",
                "169.254.0.1 ::1",
                "127.0.0.1 127.255.255.255",
            ),
            ("127.0.0.9", "127.0.0.8 127.0.0.10", "127.0.0.9"),
            ("::ffff:127.0.0.9", "127.0.0.8", "127.0.0.9"),
            ("0.0.0.0/0,127.0.0.0/30", "127.0.0.4", "127.0.0.3"),
            // Entries count as they were written, although these touch.
            ("126.0.0.0/8,127.0.0.0/8", "::1", "127.0.0.1 126.0.0.1"),
            ("fe80::/64", "fe80:1::1", "fe80::1"),
            ("::1,2002::/16", ":: ::2 fec0::1", "::1 2002:7f00:1::"),
        ] {
            check(&[], allow, excluded, not_excluded);
        }
    }

    #[test]
    fn a_server_of_kafka_or_redis_is_named_by_its_own_address_only() {
        let peers = [
            ("192.0.2.7", "Kafka k1:9092"),
            ("127.0.0.1", "Redis r1:6379"),
            ("2001:db8::7", "Kafka k1:9092"),
        ];
        for (allow, excluded, not_excluded) in [
            ("", "192.0.2.7 127.0.0.1 2001:db8::7", "192.0.2.6 192.0.2.8"),
            ("192.0.2.0/24", "192.0.2.7", "192.0.2.8"),
            ("192.0.2.6,192.0.2.7", "127.0.0.1 2001:db8::7", "192.0.2.7"),
            // Loopback is named, but not the server in it.
            ("127.0.0.0/8", "127.0.0.1", "127.0.0.2"),
            ("127.0.0.0/8,127.0.0.1", "192.0.2.7", "127.0.0.1 127.0.0.2"),
        ] {
            check(&peers, allow, excluded, not_excluded);
        }
    }

    #[test]
    fn the_summary_says_what_is_excluded_and_why() {
        let peers = [("192.0.2.7", "Kafka k1:9092"), ("192.0.2.7", "Redis r1")];
        assert_eq!(
            exclusions(&peers, "").summary(),
            "0.0.0.0/8 (this network), 127.0.0.0/8 (loopback), 169.254.0.0/16 (link-local), 224.0.0.0/4 (multicast), \
             240.0.0.0/4 (reserved, broadcast), ::/8 (reserved, loopback), 2001::/32 (Teredo), 2002::/16 (6to4), fe80::/10 (link-local), \
             fec0::/10 (site-local), ff00::/8 (multicast), 192.0.2.7 (Kafka k1:9092)"
        );
        let named = exclusions(&[], "10.0.0.0/8,127.0.0.0/9,::1");
        assert_eq!(named.named().to_string(), "127.0.0.0/9,::1");
        assert!(named.summary().contains("127.128.0.0/9 (loopback), 169."));
    }
}
