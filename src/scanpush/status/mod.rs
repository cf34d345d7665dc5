//! `scanpush status`: tasks with their progress, from Redis. For tasks that Redis no longer knows, the database or Kafka says how they ended.
//!
//! | file | purpose |
//! |---|---|
//! | `listing.rs` | the command line, and what Redis knows |
//! | `past_task.rs` | a task as the database or Kafka knows it |
//! | `past.rs` | looks such tasks up |

mod listing;
mod past;
mod past_task;

use super::Command;
use super::database::{DB_PASSWORD_FILE, OPTIONAL_DB};
use super::ids::{JOB, TaskOptions};
use super::options::JSON;
use super::output::Output;
use super::tasks::{self, now_ms};
use crate::connection::Connection;
use crate::exit::Failure;
use crate::flags::Reader;
use crate::flags::shared::STATUS_TOPIC;
use crate::model::text::quoted;
use listing::{Listing, read, resolve};
use past::Past;
pub use past_task::PastTask;
use past_task::show_past;

pub(super) const COMMAND: Command = Command {
    name: "status",
    about: "shows tasks with their state, progress, rate and server",
    usage: "status [flags] [ID… | -job ID]",
    flags: &[JOB, JSON, OPTIONAL_DB, DB_PASSWORD_FILE, STATUS_TOPIC],
    more: "\
Without an ID it shows the 50 newest tasks, newest first. An ID may be
abbreviated to its first characters, at least 4, if they are unique. DONE is the
share of probes sent, LEFT the time until all are sent, RATE is in packets per
second. -json prints more fields. Redis forgets a task 7 days after its end:
then the last state comes from the database if -db or $SCAN_DB is given, else
from Kafka (-status-topic, read for at most 10 s). It is shown separately, with
its source; so it is while Redis is unreachable, from the database.
Exit code 0: all were found; 1: an ID is unknown or Redis is unreachable; 2:
invalid flags.

examples:
  scanpush status
  scanpush status -group dmz Wb3ZtqLk9Xe_fJ2vR0yAc
  scanpush status -db sqlite:findings.db Wb3ZtqLk
  scanpush status -json | jq -r 'select(.status == \"failed\") | .task_id'
",
    run,
};

fn run(reader: Reader, output: &mut Output<'_>) -> Result<(), Failure> {
    let options = resolve(reader)?;
    let names = &options.tasks.names;
    let (mut listing, redis_error) = match read(&options.tasks) {
        Ok(listing) => (listing, None),
        Err(error) if options.database.is_none() || names.is_empty() => {
            return Err(Failure::Runtime(error.to_string()));
        }
        Err(error) => (Listing::all_unknown(names), Some(error)),
    };
    if let Some(error) = &redis_error {
        output.problem(&format!("scanpush: {error}"));
    }
    let mut past = past::look_up(&options, &mut listing)?;
    if redis_error.is_some() {
        // Only the database was asked.
        let unknown = std::mem::take(&mut listing.found.unknown);
        let names = unknown.iter().map(|id| quoted(id.as_str()));
        let url = options.database.as_ref().map(|settings| &settings.url);
        let lines = names.zip(url.into_iter().cycle());
        let lines = lines.map(|(name, url)| format!("{name} is not in {url}"));
        listing.found.problems.extend(lines);
        past.notes.clear();
    }
    show(&options.tasks, &listing, &past, now_ms(), output)?;
    match redis_error {
        Some(_) => Err(Failure::Said),
        None => Ok(()),
    }
}

fn show(
    options: &TaskOptions,
    listing: &Listing,
    past: &Past,
    now_ms: u64,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    tasks::show(&listing.tasks, options.json, now_ms, output)?;
    if !options.json && !listing.tasks.is_empty() && !past.tasks.is_empty() {
        output.line("")?;
    }
    show_past(&past.tasks, options.json, now_ms, output)?;
    output.flush()?;
    let Connection { redis, group, .. } = &options.connection;
    if options.names.is_empty() && listing.tasks.is_empty() {
        output.remark(&format!("no tasks in group {group} at {redis}"));
    }
    if listing.found.report(group, output) {
        return Ok(());
    }
    for line in &past.notes {
        output.problem(&format!("scanpush: {line}"));
    }
    Err(Failure::Said)
}

#[cfg(test)]
mod tests {
    use super::listing::STATUS_TASKS_MAX;
    use super::*;
    use crate::flags;
    use crate::model::Invalid;
    use crate::scanpush::ids::FoundTasks;
    use crate::scanpush::tasks::sample::{NOW_MS, task};

    fn options(line: &[&str]) -> Result<TaskOptions, Invalid> {
        flags::read_line(line, COMMAND.flags, |reader| {
            resolve(reader).map(|options| options.tasks)
        })
    }

    fn shown(line: &[&str], listing: &Listing) -> (bool, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut output = Output::new(&mut out, &mut err, None, true);
        let good = show(
            &options(line).unwrap(),
            listing,
            &Past::default(),
            NOW_MS,
            &mut output,
        )
        .is_ok();
        (
            good,
            String::from_utf8(out).unwrap(),
            String::from_utf8(err).unwrap(),
        )
    }

    #[test]
    fn an_unknown_id_is_reported_and_the_others_are_shown() {
        let listing = Listing {
            tasks: vec![task()],
            forgotten: Vec::new(),
            found: FoundTasks {
                unknown: vec!["nobody".parse().unwrap()],
                problems: vec!["\"Wb\x1b\" is ambiguous".into()],
                ..FoundTasks::default()
            },
        };
        let (good, out, err) = shown(&["Wb3ZtqLk9Xe_fJ2vR0yAc", "nobody"], &listing);
        assert!(!good && out.contains("Wb3Z"));
        assert!(
            err.starts_with("scanpush: \"nobody\" is not a task of group scanners"),
            "{err}"
        );
        assert_eq!(
            err.lines().nth(1),
            Some("scanpush: \"Wb\u{fffd}\" is ambiguous")
        );
    }

    #[test]
    fn the_help_knows_the_limit() {
        assert!(
            COMMAND
                .more
                .contains(&format!("the {STATUS_TASKS_MAX} newest"))
        );
    }

    #[test]
    fn an_empty_group_is_not_an_error() {
        let (good, out, err) = shown(&[], &Listing::default());
        assert!(good && out.is_empty());
        assert_eq!(
            err,
            "no tasks in group scanners at redis://localhost:6379\n"
        );
    }

    #[test]
    fn a_bad_word_or_flag_is_named() {
        assert_eq!(
            options(&["a", "-group=g", "--", "-b"])
                .unwrap()
                .names
                .ids
                .len(),
            2
        );
        for (line, expected) in [
            (&["a b"][..], "\"a b\" is not an id"),
            (&["a", "-job", "b"], "\"a\" cannot be combined with -job"),
            (&[""], "\"\" is not an id"),
            (&["-ip", "x"], "\"-ip\" is an unknown flag"),
            (&["-jsno"], "did you mean -json?"),
            (&["-group", "a b"], "-group: \"a b\""),
        ] {
            let error = options(line).unwrap_err().to_string();
            assert!(error.contains(expected), "{line:?}: {error}");
        }
    }
}
