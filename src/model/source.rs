//! How masscan sends: the interface, source addresses, source ports and router that the operator of a server has set.
//!
//! Each is parsed into a form that masscan 1.3.2 accepts (`--interface`, `--source-ip`, `--source-port`, `--router-mac`), so that a mistake is
//! reported when the server starts and not by every scan.

use super::targets::AddressRange;
use super::text::Invalid;
use std::fmt;
use std::str::FromStr;

/// Maximum length of the name of a network interface, in bytes: the kernel's limit (IFNAMSIZ less the terminating zero).
const INTERFACE_MAX_BYTES: usize = 15;

/// The name of a network interface, by the kernel's rule, without unusual characters that the kernel would allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface(String);

impl Interface {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Interface {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Interface, Invalid> {
        let plain = text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-:+".contains(&b));
        // `ip link` shows a virtual interface with the one at its other end: `eth0@if5`.
        if let Some((name, _)) = text.split_once('@') {
            let wrong =
                format!("is not the name of an interface: its name is the part before @, {name}");
            return Err(Invalid::new(text, wrong));
        }
        let reserved = matches!(text, "" | "." | "..") || text.starts_with('-');
        if reserved || !plain || text.len() > INTERFACE_MAX_BYTES {
            return Err(Invalid::new(
                text,
                format!(
                    "is not the name of an interface: 1 to {INTERFACE_MAX_BYTES} of A-Z a-z 0-9 . _ - : + (ip link lists them)"
                ),
            ));
        }
        Ok(Interface(text.to_owned()))
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One source address, or a range whose size is a power of two, as masscan requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceAddresses(AddressRange);

impl SourceAddresses {
    /// Whether they are IPv6 addresses.
    pub fn is_ipv6(&self) -> bool {
        self.0.first().is_ipv6()
    }
}

impl FromStr for SourceAddresses {
    type Err = Invalid;

    /// Parses `192.0.2.5`, `192.0.2.8-192.0.2.15`, `192.0.2.8/29`, and the same with IPv6.
    fn from_str(text: &str) -> Result<SourceAddresses, Invalid> {
        let range: AddressRange = text.parse()?;
        if !range.count().is_power_of_two() {
            return Err(Invalid::new(
                text,
                format!(
                    "has {} addresses: masscan requires a power of two (1, 2, 4, 8 …)",
                    range.count()
                ),
            ));
        }
        Ok(SourceAddresses(range))
    }
}

impl fmt::Display for SourceAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One source port, or a range whose size is a power of two, as masscan requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourcePorts {
    first: u16,
    last: u16,
}

impl SourcePorts {
    /// `count` ports beginning at `first`; none if the count is not a power of two, or the range begins at 0 or exceeds 65535.
    pub fn new(first: u16, count: u32) -> Option<SourcePorts> {
        let last = u32::from(first).checked_add(count.checked_sub(1)?)?;
        let last = u16::try_from(last).ok()?;
        (first > 0 && count.is_power_of_two()).then_some(SourcePorts { first, last })
    }

    /// Number of ports.
    pub fn count(&self) -> u32 {
        u32::from(self.last - self.first) + 1
    }

    /// The part for the `n`-th (from 0) of `scans` simultaneous scans. If there are enough ports, each scan has its own: shards of one job have
    /// one seed, and masscan would accept answers to another shard's probes as its own if they came to the same port (measured). If there are
    /// fewer ports than scans, all scans share them.
    pub fn of_scan(&self, n: u32, scans: u32) -> SourcePorts {
        let parts = scans.next_power_of_two();
        if n >= parts || self.count() < parts {
            return *self;
        }
        let each = self.count() / parts;
        let first = u32::from(self.first) + n * each;
        SourcePorts {
            first: first as u16,
            last: (first + each - 1) as u16,
        }
    }
}

impl FromStr for SourcePorts {
    type Err = Invalid;

    /// Parses `40000` and `40000-40255`.
    fn from_str(text: &str) -> Result<SourcePorts, Invalid> {
        let wrong = || Invalid::new(text, "is not a port or a range of ports like 40000-40255");
        let port = |text: &str| {
            let digits = text.bytes().all(|b| b.is_ascii_digit());
            text.parse::<u16>()
                .ok()
                .filter(|&port| digits && port > 0)
                .ok_or_else(wrong)
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (port(first)?, port(last)?);
        if last < first {
            return Err(Invalid::new(
                text,
                "runs backwards: write the lower port first",
            ));
        }
        let count = u32::from(last - first) + 1;
        SourcePorts::new(first, count).ok_or_else(|| {
            Invalid::new(
                text,
                format!("has {count} ports: masscan requires a power of two (1, 2, 4, 8 …)"),
            )
        })
    }
}

impl fmt::Display for SourcePorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

/// The hardware address of the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouterMac([u8; 6]);

impl FromStr for RouterMac {
    type Err = Invalid;

