//! Findings of tasks in the formats of `scanpush results`, as they are read: from the database if it keeps all of them, else from Kafka.

use super::problem::Problem;
use super::route::{Answer, Context};
use super::site::Site;
use crate::exit::Failure;
use crate::flags::Flag;
use crate::http_server::{BodyStream, Response, StreamKind};
use crate::model::text::one_line;
use crate::model::{FindingRecord, Invalid, TaskId};
use crate::scanpush::formats::{Context as FormatContext, Format, Printer, WrittenAddresses};
use crate::scanpush::results::Findings;
use crate::scanpush::tasks::now_ms;
use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

/// The field that chooses the format.
pub const FORMAT: Flag = Flag::with_default(
    "--format",
    "FORMAT",
    "ndjson",
    "csv, ndjson, json, list, grepable, xml, or addresses: each address once",
);
/// Text that is collected before it is sent.
const EXPORT_CHUNK_BYTES: usize = 32 * 1024;

/// What is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Export {
    /// The findings in one of the formats of `scanpush results`.
    Findings(Format),
    /// Each address once, one on each line.
    Addresses,
}

/// The formats that a page offers: the value of the field, and the name.
pub const OFFERED: [(&str, &str); 6] = [
    ("csv", "CSV"),
    ("ndjson", "NDJSON"),
    ("json", "masscan JSON"),
    ("xml", "masscan XML"),
    ("list", "masscan list"),
    ("addresses", "addresses"),
];

/// A task whose findings are exported, and how many it has.
#[derive(Clone, Debug)]
pub struct Exported {
    /// The task.
    pub id: TaskId,
    /// Findings, as far as known.
    pub found: u64,
}

/// The response with the findings of these tasks. `name` is the beginning of the file's name.
pub fn answer(context: &Context<'_>, name: &str, tasks: Vec<Exported>) -> Answer {
    let mut reader = context.query(&[FORMAT])?;
    let export = reader.value(&FORMAT, parse)?;
    reader.finish()?;
    let site = Arc::clone(context.site);
    let source = source_of(&site, &tasks)?;
    let (content_type, ending) = match export {
        Export::Findings(Format::Csv) => ("text/csv; charset=utf-8", "csv"),
        Export::Findings(Format::Ndjson) => ("application/x-ndjson", "ndjson"),
        Export::Findings(Format::Json) => ("application/json", "json"),
        Export::Findings(Format::Xml) => ("application/xml", "xml"),
        Export::Findings(_) | Export::Addresses => ("text/plain; charset=utf-8", "txt"),
    };
    let share = context.share(StreamKind::Download);
    let response = Response::streamed(share, content_type, move |stream| {
        write(&site, source, export, &tasks, stream)
    });
    let name: String = name
        .chars()
        .map(|c| match c.is_ascii_alphanumeric() || c == '-' {
            true => c,
            false => '_',
        })
        .collect();
    Ok(response.as_file(&format!("{name}.{ending}")))
}

fn parse(text: &str) -> Result<Export, Invalid> {
    match text {
        "addresses" => Ok(Export::Addresses),
        "table" => Err(Invalid::new(text, "is a format for terminals only")),
        format => format.parse().map(Export::Findings),
    }
}

/// Where the findings are read.
enum Source {
    Database,
    Kafka(Box<Findings>),
}

/// The database if it has all findings of the tasks, else Kafka. Errs if that cannot be read.
fn source_of(site: &Site, tasks: &[Exported]) -> Result<Source, Problem> {
    if site.options.store.keep.findings.is_some() {
        let with_findings = tasks.iter().filter(|task| task.found > 0);
        let ids: Vec<TaskId> = with_findings.map(|task| task.id.clone()).collect();
        let kept = site
            .readers
            .ask_long(|reader| reader.count_findings_of(&ids));
        let has_all = |kept: HashMap<String, u64>| {
            let count = |task: &Exported| kept.get(task.id.as_str()).copied().unwrap_or(0);
            tasks.iter().all(|task| count(task) >= task.found)
        };
        if kept.is_ok_and(has_all) {
            return Ok(Source::Database);
        }
    }
    let (_, _, topic) = site.options.store.topics();
    let ids = tasks.iter().map(|task| task.id.clone()).collect();
    Findings::open(site.connection(), topic, ids, &site.interrupt)
        .map(|findings| Source::Kafka(Box::new(findings)))
        .map_err(|failure| {
            Problem::unavailable(format!("Kafka cannot be read: {}", cause_of(&failure)))
        })
}

