//! The differences of two tasks or jobs, for the page and the API.

use super::list_export;
use super::lists::{ADDRESS_PAGING, Paging, Rows};
use super::memo::Remembered;
use super::problem::Problem;
use super::route::{Answer, Context};
use crate::flags::Flag;
use crate::model::TaskId;
use crate::scanpush::diff::{DiffError, Report};
use crate::scanpush::output::Output;
use crate::scanpush::queries::options::QueryFormat;
use crate::scanpush::queries::rows::{ListRecord, Look, QueryRow};
use crate::scanpush::queries::writer::RowWriter;
use crate::scanpush::results::diff::Change;
use crate::scanpush::table::{Column, Side};
use serde::Serialize;
use std::net::IpAddr;
use std::sync::Arc;

const A: Flag = Flag::optional("--a", "ID", "the first task or job");
const B: Flag = Flag::optional("--b", "ID", "the second task or job");

/// Findings of both sides together up to which they are compared: they are held in memory, about 50 bytes each.
const DIFF_FINDINGS_MAX: u64 = 2_000_000;

/// A question for the differences of two tasks or jobs.
#[derive(Debug)]
pub struct DiffQuery {
    /// Both, if both are given.
    names: Option<[TaskId; 2]>,
    /// The number of differences before those that are asked for.
    skip: usize,
    paging: Paging<QueryFormat>,
}

impl DiffQuery {
    /// Reads the query of a request.
    pub fn read(context: &Context<'_>) -> Result<DiffQuery, Problem> {
        let table = [&[A, B], ADDRESS_PAGING].concat();
        let mut reader = context.query(&table)?;
        let paging = Paging::of_addresses(&mut reader)?;
        let names = (
            reader.optional(&A, str::parse)?,
            reader.optional(&B, str::parse)?,
        );
        let names = match names {
            (Some(first), Some(second)) => Some([first, second]),
            (None, None) => None,
            _ => {
                return Err(Problem::bad_request(
                    "give two ids of tasks or jobs: a and b",
                ));
            }
        };
        Ok(DiffQuery {
            names,
            skip: paging.position()?.unwrap_or(0),
            paging,
        })
    }

    /// The comparison; none if nothing is to be compared yet.
    pub fn report(&self, context: &Context<'_>) -> Result<Option<Remembered<Report>>, Problem> {
        let Some([first, second]) = &self.names else {
            return Ok(None);
        };
        let site = context.site;
        let key = [first, second].map(TaskId::to_string);
        let report = site.answers.comparison.get(key, || {
            site.readers.ask_long(|store| {
                match Report::read(store, [first, second], Some(DIFF_FINDINGS_MAX)) {
                    Ok(report) => Ok(Ok(report)),
                    Err(DiffError::Store(error)) => Err(error),
                    Err(DiffError::Unknown(line)) => Ok(Err(Problem::not_found(line))),
                    Err(DiffError::Refused(line)) => Ok(Err(Problem::conflict(line))),
                }
            })?
        })?;
        Ok(Some(report))
    }

    /// The differences of a page.
    pub fn rows(&self, report: &Report) -> Rows<DiffLine> {
        let most = self.paging.rows();
        let changes = report.comparison.changes.iter().skip(self.skip);
        let rows: Vec<DiffLine> = changes
            .take(most.saturating_add(1))
            .map(DiffLine::new)
            .collect();
        let next = self.skip.saturating_add(most).to_string();
        Rows::cut(rows, most, |_| next)
    }

    /// All differences as a document, if a format is asked for.
    pub fn export(&self, context: &Context<'_>, report: &Arc<Report>) -> Option<Answer> {
        let format = self.paging.format?;
        let report = Arc::clone(report);
        let write = move |look: Look<'_>, output: &mut Output<'_>| {
            let mut writer = RowWriter::new(format, look, &[], output);
            for change in &report.comparison.changes {
                writer.row(&DiffLine::new(change))?;
            }
            writer.end::<DiffLine>().map(|_| ())
        };
        Some(list_export::stream(context, "diff", format, write))
    }
}

/// A difference. Field names are those of `scanpush diff -json`.
#[derive(Clone, Debug, Serialize)]
pub struct DiffLine {
    /// `opened` or `closed`.
    pub change: &'static str,
    /// The address.
    pub ip: IpAddr,
    /// The port.
    pub port: u16,
    /// The transport protocol.
    pub proto: &'static str,
}

impl DiffLine {
    fn new(change: &Change) -> DiffLine {
        DiffLine {
            change: if change.opened { "opened" } else { "closed" },
            ip: change.endpoint.ip,
            port: change.endpoint.port,
            proto: change.endpoint.proto.as_str(),
        }
    }
}

impl ListRecord for DiffLine {
    const NAMES: &'static [&'static str] = &["change", "ip", "port", "proto"];

    fn fields(&self) -> Vec<String> {
        vec![
            self.change.to_owned(),
            self.ip.to_string(),
            self.port.to_string(),
            self.proto.to_owned(),
        ]
    }
}

impl QueryRow for DiffLine {
    fn columns(_: &Look<'_>) -> Vec<Column> {
        let column = |header| Column {
            header,
            side: Side::Left,
            least: None,
        };
        ["CHANGE", "IP", "PORT", "PROTO"].map(column).into()
    }

    fn cells(&self, _: &Look<'_>) -> Vec<String> {
        self.fields()
    }

    fn ip(&self) -> IpAddr {
        self.ip
    }
}
