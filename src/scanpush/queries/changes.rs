//! `scanpush changes`: what opened, closed and reopened, newest first.

use super::options::{
    CSV, FORMAT, JSON, LIMIT, ListOptions, NET, PORT, PROTO, QueryFormat, Scope, TAG, moment,
};
use super::rows::{ChangeLine, Look, QueryRow};
use super::writer::RowWriter;
use crate::connection::Connection;
use crate::exit::Failure;
use crate::flags::{Flag, Reader};
use crate::model::service::ChangeKind;
use crate::model::{Invalid, Moment, Tags};
use crate::scanpush::Command;
use crate::scanpush::database::{DB, DB_PASSWORD_FILE, failure};
use crate::scanpush::output::Output;
use crate::scanpush::tags::TAGS;
use crate::scanpush::tasks::now_ms;
use crate::store::{ChangeFilter, StoreReader};

const SINCE: Flag = Flag::with_default(
    "--since",
    "TIME",
    "24h",
    "only changes since then: 24h, 7d, or 2026-11-01",
);
const UNTIL: Flag = Flag::optional(
    "--until",
    "TIME",
    "only changes before then: 1h, or 2026-11-24T08:00:00Z",
);
const KIND: Flag = Flag::optional(
    "--kind",
    "KINDS",
    "only these, comma-separated: opened, closed, reopened",
)
.one_of(&["opened", "closed", "reopened"]);

/// The flags that say which changes are asked for.
pub const FILTER: &[Flag] = &[SINCE, UNTIL, KIND, NET, PORT, PROTO, TAG];

pub(in crate::scanpush) const COMMAND: Command = Command {
    name: "changes",
    about: "shows what opened and closed, newest first",
    usage: "changes [-since TIME] [-kind KINDS] [flags]",
    flags: &[
        SINCE,
        UNTIL,
        KIND,
        NET,
        PORT,
        PROTO,
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
A service opens when it is seen for the first time, closes at the end of the
last of several completed scans in a row that covered and missed it, and reopens
when it is seen again. The time is that of the sighting, or of the end of that
scan. `scanpush store` fills the database. In ndjson and csv times are unix
seconds. Needs neither Kafka nor Redis: their flags are accepted but not used.
Exit code 0: done, even if there are none; 1: the database cannot be read; 2:
invalid flags.

examples:
  scanpush changes
  scanpush changes -since 7d -kind opened,reopened -net 10.1.0.0/16
  scanpush changes -since 2026-11-01 -until 2026-12-01 -csv >november.csv
",
    run,
};

/// What the command line asks for.
#[derive(Debug)]
struct Options {
    list: ListOptions,
    filter: ChangeFilter,
}

fn run(reader: Reader, output: &mut Output<'_>) -> Result<(), Failure> {
    let now_s = now_ms() / 1000;
    let options = resolve(reader, now_s)?;
    let mut store = StoreReader::open(&options.list.database).map_err(failure)?;
    if show(&mut store, &options, now_s, output)? == 0 {
        output.remark(&format!("no such changes in {}", options.list.database.url));
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
) -> Result<ChangeFilter, Invalid> {
    let since = reader.value(&SINCE, str::parse::<Moment>)?.unix_s(now_s);
    let until = moment(reader, &UNTIL, now_s)?;
    if until.is_some_and(|until| until <= since) {
        let default = SINCE.default().unwrap_or_default();
        let wrong = format!("is not after -since (default {default}): give an earlier -since");
        return Err(Invalid::about(wrong).of(UNTIL.shown()));
    }
    let kinds = reader.optional(&KIND, parse_kinds)?.unwrap_or_default();
    let Scope {
        networks,
        ports,
        proto,
    } = Scope::read(reader, tags)?;
    Ok(ChangeFilter {
        networks,
        ports,
        proto,
        kinds,
        since: Some(since),
        until,
    })
}

fn parse_kinds(text: &str) -> Result<Vec<ChangeKind>, Invalid> {
    let mut kinds = Vec::new();
    for name in text.split(',') {
        let kind = name.trim().parse()?;
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    Ok(kinds)
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

/// Writes the changes that match, at most `limit`. Returns their number.
pub fn write(
    store: &mut StoreReader,
    filter: &ChangeFilter,
    limit: Option<u64>,
    format: QueryFormat,
    look: Look<'_>,
    output: &mut Output<'_>,
) -> Result<u64, Failure> {
    let columns = ChangeLine::columns(&look);
    let mut writer = RowWriter::new(format, look, &columns, output);
    let mut left = limit.unwrap_or(u64::MAX);
    let mut written = Ok(());
    store
        .changes(filter, None, |found| {
            written = writer.row(&ChangeLine::new(&found.change, &look));
            left -= 1;
            written.is_ok() && left > 0
        })
        .map_err(failure)?;
    written?;
    writer.end::<ChangeLine<'_>>()
}

#[cfg(test)]
pub(super) mod for_tests {
    //! The command without the process around it.

    use super::*;
    use crate::flags;

    /// What the command prints for a database.
    pub fn shown(line: &[&str], now_s: u64) -> Result<String, String> {
        let options = flags::read_line(line, COMMAND.flags, |reader| resolve(reader, now_s))
            .map_err(|error| error.to_string())?;
        let mut store =
            StoreReader::open(&options.list.database).map_err(|error| error.to_string())?;
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut output = Output::new(&mut out, &mut err, None, true);
        show(&mut store, &options, now_s, &mut output).map_err(|error| format!("{error:?}"))?;
        Ok(String::from_utf8(out).unwrap())
    }
}
