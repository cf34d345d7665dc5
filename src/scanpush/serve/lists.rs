//! Services and changes as pages and the API ask for them: the fields are the flags of `scanpush services` and `scanpush changes`, with a position to
//! continue from.

use super::export;
use super::problem::Problem;
use super::route::{Answer, Context};
use crate::flags::{Flag, Reader};
use crate::model::Invalid;
use crate::model::ports::Proto;
use crate::model::service::{Change, ChangeKind, Service, ServiceKey};
use crate::scanpush::queries::options::{LIMIT, QueryFormat, limit};
use crate::scanpush::queries::{changes, services};
use crate::scanpush::tasks::now_ms;
use crate::store::{ChangeFilter, NumberedChange, ServiceFilter};
use std::net::{IpAddr, Ipv4Addr};

/// `after`
const AFTER: Flag = Flag::optional(
    "--after",
    "POSITION",
    "continue there: what an answer named next",
);
/// `format`
pub const FORMAT: Flag = Flag::optional(
    "--format",
    "NAME",
    "download everything: csv, ndjson, or addresses, each address once",
)
.one_of(&["csv", "ndjson", "addresses"]);

/// Rows of a page without a limit.
const LIST_ROWS: u64 = 100;
/// Largest limit of a page.
const LIST_ROWS_MAX: u64 = 1_000;

/// The part of a query that says which rows are shown, and how.
#[derive(Debug)]
pub struct Paging {
    /// The position.
    after: Option<String>,
    /// Rows at most, if a limit is given.
    limit: Option<u64>,
    /// None: a page.
    pub format: Option<QueryFormat>,
}

impl Paging {
    /// Its fields.
    pub const FIELDS: &[Flag] = &[LIMIT, AFTER, FORMAT];

    /// Takes [`Paging::FIELDS`].
    pub fn read(reader: &mut Reader) -> Result<Paging, Invalid> {
        let paging = Paging {
            after: reader.optional(&AFTER, |text| Ok(text.to_owned()))?,
            limit: limit(reader)?,
            format: reader.optional(&FORMAT, export::parse_format)?,
        };
        match paging.limit {
            Some(limit) if limit > LIST_ROWS_MAX && paging.format.is_none() => {
                let wrong =
                    format!("is more than {LIST_ROWS_MAX}: continue with after, or give a format");
                Err(Invalid::new(&limit.to_string(), wrong).of(LIMIT.shown()))
            }
            _ => Ok(paging),
        }
    }

    /// Rows of a page.
    pub fn rows(&self) -> usize {
        usize::try_from(self.limit.unwrap_or(LIST_ROWS)).unwrap_or(usize::MAX)
    }

    /// The position, as parsed by `parse`.
    pub fn position<T>(&self, parse: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, Invalid> {
        let Some(text) = &self.after else {
            return Ok(None);
        };
        let wrong = "is not a position that an answer named next";
        let position = parse(text).ok_or_else(|| Invalid::new(text, wrong).of(AFTER.shown()))?;
        Ok(Some(position))
    }
}

/// Some rows, and where those after them begin.
#[derive(Debug)]
pub struct Rows<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// The position of the next ones; none after the last.
    pub next: Option<String>,
}

impl<T> Rows<T> {
    /// `rows` has one more than `most` if there are others after them.
    pub fn cut(mut rows: Vec<T>, most: usize, position: impl FnOnce(&T) -> String) -> Rows<T> {
        let has_more = rows.len() > most;
        rows.truncate(most);
        Rows {
            next: rows.last().filter(|_| has_more).map(position),
            rows,
        }
    }
}

/// A question for services.
#[derive(Debug)]
pub struct ServiceQuery {
    /// Which.
    filter: ServiceFilter,
    after: Option<ServiceKey>,
    paging: Paging,
}

impl ServiceQuery {
    /// Reads the query of a request.
    pub fn read(context: &Context<'_>) -> Result<ServiceQuery, Problem> {
        let table = [services::FILTER, Paging::FIELDS].concat();
        let mut reader = context.query(&table)?;
        let paging = Paging::read(&mut reader)?;
        let filter = services::filter(
            &mut reader,
            context.site.options.tags.as_ref(),
            now_ms() / 1000,
        )?;
        Ok(ServiceQuery {
            filter,
            after: paging.position(service_position)?,
            paging,
        })
    }

