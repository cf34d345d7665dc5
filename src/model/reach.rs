//! Which targets masscan cannot reach from a server. Pure.

use super::source::Source;
use super::text::fingerprint;
use super::{Targets, targets::AddressRange};
use std::net::IpAddr;

/// What masscan would probe without any answer. The default: nothing, as far as known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Addresses of this server and of the networks that its interface is in. masscan sends to the router only.
    own: Targets,
    /// Why it cannot send to IPv6 targets; none if it can.
    no_ipv6: Option<String>,
}

impl Reach {
    /// `own` are the server's addresses and the networks of its interface; `no_ipv6` says why it cannot send to IPv6 targets.
    pub fn new(own: Vec<AddressRange>, no_ipv6: Option<String>) -> Reach {
        Reach {
            own: Targets::from_ranges(own),
            no_ipv6,
        }
    }

    /// The same with the addresses of -source-ip: if they are IPv6 addresses, the interface needs none.
    pub fn with(self, source: &Source) -> Reach {
        let has_ipv6 = source
            .addresses
            .is_some_and(|addresses| addresses.is_ipv6());
        Reach {
            no_ipv6: self.no_ipv6.filter(|_| !has_ipv6),
            ..self
        }
    }

    /// Why a task with these targets is left to other servers, with the remedy; none if all can be reached.
    pub fn refusal(&self, targets: &Targets) -> Option<String> {
        let own = targets.intersection(&self.own);
        if let Some(first) = own.ranges().first() {
            return Some(format!(
                "targets in this server's own network, or its own addresses: {} ({first} …); masscan sends everything to the router, so they cannot be \
                 reached: leave them out with -exclude, scan them from another network, or start scand with -router-mac",
                own.count()
            ));
        }
        let has_ipv6 = targets
            .ranges()
            .iter()
            .any(|range| matches!(range.first(), IpAddr::V6(_)));
        let why = self.no_ipv6.as_ref().filter(|_| has_ipv6)?;
        Some(format!("it has IPv6 targets, and {why}"))
    }

    /// Differs for servers that reach different targets.
    pub fn tag(&self) -> String {
        let text = format!("{};{}", self.own, self.no_ipv6.as_deref().unwrap_or("yes"));
        format!("{:016x}", fingerprint(&text))
    }

    /// A summary for people, such as `all but 192.0.2.0/30; no IPv6: eth0 has no IPv6 default route via a router`.
    pub fn summary(&self) -> String {
        let own = match self.own.is_empty() {
            true => "all IPv4 targets".to_owned(),
            false => format!("all but {}", self.own),
        };
        match &self.no_ipv6 {
            None => format!("{own}; all IPv6 targets"),
            Some(why) => format!("{own}; no IPv6: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> AddressRange {
        text.parse::<Targets>().unwrap().ranges()[0]
    }

    #[test]
    fn a_task_is_refused_if_a_part_of_it_cannot_be_reached() {
        let no_ipv6 = Some("eth0 has no address".to_owned());
        let reach = Reach::new(vec![range("10.1.0.0/24"), range("127.0.0.0/8")], no_ipv6);
        for (targets, named) in [
            ("10.2.0.0/24", None),
            ("10.1.0.7", Some("own addresses: 1 (10.1.0.7 …)")),
            ("10.0.0.0/15", Some("own addresses: 256 (10.1.0.0/24 …)")),
            ("127.0.0.1", Some("127.0.0.1")),
            (
                "10.2.0.1,2001:db8::1",
                Some("it has IPv6 targets, and eth0 has no address"),
            ),
        ] {
            let refusal = reach.refusal(&targets.parse().unwrap());
            match named {
                None => assert_eq!(refusal, None),
                Some(named) => assert!(refusal.clone().unwrap().contains(named), "{refusal:?}"),
            }
        }
        let ipv6: Targets = "2001:db8::1".parse().unwrap();
        let source = |address: &str| Source {
            addresses: Some(address.parse().unwrap()),
            ..Source::default()
        };
        assert_eq!(
            reach.clone().with(&source("2001:2::5")).refusal(&ipv6),
            None
        );
        assert!(
            reach
                .clone()
                .with(&source("192.0.2.5"))
                .refusal(&ipv6)
                .is_some()
        );
        let anywhere = Reach::default();
        assert_eq!(
            anywhere.refusal(&"10.1.0.7,2001:db8::1".parse().unwrap()),
            None
        );
        assert_ne!(anywhere.tag(), reach.tag());
    }
}
