//! `scanpush host ADDRESS`: the services of an address, and their history.

use super::options::{self, CSV, JSON, QueryFormat};
use super::rows::{ChangeLine, ListRecord, Look, QueryRow, ServiceLine};
use super::writer::RowWriter;
use crate::connection::Connection;
use crate::exit::Failure;
use crate::flags::{Flag, Reader};
use crate::model::service::Service;
use crate::model::targets::AddressRange;
use crate::model::{Invalid, Tags, Targets};
use crate::scanpush::Command;
use crate::scanpush::database::{self, DB, DB_PASSWORD_FILE, failure};
use crate::scanpush::formats::csv;
use crate::scanpush::output::Output;
use crate::scanpush::tags::TAGS;
use crate::scanpush::tasks::now_ms;
use crate::store::{DatabaseSettings, NumberedChange, ServiceFilter, StoreError, StoreReader};
use serde::Serialize;
use std::net::IpAddr;

const FORMAT: Flag = Flag::optional("--format", "NAME", "table (default), ndjson or csv")
    .one_of(&["table", "ndjson", "csv"]);

pub(in crate::scanpush) const COMMAND: Command = Command {
    name: "host",
    about: "shows the services of an address and their history",
    usage: "host ADDRESS [flags]",
    flags: &[TAGS, FORMAT, JSON, CSV, DB, DB_PASSWORD_FILE],
    more: "\
First the services, then all changes of them, oldest first. `scanpush store`
fills the database. In ndjson and csv times are unix seconds, and `record` says
what a row is: service or change. Needs neither Kafka nor Redis: their flags are
accepted but not used.
Exit code 0: done, even if nothing is known about the address; 1: the database
cannot be read; 2: invalid flags.

examples:
  scanpush host 10.1.2.3
  scanpush host fd00::7 -tags sites.txt
  scanpush host 10.1.2.3 -json | jq 'select(.record == \"change\")'
",
    run,
};

/// What the command line asks for.
#[derive(Debug)]
struct Options {
    database: DatabaseSettings,
    /// One address.
    address: AddressRange,
    tags: Option<Tags>,
    format: QueryFormat,
}

impl Options {
    fn ip(&self) -> IpAddr {
        self.address.first()
    }
}

/// A line of JSON.
#[derive(Serialize)]
struct Record<'a, R: Serialize> {
    record: &'static str,
    #[serde(flatten)]
    row: &'a R,
}

fn run(reader: Reader, output: &mut Output<'_>) -> Result<(), Failure> {
    let now_s = now_ms() / 1000;
    let options = resolve(reader)?;
    let mut store = StoreReader::open(&options.database).map_err(failure)?;
    if show(&mut store, &options, now_s, output)? == 0 {
        let (ip, url) = (options.ip(), &options.database.url);
        output.remark(&format!("nothing is known about {ip} in {url}"));
    }
    Ok(())
}

fn resolve(mut reader: Reader) -> Result<Options, Invalid> {
    Connection::read(&mut reader)?;
    let format = read_format(&mut reader)?;
    let database = database::read(&mut reader)?;
    let address = match &reader.words()[..] {
        [word] => parse_address(word)?,
        [] => return Err(Invalid::about("give an address: scanpush host 10.1.2.3")),
        [_, other, ..] => {
            let wrong = "is a second address: scanpush host shows one";
            return Err(Invalid::new(other, wrong));
        }
    };
    let tags = options::tags(&mut reader)?;
    reader.finish()?;
    Ok(Options {
        database,
        address,
        tags,
        format,
    })
}

fn read_format(reader: &mut Reader) -> Result<QueryFormat, Invalid> {
    match QueryFormat::read(reader)? {
        QueryFormat::Addresses => {
            let wrong = "is not a format of this command: use table, ndjson or csv";
            Err(Invalid::new("addresses", wrong).of(FORMAT.shown()))
        }
        format => Ok(format),
    }
}

pub fn parse_address(word: &str) -> Result<AddressRange, Invalid> {
    match word.parse::<AddressRange>() {
        Ok(range) if range.first() == range.last() => Ok(range),
        Ok(_) => {
            let wrong = "is not one address: for a network use scanpush services -net";
            Err(Invalid::new(word, wrong))
        }
        Err(_) => {
            let wrong = "is not an address like 10.1.2.3 or fd00::7; names are not resolved";
            Err(Invalid::new(word, wrong))
        }
    }
}

