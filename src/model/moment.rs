//! Points in time as the command line gives them: so long ago, or a date or time in UTC. The clock is the caller's.

use super::span::parse_span;
use super::text::{Invalid, whole_number};
use std::str::FromStr;
use time::{Date, Month};

/// The last second of the year 9999, in unix seconds. Later times do not occur.
pub const MOMENT_MAX_S: u64 = 253_402_300_799;

/// As [`MOMENT_MAX_S`], with its last millisecond, in unix milliseconds.
pub const MOMENT_MAX_MS: u64 = MOMENT_MAX_S * 1000 + 999;

/// Longest span that a moment may be back from now, in seconds: 100 years.
const AGO_MAX_S: u64 = 100 * 365 * 24 * 3600;
const EXPECTED: &str = "is not a point in time: give a span back from now like 90m, 24h or 7d, or a date or time in UTC \
                        like 2026-11-01 or 2026-11-01T08:00:00Z";

/// A point in time, from 1970 to the end of 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// This many seconds before now, at most 100 years.
    Ago(u64),
    /// A time in unix seconds. It may be in the future.
    At(u64),
}

impl Moment {
    /// The time in unix seconds if it is now `now_s`. What would be before 1970 is 0.
    pub fn unix_s(self, now_s: u64) -> u64 {
        match self {
            Moment::Ago(span_s) => now_s.min(MOMENT_MAX_S).saturating_sub(span_s),
            Moment::At(at_s) => at_s,
        }
    }
}

impl FromStr for Moment {
    type Err = Invalid;

    /// Parses a span with a unit (`90m`; see [`parse_span`]), `2026-11-01` (its first second in UTC) and `2026-11-01T08:00:00Z`.
    fn from_str(text: &str) -> Result<Moment, Invalid> {
        if let Some(span_s) = parse_span(text) {
            return match span_s <= AGO_MAX_S {
                true => Ok(Moment::Ago(span_s)),
                false => Err(Invalid::new(text, "is too long ago: at most 100y")),
            };
        }
        let Some((date, time)) = date_and_time(text) else {
            return Err(Invalid::new(text, EXPECTED));
        };
        let Some(date) = parse_date(date) else {
            let wrong = "has no valid date: YYYY-MM-DD from 1970-01-01 to 9999-12-31";
            return Err(Invalid::new(text, wrong));
        };
        let (hour, minute, second) = parse_time(time).ok_or_else(|| {
            let wrong = format!("has no valid time: times are in UTC, like {date}T08:00:00Z");
            Invalid::new(text, wrong)
        })?;
        let at = date.with_hms(hour, minute, second);
        at.ok()
            .and_then(|at| u64::try_from(at.assume_utc().unix_timestamp()).ok())
            .map(Moment::At)
            .ok_or_else(|| Invalid::new(text, EXPECTED))
    }
}

