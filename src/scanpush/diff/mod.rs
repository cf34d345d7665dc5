//! `scanpush diff A B`: compares two tasks or jobs, from the database alone.
//!
//! **Invariant:** what one of the two did not cover is neither opened nor closed. An incomplete scan proves nothing, except for what it found.
//!
//! | file | purpose |
//! |---|---|
//! | `side.rs` | one of the two: its tasks and what they covered |
//! | `compare.rs` | the comparison |
//! | `report.rs` | finds both in the database and compares them |

mod compare;
mod report;
mod side;
#[cfg(test)]
mod tests;

use super::Command;
use super::database::{self, DB, DB_PASSWORD_FILE, failure};
use super::output::Output;
use super::results::diff::{self, DiffForm};
use crate::connection::Connection;
use crate::exit::Failure;
use crate::flags::{Flag, Reader};
use crate::model::{Invalid, TaskId};
use crate::store::{DatabaseSettings, StoreReader};
pub(super) use report::{DiffError, Report};
pub(super) use side::Side;

const JSON: Flag = Flag::switch("--json", "print each difference as one line of JSON");

pub(super) const COMMAND: Command = Command {
    name: "diff",
    about: "compares two tasks or jobs, only where both scanned",
    usage: "diff TASK_OR_JOB TASK_OR_JOB [flags]",
    flags: &[JSON, DB, DB_PASSWORD_FILE],
    more: "\
Writes what opened (+) and closed (-) from the first to the second. A service
that only one of them found counts only if the other one covered its address and
port; otherwise it is not comparable. A task covers something only if it has
completed, a shard only together with all shards of its job. What each of them
covered, and how many services are the same or not comparable, stands on stderr.
The findings come from the database: `scanpush store -keep-findings` keeps them
there. They are held in memory, about 50 bytes each. Needs neither Kafka nor
Redis; `scanpush results -diff` compares two tasks from Kafka.
Exit code 0: done, with or without differences; 1: an ID is unknown, or the
database cannot be read or has no findings; 2: invalid flags.

examples:
  scanpush diff Wb3ZtqLk Kf93mmQz
  scanpush diff nightly-11-23 nightly-11-24 -json | jq -r .ip | sort -u
",
    run,
};

/// What the command line asks for.
#[derive(Debug)]
struct Options {
    database: DatabaseSettings,
    names: [TaskId; 2],
    form: DiffForm,
}

fn run(reader: Reader, output: &mut Output<'_>) -> Result<(), Failure> {
    let options = resolve(reader)?;
    let mut store = StoreReader::open(&options.database).map_err(failure)?;
    show(&mut store, &options, output)
}

fn resolve(mut reader: Reader) -> Result<Options, Invalid> {
    Connection::read(&mut reader)?;
    let form = match reader.switch(&JSON) {
        true => DiffForm::Ndjson,
        false => DiffForm::Lines,
    };
    let database = database::read(&mut reader)?;
    let names = match &reader.words()[..] {
        [first, second] if first == second => {
            let wrong = "is given twice: scanpush diff compares two tasks or jobs";
            return Err(Invalid::new(first, wrong));
        }
        [first, second] => [first.parse()?, second.parse()?],
        words => {
            let count = words.len();
            let wrong = format!("give two ids of tasks or jobs, not {count}: scanpush diff A B");
            return Err(Invalid::about(wrong));
        }
    };
    reader.finish()?;
    Ok(Options {
        database,
        names,
        form,
    })
}

fn show(
    store: &mut StoreReader,
    options: &Options,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let [first, second] = &options.names;
    let report = Report::read(store, [first, second], None).map_err(|error| match error {
        DiffError::Unknown(line) | DiffError::Refused(line) => Failure::Runtime(line),
        DiffError::Store(error) => failure(error),
    })?;
    output.notice(&report.before.line());
    output.notice(&report.after.line());
    diff::write(options.form, &report.comparison.changes, |piece| {
        output.text(piece)
    })?;
    output.flush()?;
    for line in report.summary() {
        output.notice(&line);
    }
    Ok(())
}
