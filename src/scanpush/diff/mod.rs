//! `scanpush diff A B`: compares two tasks or jobs, from the database alone.
//!
//! **Invariant:** what one of the two did not cover is neither opened nor closed. An incomplete scan proves nothing, except for what it found.
//!
//! | file | purpose |
//! |---|---|
//! | `side.rs` | one of the two: its tasks and what they covered |
//! | `compare.rs` | the comparison |

mod compare;
mod side;
#[cfg(test)]
mod tests;

use super::Command;
use super::database::{self, DB, DB_PASSWORD_FILE, failure};
use super::ids::{Match, ambiguous, complete};
use super::output::Output;
use super::results::diff::{self, DiffForm};
use super::results::endpoints::EndpointSet;
use crate::connection::Connection;
use crate::exit::Failure;
use crate::flags::{Flag, Reader};
use crate::model::service::Sighting;
use crate::model::text::quoted;
use crate::model::{Invalid, TaskId};
use crate::store::{DatabaseSettings, StoreReader};
use compare::{Comparison, compare};
use side::Side;

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
    let (before, after) = (find(store, first)?, find(store, second)?);
    if before.name() == after.name() {
        let name = before.name();
        return Err(Failure::Runtime(format!("both ids stand for {name}")));
    }
    let (before, found_before) = with_findings(store, before)?;
    let (after, found_after) = with_findings(store, after)?;
    output.notice(&before.line());
    output.notice(&after.line());
    let comparison = compare(&found_before, &found_after, &before, &after);
    diff::write(options.form, &comparison.changes, |piece| {
        output.text(piece)
    })?;
    output.flush()?;
    for line in summary(&comparison, &before, &after) {
        output.notice(&line);
    }
    Ok(())
}

/// The task or job with this id, complete or abbreviated.
fn find(store: &mut StoreReader, name: &TaskId) -> Result<Side, Failure> {
    let (task, job) = (
        store.task(name).map_err(failure)?,
        store.job(name).map_err(failure)?,
    );
    match (task, job) {
        (Some(_), Some(_)) => Err(Failure::Runtime(format!(
            "{} is both a task and a job of the database: give the ids of single tasks",
            quoted(name.as_str())
        ))),
        (Some(task), None) => Ok(Side::of_task(task)),
        (None, Some(job)) => Ok(Side::of_job(name.clone(), job)),
        (None, None) => find_abbreviated(store, name),
    }
}

fn find_abbreviated(store: &mut StoreReader, name: &TaskId) -> Result<Side, Failure> {
    let matched = complete(name, false, |prefix| {
        let mut ids = store.tasks_beginning(prefix)?;
        ids.extend(store.jobs_beginning(prefix)?);
        ids.sort();
        ids.dedup();
        Ok(ids)
    });
    let unknown = || {
        let name = quoted(name.as_str());
        Failure::Runtime(format!(
            "{name} is neither a task nor a job of the database"
        ))
    };
    match matched.map_err(failure)? {
        // A complete id: this does not come back here.
        Match::One(id) if id != *name => find(store, &id),
        Match::Several(ids) => Err(Failure::Runtime(ambiguous(name, "tasks or jobs", &ids))),
        Match::One(_) | Match::None => Err(unknown()),
    }
}

/// Reads the kept findings of a side. Fails if none are kept, although there were some.
fn with_findings(store: &mut StoreReader, side: Side) -> Result<(Side, EndpointSet), Failure> {
    let (mut found, mut kept) = (EndpointSet::default(), Vec::new());
    for task in side.tasks() {
        let mut of_task = 0;
        let take = |sighting: Sighting| {
            of_task += 1;
            found.insert(sighting.key, 1);
        };
        store.findings_of(&task.task_id, take).map_err(failure)?;
        kept.push(of_task);
    }
    if found.len() == 0 && side.found() > 0 {
        return Err(Failure::Runtime(format!(
            "the database has no findings of {}, which found {}: scanpush store keeps them only with -keep-findings; \
             scanpush results -diff compares two tasks from Kafka",
            side.name(),
            side.found()
        )));
    }
    Ok((side.with_kept(kept), found))
}

/// What the differences do not say, a line each.
fn summary(comparison: &Comparison, before: &Side, after: &Side) -> Vec<String> {
    let count = |opened| {
        let changes = comparison.changes.iter();
        changes.filter(|change| change.opened == opened).count()
    };
    let mut lines = vec![format!(
        "{} opened, {} closed, {} the same, {} not comparable",
        count(true),
        count(false),
        comparison.same,
        comparison.only_before + comparison.only_after
    )];
    for (not_comparable, finder, other) in [
        (comparison.only_before, before, after),
        (comparison.only_after, after, before),
    ] {
        if not_comparable > 0 {
            lines.push(format!(
                "not comparable: {not_comparable} that only {} found and {} did not cover",
                finder.name(),
                other.name()
            ));
        }
    }
    lines
}
