//! The endpoints that were found already, and by which passes. Pure. Only this grows with the number of findings: by about 30 bytes for an
//! IPv4 address, 50 for an IPv6 address.

use crate::model::ports::Proto;
use crate::model::service::ServiceKey;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A set of passes; each is from 1 to [`PASSES_MAX`](crate::model::found_by_pass::PASSES_MAX).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct PassSet(u32);

impl PassSet {
    /// Whether `pass` is in it.
    pub fn contains(self, pass: u32) -> bool {
        self.0 & bit(pass) != 0
    }

    /// The same with `pass`.
    pub fn with(self, pass: u32) -> PassSet {
        PassSet(self.0 | bit(pass))
    }

    /// The same without `pass`.
    pub fn without(self, pass: u32) -> PassSet {
        PassSet(self.0 & !bit(pass))
    }
}

fn bit(pass: u32) -> u32 {
    1u32.checked_shl(pass).unwrap_or(0)
}

/// The endpoints that were found for one task.
#[derive(Debug, Default)]
pub struct EndpointSet {
    v4: HashMap<u64, PassSet>,
    v6: HashMap<([u8; 16], u32), PassSet>,
}

impl EndpointSet {
    /// Adds an endpoint that `pass` found. Returns true if no pass had found it before.
    pub fn insert(&mut self, endpoint: ServiceKey, pass: u32) -> bool {
        let port = u32::from(endpoint.port) << 8 | endpoint.proto as u32;
        let passes = match endpoint.ip {
            IpAddr::V4(ip) => {
                let key = u64::from(u32::from(ip)) << 32 | u64::from(port);
                self.v4.entry(key).or_default()
            }
            IpAddr::V6(ip) => self.v6.entry((ip.octets(), port)).or_default(),
        };
        let is_new = *passes == PassSet::default();
        *passes = passes.with(pass);
        is_new
    }

    /// For each endpoint the passes that found it, in arbitrary order.
    pub fn passes(&self) -> impl Iterator<Item = PassSet> {
        self.v4.values().chain(self.v6.values()).copied()
    }

    /// The number of endpoints.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Those that are not in `other`, in arbitrary order.
    pub fn without<'a>(&'a self, other: &'a EndpointSet) -> impl Iterator<Item = ServiceKey> + 'a {
        let v4 = self.v4.keys().filter(|key| !other.v4.contains_key(key));
        let v4 = v4.map(|&key| {
            let [a, b, c, d, .., port_high, port_low, proto] = key.to_be_bytes();
            endpoint(
                IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
                [port_high, port_low, proto],
            )
        });
        let v6 = self.v6.keys().filter(|key| !other.v6.contains_key(key));
        let v6 = v6.map(|&(octets, port)| {
            let [_, port_high, port_low, proto] = port.to_be_bytes();
            endpoint(
                IpAddr::V6(Ipv6Addr::from(octets)),
                [port_high, port_low, proto],
            )
        });
        v4.chain(v6)
    }
}

fn endpoint(ip: IpAddr, [port_high, port_low, proto]: [u8; 3]) -> ServiceKey {
    let proto = [Proto::Tcp, Proto::Udp, Proto::Sctp]
        .into_iter()
        .find(|known| *known as u8 == proto)
        .expect("`insert` made it of one of these");
    ServiceKey {
        ip,
        port: u16::from_be_bytes([port_high, port_low]),
        proto,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn endpoints() -> impl Strategy<Value = ServiceKey> {
        let ip = prop_oneof![
            any::<[u8; 4]>().prop_map(IpAddr::from),
            any::<[u8; 16]>().prop_map(IpAddr::from),
        ];
        let proto = prop::sample::select(vec![Proto::Tcp, Proto::Udp, Proto::Sctp]);
        (ip, any::<u16>(), proto).prop_map(|(ip, port, proto)| ServiceKey { ip, port, proto })
    }

    proptest! {
        #[test]
        fn each_endpoint_is_new_once_and_is_returned_unchanged(endpoints in prop::collection::vec(endpoints(), 0..50)) {
            let (mut seen, mut kept) = (EndpointSet::default(), std::collections::BTreeSet::new());
            for endpoint in endpoints {
                prop_assert_eq!(seen.insert(endpoint, 1), kept.insert(endpoint));
                prop_assert!(!seen.insert(endpoint, 17));
            }
            prop_assert_eq!(seen.len(), kept.len());
            prop_assert!(seen.passes().all(|passes| passes == PassSet::default().with(17).with(1)));
            let mut back: Vec<ServiceKey> = seen.without(&EndpointSet::default()).collect();
            back.sort();
            prop_assert_eq!(back, kept.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(seen.without(&seen).count(), 0);
        }
    }

    #[test]
    fn address_port_and_protocol_each_distinguish_endpoints() {
        let endpoint = ServiceKey {
            ip: "192.0.2.1".parse().unwrap(),
            port: 80,
            proto: Proto::Tcp,
        };
        let mut seen = EndpointSet::default();
        for other in [
            endpoint,
            ServiceKey {
                port: 81,
                ..endpoint
            },
            ServiceKey {
                proto: Proto::Udp,
                ..endpoint
            },
            ServiceKey {
                ip: "::192.0.2.1".parse().unwrap(),
                ..endpoint
            },
        ] {
            assert!(seen.insert(other, 1), "{other:?}");
        }
    }
}
