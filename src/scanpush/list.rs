//! `scanpush list`: the group's tasks, newest first, all or those in some states. Reads Redis only.

use super::Command;
use super::options::JSON;
use super::output::Output;
use super::tasks::{self, now_ms};
use crate::claim_table::ClaimTable;
use crate::connection::Connection;
use crate::exit::Failure;
use crate::flags::{Flag, Reader, values};
use crate::model::{Invalid, State};

/// Tasks that `scanpush list` shows at most.
const LIST_TASKS_MAX: u32 = 1_000_000;

const STATE: Flag = Flag::optional(
    "--state",
    "STATES",
    "only these states, comma-separated: queued, running, paused, completed, failed, cancelled, rejected",
)
.one_of(&[
    "queued",
    "running",
    "paused",
    "completed",
    "failed",
    "cancelled",
    "rejected",
]);
const LIMIT: Flag = Flag::with_default("--limit", "N", "50", "list at most N tasks");

pub(super) const COMMAND: Command = Command {
    name: "list",
    about: "lists the newest tasks, all or those in some states",
    usage: "list [-state STATES] [-limit N] [flags]",
    flags: &[STATE, LIMIT, JSON],
    more: "\
The newest first, by the time of their ingestion. Tasks that have ended are
listed for 7 days. Needs Redis only: -kafka and -topic are accepted but not
used. Exit code 0: done, even if there are none; 1: Redis is unreachable; 2:
invalid flags.

examples:
  scanpush list
  scanpush list -state queued,running -limit 1000
  scanpush list -state failed -json | jq -r .task_id | xargs scanpush retry
",
    run,
};

/// What the command line asks for.
#[derive(Debug)]
struct Options {
    connection: Connection,
    states: Vec<State>,
    limit: u32,
    json: bool,
}

fn run(reader: Reader, output: &mut Output<'_>) -> Result<(), Failure> {
    let options = resolve(reader)?;
    let Connection { redis, group, .. } = &options.connection;
    let found = ClaimTable::connect(redis, group.as_str())
        .and_then(|mut claim_table| claim_table.tasks(&options.states, options.limit as usize))
        .map_err(|error| Failure::Runtime(error.to_string()))?;
    tasks::show(&found, options.json, now_ms(), output)?;
    output.flush()?;
    if found.is_empty() {
        let which = match options.states.is_empty() {
            true => "tasks",
            false => "such tasks",
        };
        output.remark(&format!("no {which} in group {group} at {redis}"));
    }
    Ok(())
}

fn resolve(mut reader: Reader) -> Result<Options, Invalid> {
    let options = Options {
        states: reader.optional(&STATE, parse_states)?.unwrap_or_default(),
        limit: reader.value(&LIMIT, values::number(1, LIST_TASKS_MAX))?,
        json: reader.switch(&JSON),
        connection: Connection::read(&mut reader)?,
    };
    reader.finish()?;
    Ok(options)
}

/// States, separated by commas.
pub(super) fn parse_states(text: &str) -> Result<Vec<State>, Invalid> {
    text.split(',').map(|name| name.trim().parse()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags;

    fn options(line: &[&str]) -> Result<Options, Invalid> {
        flags::read_line(line, COMMAND.flags, resolve)
    }

    #[test]
    fn states_and_limits_are_checked() {
        let some = options(&["-state", "queued, failed", "-limit", "3"]).unwrap();
        assert_eq!(some.states, [State::Queued, State::Failed]);
        assert_eq!(some.limit, 3);
        let plain = options(&[]).unwrap();
        assert!(plain.states.is_empty() && plain.limit == 50 && !plain.json);
        for (line, named) in [
            (&["-state", "done"][..], "-state: \"done\" is not a state"),
            (&["-state", "queued,"], "-state: \"\" is not a state"),
            (&["-limit", "0"], "-limit: \"0\" is not a number from 1 to"),
            (&["abc"], "\"abc\" is an unexpected argument"),
        ] {
            let error = options(line).unwrap_err().to_string();
            assert!(error.starts_with(named), "{line:?}: {error}");
        }
    }
}
