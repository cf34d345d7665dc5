//! Findings in columns for people. The widths are fixed because later findings are not known yet; a long IPv6 address shifts the
//! rest of its line.

use super::port_names::PortNames;
use super::time::date_form;
use super::{Context, Formatter};
use crate::model::FindingRecord;
use std::fmt::Write;

/// Characters of a state that are shown: `closed` has six.
const STATE_CHARS: usize = 7;

pub struct Table {
    port_names: PortNames,
    columns: usize,
}

impl Table {
    pub fn new(context: Context) -> Table {
        Table {
            port_names: context.port_names,
            columns: context.columns,
        }
    }
}

impl Formatter for Table {
    fn begin(&mut self, text: &mut String, _: u64) {
        let _ = writeln!(
            text,
            "{:<15} {:<10} {:<STATE_CHARS$} {:<19} SERVICE",
            "ADDRESS", "PORT", "STATE", "SEEN (UTC)"
        );
    }

    fn finding(&mut self, text: &mut String, found: &FindingRecord<'_>) {
        let finding = &found.finding;
        let from = text.len();
        let port = format!("{}/{}", finding.port, finding.proto.as_str());
        let _ = write!(
            text,
            "{:<15} {port:<10} {:<STATE_CHARS$.STATE_CHARS$} {:<19}",
            finding.ip.to_string(),
            finding.status.as_str(),
            date_form(finding.timestamp),
        );
        if let Some(service) = self.port_names.name(finding.proto, finding.port) {
            // The line is ASCII, so that bytes equal columns.
            let room = self.columns.saturating_sub(text.len() - from + 1);
            text.push(' ');
            text.push_str(&service[..service.len().min(room)]);
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }

    fn end(&mut self, _: &mut String, _: u64) {}
}