/// What the database knows about an address.
#[derive(Debug)]
pub struct Host {
    /// Its services, by port; at most 3 × 65 535.
    pub services: Vec<Service>,
    /// Their changes, oldest first.
    pub changes: Vec<NumberedChange>,
}

impl Host {
    /// Asks the database. `address` is one address.
    pub fn read(store: &mut StoreReader, address: AddressRange) -> Result<Host, StoreError> {
        let mut services = Vec::new();
        let filter = ServiceFilter {
            networks: Some(Targets::from_ranges(vec![address])),
            ..ServiceFilter::default()
        };
        store.services(&filter, None, |service| {
            services.push(service);
            true
        })?;
        let changes = store.changes_of(address.first())?;
        Ok(Host { services, changes })
    }
}

fn show(
    store: &mut StoreReader,
    options: &Options,
    now_s: u64,
    output: &mut Output<'_>,
) -> Result<usize, Failure> {
    let look = Look {
        tags: options.tags.as_ref(),
        columns: output.columns(),
        now_s,
    };
    let host = Host::read(store, options.address).map_err(failure)?;
    write(&host, options.format, look, output)
}

/// Writes what is known. Returns the number of rows.
pub fn write(
    host: &Host,
    format: QueryFormat,
    look: Look<'_>,
    output: &mut Output<'_>,
) -> Result<usize, Failure> {
    let Host { services, changes } = host;
    match format {
        QueryFormat::Ndjson => {
            for service in services {
                let row = &ServiceLine::new(service, &look);
                output.json(&Record {
                    record: "service",
                    row,
                })?;
            }
            for found in changes {
                let row = &ChangeLine::new(&found.change, &look);
                output.json(&Record {
                    record: "change",
                    row,
                })?;
            }
        }
        QueryFormat::Csv => write_csv(services, changes, &look, output)?,
        QueryFormat::Table | QueryFormat::Addresses => {
            write_tables(services, changes, look, output)?;
        }
    }
    output.flush()?;
    Ok(services.len() + changes.len())
}

fn write_tables(
    services: &[Service],
    changes: &[NumberedChange],
    look: Look<'_>,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let columns = ServiceLine::columns(&look);
    let mut writer = RowWriter::new(QueryFormat::Table, look, &columns, output);
    for service in services {
        writer.row(&ServiceLine::new(service, &look))?;
    }
    writer.end::<ServiceLine<'_>>()?;
    if changes.is_empty() {
        return Ok(());
    }
    output.line("")?;
    let columns = ChangeLine::columns(&look);
    let mut writer = RowWriter::new(QueryFormat::Table, look, &columns, output);
    for found in changes {
        writer.row(&ChangeLine::new(&found.change, &look))?;
    }
    writer.end::<ChangeLine<'_>>().map(|_| ())
}

/// One document with the fields of both: those that a row does not have are empty.
fn write_csv(
    services: &[Service],
    changes: &[NumberedChange],
    look: &Look<'_>,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let names: Vec<&str> = ["record"]
        .into_iter()
        .chain(ServiceLine::NAMES.iter().copied())
        .chain(["change", "at", "task_id"])
        .collect();
    let mut text = String::new();
    csv::push_line(&mut text, names.iter().copied());
    let mut line = |record: &str, own: &[&str], values: Vec<String>| {
        let value_of = |name: &&str| {
            let at = own.iter().position(|own| own == name)?;
            values.get(at).map(String::as_str)
        };
        let fields = names
            .iter()
            .skip(1)
            .map(|name| value_of(name).unwrap_or_default());
        csv::push_line(&mut text, [record].into_iter().chain(fields));
    };
    for service in services {
        line(
            "service",
            ServiceLine::NAMES,
            ServiceLine::new(service, look).fields(),
        );
    }
    for found in changes {
        line(
            "change",
            ChangeLine::NAMES,
            ChangeLine::new(&found.change, look).fields(),
        );
    }
    output.text(&text)
}

#[cfg(test)]
pub(super) mod for_tests {
    //! The command without the process around it.

    use super::*;
    use crate::flags;

    /// What the command prints for a database.
    pub fn shown(line: &[&str], now_s: u64) -> Result<String, String> {
        let options =
            flags::read_line(line, COMMAND.flags, resolve).map_err(|error| error.to_string())?;
        let mut store = StoreReader::open(&options.database).map_err(|error| error.to_string())?;
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut output = Output::new(&mut out, &mut err, None, true);
        show(&mut store, &options, now_s, &mut output).map_err(|error| format!("{error:?}"))?;
        Ok(String::from_utf8(out).unwrap())
    }
}
