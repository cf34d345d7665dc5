//! Unix seconds as a date of UTC, in the two ways in which masscan writes one.

/// A moment of UTC.
struct Date {
    year: u64,
    month: usize,
    day: u64,
    weekday: usize,
    hour: u64,
    minute: u64,
    second: u64,
}

/// The last second of the year 9999: what is later is shown as this.
const LAST_S: u64 = 253_402_300_799;
const DAY_S: u64 = 24 * 3600;

/// `2026-11-24 14:43:53`
pub fn date_form(at_s: u64) -> String {
    let date = date(at_s);
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
        date.year, date.month, date.day, date.hour, date.minute, date.second
    )
}

/// `Tue Nov 24 14:41:05 2026`
pub fn weekday_form(at_s: u64) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    let date = date(at_s);
    format!(
        "{} {} {:2} {:02}:{:02}:{:02} {}",
        WEEKDAYS[date.weekday],
        MONTHS[date.month - 1],
        date.day,
        date.hour,
        date.minute,
        date.second,
        date.year
    )
}

/// By Howard Hinnant's way: years begin in March, so that the leap day is their last, and 400 of them (an era) always have as
/// many days.
fn date(at_s: u64) -> Date {
    const DAYS_PER_ERA: u64 = 146_097;
    let at_s = at_s.min(LAST_S);
    let days = at_s / DAY_S;
    let since_march_0000 = days + 719_468;
    let era = since_march_0000 / DAYS_PER_ERA;
    let day_of_era = since_march_0000 % DAYS_PER_ERA;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    Date {
        year: era * 400 + year_of_era + u64::from(month <= 2),
        month: usize::try_from(month).expect("it is 1 to 12"),
        day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
        weekday: usize::try_from((days + 4) % 7).expect("it is 0 to 6"),
        hour: at_s % DAY_S / 3600,
        minute: at_s % 3600 / 60,
        second: at_s % 60,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
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
