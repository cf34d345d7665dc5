//! masscan's `-oL`: `open tcp 80 192.0.2.1 1795531403`.

use super::Formatter;
use crate::model::FindingRecord;
use std::fmt::Write;

pub struct List;

impl Formatter for List {
    fn begin(&mut self, text: &mut String, _: u64) {
        text.push_str("#masscan\n");
    }

    fn finding(&mut self, text: &mut String, found: &FindingRecord<'_>) {
        let finding = &found.finding;
        let _ = writeln!(
            text,
            "{} {} {} {} {}",
            finding.status,
            finding.proto.as_str(),
            finding.port,
            finding.ip,
            finding.timestamp
        );
    }

    fn end(&mut self, text: &mut String, _: u64) {
        text.push_str("# end\n");
    }
}
