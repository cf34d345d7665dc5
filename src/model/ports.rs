//! Port lists in the syntax of masscan and nmap: `80,443,8000-8100,U:53`.

use super::text::Invalid;
use serde::Deserialize;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Maximum number of port ranges in one task.
const TASK_PORTS_MAX: usize = 4096;

const EXPECTED: &str = "is not a port list like 80,443,8000-8100,U:53 (ports 1 to 65535)";
const EMPTY_ENTRY: &str =
    "has an empty entry: give ports like 80,443,8000-8100,U:53, separated by single commas";

/// The transport of a probe. The order is masscan's own order of its port ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Proto {
    /// TCP SYN probes, masscan's default.
    Tcp,
    /// UDP probes with masscan's built-in payloads: `U:`.
    Udp,
    /// SCTP INIT probes: `S:`.
    Sctp,
}

impl Proto {
    /// The name in findings: `tcp`, `udp`, `sctp`.
    pub fn as_str(self) -> &'static str {
        match self {
            Proto::Tcp => "tcp",
            Proto::Udp => "udp",
            Proto::Sctp => "sctp",
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Proto::Tcp => "",
            Proto::Udp => "U:",
            Proto::Sctp => "S:",
        }
    }

    fn from_prefix(letter: &str) -> Option<Proto> {
        match letter {
            "T" | "t" => Some(Proto::Tcp),
            "U" | "u" => Some(Proto::Udp),
            "S" | "s" => Some(Proto::Sctp),
            _ => None,
        }
    }
}

/// A range of ports of one transport, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortRange {
    /// Transport of all of them.
    pub proto: Proto,
    /// Lowest port, from 1.
    pub first: u16,
    /// Highest port, not below `first`.
    pub last: u16,
}

/// A set of ports: sorted, merged, never empty. Displayed in masscan's syntax. Clones share the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports(Arc<[PortRange]>);

impl Ports {
    /// Number of ports; each transport counts separately.
    pub fn count(&self) -> u64 {
        self.0
            .iter()
            .map(|range| u64::from(range.last - range.first) + 1)
            .sum()
    }

    /// Whether `port` of `proto` is one of them.
    pub fn contains(&self, proto: Proto, port: u16) -> bool {
        let before = |range: &PortRange| (range.proto, range.last) < (proto, port);
        let next = self.0.get(self.0.partition_point(before));
        next.is_some_and(|range| range.proto == proto && range.first <= port)
    }

    /// The ranges in ascending order.
    pub fn ranges(&self) -> &[PortRange] {
        &self.0
    }
}

impl FromStr for Ports {
    type Err = Invalid;

    /// Parses a comma-separated list. A prefix `T:`, `U:` or `S:` applies until the next one, as in masscan 1.3.2
    /// (`masscan --echo -p U:53,80` shows `U:53,U:80`) and in nmap.
    fn from_str(text: &str) -> Result<Ports, Invalid> {
        let mut proto = Proto::Tcp;
        let mut ranges = Vec::new();
        for item in text.split(',').map(str::trim) {
            if item.is_empty() {
                return Err(Invalid::new(text, EMPTY_ENTRY));
            }
            if ranges.len() == TASK_PORTS_MAX {
                return Err(Invalid::about(format!(
                    "has more than {TASK_PORTS_MAX} entries"
                )));
            }
            let span = match item.split_once(':') {
                Some((letter, span)) => {
                    proto =
                        Proto::from_prefix(letter).ok_or_else(|| Invalid::new(item, EXPECTED))?;
                    span
                }
                None => item,
            };
            let (first, last) =
                parse_span(span).ok_or_else(|| Invalid::new(item, error_of(span)))?;
            ranges.push(PortRange { proto, first, last });
        }
        Ok(Ports(merged(ranges).into()))
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, range) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{}{}", range.proto.prefix(), range.first)?;
            if range.last != range.first {
                write!(f, "-{}", range.last)?;
            }
        }
        Ok(())
    }
}

fn parse_span(span: &str) -> Option<(u16, u16)> {
    let (first, last) = span.split_once('-').unwrap_or((span, span));
    let (first, last) = (parse_port(first)?, parse_port(last)?);
    (first <= last).then_some((first, last))
}

fn parse_port(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|&port| digits && port > 0)
}

