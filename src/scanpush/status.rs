//! `scanpush status`: tasks with their progress. Reads Redis only.

use super::Command;
use super::ids::{FoundTasks, JOB, TaskNames, TaskOptions};
use super::options::JSON;
use super::output::Output;
use super::tasks::{self, now_ms};
use crate::claim_table::{ClaimTable, ClaimTableError, LiveTask};
use crate::connection::Connection;
use crate::exit::Failure;
use crate::flags::Reader;

/// Tasks that `scanpush status` shows without an id: the newest ones.
const STATUS_TASKS_MAX: usize = 50;

pub(super) const COMMAND: Command = Command {
    name: "status",
    about: "shows tasks with their state, progress, rate and server",
    usage: "status [flags] [ID… | -job ID]",
    flags: &[JOB, JSON],
    more: "\
Without an ID it shows the 50 newest tasks, newest first. An ID may be
abbreviated to its first characters, at least 4, if they are unique. Needs Redis
only: -kafka and -topic are accepted but not used. DONE is the share of probes
sent, LEFT the time until all are sent, RATE is in packets per second. -json
prints more fields.
Exit code 0: all were found; 1: an ID is unknown or Redis is unreachable; 2:
invalid flags.

examples:
  scanpush status
  scanpush status -group dmz Wb3ZtqLk9Xe_fJ2vR0yAc
  scanpush status -json | jq -r 'select(.status == \"failed\") | .task_id'
",
    run,
};

/// The tasks to show, and what was found for the names.
#[derive(Default)]
struct Listing {
    tasks: Vec<LiveTask>,
    found: FoundTasks,
}

fn run(reader: Reader, output: &mut Output<'_>) -> Result<(), Failure> {
    let options = TaskOptions::read(reader, TaskNames::read_any)?;
    let listing = read(&options).map_err(|error| Failure::Runtime(error.to_string()))?;
    show(&options, &listing, now_ms(), output)
}

fn read(options: &TaskOptions) -> Result<Listing, ClaimTableError> {
    let Connection { redis, group, .. } = &options.connection;
    let mut claim_table = ClaimTable::connect(redis, group.as_str())?;
    if options.names.is_empty() {
        return Ok(Listing {
            tasks: claim_table.tasks(&[], STATUS_TASKS_MAX)?,
            found: FoundTasks::default(),
        });
    }
    let found = options.names.find(&mut claim_table)?;
    let tasks = claim_table.tasks_of(&found.tasks)?.into_iter().flatten();
    Ok(Listing {
        tasks: tasks.collect(),
        found,
    })
}

fn show(
    options: &TaskOptions,
    listing: &Listing,
    now_ms: u64,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    tasks::show(&listing.tasks, options.json, now_ms, output)?;
    output.flush()?;
    let Connection { redis, group, .. } = &options.connection;
    if options.names.is_empty() && listing.tasks.is_empty() {
        output.remark(&format!("no tasks in group {group} at {redis}"));
    }
    match listing.found.report(group, output) {
        true => Ok(()),
        false => Err(Failure::Said),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tasks::sample::{NOW_MS, task};
    use super::*;
    use crate::flags;
    use crate::model::Invalid;

    fn options(line: &[&str]) -> Result<TaskOptions, Invalid> {
        flags::read_line(line, COMMAND.flags, |reader| {
            TaskOptions::read(reader, TaskNames::read_any)
        })
    }

    fn shown(line: &[&str], listing: &Listing) -> (bool, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut output = Output::new(&mut out, &mut err, None, true);
        let good = show(&options(line).unwrap(), listing, NOW_MS, &mut output).is_ok();
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