    /// The services of a page. Errs with 503 if the database cannot be read.
    pub fn rows(&self, context: &Context<'_>) -> Result<Rows<Service>, Problem> {
        let most = self.paging.rows();
        let mut rows = Vec::new();
        context.site.readers.ask(|store| {
            store.services(&self.filter, self.after, |service| {
                rows.push(service);
                rows.len() <= most
            })
        })?;
        Ok(Rows::cut(rows, most, |service| {
            let ServiceKey { ip, port, proto } = service.key;
            format!("{ip}~{port}~{}", proto.as_str())
        }))
    }

    /// All services as a document, if a format is asked for.
    pub fn export(&self, context: &Context<'_>) -> Option<Answer> {
        let format = self.paging.format?;
        let (filter, limit) = (self.filter.clone(), self.paging.limit);
        Some(export::stream(
            context,
            "services",
            format,
            move |look, store, output| {
                services::write(store, &filter, limit, format, look, output).map(|_| ())
            },
        ))
    }
}

/// A question for changes.
#[derive(Debug)]
pub struct ChangeQuery {
    filter: ChangeFilter,
    after: Option<NumberedChange>,
    paging: Paging,
}

impl ChangeQuery {
    /// Reads the query of a request.
    pub fn read(context: &Context<'_>) -> Result<ChangeQuery, Problem> {
        let table = [changes::FILTER, Paging::FIELDS].concat();
        let mut reader = context.query(&table)?;
        let paging = Paging::read(&mut reader)?;
        let filter = changes::filter(
            &mut reader,
            context.site.options.tags.as_ref(),
            now_ms() / 1000,
        )?;
        Ok(ChangeQuery {
            filter,
            after: paging.position(change_position)?,
            paging,
        })
    }

    /// The changes of a page, newest first. Errs with 503 if the database cannot be read.
    pub fn rows(&self, context: &Context<'_>) -> Result<Rows<NumberedChange>, Problem> {
        let most = self.paging.rows();
        let mut rows = Vec::new();
        context.site.readers.ask(|store| {
            store.changes(&self.filter, self.after.as_ref(), |change| {
                rows.push(change);
                rows.len() <= most
            })
        })?;
        Ok(Rows::cut(rows, most, |found| {
            format!("{}~{}", found.change.at, found.id)
        }))
    }

    /// All changes as a document, if a format is asked for.
    pub fn export(&self, context: &Context<'_>) -> Option<Answer> {
        let format = self.paging.format?;
        let (filter, limit) = (self.filter.clone(), self.paging.limit);
        Some(export::stream(
            context,
            "changes",
            format,
            move |look, store, output| {
                changes::write(store, &filter, limit, format, look, output).map(|_| ())
            },
        ))
    }
}

/// `10.1.0.9~443~tcp`
fn service_position(text: &str) -> Option<ServiceKey> {
    let parts: Vec<&str> = text.split('~').collect();
    let [ip, port, proto] = parts[..] else {
        return None;
    };
    let mut protos = [Proto::Tcp, Proto::Udp, Proto::Sctp].into_iter();
    Some(ServiceKey {
        ip: ip.parse::<IpAddr>().ok()?.to_canonical(),
        port: port.parse().ok()?,
        proto: protos.find(|known| known.as_str() == proto)?,
    })
}

/// `1795531265~17`: time and number, which are all of a change that its place depends on.
fn change_position(text: &str) -> Option<NumberedChange> {
    let (at, id) = text.split_once('~')?;
    Some(NumberedChange {
        id: id.parse().ok()?,
        change: Change {
            key: ServiceKey {
                ip: Ipv4Addr::UNSPECIFIED.into(),
                port: 1,
                proto: Proto::Tcp,
            },
            kind: ChangeKind::Opened,
            at: at.parse().ok().filter(|at| i64::try_from(*at).is_ok())?,
            task_id: "none".parse().ok()?,
        },
    })
}