    /// Parses `00:11:22:33:44:55` and `00-11-22-33-44-55`.
    fn from_str(text: &str) -> Result<RouterMac, Invalid> {
        parse_mac(text).map(RouterMac).ok_or_else(|| {
            Invalid::new(
                text,
                "is not a hardware address like 00:11:22:33:44:55 (ip neigh shows the router's)",
            )
        })
    }
}

fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let separator = if text.contains(':') { ':' } else { '-' };
    let mut mac = [0; 6];
    let mut pairs = text.split(separator);
    for byte in &mut mac {
        let pair = pairs.next()?;
        let hex = pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit());
        *byte = u8::from_str_radix(pair, 16).ok().filter(|_| hex)?;
    }
    pairs.next().is_none().then_some(mac)
}

impl fmt::Display for RouterMac {
    /// With dashes, as masscan prints it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs: Vec<String> = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        f.write_str(&pairs.join("-"))
    }
}

/// How a server's masscan sends. What is not set is chosen by masscan from the routing table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The interface.
    pub interface: Option<Interface>,
    /// The source addresses.
    pub addresses: Option<SourceAddresses>,
    /// The source ports.
    pub ports: Option<SourcePorts>,
    /// The router.
    pub router_mac: Option<RouterMac>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_displayed_in_the_form_that_masscan_accepts() {
        fn shown<T: FromStr<Err = Invalid> + fmt::Display>(text: &str) -> String {
            text.parse::<T>()
                .unwrap_or_else(|error| panic!("{error}"))
                .to_string()
        }
        for text in ["eth0", "eth0.100", "wg-a_b", "eth0:1", "enp0s31f6"] {
            assert_eq!(shown::<Interface>(text), text);
        }
        for (text, as_shown) in [
            ("192.0.2.5", "192.0.2.5"),
            ("192.0.2.1-192.0.2.4", "192.0.2.1-192.0.2.4"),
            ("192.0.2.8-192.0.2.15", "192.0.2.8/29"),
            ("2001:2::1", "2001:2::1"),
        ] {
            assert_eq!(shown::<SourceAddresses>(text), as_shown);
        }
        for (text, as_shown) in [
            ("40000", "40000"),
            ("40000-40000", "40000"),
            ("40001-40016", "40001-40016"),
            ("1-32768", "1-32768"),
        ] {
            assert_eq!(shown::<SourcePorts>(text), as_shown);
        }
        for text in ["00:1A:22:33:44:55", "00-1a-22-33-44-55"] {
            assert_eq!(shown::<RouterMac>(text), "00-1a-22-33-44-55");
        }
    }

    #[test]
    fn values_that_masscan_would_refuse_are_refused() {
        fn error<T: FromStr<Err = Invalid> + fmt::Debug>(text: &str) -> String {
            text.parse::<T>().unwrap_err().to_string()
        }
        for text in [
            "",
            ".",
            "-eth0",
            "eth 0",
            "a/b",
            "eth0;x",
            "abcdefghijklmnop",
            "é",
        ] {
            assert!(
                error::<Interface>(text).contains("is not the name of an interface"),
                "{text}"
            );
        }
        for (text, named) in [
            ("192.0.2.1-192.0.2.3", "has 3 addresses"),
            ("192.0.2.9-192.0.2.1", "runs backwards"),
            ("eth0", "is not an address"),
            ("192.0.2.1,192.0.2.2", "is not an address"),
        ] {
            assert!(error::<SourceAddresses>(text).contains(named), "{text}");
        }
        for (text, named) in [
            ("", "is not a port"),
            ("0", "is not a port"),
            ("0-15", "is not a port"),
            ("65536", "is not a port"),
            ("+1", "is not a port"),
            ("40000-", "is not a port"),
            ("40000-40014", "has 15 ports"),
            ("40010-40000", "runs backwards"),
        ] {
            assert!(error::<SourcePorts>(text).contains(named), "{text}");
        }
        for text in [
            "",
            "x",
            "0:1:2:3:4:5",
            "00:11:22:33:44",
            "00:11:22:33:44:55:66",
            "00:11-22:33:44:55",
            "+0:11:22:33:44:55",
        ] {
            assert!(
                error::<RouterMac>(text).contains("is not a hardware address"),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn scans_have_separate_ports_if_there_are_enough(
            first in 1u16..30_000, exponent in 0u32..12, scans in 1u32..600,
        ) {
            let all = SourcePorts::new(first, 1 << exponent).unwrap();
            let parts: Vec<SourcePorts> = (0..scans).map(|n| all.of_scan(n, scans)).collect();
            for part in &parts {
                prop_assert!(all.first <= part.first && part.first <= part.last && part.last <= all.last);
                prop_assert!(part.count().is_power_of_two());
            }
            if all.count() >= scans.next_power_of_two() {
                prop_assert!(parts.windows(2).all(|pair| pair[0].last < pair[1].first));
            } else {
                prop_assert!(parts.iter().all(|part| *part == all));
            }
        }
    }
}
