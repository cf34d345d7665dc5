//! Unix seconds as date and time in UTC, in the two formats that masscan uses.

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
