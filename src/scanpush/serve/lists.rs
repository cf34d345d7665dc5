//! Services and changes as pages and the API ask for them: the fields are the flags of `scanpush services` and `scanpush changes`, with a position to
//! continue from.

use super::list_export;
use super::problem::Problem;
use super::route::{Answer, Context};
use crate::flags::{Flag, Reader};
use crate::model::service::Service;
use crate::model::{Invalid, Targets};
use crate::scanpush::queries::options::{LIMIT, QueryFormat, limit};
use crate::scanpush::queries::writer::RecordFormat;
use crate::scanpush::queries::{changes, services};
use crate::scanpush::tasks::now_ms;
use crate::store::{ChangeFilter, ChangePlace, NumberedChange, Page, ServiceFilter, ServicePlace};
use std::fmt::Display;
use std::str::FromStr;

/// `after`
const AFTER: Flag = Flag::optional(
    "--after",
    "POSITION",
    "continue there: what an answer named next",
);
/// `format` of a list of addresses.
pub const ADDRESS_FORMAT: Flag = Flag::optional(
    "--format",
    "NAME",
    "download everything: csv, ndjson, or addresses, each address once",
)
.one_of(&["csv", "ndjson", "addresses"]);
/// `format` of another list.
pub const RECORD_FORMAT: Flag =
    Flag::optional("--format", "NAME", "download everything: csv or ndjson")
        .one_of(&["csv", "ndjson"]);

/// The fields of [`Paging::of_addresses`].
pub const ADDRESS_PAGING: &[Flag] = &[LIMIT, AFTER, ADDRESS_FORMAT];
/// The fields of [`Paging::of_records`].
pub const RECORD_PAGING: &[Flag] = &[LIMIT, AFTER, RECORD_FORMAT];

/// Rows of a page without a limit.
const LIST_ROWS: u64 = 100;
/// Largest limit of a page.
const LIST_ROWS_MAX: u64 = 1_000;

/// The part of a query that says which rows are shown, and how.
#[derive(Debug)]
pub struct Paging<Format> {
    /// The position.
    after: Option<String>,
    /// Rows at most, if a limit is given.
    pub limit: Option<u64>,
    /// None: a page.
    pub format: Option<Format>,
}

impl Paging<QueryFormat> {
    /// Takes [`ADDRESS_PAGING`].
    pub fn of_addresses(reader: &mut Reader) -> Result<Self, Invalid> {
        let format = reader.optional(&ADDRESS_FORMAT, list_export::parse_format)?;
        Paging::read(reader, format)
    }
}

impl Paging<RecordFormat> {
    /// Takes [`RECORD_PAGING`].
    pub fn of_records(reader: &mut Reader) -> Result<Self, Invalid> {
        let format = reader.optional(&RECORD_FORMAT, str::parse)?;
        Paging::read(reader, format)
    }
}

impl<Format> Paging<Format> {
    fn read(reader: &mut Reader, format: Option<Format>) -> Result<Self, Invalid> {
        let paging = Paging {
            after: reader.optional(&AFTER, |text| Ok(text.to_owned()))?,
            limit: limit(reader)?,
            format,
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

    /// The position.
    pub fn position<T: FromStr>(&self) -> Result<Option<T>, Invalid> {
        let parse = |text: &String| {
            let wrong = "is not a position that an answer named next";
            text.parse()
                .map_err(|_| Invalid::new(text, wrong).of(AFTER.shown()))
        };
        self.after.as_ref().map(parse).transpose()
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
    /// A page of the database. It may be short, and even empty, although there are others after it: its time was spent.
    pub fn of<P: Display>(page: Page<T, P>) -> Rows<T> {
        Rows {
            rows: page.rows,
            next: page.next.map(|place| place.to_string()),
        }
    }

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
    after: Option<ServicePlace>,
    paging: Paging<QueryFormat>,
}

impl ServiceQuery {
    /// Reads the query of a request.
    pub fn read(context: &Context<'_>) -> Result<ServiceQuery, Problem> {
        let table = [services::FILTER, ADDRESS_PAGING].concat();
        let mut reader = context.query(&table)?;
        let paging = Paging::of_addresses(&mut reader)?;
        let filter = services::filter(
            &mut reader,
            context.site.options.tags.as_ref(),
            now_ms() / 1000,
        )?;
        Ok(ServiceQuery {
            filter,
            after: paging.position()?,
            paging,
        })
    }

    /// The services of a page. Errs with 503 if the database cannot be read.
    pub fn rows(&self, context: &Context<'_>) -> Result<Rows<Service>, Problem> {
        let page = context.site.readers.ask(|store| {
            store.services_page(&self.filter, self.after.as_ref(), self.paging.rows())
        })?;
        Ok(Rows::of(page))
    }

    /// The addresses that are asked for, and since when; none: all.
    pub fn scope(&self) -> (Option<&Targets>, Option<u64>) {
        let ServiceFilter {
            networks,
            since,
            new_since,
            ..
        } = &self.filter;
        (networks.as_ref(), since.or(*new_since))
    }

    /// All services as a document, if a format is asked for.
    pub fn export(&self, context: &Context<'_>) -> Option<Answer> {
        let format = self.paging.format?;
        let (filter, limit) = (self.filter.clone(), self.paging.limit);
        Some(list_export::stream_rows(
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
    after: Option<ChangePlace>,
    paging: Paging<QueryFormat>,
}

impl ChangeQuery {
    /// Reads the query of a request.
    pub fn read(context: &Context<'_>) -> Result<ChangeQuery, Problem> {
        let table = [changes::FILTER, ADDRESS_PAGING].concat();
        let mut reader = context.query(&table)?;
        let paging = Paging::of_addresses(&mut reader)?;
        let filter = changes::filter(
            &mut reader,
            context.site.options.tags.as_ref(),
            now_ms() / 1000,
        )?;
        Ok(ChangeQuery {
            filter,
            after: paging.position()?,
            paging,
        })
    }

    /// The changes of a page, newest first. Errs with 503 if the database cannot be read.
    pub fn rows(&self, context: &Context<'_>) -> Result<Rows<NumberedChange>, Problem> {
        let page = context.site.readers.ask(|store| {
            store.changes_page(&self.filter, self.after.as_ref(), self.paging.rows())
        })?;
        Ok(Rows::of(page))
    }

    /// The addresses that are asked for, and since when; none: all.
    pub fn scope(&self) -> (Option<&Targets>, Option<u64>) {
        (self.filter.networks.as_ref(), self.filter.since)
    }

    /// All changes as a document, if a format is asked for.
    pub fn export(&self, context: &Context<'_>) -> Option<Answer> {
        let format = self.paging.format?;
        let (filter, limit) = (self.filter.clone(), self.paging.limit);
        Some(list_export::stream_rows(
            context,
            "changes",
            format,
            move |look, store, output| {
                changes::write(store, &filter, limit, format, look, output).map(|_| ())
            },
        ))
    }
}
