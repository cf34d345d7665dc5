//! Services and changes in each format. Pure.

use crate::model::Tags;
use crate::model::service::{Change, Service, ServiceKey};
use crate::scanpush::formats::time::{date_form, short_form};
use crate::scanpush::table::{Column, Side};
use serde::Serialize;
use std::net::IpAddr;

/// Columns of a terminal from which on services are shown with complete times.
const WIDE_COLUMNS: usize = 120;

/// What the form of a row depends on.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// The tags to show; none: no tags are shown.
    pub tags: Option<&'a Tags>,
    /// Width of a table.
    pub columns: usize,
    /// Now, in unix seconds.
    pub now_s: u64,
}

impl<'a> Look<'a> {
    fn tags_of(&self, ip: IpAddr) -> Option<Vec<&'a str>> {
        self.tags.map(|tags| tags.tags_of(ip))
    }
}

/// What is written row by row, as JSON or CSV.
pub trait ListRecord: Serialize {
    /// The names of the fields of [`ListRecord::fields`].
    const NAMES: &'static [&'static str];
    /// The fields for CSV: those of JSON, with spaces between tags. An unknown value is empty.
    fn fields(&self) -> Vec<String>;
}

/// A record about an address, which is also written as a row of a table.
pub trait QueryRow: ListRecord {
    /// The columns of a table.
    fn columns(look: &Look<'_>) -> Vec<Column>;
    /// The cells of [`QueryRow::columns`].
    fn cells(&self, look: &Look<'_>) -> Vec<String>;
    /// Its address.
    fn ip(&self) -> IpAddr;
}

/// A service. Field names are those of the database and of `-json`; times are unix seconds.
#[derive(Debug, Serialize)]
pub struct ServiceLine<'a> {
    /// The address.
    pub ip: IpAddr,
    /// The port.
    pub port: u16,
    /// The transport protocol.
    pub proto: &'static str,
    /// `open` or `closed`.
    pub state: &'static str,
    /// Since when it is in this state.
    pub state_since: u64,
    /// The earliest sighting.
    pub first_seen: u64,
    /// The latest sighting.
    pub last_seen: u64,
    /// The task of the latest sighting.
    pub last_task: &'a str,
    /// masscan's reason of the latest sighting.
    pub reason: String,
    /// Its time to live, in hops.
    pub ttl: u8,
    /// The tags of the address; none without `-tags`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<&'a str>>,
}

impl<'a> ServiceLine<'a> {
    /// The row of a service.
    pub fn new(service: &'a Service, look: &Look<'a>) -> ServiceLine<'a> {
        let ServiceKey { ip, port, proto } = service.key;
        ServiceLine {
            ip,
            port,
            proto: proto.as_str(),
            state: service.state.as_str(),
            state_since: service.state_since,
            first_seen: service.first_seen,
            last_seen: service.last_seen,
            last_task: service.last_task.as_str(),
            reason: service.reason.to_string(),
            ttl: service.ttl,
            tags: look.tags_of(ip),
        }
    }
}

impl ListRecord for ServiceLine<'_> {
    const NAMES: &'static [&'static str] = &[
        "ip",
        "port",
        "proto",
        "state",
        "state_since",
        "first_seen",
        "last_seen",
        "last_task",
        "reason",
        "ttl",
        "tags",
    ];

    fn fields(&self) -> Vec<String> {
        vec![
            self.ip.to_string(),
            self.port.to_string(),
            self.proto.to_owned(),
            self.state.to_owned(),
            self.state_since.to_string(),
            self.first_seen.to_string(),
            self.last_seen.to_string(),
            self.last_task.to_owned(),
            self.reason.clone(),
            self.ttl.to_string(),
            joined(self.tags.as_deref().unwrap_or_default()),
        ]
    }
}