/// The error for an invalid `span`.
fn error_of(span: &str) -> &'static str {
    let backwards = span
        .split_once('-')
        .and_then(|(a, b)| Some(parse_port(a)? > parse_port(b)?));
    let first = span.split('-').next().unwrap_or_default();
    match backwards {
        Some(true) => "runs backwards: write the lower port first",
        _ if span == "-" => "is not a range: write 1-65535 for all ports",
        _ if !first.is_empty() && first.bytes().all(|b| b == b'0') => {
            "contains port 0, but ports are 1 to 65535: write 1-65535 for all of them"
        }
        _ if first.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            "is a name: write port numbers, like 80,443 (getent services NAME shows them)"
        }
        _ => EXPECTED,
    }
}

fn merged(mut ranges: Vec<PortRange>) -> Vec<PortRange> {
    ranges.sort_unstable();
    let mut merged: Vec<PortRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last)
                if last.proto == range.proto
                    && u32::from(range.first) <= u32::from(last.last) + 1 =>
            {
                last.last = last.last.max(range.last);
            }
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lists_become_masscans_syntax() {
        for (text, shown, count) in [
            ("443", "443", 1),
            ("80,443,8000-8100,U:53", "80,443,8000-8100,U:53", 104),
            ("U:53,80", "U:53,U:80", 2),
            ("U:53,T:80", "80,U:53", 2),
            ("1-10,5-20,21", "1-21", 21),
            ("1-65535", "1-65535", 65535),
            (" 80 , 443 ", "80,443", 2),
            ("S:80,t:80", "80,S:80", 2),
        ] {
            let ports: Ports = text.parse().unwrap();
            assert_eq!(ports.to_string(), shown, "{text}");
            assert_eq!(ports.count(), count, "{text}");
        }
    }

    #[test]
    fn membership_is_that_of_the_ranges() {
        let ports: Ports = "80-90,443,U:53".parse().unwrap();
        for (proto, port, is_member) in [
            (Proto::Tcp, 79, false),
            (Proto::Tcp, 80, true),
            (Proto::Tcp, 90, true),
            (Proto::Tcp, 91, false),
            (Proto::Tcp, 443, true),
            (Proto::Tcp, 53, false),
            (Proto::Udp, 53, true),
            (Proto::Udp, 443, false),
            (Proto::Sctp, 80, false),
        ] {
            assert_eq!(ports.contains(proto, port), is_member, "{proto:?} {port}");
        }
    }

    #[test]
    fn an_invalid_port_list_is_named() {
        for (text, named) in [
            ("", "\"\" has an empty entry"),
            ("443,", "\"443,\" has an empty entry"),
            ("0", "\"0\" contains port 0"),
            ("0-65535", "write 1-65535 for all of them"),
            ("-", "write 1-65535 for all ports"),
            ("http,443", "\"http\" is a name: write port numbers"),
            ("70000", "\"70000\" is not"),
            ("80,,443", "\"80,,443\" has an empty entry"),
            ("5-1", "runs backwards"),
            ("-80", "\"-80\""),
            ("80-", "\"80-\""),
            ("X:80", "\"X:80\""),
            ("http", "\"http\""),
            ("+80", "\"+80\""),
            ("--banners", "\"--banners\""),
            ("80;reboot", "\"80;reboot\""),
            ("80\n443", "\"80\\n443\""),
        ] {
            let error = text.parse::<Ports>().unwrap_err().to_string();
            assert!(error.contains(named), "{text:?}: {error}");
        }
    }

    #[test]
    fn the_length_of_a_list_is_bounded() {
        let long = vec!["1"; TASK_PORTS_MAX + 1].join(",");
        assert!(long.parse::<Ports>().is_err());
    }

    proptest! {
        #[test]
        fn displayed_ports_parse_to_the_same_ports(spans in prop::collection::vec((0u8..3, 1u16.., 0u16..50), 1..20)) {
            let prefixes = ["T:", "U:", "S:"];
            let text: Vec<String> = spans.iter()
                .map(|&(proto, first, length)| format!("{}{first}-{}", prefixes[usize::from(proto)], first.saturating_add(length)))
                .collect();
            let ports: Ports = text.join(",").parse().unwrap();
            prop_assert_eq!(ports.to_string().parse::<Ports>().unwrap(), ports);
        }
    }
}
