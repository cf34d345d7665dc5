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
        let (ip, port) = (finding.ip, finding.port);
        let _ = write!(text, ",{ip},{port},{},", finding.proto.as_str());
        push_field(text, finding.status.as_str());
        text.push(',');
        push_field(text, finding.reason.as_str());
        let _ = write!(text, ",{},{},", finding.ttl, finding.timestamp);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        for (field, cell) in [
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("\r=1", "\"'\r=1\""),
            ("=\"a,b\"", "\"'=\"\"a,b\"\"\""),
            ("a=1", "a=1"),
            ("a,b", "\"a,b\""),
            ("", ""),
        ] {
            let mut text = String::new();
            push_line(&mut text, [field, "x"]);
            assert_eq!(text, format!("{cell},x\n"), "{field:?}");
        }
    }

    #[test]
    fn a_findings_words_are_cells_too() {
        let record = br#"{"task_id":"=a","ip":"192.0.2.1","port":80,"proto":"tcp","status":"-open","reason":"-1","ttl":64,"timestamp":1,"server":"-s","attempt":1}"#;
        let mut text = String::new();
        Csv.finding(&mut text, &FindingRecord::from_record(record).unwrap());
        assert_eq!(text, "'=a,192.0.2.1,80,tcp,'-open,'-1,64,1,'-s,1\n");
    }
}