impl QueryRow for ServiceLine<'_> {
    /// 80 columns have room for the tags or for the task, not for both.
    fn columns(look: &Look<'_>) -> Vec<Column> {
        let is_wide = look.columns >= WIDE_COLUMNS;
        let mut columns = vec![
            left("IP", None),
            right("PORT"),
            left("PROTO", None),
            left("STATE", None),
            left("SINCE (UTC)", None),
            left("FIRST SEEN", None),
            left("LAST SEEN", None),
        ];
        if look.tags.is_some() {
            columns.push(left("TAGS", Some(9)));
        }
        if is_wide || look.tags.is_none() {
            columns.push(left("LAST TASK", Some(9)));
        }
        columns
    }

    fn cells(&self, look: &Look<'_>) -> Vec<String> {
        let is_wide = look.columns >= WIDE_COLUMNS;
        let time = |at_s| match is_wide {
            true => date_form(at_s),
            false => short_form(at_s, look.now_s),
        };
        let mut cells = vec![
            self.ip.to_string(),
            self.port.to_string(),
            self.proto.to_owned(),
            self.state.to_owned(),
            time(self.state_since),
            time(self.first_seen),
            time(self.last_seen),
        ];
        if let Some(tags) = &self.tags {
            cells.push(joined(tags));
        }
        if is_wide || self.tags.is_none() {
            cells.push(self.last_task.to_owned());
        }
        cells
    }

    fn ip(&self) -> IpAddr {
        self.ip
    }
}

/// A change. Field names are those of `-json`; the time is in unix seconds.
#[derive(Debug, Serialize)]
pub struct ChangeLine<'a> {
    /// When.
    pub at: u64,
    /// `opened`, `closed` or `reopened`.
    pub change: &'static str,
    /// The address.
    pub ip: IpAddr,
    /// The port.
    pub port: u16,
    /// The transport protocol.
    pub proto: &'static str,
    /// The task that showed it.
    pub task_id: &'a str,
    /// The tags of the address; none without `-tags`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<&'a str>>,
}

impl<'a> ChangeLine<'a> {
    /// The row of a change.
    pub fn new(change: &'a Change, look: &Look<'a>) -> ChangeLine<'a> {
        let ServiceKey { ip, port, proto } = change.key;
        ChangeLine {
            at: change.at,
            change: change.kind.as_str(),
            ip,
            port,
            proto: proto.as_str(),
            task_id: change.task_id.as_str(),
            tags: look.tags_of(ip),
        }
    }
}

impl ListRecord for ChangeLine<'_> {
    const NAMES: &'static [&'static str] =
        &["at", "change", "ip", "port", "proto", "task_id", "tags"];

    fn fields(&self) -> Vec<String> {
        vec![
            self.at.to_string(),
            self.change.to_owned(),
            self.ip.to_string(),
            self.port.to_string(),
            self.proto.to_owned(),
            self.task_id.to_owned(),
            joined(self.tags.as_deref().unwrap_or_default()),
        ]
    }
}

impl QueryRow for ChangeLine<'_> {
    fn columns(look: &Look<'_>) -> Vec<Column> {
        let mut columns = vec![
            left("TIME (UTC)", None),
            left("CHANGE", None),
            left("IP", None),
            right("PORT"),
            left("PROTO", None),
        ];
        if look.tags.is_some() {
            columns.push(left("TAGS", Some(12)));
        }
        columns.push(left("TASK", Some(9)));
        columns
    }

    fn cells(&self, _: &Look<'_>) -> Vec<String> {
        let mut cells = vec![
            date_form(self.at),
            self.change.to_owned(),
            self.ip.to_string(),
            self.port.to_string(),
            self.proto.to_owned(),
        ];
        cells.extend(self.tags.as_deref().map(joined));
        cells.push(self.task_id.to_owned());
        cells
    }

    fn ip(&self) -> IpAddr {
        self.ip
    }
}

fn joined(tags: &[&str]) -> String {
    tags.join(" ")
}

fn left(header: &'static str, least: Option<usize>) -> Column {
    Column {
        header,
        side: Side::Left,
        least,
    }
}

fn right(header: &'static str) -> Column {
    Column {
        header,
        side: Side::Right,
        least: None,
    }
}
