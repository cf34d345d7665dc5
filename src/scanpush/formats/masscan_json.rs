//! masscan's `-oJ`: an array with one object for each answer. The timestamp is a string, the port an array with one element.

use super::Formatter;
use crate::model::FindingRecord;
use std::fmt::Write;

#[derive(Default)]
pub struct MasscanJson {
    has_one: bool,
}

impl Formatter for MasscanJson {
    fn begin(&mut self, text: &mut String, _: u64) {
        text.push_str("[\n");
    }

    fn finding(&mut self, text: &mut String, found: &FindingRecord<'_>) {
        if self.has_one {
            text.push_str(",\n");
        }
        self.has_one = true;
        let finding = &found.finding;
        let _ = writeln!(
            text,
            "{{   \"ip\": \"{}\",   \"timestamp\": \"{}\", \"ports\": [ {{\"port\": {}, \"proto\": \"{}\", \
             \"status\": \"{}\", \"reason\": \"{}\", \"ttl\": {}}} ] }}",
            finding.ip,
            finding.timestamp,
            finding.port,
            finding.proto.as_str(),
            finding.status,
            finding.reason,
            finding.ttl
        );
    }

    fn end(&mut self, text: &mut String, _: u64) {
        text.push_str("]\n");
    }
}
