//! Spans of time as people write them, such as `90s`, `30m` (minutes), `2h`, `7d`, `2w`, `1y` (365 days); and how long something is kept.

use super::text::{Invalid, whole_number};
use std::fmt;
use std::str::FromStr;

/// Shortest time for which something is kept, in seconds. A typing error must not delete what a scan has just found.
pub const KEEP_MIN_S: u64 = 3600;
/// Longest time for which something is kept, in seconds: 100 years.
pub const KEEP_MAX_S: u64 = 100 * 365 * 24 * 3600;

/// The units with their lengths in seconds, the longest first. A month has no fixed length, so `m` is a minute.
const UNITS: [(char, u64); 6] = [
    ('y', 365 * 24 * 3600),
    ('w', 7 * 24 * 3600),
    ('d', 24 * 3600),
    ('h', 3600),
    ('m', 60),
    ('s', 1),
];

/// A whole number with a unit, in seconds; none if it is anything else, or exceeds 64 bits.
pub fn parse_span(text: &str) -> Option<u64> {
    let (count, unit_s) = UNITS
        .iter()
        .find_map(|&(letter, unit_s)| Some((text.strip_suffix(letter)?, unit_s)))?;
    whole_number(count)?.checked_mul(unit_s)
}

/// How long something is kept, from [`KEEP_MIN_S`] to [`KEEP_MAX_S`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Retention {
    seconds: u64,
}

impl Retention {
    /// The span in seconds.
    pub fn seconds(self) -> u64 {
        self.seconds
    }

    /// The time before which nothing is kept at `now_s`; both in unix seconds. 0 if that would be before 1970.
    pub fn cutoff_s(self, now_s: u64) -> u64 {
        now_s.saturating_sub(self.seconds)
    }
}

impl FromStr for Retention {
    type Err = Invalid;

    /// Parses `12h`, `30d`, `8w`, `2y`. A unit is required.
    fn from_str(text: &str) -> Result<Retention, Invalid> {
        parse_span(text)
            .filter(|seconds| (KEEP_MIN_S..=KEEP_MAX_S).contains(seconds))
            .map(|seconds| Retention { seconds })
            .ok_or_else(|| {
                let wrong = "is not a span from 1h to 100y, like 12h, 30d, 8w or 2y (units: s, m for minutes, h, d, w, y)";
                Invalid::new(text, wrong)
            })
    }
}

impl fmt::Display for Retention {
    /// In the longest unit that divides it: `400d`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = UNITS
            .iter()
            .find(|(_, unit_s)| self.seconds.is_multiple_of(*unit_s));
        let (letter, unit_s) = whole.expect("every span is a whole number of seconds");
        write!(f, "{}{letter}", self.seconds / unit_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_span_is_a_whole_number_with_a_unit() {
        for (text, seconds) in [
            ("0s", 0),
            ("90s", 90),
            ("30m", 1800),
            ("2h", 7200),
            ("7d", 604_800),
            ("2w", 1_209_600),
            ("1y", 31_536_000),
            ("18446744073709551615s", u64::MAX),
        ] {
            assert_eq!(parse_span(text), Some(seconds), "{text}");
        }
        for text in [
            "",
            "90",
            "s",
            "1.5h",
            "1h30m",
            "-5s",
            "+5s",
            "5 m",
            " 5m",
            "5M",
            "5min",
            "٣d",
            "18446744073709551616s",
            "18446744073709551615m",
        ] {
            assert_eq!(parse_span(text), None, "{text}");
        }
    }

    #[test]
    fn a_retention_has_bounds_and_a_cutoff() {
        for (text, seconds) in [
            ("1h", KEEP_MIN_S),
            ("400d", 34_560_000),
            ("30d", 2_592_000),
            ("100y", KEEP_MAX_S),
        ] {
            let parsed: Retention = text.parse().unwrap();
            assert_eq!(
                (parsed.seconds(), parsed.to_string()),
                (seconds, text.into())
            );
        }
        for text in ["", "30", "59m", "3599s", "101y", "36501d", "forever", "-1d"] {
            let error = text.parse::<Retention>().unwrap_err().to_string();
            let wrong = format!("\"{text}\" is not a span from 1h to 100y, like 12h");
            assert!(error.starts_with(&wrong), "{error}");
        }
        let day: Retention = "1d".parse().unwrap();
        assert_eq!(day.cutoff_s(100_000), 13_600);
        assert_eq!(day.cutoff_s(100), 0);
    }

    proptest! {
        #[test]
        fn a_displayed_retention_parses_to_itself(seconds in KEEP_MIN_S..=KEEP_MAX_S) {
            let retention = Retention { seconds };
            prop_assert_eq!(retention.to_string().parse(), Ok(retention));
        }

        #[test]
        fn any_text_is_a_span_or_none(text in "\\PC{0,30}|[0-9]{0,30}[smhdwy]?") {
            let _ = parse_span(&text);
        }
    }
}
