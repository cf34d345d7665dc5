//! Parsers for the values of flags: whole numbers and durations, each within bounds, and addresses with a port. Pure.

use crate::model::Invalid;
use crate::model::span::parse_span;
use crate::model::task::{PRIORITY_MAX, Priority};
use crate::model::text::whole_number;
use std::net::SocketAddr;

/// The units of [`seconds`]: no such duration is so long that weeks or years would be of use.
const UNITS: [char; 4] = ['s', 'm', 'h', 'd'];

/// A parser for a whole number from `low` to `high`, in digits only.
pub fn number(low: u32, high: u32) -> impl Fn(&str) -> Result<u32, Invalid> {
    move |text| {
        whole_number(text)
            .and_then(|number| u32::try_from(number).ok())
            .filter(|number| (low..=high).contains(number))
            .ok_or_else(|| Invalid::new(text, format!("is not a number from {low} to {high}")))
    }
}

/// A parser for a duration from `low` to `high` seconds, like `90`, `90s`, `30m`, `2h` or `1d`. A number without a unit means seconds.
/// Returns seconds.
pub fn seconds(low: u32, high: u32) -> impl Fn(&str) -> Result<u32, Invalid> {
    move |text| {
        whole_number(text)
            .or_else(|| parse_span(text).filter(|_| text.ends_with(UNITS)))
            .and_then(|seconds| u32::try_from(seconds).ok())
            .filter(|seconds| (low..=high).contains(seconds))
            .ok_or_else(|| {
                let wrong = format!(
                    "is not a duration from {low} to {high} seconds, like 90, 90s, 30m, 2h or 1d"
                );
                Invalid::new(text, wrong)
            })
    }
}

/// Parses a priority, 0 to 9.
pub fn priority(text: &str) -> Result<Priority, Invalid> {
    number(0, PRIORITY_MAX.into())(text).and_then(|number| Priority::try_from(u64::from(number)))
}

/// A parser for the address and port that a server listens on. `usual_port` is the port of the examples in the error.
pub fn socket_address(usual_port: u16) -> impl Fn(&str) -> Result<SocketAddr, Invalid> {
    move |text| {
        text.parse().map_err(|_| {
            let wrong = format!(
                "is not an address and port like 127.0.0.1:{usual_port} or [::1]:{usual_port}"
            );
            Invalid::new(text, wrong)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_within_bounds() {
        let parse = number(1, 64);
        assert_eq!(parse("1"), Ok(1));
        assert_eq!(parse("64"), Ok(64));
        for text in [
            "",
            "0",
            "65",
            "-1",
            "+1",
            "1.5",
            "two",
            "99999999999999999999",
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert_eq!(error, format!("\"{text}\" is not a number from 1 to 64"));
        }
    }

    #[test]
    fn durations_within_bounds() {
        let parse = seconds(1, 100_000);
        for (text, expected) in [
            ("90", 90),
            ("90s", 90),
            ("30m", 1800),
            ("2h", 7200),
            ("1d", 86_400),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "s",
            "0",
            "2d",
            "1.5h",
            "1h30m",
            "-5",
            "+5",
            "5 m",
            "99999999999999999999d",
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(
                error.contains("is not a duration from 1 to 100000 seconds"),
                "{error}"
            );
        }
    }

    #[test]
    fn an_address_needs_a_port_and_no_name() {
        let parse = socket_address(9101);
        for text in ["127.0.0.1:9101", "[::1]:0"] {
            assert!(parse(text).is_ok(), "{text}");
        }
        for text in ["localhost:9101", "9101", ""] {
            let error = parse(text).unwrap_err().to_string();
            assert!(
                error.ends_with("like 127.0.0.1:9101 or [::1]:9101"),
                "{error}"
            );
        }
    }
}
