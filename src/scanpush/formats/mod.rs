//! The forms in which findings are written, one file each. Pure: a finding in, text out; files, clocks and streams are the
//! caller's. Those that masscan has too have the form of masscan 1.3.2, line for line, so that its readers take them.
//!
//! **Invariant:** each form is written finding by finding, so that any number of them needs no memory; what came is a valid
//! document once [`Printer::end`] was called. No text of a record breaks out of its place: every form quotes or escapes what it
//! has to, and control characters get into none.

mod csv;
mod grepable;
mod list;
mod masscan_json;
mod ndjson;
mod services;
mod table;
#[cfg(test)]
mod tests;
mod time;
mod xml;

pub use services::Services;

use crate::model::ports::PortRange;
use crate::model::{FindingRecord, Invalid};
use std::str::FromStr;

/// What `-format` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people, in columns.
    Table,
    /// The records as they are, one a line.
    Ndjson,
    /// masscan's `-oJ`.
    Json,
    /// A header, then a finding a line.
    Csv,
    /// masscan's `-oL`.
    List,
    /// masscan's `-oG`.
    Grepable,
    /// masscan's `-oX`.
    Xml,
}

impl Format {
    /// All of them with their names.
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
            Invalid::new(text, format!("is no format: there are {names}"))
        })
    }
}

/// What a form may say besides the findings.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// The ports that were scanned, as far as known.
    pub ports: Vec<PortRange>,
    /// Names of ports.
    pub services: Services,
    /// Characters of a line that a person reads.
    pub columns: usize,
}

/// One form. Everything is appended to `text`, in whole lines.
trait Form {
    /// What comes before the first finding, which was made at `at_s` (unix seconds).
    fn begin(&mut self, text: &mut String, at_s: u64);
    /// A finding.
    fn finding(&mut self, text: &mut String, found: &FindingRecord<'_>);
    /// What comes after the last one, which was made at `at_s` (unix seconds).
    fn end(&mut self, text: &mut String, at_s: u64);
}

/// Writes findings in one form, into a text that the caller takes away from time to time.
pub struct Printer {
    form: Box<dyn Form>,
    text: String,
    /// When the newest finding so far was made, in unix seconds; none before the first one.
    newest_s: Option<u64>,
}

impl Printer {
    /// For `format`.
    pub fn new(format: Format, about: About) -> Printer {
        let form: Box<dyn Form> = match format {
            Format::Table => Box::new(table::Table::new(about)),
            Format::Ndjson => Box::new(ndjson::Ndjson),
            Format::Json => Box::new(masscan_json::MasscanJson::default()),
            Format::Csv => Box::new(csv::Csv),
            Format::List => Box::new(list::List),
            Format::Grepable => Box::new(grepable::Grepable::new(about)),
            Format::Xml => Box::new(xml::Xml::default()),
        };
        Printer {
            form,
            text: String::new(),
            newest_s: None,
        }
    }

    /// Writes a finding.
    pub fn finding(&mut self, found: &FindingRecord<'_>) {
        let at_s = found.finding.timestamp;
        if self.newest_s.is_none() {
            self.form.begin(&mut self.text, at_s);
        }
        self.newest_s = self.newest_s.max(Some(at_s));
        self.form.finding(&mut self.text, found);
    }

    /// Ends the document. `now_s` (unix seconds) stands where it needs a time and there was no finding.
    pub fn end(&mut self, now_s: u64) {
        if self.newest_s.is_none() {
            self.form.begin(&mut self.text, now_s);
        }
        let newest_s = *self.newest_s.get_or_insert(now_s);
        self.form.end(&mut self.text, newest_s);
    }

    /// What was written since the last call, to be emptied by the caller.
    pub fn text(&mut self) -> &mut String {
        &mut self.text
    }
}
