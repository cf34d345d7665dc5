//! Services and changes as rows of a page.

use crate::http_server::Request;
use crate::model::Tags;
use crate::model::service::Service;
use crate::scanpush::formats::time::{date_form, short_form, weekday_form};
use crate::scanpush::serve::links;
use crate::store::NumberedChange;

/// Seconds of a day.
const DAY_S: u64 = 86_400;
/// Tags that a form suggests.
const SUGGESTED_TAGS_MAX: usize = 200;

/// A time: short for the eye, complete as its title.
pub struct Time {
    /// `11-24 14:43`
    pub short: String,
    /// `2026-11-24 14:43:53`
    pub complete: String,
}

impl Time {
    /// A time in unix seconds.
    pub fn new(at_s: u64, now_s: u64) -> Time {
        Time {
            short: short_form(at_s, now_s),
            complete: date_form(at_s),
        }
    }
}

/// A row of a table of services.
pub struct ServiceRow<'a> {
    /// The address.
    pub ip: String,
    /// Its page.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The transport protocol.
    pub proto: &'static str,
    /// `open` or `closed`.
    pub state: &'static str,
    /// Since when.
    pub since: Time,
    /// The earliest sighting.
    pub first_seen: Time,
    /// The latest sighting.
    pub last_seen: Time,
    /// The task of the latest sighting.
    pub task_id: &'a str,
    /// Its page.
    pub task: String,
    /// masscan's reason of the latest sighting.
    pub reason: String,
    /// Its time to live.
    pub ttl: u8,
    /// The tags of the address.
    pub tags: Vec<&'a str>,
}

impl<'a> ServiceRow<'a> {
    /// The row of a service.
    pub fn new(service: &'a Service, tags: Option<&'a Tags>, now_s: u64) -> ServiceRow<'a> {
        let ip = service.key.ip;
        ServiceRow {
            ip: ip.to_string(),
            host: links::host(ip),
            port: service.key.port,
            proto: service.key.proto.as_str(),
            state: service.state.as_str(),
            since: Time::new(service.state_since, now_s),
            first_seen: Time::new(service.first_seen, now_s),
            last_seen: Time::new(service.last_seen, now_s),
            task_id: service.last_task.as_str(),
            task: links::task(service.last_task.as_str()),
            reason: service.reason.to_string(),
            ttl: service.ttl,
            tags: tags.map(|tags| tags.tags_of(ip)).unwrap_or_default(),
        }
    }
}

/// The changes of a day.
pub struct Day<'a> {
    /// `Tue 2026-11-24`, or `Today`.
    pub name: String,
    /// The changes, in the order in which they were given.
    pub changes: Vec<ChangeRow<'a>>,
}

/// A row of a table of changes.
pub struct ChangeRow<'a> {
    /// `14:43:53`
    pub clock: String,
    /// `opened`, `closed` or `reopened`.
    pub kind: &'static str,
    /// The address.
    pub ip: String,
    /// Its page.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The transport protocol.
    pub proto: &'static str,
    /// The task that showed it.
    pub task_id: &'a str,
    /// Its page.
    pub task: String,
    /// The tags of the address.
    pub tags: Vec<&'a str>,
}

/// The changes, which are in the order of time, by day.
pub fn by_day<'a>(
    changes: impl IntoIterator<Item = &'a NumberedChange>,
    tags: Option<&'a Tags>,
    now_s: u64,
) -> Vec<Day<'a>> {
    let mut days: Vec<(u64, Day<'a>)> = Vec::new();
    for NumberedChange { change, .. } in changes {
        let day = change.at / DAY_S;
        if days.last().is_none_or(|(last, _)| *last != day) {
            let name = day_name(change.at, now_s);
            let changes = Vec::new();
            days.push((day, Day { name, changes }));
        }
        let ip = change.key.ip;
        let row = ChangeRow {
            clock: date_form(change.at).split_off("2026-11-24 ".len()),
            kind: change.kind.as_str(),
            ip: ip.to_string(),
            host: links::host(ip),
            port: change.key.port,
            proto: change.key.proto.as_str(),
            task_id: change.task_id.as_str(),
            task: links::task(change.task_id.as_str()),
            tags: tags.map(|tags| tags.tags_of(ip)).unwrap_or_default(),
        };
        if let Some((_, day)) = days.last_mut() {
            day.changes.push(row);
        }
    }
    days.into_iter().map(|(_, day)| day).collect()
}

fn day_name(at_s: u64, now_s: u64) -> String {
    let (date, weekday) = (date_form(at_s), weekday_form(at_s));
    let day = format!("{} {}", &weekday[..3], &date[..10]);
    match (now_s / DAY_S).checked_sub(at_s / DAY_S) {
        Some(0) => format!("Today, {day}"),
        Some(1) => format!("Yesterday, {day}"),
        _ => day,
    }
}

/// What stands below a list: where it continues, and its downloads.
pub struct Pager {
    /// The rows on the page, in words.
    pub shown: String,
    /// The first page, if this is not the first.
    pub first: Option<String>,
    /// The next page.
    pub next: Option<String>,
    /// The downloads.
    pub exports: Vec<Download>,
}

/// A list as a file.
#[derive(Debug)]
pub struct Download {
    /// The name of the format.
    pub name: &'static str,
    /// The address.
    pub href: String,
}

impl Download {
    fn new(request: &Request, name: &'static str, format: &str) -> Download {
        let changes = [("after", ""), ("limit", ""), ("format", format)];
        Download {
            name,
            href: links::changed(request, &changes),
        }
    }
}

/// The downloads of a list of records that are not addresses.
pub fn downloads(request: &Request) -> Vec<Download> {
    vec![
        Download::new(request, "CSV", "csv"),
        Download::new(request, "NDJSON", "ndjson"),
    ]
}

impl Pager {
    /// For `count` rows about addresses of the answer to `request`, which continue at `next`.
    pub fn of_addresses(request: &Request, count: usize, next: Option<&str>) -> Pager {
        let mut pager = Pager::of_records(request, count, next);
        let addresses = Download::new(request, "Addresses", "addresses");
        pager.exports.push(addresses);
        pager
    }

    /// The same for other rows.
    pub fn of_records(request: &Request, count: usize, next: Option<&str>) -> Pager {
        let is_first = links::Values::of(request).get("after").is_empty();
        let end = match next {
            Some(_) => "there are more",
            None if is_first => "these are all",
            None => "these are the last",
        };
        Pager {
            shown: match (count, next) {
                (0, Some(_)) => "None so far: the search goes on with the next page".to_owned(),
                _ => format!("{count} shown, {end}"),
            },
            first: (!is_first).then(|| links::changed(request, &[("after", "")])),
            next: next.map(|next| links::changed(request, &[("after", next)])),
            exports: downloads(request),
        }
    }
}

/// The tags that a form suggests, in alphabetical order.
pub fn suggested(tags: Option<&Tags>) -> Vec<&str> {
    tags.map(|tags| tags.names().take(SUGGESTED_TAGS_MAX).collect())
        .unwrap_or_default()
}
