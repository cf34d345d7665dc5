//! Kafka's addresses as an operator writes them (`-kafka`). Pure: no name is resolved and nothing is connected here.

use crate::model::Invalid;
use std::fmt;
use std::str::FromStr;

/// The default port.
const PORT_DEFAULT: u16 = 9092;
/// Maximum number of addresses in a list. They are only used for the first contact: Kafka itself reports all brokers.
const BROKERS_MAX: usize = 32;

/// One or more `HOST:PORT` of Kafka brokers, in the given order. Any of them is sufficient to start with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brokers(Vec<String>);

impl Brokers {
    /// The addresses as `HOST:PORT`, IPv6 in brackets. There is at least one.
    pub fn addresses(&self) -> &[String] {
        &self.0
    }
}

impl FromStr for Brokers {
    type Err = Invalid;

    /// Parses `HOST[:PORT]`, several separated by commas. The default port is 9092; IPv6 addresses are in brackets.
    fn from_str(text: &str) -> Result<Brokers, Invalid> {
        let items: Vec<&str> = text.split(',').collect();
        if items.len() > BROKERS_MAX {
            return Err(Invalid::about(format!(
                "has {} addresses; at most {BROKERS_MAX} are allowed",
                items.len()
            )));
        }
        let addresses: Result<_, _> = items.iter().map(|item| address(item.trim())).collect();
        addresses.map(Brokers)
    }
}

impl fmt::Display for Brokers {
    /// The addresses with commas between them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(","))
    }
}

/// `HOST:PORT` from an item of the list.
fn address(item: &str) -> Result<String, Invalid> {
    let wrong = || {
        Invalid::new(
            item,
            "is not HOST:PORT, such as localhost:9092 or [fd00::1]:9092",
        )
    };
    let (host, port) = match item.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) if host.parse::<std::net::Ipv6Addr>().is_ok() => {
            let port = if rest.is_empty() {
                None
            } else {
                Some(rest.strip_prefix(':').ok_or_else(wrong)?)
            };
            (format!("[{host}]"), port)
        }
        Some(_) => return Err(wrong()),
        None => match item.split_once(':') {
            Some((host, port)) => (host.to_owned(), Some(port)),
            None => (item.to_owned(), None),
        },
    };
    if !host.starts_with('[') && !is_host_name(&host) {
        return Err(wrong());
    }
    let port = match port {
        None => PORT_DEFAULT,
        // `parse` would accept a sign too.
        Some(digits) if !digits.bytes().all(|b| b.is_ascii_digit()) => return Err(wrong()),
        Some(digits) => digits
            .parse()
            .ok()
            .filter(|&port| port > 0)
            .ok_or_else(|| Invalid::new(item, "has a port that is not between 1 and 65535"))?,
    };
    Ok(format!("{host}:{port}"))
}

/// A DNS name or an IPv4 address: letters, digits, dots, dashes and underscores (used by docker compose).
fn is_host_name(host: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    !host.is_empty() && host.len() <= 253 && !host.starts_with('-') && host.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_parsed_and_displayed_with_ports() {
        for (text, shown) in [
            ("localhost", "localhost:9092"),
            ("localhost:19092", "localhost:19092"),
            ("a:1, b_2.example.org", "a:1,b_2.example.org:9092"),
            ("192.0.2.1:65535", "192.0.2.1:65535"),
            ("[::1]", "[::1]:9092"),
            ("[fd00::1]:19092,b", "[fd00::1]:19092,b:9092"),
        ] {
            assert_eq!(
                text.parse::<Brokers>().unwrap().to_string(),
                shown,
                "{text}"
            );
        }
    }

    #[test]
    fn an_invalid_address_is_named() {
        for (text, named) in [
            ("", "\"\" is not HOST:PORT"),
            ("a,", "\"\" is not HOST:PORT"),
            (":9092", "\":9092\" is not"),
            ("a:", "between 1 and 65535"),
            ("a:0", "between 1 and 65535"),
            ("a:70000", "between 1 and 65535"),
            ("a:+1", "\"a:+1\" is not"),
            ("a:b", "\"a:b\" is not"),
            ("fd00::1", "[fd00::1]:9092"),
            ("[fd00::1", "is not HOST:PORT"),
            ("[fd00::1]9092", "is not HOST:PORT"),
            ("[a]:9092", "is not HOST:PORT"),
            ("http://a:9092", "is not HOST:PORT"),
            ("-a", "is not HOST:PORT"),
            ("a b", "is not HOST:PORT"),
        ] {
            let error = text.parse::<Brokers>().unwrap_err().to_string();
            assert!(error.contains(named), "{text:?}: {error}");
        }
        assert!(vec!["a"; 33].join(",").parse::<Brokers>().is_err());
    }
}
