//! The records of `scan-results`, one on each line, with their fields in order.

use super::Formatter;
use crate::model::FindingRecord;
use std::fmt::Write;

pub struct Ndjson;

impl Formatter for Ndjson {
    fn begin(&mut self, _: &mut String, _: u64) {}

    fn finding(&mut self, text: &mut String, found: &FindingRecord<'_>) {
        text.push_str("{\"task_id\":");
        push_string(text, &found.task_id);
        text.push(',');
        found.finding.write_members(|piece| text.push_str(piece));
        text.push_str(",\"server\":");
        push_string(text, &found.server);
        let (attempt, pass) = (found.attempt, found.pass);
        let _ = writeln!(text, ",\"attempt\":{attempt},\"pass\":{pass}}}");
    }

    fn end(&mut self, _: &mut String, _: u64) {}
}

/// Appends a JSON string.
fn push_string(text: &mut String, string: &str) {
    text.push('"');
    for c in string.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(text, "\\u{:04x}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text.push('"');
}
