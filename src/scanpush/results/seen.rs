//! Which findings came already. Pure. This is all that grows with the number of findings: about 20 bytes for one of an IPv4
//! address, 45 for one of an IPv6 address.

use crate::model::Finding;
use crate::model::ports::Proto;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where something answered: with the task, what identifies a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Who.
    pub ip: IpAddr,
    /// On which port.
    pub port: u16,
    /// Over which transport.
    pub proto: Proto,
}

impl Place {
    /// Of a finding.
    pub fn of(finding: &Finding) -> Place {
        Place {
            ip: finding.ip,
            port: finding.port,
            proto: finding.proto,
        }
    }
}

/// The places of one task that came already.
#[derive(Debug, Default)]
pub struct Seen {
    v4: HashSet<u64>,
    v6: HashSet<([u8; 16], u32)>,
}

impl Seen {
    /// Remembers a place. True where it is new.
    pub fn insert(&mut self, place: Place) -> bool {
        let port = u32::from(place.port) << 8 | place.proto as u32;
        match place.ip {
            IpAddr::V4(ip) => self
                .v4
                .insert(u64::from(u32::from(ip)) << 32 | u64::from(port)),
            IpAddr::V6(ip) => self.v6.insert((ip.octets(), port)),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Those that are not in `other`, in no order.
    pub fn without<'a>(&'a self, other: &'a Seen) -> impl Iterator<Item = Place> + 'a {
        let v4 = self.v4.difference(&other.v4).map(|&key| {
            let [a, b, c, d, .., port_high, port_low, proto] = key.to_be_bytes();
            place(
                IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
                [port_high, port_low, proto],
            )
        });
        let v6 = self.v6.difference(&other.v6).map(|&(octets, port)| {
            let [_, port_high, port_low, proto] = port.to_be_bytes();
            place(
                IpAddr::V6(Ipv6Addr::from(octets)),
                [port_high, port_low, proto],
            )
        });
        v4.chain(v6)
    }
}

fn place(ip: IpAddr, [port_high, port_low, proto]: [u8; 3]) -> Place {
    let proto = [Proto::Tcp, Proto::Udp, Proto::Sctp]
        .into_iter()
        .find(|known| *known as u8 == proto)
        .expect("`insert` made it of one of these");
    Place {
        ip,
        port: u16::from_be_bytes([port_high, port_low]),
        proto,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn places() -> impl Strategy<Value = Place> {
        let ip = prop_oneof![
            any::<[u8; 4]>().prop_map(IpAddr::from),
            any::<[u8; 16]>().prop_map(IpAddr::from),
        ];
        let proto = prop::sample::select(vec![Proto::Tcp, Proto::Udp, Proto::Sctp]);
        (ip, any::<u16>(), proto).prop_map(|(ip, port, proto)| Place { ip, port, proto })
    }

    proptest! {
        #[test]
        fn each_place_is_new_once_and_comes_back_as_it_was(places in prop::collection::vec(places(), 0..50)) {
            let (mut seen, mut kept) = (Seen::default(), std::collections::BTreeSet::new());
            for place in places {
                prop_assert_eq!(seen.insert(place), kept.insert(place));
                prop_assert!(!seen.insert(place));
            }
            prop_assert_eq!(seen.len(), kept.len());
            let mut back: Vec<Place> = seen.without(&Seen::default()).collect();
            back.sort();
            prop_assert_eq!(back, kept.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(seen.without(&seen).count(), 0);
        }
    }

    #[test]
    fn what_differs_in_one_thing_is_another_place() {
        let place = Place {
            ip: "192.0.2.1".parse().unwrap(),
            port: 80,
            proto: Proto::Tcp,
        };
        let mut seen = Seen::default();
        for other in [
            place,
            Place { port: 81, ..place },
            Place {
                proto: Proto::Udp,
                ..place
            },
            Place {
                ip: "::192.0.2.1".parse().unwrap(),
                ..place
            },
        ] {
            assert!(seen.insert(other), "{other:?}");
        }
    }
}
