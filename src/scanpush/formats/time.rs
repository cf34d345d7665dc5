//! Unix seconds as date and time in UTC: in the two formats that masscan uses, and in a short one.

use crate::model::moment::MOMENT_MAX_S;
use time::OffsetDateTime;
use time::format_description::StaticFormatDescription;
use time::macros::format_description;

/// `2026-11-24 14:43:53`
pub fn date_form(at_s: u64) -> String {
    format(
        at_s,
        format_description!("[year]-[month]-[day] [hour]:[minute]:[second]"),
    )
}

/// `Tue Nov 24 14:41:05 2026`
pub fn weekday_form(at_s: u64) -> String {
    format(
        at_s,
        format_description!(
            "[weekday repr:short] [month repr:short] [day padding:space] [hour]:[minute]:[second] [year]"
        ),
    )
}

/// `11-24 14:43` if it is within half a year of `now_s`, else `2025-11-24`, as `ls -l` does.
pub fn short_form(at_s: u64, now_s: u64) -> String {
    const HALF_A_YEAR_S: u64 = 183 * 24 * 3600;
    match at_s.abs_diff(now_s) < HALF_A_YEAR_S {
        true => format(at_s, format_description!("[month]-[day] [hour]:[minute]")),
        false => format(at_s, format_description!("[year]-[month]-[day]")),
    }
}

/// A time after the year 9999, the last one of the `time` crate, is shown as its end.
fn format(at_s: u64, description: StaticFormatDescription) -> String {
    let at_s = i64::try_from(at_s.min(MOMENT_MAX_S)).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(at_s)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
        .format(description)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_times_have_a_year_or_a_clock() {
        const NOW_S: u64 = 1_795_531_265;
        for (at_s, shown) in [
            (NOW_S, "11-24 14:41"),
            (NOW_S - 182 * 86_400, "05-26 14:41"),
            (NOW_S - 183 * 86_400, "2026-05-25"),
            (0, "1970-01-01"),
            (NOW_S + 3600, "11-24 15:41"),
            (u64::MAX, "9999-12-31"),
        ] {
            assert_eq!(short_form(at_s, NOW_S), shown);
        }
    }

    #[test]
    fn times_are_formatted_in_utc_and_capped_at_the_year_9999() {
        for (at_s, date, weekday) in [
            (0, "1970-01-01 00:00:00", "Thu Jan  1 00:00:00 1970"),
            (
                951_782_399,
                "2000-02-28 23:59:59",
                "Mon Feb 28 23:59:59 2000",
            ),
            (
                951_782_400,
                "2000-02-29 00:00:00",
                "Tue Feb 29 00:00:00 2000",
            ),
            (
                1_795_531_265,
                "2026-11-24 14:41:05",
                "Tue Nov 24 14:41:05 2026",
            ),
            (
                4_107_542_400,
                "2100-03-01 00:00:00",
                "Mon Mar  1 00:00:00 2100",
            ),
            (u64::MAX, "9999-12-31 23:59:59", "Fri Dec 31 23:59:59 9999"),
        ] {
            assert_eq!(date_form(at_s), date);
            assert_eq!(weekday_form(at_s), weekday);
        }
    }
}
