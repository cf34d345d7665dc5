//! Which tasks a command line means: their ids, the beginnings of ids, or a job. Every command that takes ids asks here.
//!
//! **Invariant:** a beginning stands for a task only where exactly one known task has it; a whole id always wins.

use super::options::Connection;
use super::output::Output;
use crate::flags::{Flag, Reader};
use crate::ledger::{Ledger, LedgerError};
use crate::model::limits::{CANDIDATES_SHOWN_MAX, ID_BEGINNING_MIN_BYTES};
use crate::model::text::quoted;
use crate::model::{Invalid, TaskId};

/// The tasks of one push.
pub const JOB: Flag = Flag::optional(
    "--job",
    "ID",
    "all tasks of this job, in the place of task ids",
);

/// What a command line names, unchecked.
#[derive(Debug)]
pub struct Named {
    /// Ids or beginnings of ids, in the order of the command line.
    pub words: Vec<TaskId>,
    /// The job, or the beginning of its id.
    pub job: Option<TaskId>,
}

/// What became of the names.
#[derive(Debug, Default)]
pub struct Found {
    /// The tasks that Redis knows, each once; those of a job may have ended so long ago that their hash is gone.
    pub tasks: Vec<TaskId>,
    /// Words that are the id, or the beginning, of no known task.
    pub unknown: Vec<TaskId>,
    /// What else is wrong, a line each: beginnings of several ids, a job that nobody knows.
    pub problems: Vec<String>,
}

impl Named {
    /// Takes the words and [`JOB`]; errs where there is neither or both.
    pub fn read(reader: &mut Reader) -> Result<Named, Invalid> {
        let named = Named::read_any(reader)?;
        if named.is_empty() {
            return Err(Invalid::about(
                "which tasks? Give their ids, or -job ID (scanpush list shows them)",
            ));
        }
        Ok(named)
    }

    /// As [`Named::read`] for a command that also has something to do without a name.
    pub fn read_any(reader: &mut Reader) -> Result<Named, Invalid> {
        let job = reader.optional(&JOB, str::parse)?;
        let words: Vec<TaskId> = reader
            .words()
            .iter()
            .map(|word| word.parse())
            .collect::<Result<_, _>>()?;
        match (&job, words.first()) {
            (Some(_), Some(word)) => Err(Invalid::new(
                word.as_str(),
                "stands beside -job: give ids or a job, not both",
            )),
            _ => Ok(Named { words, job }),
        }
    }

    /// True where nothing is named.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty() && self.job.is_none()
    }

    /// Asks Redis which tasks these are.
    pub fn find(&self, ledger: &mut Ledger) -> Result<Found, LedgerError> {
        let mut found = Found::default();
        for word in &self.words {
            match whole(word, ledger.knows(word)?, |beginning| {
                ledger.tasks_beginning(beginning)
            })? {
                Match::One(id) if found.tasks.contains(&id) => {}
                Match::One(id) => found.tasks.push(id),
                Match::None => found.unknown.push(word.clone()),
                Match::Several(ids) => found.problems.push(several(word, "tasks", &ids)),
            }
        }
        if let Some(job) = &self.job {
            match find_job(job, ledger)? {
                Ok((_, tasks)) => found.tasks = tasks,
                Err(problem) => found.problems.push(problem),
            }
        }
        Ok(found)
    }
}

impl Found {
    /// Says on stderr, a line each, what could not be found. True where there was nothing to say.
    pub fn report(&self, connection: &Connection, output: &mut Output<'_>) -> bool {
        for id in &self.unknown {
            output.problem(&format!("scanpush: {}", unknown(id, connection)));
        }
        for problem in &self.problems {
            output.problem(&format!("scanpush: {problem}"));
        }
        self.unknown.is_empty() && self.problems.is_empty()
    }
}

/// What to say of an id that no task has.
pub fn unknown(id: &TaskId, connection: &Connection) -> String {
    format!(
        "{} is no task of group {} (no server has taken it in yet, or it ended long ago)",
        quoted(id.as_str()),
        connection.group
    )
}

