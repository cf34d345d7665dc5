//! Comma-separated values by RFC 4180, but with Unix line breaks: a header, then one finding on each line with the fields of its
//! record.

use super::Formatter;
use crate::model::FindingRecord;
use std::fmt::Write;

const HEADER: &str = "task_id,ip,port,proto,status,reason,ttl,timestamp,server,attempt\n";

pub struct Csv;

impl Formatter for Csv {
    fn begin(&mut self, text: &mut String, _: u64) {
        text.push_str(HEADER);
    }

    fn finding(&mut self, text: &mut String, found: &FindingRecord<'_>) {
        let finding = &found.finding;
        push_field(text, &found.task_id);
        let _ = write!(
            text,
            ",{},{},{},{},{},{},{},",
            finding.ip,
            finding.port,
            finding.proto.as_str(),
            finding.status,
            finding.reason,
            finding.ttl,
            finding.timestamp
        );
        push_field(text, &found.server);
        let _ = writeln!(text, ",{}", found.attempt);
    }

    fn end(&mut self, _: &mut String, _: u64) {}
}

/// Appends a line of these fields.
pub fn push_line<'a>(text: &mut String, fields: impl IntoIterator<Item = &'a str>) {
    for (n, field) in fields.into_iter().enumerate() {
        if n > 0 {
            text.push(',');
        }
        push_field(text, field);
    }
    text.push('\n');
}

/// Appends a field, in quotes if needed. Spreadsheets take a field that begins with one of some characters for a formula: before it comes an
/// apostrophe, as OWASP recommends.
fn push_field(text: &mut String, field: &str) {
    if field.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        return push_quoted(text, &format!("'{field}"));
    }
    push_quoted(text, field);
}

fn push_quoted(text: &mut String, field: &str) {
    if !field.contains([',', '"', '\r', '\n']) {
        text.push_str(field);
        return;
    }
    text.push('"');
    text.push_str(&field.replace('"', "\"\""));
    text.push('"');
}
