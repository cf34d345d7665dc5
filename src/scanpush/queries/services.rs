//! `scanpush services`: the services in the database.

use super::options::{
    CSV, FORMAT, JSON, LIMIT, ListOptions, NET, PORT, PROTO, QueryFormat, Scope, TAG, moment,
};
use super::rows::{Look, QueryRow, ServiceLine};
use super::writer::RowWriter;
use crate::connection::Connection;
use crate::exit::Failure;
use crate::flags::{Flag, Reader};
use crate::model::service::ServiceState;
use crate::model::{Invalid, Tags};
use crate::scanpush::Command;
use crate::scanpush::database::{DB, DB_PASSWORD_FILE, failure};
use crate::scanpush::output::Output;
use crate::scanpush::tags::TAGS;
use crate::scanpush::tasks::now_ms;
use crate::store::{ServiceFilter, StoreReader};

const STATE: Flag =
    Flag::optional("--state", "STATE", "only open or closed services").one_of(&["open", "closed"]);
const SINCE: Flag = Flag::optional(
    "--since",
    "TIME",
    "only those that were seen, or that closed, since then: 7d, 24h, or 2026-11-01",
);
const NEW_SINCE: Flag = Flag::optional(
    "--new-since",
    "TIME",
    "only those that were seen for the first time since then",
);

/// The flags that say which services are asked for.
pub const FILTER: &[Flag] = &[NET, PORT, PROTO, STATE, SINCE, NEW_SINCE, TAG];

pub(in crate::scanpush) const COMMAND: Command = Command {
    name: "services",
    about: "shows services in the database: which are open, since when",
    usage: "services [-net TARGETS] [-port PORTS] [-state STATE] [flags]",
    flags: &[
        NET,
        PORT,
        PROTO,
        STATE,
        SINCE,
        NEW_SINCE,
        TAG,
        TAGS,
        LIMIT,
        FORMAT,
        JSON,
        CSV,
        DB,
        DB_PASSWORD_FILE,
    ],
    more: "\
`scanpush store` fills the database. A service is open from its first sighting
on, and closed after several completed scans that covered it have missed it.
Sorted by address and port. Times are UTC; in ndjson and csv they are unix
seconds. A narrow table shows 11-24 14:43, or the date if it is long ago; csv
puts an apostrophe before a cell that a spreadsheet would take for a formula.
Needs neither Kafka nor Redis: their flags are accepted but not used.
Exit code 0: done, even if there are none; 1: the database cannot be read; 2:
invalid flags.

examples:
  scanpush services -net 10.1.0.0/16 -port 3389 -state open -since 7d
  scanpush services -new-since 24h -tags sites.txt -tag berlin,office -csv
  scanpush services -port 443 -format addresses | nmap -sV -p 443 -iL -
",
    run,
};

/// What the command line asks for.
#[derive(Debug)]
struct Options {
    list: ListOptions,
    filter: ServiceFilter,
}

fn run(reader: Reader, output: &mut Output<'_>) -> Result<(), Failure> {
    let now_s = now_ms() / 1000;
    let options = resolve(reader, now_s)?;
    let mut store = StoreReader::open(&options.list.database).map_err(failure)?;
    if show(&mut store, &options, now_s, output)? == 0 {
        output.remark(&format!(
            "no such services in {}",
            options.list.database.url
        ));
    }
    Ok(())
}

fn resolve(mut reader: Reader, now_s: u64) -> Result<Options, Invalid> {
    Connection::read(&mut reader)?;
    let list = ListOptions::read(&mut reader)?;
    let filter = filter(&mut reader, list.tags.as_ref(), now_s)?;
    reader.finish()?;
    Ok(Options { list, filter })
}

/// Takes the flags of [`FILTER`].
pub fn filter(
    reader: &mut Reader,
    tags: Option<&Tags>,
    now_s: u64,
) -> Result<ServiceFilter, Invalid> {
    let state = reader.optional(&STATE, str::parse::<ServiceState>)?;
    let since = moment(reader, &SINCE, now_s)?;
    let new_since = moment(reader, &NEW_SINCE, now_s)?;
    let Scope {
        networks,
        ports,
        proto,
    } = Scope::read(reader, tags)?;
    Ok(ServiceFilter {
        networks,
        ports,
        proto,
        state,
        since,
        new_since,
        ..ServiceFilter::default()
    })
}

fn show(
    store: &mut StoreReader,
    options: &Options,
    now_s: u64,
    output: &mut Output<'_>,
) -> Result<u64, Failure> {
    let list = &options.list;
    let look = list.look(output.columns(), now_s);
    write(
        store,
        &options.filter,
        list.limit,
        list.format,
        look,
        output,
    )
}

/// Writes the services that match, at most `limit`. Returns their number.
pub fn write(
    store: &mut StoreReader,
    filter: &ServiceFilter,
    limit: Option<u64>,
    format: QueryFormat,
    look: Look<'_>,
    output: &mut Output<'_>,
) -> Result<u64, Failure> {
    let columns = ServiceLine::columns(&look);
    let mut writer = RowWriter::new(format, look, &columns, output);
    let mut left = limit.unwrap_or(u64::MAX);
    let mut written = Ok(());
    store
        .services(filter, None, |service| {
            written = writer.row(&ServiceLine::new(&service, &look));
            left -= 1;
            written.is_ok() && left > 0
        })
        .map_err(failure)?;
    written?;
    writer.end::<ServiceLine<'_>>()
}

#[cfg(test)]
pub(super) mod for_tests {
    //! The command without the process around it.

    use super::*;
    use crate::flags;

    /// What the command prints for a database.
    pub fn shown(line: &[&str], now_s: u64, columns: Option<usize>) -> Result<String, String> {
        let options = flags::read_line(line, COMMAND.flags, |reader| resolve(reader, now_s))
            .map_err(|error| error.to_string())?;
        let mut store =
            StoreReader::open(&options.list.database).map_err(|error| error.to_string())?;
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut output = Output::new(&mut out, &mut err, columns, true);
        show(&mut store, &options, now_s, &mut output).map_err(|error| format!("{error:?}"))?;
        Ok(String::from_utf8(out).unwrap())
    }
}