/// The job that `name` is the id or the beginning of, and its tasks; or a line that says why there is none.
pub fn find_job(
    name: &TaskId,
    ledger: &mut Ledger,
) -> Result<Result<(TaskId, Vec<TaskId>), String>, LedgerError> {
    let tasks = ledger.job(name)?;
    let known = !tasks.is_empty();
    Ok(
        match whole(name, known, |beginning| ledger.jobs_beginning(beginning))? {
            Match::One(id) if known => Ok((id, tasks)),
            Match::One(id) => {
                let tasks = ledger.job(&id)?;
                Ok((id, tasks))
            }
            Match::None => Err(format!(
                "{} is no job of this group (no server has taken in a task of it yet, or it ended long ago)",
                quoted(name.as_str())
            )),
            Match::Several(ids) => Err(several(name, "jobs", &ids)),
        },
    )
}

#[derive(Debug, PartialEq, Eq)]
enum Match {
    None,
    One(TaskId),
    Several(Vec<TaskId>),
}

/// Completes `name`: itself where it is `known`, else the one id that it begins.
fn whole(
    name: &TaskId,
    known: bool,
    begun_by: impl FnOnce(&str) -> Result<Vec<TaskId>, LedgerError>,
) -> Result<Match, LedgerError> {
    if known {
        return Ok(Match::One(name.clone()));
    }
    if name.as_str().len() < ID_BEGINNING_MIN_BYTES {
        return Ok(Match::None);
    }
    let mut ids = begun_by(name.as_str())?;
    Ok(match ids.len() {
        0 => Match::None,
        1 => Match::One(ids.remove(0)),
        _ => Match::Several(ids),
    })
}

fn several(name: &TaskId, what: &str, ids: &[TaskId]) -> String {
    let shown: Vec<&str> = ids
        .iter()
        .take(CANDIDATES_SHOWN_MAX)
        .map(TaskId::as_str)
        .collect();
    let more = match ids.len().saturating_sub(CANDIDATES_SHOWN_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "{} begins {} {what}: {}{more}",
        quoted(name.as_str()),
        ids.len(),
        shown.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> TaskId {
        text.parse().unwrap()
    }

    fn among(name: &str, ids: &[&str]) -> Match {
        let known = ids.contains(&name);
        whole(&id(name), known, |beginning| {
            let begun = ids.iter().filter(|id| id.starts_with(beginning));
            Ok(begun.map(|text| id(text)).collect())
        })
        .unwrap()
    }

    #[test]
    fn a_beginning_stands_for_the_only_id_that_has_it() {
        let ids = ["abcdef", "abcxyz", "abcd", "zyx"];
        assert_eq!(among("abcx", &ids), Match::One(id("abcxyz")));
        assert_eq!(among("abcde", &ids), Match::One(id("abcdef")));
        assert_eq!(
            among("abcd", &ids),
            Match::One(id("abcd")),
            "a whole id wins"
        );
        assert_eq!(among("zyx", &ids), Match::One(id("zyx")));
        assert_eq!(among("zy", &ids), Match::None, "too short");
        assert_eq!(among("nope", &ids), Match::None);
        let two = ["abcd1", "abcd2"];
        assert_eq!(
            among("abcd", &two),
            Match::Several(vec![id("abcd1"), id("abcd2")])
        );
    }

    #[test]
    fn the_candidates_are_named_up_to_a_bound() {
        let ids: Vec<TaskId> = (10..30).map(|n| id(&format!("abcd{n}"))).collect();
        let line = several(&id("abcd"), "tasks", &ids);
        assert!(
            line.starts_with("\"abcd\" begins 20 tasks: abcd10, abcd11"),
            "{line}"
        );
        assert!(line.ends_with(&format!("and {} more", 20 - CANDIDATES_SHOWN_MAX)));
    }
}
