//! Documents that are streamed: memory does not grow with them, and nothing is held open in the database between two pages of rows, however slowly
//! the other end reads.

use super::route::{Answer, Context};
use super::site::Site;
use crate::exit::Failure;
use crate::http_server::{Response, StreamKind};
use crate::model::Invalid;
use crate::model::text::one_line;
use crate::scanpush::output::Output;
use crate::scanpush::queries::options::QueryFormat;
use crate::scanpush::queries::rows::{ListRecord, Look};
use crate::scanpush::queries::writer::{RecordFormat, RecordWriter};
use crate::scanpush::tasks::now_ms;
use crate::store::StoreReader;
use std::io::{self, BufWriter};
use std::sync::Arc;

/// Bytes that are sent together.
const PIECE_BYTES: usize = 64 * 1024;

/// Parses the name of a format for download.
pub fn parse_format(text: &str) -> Result<QueryFormat, Invalid> {
    match text.parse() {
        Ok(QueryFormat::Table) | Err(_) => {
            let wrong = "is not a format: use one of csv, ndjson, addresses";
            Err(Invalid::new(text, wrong))
        }
        Ok(format) => Ok(format),
    }
}

/// What rows are made for.
pub fn look(site: &Site) -> Look<'_> {
    Look {
        tags: site.options.tags.as_ref(),
        columns: 0,
        now_s: now_ms() / 1000,
    }
}

/// The document with the records that `write` writes from the database. `name` is that of the file, without its ending. Errs with 503 if the database
/// is away.
pub fn stream_records<R: ListRecord>(
    context: &Context<'_>,
    name: &str,
    format: RecordFormat,
    write: impl FnOnce(&Site, &mut StoreReader, &mut RecordWriter<'_, '_>) -> Result<(), Failure>
    + Send
    + 'static,
) -> Answer {
    let site = Arc::clone(context.site);
    stream_rows(
        context,
        name,
        file_format(format),
        move |_, store, output| {
            let mut writer = RecordWriter::new(format, output);
            write(&site, store, &mut writer)?;
            writer.end::<R>()
        },
    )
}

/// The document with these records. `name` is that of the file, without its ending.
pub fn records<R: ListRecord + Send + 'static>(
    context: &Context<'_>,
    name: &str,
    format: RecordFormat,
    records: Vec<R>,
) -> Answer {
    stream(context, name, file_format(format), move |_, output| {
        let mut writer = RecordWriter::new(format, output);
        for record in &records {
            writer.record(record)?;
        }
        writer.end::<R>()
    })
}

fn file_format(format: RecordFormat) -> QueryFormat {
    match format {
        RecordFormat::Csv => QueryFormat::Csv,
        RecordFormat::Ndjson => QueryFormat::Ndjson,
    }
}

/// The document that `write` makes from the database. `name` is that of the file, without its ending. Errs with 503 if the database is away.
pub fn stream_rows(
    context: &Context<'_>,
    name: &str,
    format: QueryFormat,
    write: impl FnOnce(Look<'_>, &mut StoreReader, &mut Output<'_>) -> Result<(), Failure>
    + Send
    + 'static,
) -> Answer {
    context.site.readers.ask(StoreReader::newest_change)?;
    let site = Arc::clone(context.site);
    stream(context, name, format, move |look, output| {
        // A connection of its own, since a slow client may take hours.
        let store = site.readers.open();
        let mut store = store.map_err(|error| Failure::Runtime(error.to_string()))?;
        write(look, &mut store, output)
    })
}

/// The document that `write` makes. `name` is that of the file, without its ending.
pub fn stream(
    context: &Context<'_>,
    name: &str,
    format: QueryFormat,
    write: impl FnOnce(Look<'_>, &mut Output<'_>) -> Result<(), Failure> + Send + 'static,
) -> Answer {
    let site = Arc::clone(context.site);
    let (content_type, ending) = match format {
        QueryFormat::Csv => ("text/csv; charset=utf-8; header=present", "csv"),
        QueryFormat::Ndjson => ("application/x-ndjson", "ndjson"),
        QueryFormat::Table | QueryFormat::Addresses => ("text/plain; charset=utf-8", "txt"),
    };
    let share = context.share(StreamKind::Download);
    let response = Response::streamed(share, content_type, move |stream| {
        let (mut out, mut err) = (BufWriter::with_capacity(PIECE_BYTES, stream), io::sink());
        let mut output = Output::new(&mut out, &mut err, None, false);
        write(look(&site), &mut output).map_err(|failure| match failure {
            Failure::Runtime(line) => {
                log::warn!("a download was cut off: {}", one_line(&line));
                io::Error::other(line)
            }
            _ => io::ErrorKind::BrokenPipe.into(),
        })
    });
    Ok(response.as_file(&format!("{name}.{ending}")))
}