fn cause_of(failure: &Failure) -> String {
    match failure {
        Failure::Runtime(cause) => cause.clone(),
        Failure::Usage(error) => error.to_string(),
        Failure::Said | Failure::Found(_) | Failure::ClosedPipe => "ended".to_owned(),
    }
}

fn write(
    site: &Site,
    source: Source,
    export: Export,
    tasks: &[Exported],
    stream: &mut BodyStream<'_>,
) -> io::Result<()> {
    let mut writer = ExportWriter::new(export, stream);
    match source {
        Source::Database => {
            let mut written = Ok(());
            // A slow client may take hours.
            let mut reader = site.readers.open().map_err(io::Error::other)?;
            for task in tasks {
                let read = reader.finding_records_of(&task.id, |found| {
                    written = writer.finding(found);
                    written.is_ok()
                });
                read.map_err(io::Error::other)?;
                std::mem::replace(&mut written, Ok(()))?;
            }
        }
        Source::Kafka(findings) => {
            let read = findings.read(&mut |found| Ok(writer.finding(found)?));
            let warnings = read.map_err(|failure| io::Error::other(cause_of(&failure)))?;
            for line in warnings {
                log::warn!("export of findings: {}", one_line(&line));
            }
        }
    }
    writer.end()
}

/// Formats findings and writes them in chunks.
struct ExportWriter<'a, W: Write> {
    kind: Kind,
    out: &'a mut W,
}

enum Kind {
    Printer(Printer),
    Addresses {
        written: WrittenAddresses,
        text: String,
    },
}

impl Kind {
    fn text(&mut self) -> &mut String {
        match self {
            Kind::Printer(printer) => printer.text(),
            Kind::Addresses { text, .. } => text,
        }
    }
}

impl<'a, W: Write> ExportWriter<'a, W> {
    fn new(export: Export, out: &'a mut W) -> ExportWriter<'a, W> {
        let kind = match export {
            Export::Findings(format) => {
                Kind::Printer(Printer::new(format, FormatContext::default()))
            }
            Export::Addresses => Kind::Addresses {
                written: WrittenAddresses::default(),
                text: String::new(),
            },
        };
        ExportWriter { kind, out }
    }

    fn finding(&mut self, found: &FindingRecord<'_>) -> io::Result<()> {
        match &mut self.kind {
            Kind::Printer(printer) => printer.finding(found),
            Kind::Addresses { written, text } => {
                if written.is_new(found.finding.ip) {
                    *text += &format!("{}\n", found.finding.ip);
                }
            }
        }
        match self.kind.text().len() >= EXPORT_CHUNK_BYTES {
            true => self.flush(),
            false => Ok(()),
        }
    }

    fn end(mut self) -> io::Result<()> {
        if let Kind::Printer(printer) = &mut self.kind {
            printer.end(now_ms() / 1000);
        }
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        let text = self.kind.text();
        self.out.write_all(text.as_bytes())?;
        text.clear();
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"task_id":"t","ip":"192.0.2.1","port":80,"proto":"tcp","status":"open","reason":"syn-ack","ttl":64,
        "timestamp":1795333296,"server":"s","attempt":1}"#;

    fn exported(format: &str) -> String {
        let mut out = Vec::new();
        let mut writer = ExportWriter::new(parse(format).unwrap(), &mut out);
        let found = FindingRecord::from_record(RECORD.as_bytes()).unwrap();
        let other_port = RECORD.replace(":80,", ":81,");
        writer.finding(&found).unwrap();
        writer
            .finding(&FindingRecord::from_record(other_port.as_bytes()).unwrap())
            .unwrap();
        writer.end().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_offered_format_can_be_exported() {
        for (format, _) in OFFERED {
            assert!(exported(format).contains("192.0.2.1"), "{format}");
        }
        assert_eq!(exported("addresses"), "192.0.2.1\n");
        assert_eq!(exported("csv").lines().count(), 3);
        assert!(parse("table").is_err() && parse("yaml").is_err());
    }
}
