//! Findings in columns for a person. The widths are fixed, since nothing is known of what comes later; only a long IPv6 address
//! pushes the rest of its line to the right.

use super::services::Services;
use super::time::date_form;
use super::{About, Form};
use crate::model::FindingRecord;
use std::fmt::Write;

/// Characters of a state that are shown: `closed` has six.
const STATE_CHARS: usize = 7;

pub struct Table {
    services: Services,
    columns: usize,
}

impl Table {
    pub fn new(about: About) -> Table {
        Table {
            services: about.services,
            columns: about.columns,
        }
    }
}

impl Form for Table {
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
        if let Some(service) = self.services.name(finding.proto, finding.port) {
            // All of it is ASCII: bytes are columns.
            let room = self.columns.saturating_sub(text.len() - from + 1);
            text.push(' ');
            text.push_str(&service[..service.len().min(room)]);
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }

    fn end(&mut self, _: &mut String, _: u64) {}
}
