//! The output formats of findings, one file each. Pure: files, clocks and streams belong to the caller. The formats that masscan
//! has too match masscan 1.3.2 line for line, so that existing parsers accept them.
//!
//! **Invariant:** each format is written finding by finding and needs bounded memory. The output is a valid document once
//! [`Printer::end`] was called. Every format quotes or escapes the text of records, and control characters never reach the output.

mod addresses;
pub mod csv;
mod grepable;
mod list;
mod masscan_json;
mod ndjson;
mod port_names;
mod table;
#[cfg(test)]
mod tests;
pub mod time;
mod xml;

pub use addresses::WrittenAddresses;
pub use port_names::PortNames;
pub use time::date_form;

use crate::model::ports::PortRange;
use crate::model::{FindingRecord, Invalid};
use std::str::FromStr;

/// What `-format` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Columns for people.
    Table,
    /// The records as they are, one on each line.
    Ndjson,
    /// masscan's `-oJ`.
    Json,
    /// A header, then one finding on each line.
    Csv,
    /// masscan's `-oL`.
    List,
    /// masscan's `-oG`.
    Grepable,
    /// masscan's `-oX`.
    Xml,
}

impl Format {
    /// All formats with their names.
    pub const ALL: [(&'static str, Format); 7] = [
        ("table", Format::Table),
        ("ndjson", Format::Ndjson),
        ("json", Format::Json),
        ("csv", Format::Csv),
        ("list", Format::List),
        ("grepable", Format::Grepable),
        ("xml", Format::Xml),
    ];
}

impl FromStr for Format {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Format, Invalid> {
        let named = Format::ALL.into_iter().find(|(name, _)| *name == text);
        named.map(|(_, format)| format).ok_or_else(|| {
            let names = Format::ALL.map(|(name, _)| name).join(", ");
            Invalid::new(text, format!("is not a format: use one of {names}"))
        })
    }
}

/// What some formats need besides the findings.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// The scanned ports; empty if unknown.
    pub ports: Vec<PortRange>,
    /// Names of ports.
    pub port_names: PortNames,
    /// Width of the terminal, in characters.
    pub columns: usize,
}

/// One format. Everything is appended to `text`.
trait Formatter {
    /// Writes the head of the document. `at_s` is the time of the first finding, in unix seconds.
    fn begin(&mut self, text: &mut String, at_s: u64);
    /// Writes a finding.
    fn finding(&mut self, text: &mut String, found: &FindingRecord<'_>);
    /// Writes the end of the document. `at_s` is the time of the newest finding, in unix seconds.
    fn end(&mut self, text: &mut String, at_s: u64);
}

/// Writes findings in one format into a buffer that the caller empties.
pub struct Printer {
    formatter: Box<dyn Formatter>,
    text: String,
    /// The time of the newest finding, in unix seconds; `None` before the first one.
    newest_s: Option<u64>,
}

impl Printer {
    /// A printer for `format`.
    pub fn new(format: Format, context: Context) -> Printer {
        let formatter: Box<dyn Formatter> = match format {
            Format::Table => Box::new(table::Table::new(context)),
            Format::Ndjson => Box::new(ndjson::Ndjson),
            Format::Json => Box::new(masscan_json::MasscanJson::default()),
            Format::Csv => Box::new(csv::Csv),
            Format::List => Box::new(list::List),
            Format::Grepable => Box::new(grepable::Grepable::new(context)),
            Format::Xml => Box::new(xml::Xml::default()),
        };
        Printer {
            formatter,
            text: String::new(),
            newest_s: None,
        }
    }

    /// Writes a finding.
    pub fn finding(&mut self, found: &FindingRecord<'_>) {
        let at_s = found.finding.timestamp;
        if self.newest_s.is_none() {
            self.formatter.begin(&mut self.text, at_s);
        }
        self.newest_s = self.newest_s.max(Some(at_s));
        self.formatter.finding(&mut self.text, found);
    }

    /// Ends the document. `now_s` (unix seconds) is used as the time if there was no finding.
    pub fn end(&mut self, now_s: u64) {
        if self.newest_s.is_none() {
            self.formatter.begin(&mut self.text, now_s);
        }
        let newest_s = *self.newest_s.get_or_insert(now_s);
        self.formatter.end(&mut self.text, newest_s);
    }

    /// The buffer. The caller empties it after writing it out.
    pub fn text(&mut self) -> &mut String {
        &mut self.text
    }
}