/// The two parts of what looks like a date, alone or with a time after it, which is empty if there is none.
fn date_and_time(text: &str) -> Option<(&str, &str)> {
    let (date, time) = text.split_at_checked("YYYY-MM-DD".len())?;
    let has_form = date.bytes().enumerate().all(|(at, byte)| match at {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    (has_form && (time.is_empty() || time.starts_with(['T', 't', ' ']))).then_some((date, time))
}

/// A date of the form `YYYY-MM-DD`, not before 1970.
fn parse_date(text: &str) -> Option<Date> {
    let mut parts = text.split('-').map(whole_number);
    let mut part = || parts.next().flatten();
    let (year, month, day) = (part()?, part()?, part()?);
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let year = i32::try_from(year).ok().filter(|&year| year >= 1970)?;
    Date::from_calendar_date(year, month, u8::try_from(day).ok()?).ok()
}

/// Hour, minute and second of `THH:MM:SSZ`; the beginning of the day if the text is empty. There are no leap seconds in unix time.
fn parse_time(text: &str) -> Option<(u8, u8, u8)> {
    if text.is_empty() {
        return Some((0, 0, 0));
    }
    let clock = text.strip_prefix('T')?.strip_suffix('Z')?;
    let mut parts = clock.split(':');
    let mut part = |below: u64| {
        let text = parts.next().filter(|part| part.len() == 2)?;
        let number = whole_number(text).filter(|&number| number < below)?;
        u8::try_from(number).ok()
    };
    let time = (part(24)?, part(60)?, part(60)?);
    parts.next().is_none().then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use time::OffsetDateTime;
    use time::macros::format_description;

    /// 2026-11-30 03:00:00 UTC.
    const NOW_S: u64 = 1_796_007_600;

    #[test]
    fn a_moment_is_so_long_ago_or_a_time_in_utc() {
        for (text, at_s) in [
            ("0s", NOW_S),
            ("90m", NOW_S - 5400),
            ("24h", NOW_S - 86_400),
            ("7d", NOW_S - 604_800),
            ("1w", NOW_S - 604_800),
            ("100y", 0),
            ("1970-01-01", 0),
            ("2026-11-30", NOW_S - 3 * 3600),
            ("2026-11-30T03:00:00Z", NOW_S),
            ("2024-02-29T23:59:59Z", 1_709_251_199),
            ("9999-12-31T23:59:59Z", MOMENT_MAX_S),
        ] {
            let moment: Moment = text.parse().unwrap();
            assert_eq!(moment.unix_s(NOW_S), at_s, "{text}");
        }
        let day: Moment = "1d".parse().unwrap();
        assert_eq!(day.unix_s(0), 0);
        assert_eq!(day.unix_s(u64::MAX), MOMENT_MAX_S - 86_400);
    }

    #[test]
    fn the_error_says_what_would_be_right() {
        for (text, wrong) in [
            ("", "is not a point in time: give a span back from now"),
            ("90", "is not a point in time"),
            ("yesterday", "is not a point in time"),
            ("-7d", "is not a point in time"),
            ("1.5h", "is not a point in time"),
            ("1796007600", "is not a point in time"),
            ("2026-11", "is not a point in time"),
            ("01.11.2026", "is not a point in time"),
            ("2026-11-1", "is not a point in time"),
            ("12026-11-01", "is not a point in time"),
            ("2026-11-0\u{661}", "is not a point in time"),
            ("101y", "is too long ago: at most 100y"),
            ("99999999999999s", "is too long ago"),
            ("99999999999999999999y", "is not a point in time"),
            ("1969-12-31", "has no valid date"),
            ("2026-02-29", "has no valid date"),
            ("2026-13-01", "has no valid date"),
            ("0000-00-00", "has no valid date"),
            (
                "2026-11-01T08:00:00",
                "has no valid time: times are in UTC, like 2026-11-01T08:00:00Z",
            ),
            ("2026-11-01T08:00:00+01:00", "has no valid time"),
            ("2026-11-01 08:00:00Z", "has no valid time"),
            ("2026-11-01T24:00:00Z", "has no valid time"),
            ("2026-11-01T23:59:60Z", "has no valid time"),
            ("2026-11-01T8:00:00Z", "has no valid time"),
            ("2026-11-01T08:00Z", "has no valid time"),
            ("2026-11-01T08:00:00:00Z", "has no valid time"),
            ("2026-11-01TZ", "has no valid time"),
        ] {
            let error = text.parse::<Moment>().unwrap_err().to_string();
            assert!(error.contains(wrong), "{text}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    proptest! {
        #[test]
        fn every_time_parses_to_itself(at_s in 0..=MOMENT_MAX_S, now_s: u64) {
            let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
            let text = OffsetDateTime::from_unix_timestamp(at_s as i64).unwrap().format(form).unwrap();
            prop_assert_eq!(text.parse::<Moment>().unwrap().unix_s(now_s), at_s);
        }

        #[test]
        fn any_text_is_a_moment_within_bounds_or_an_error(text in "\\PC{0,30}|[0-9]{0,22}[smhdwy]|[-0-9TZ: ]{0,22}", now_s: u64) {
            if let Ok(moment) = text.parse::<Moment>() {
                prop_assert!(moment.unix_s(now_s) <= MOMENT_MAX_S);
            }
        }
    }
}
