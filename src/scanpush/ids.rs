//! Which tasks a command line means: their ids, the beginnings of ids, or a job. Every command that takes ids asks here.
//!
//! **Invariant:** a beginning stands for a task only where exactly one known task has it; a whole id always wins.

use super::options::{Connection, JSON};
use super::output::Output;
use crate::claim_table::{ClaimTable, ClaimTableError};
use crate::flags::{Flag, Reader};
use crate::model::text::quoted;
use crate::model::{Invalid, TaskId};
use std::collections::HashSet;
use std::fmt;

/// Characters of an id that may stand for the whole, where only one known id begins with them.
const ID_BEGINNING_MIN_BYTES: usize = 4;
/// Ids that are named where a beginning fits several.
const CANDIDATES_SHOWN_MAX: usize = 5;

/// The tasks of one push.
pub const JOB: Flag = Flag::optional(
    "--job",
    "ID",
    "all tasks of this job, in the place of task ids",
);

/// What a command line names, unchecked.
#[derive(Debug, Default)]
pub struct Named {
    /// Ids or beginnings of ids, in the order of the command line.
    pub words: Vec<TaskId>,
    /// The job, or the beginning of its id.
    pub job: Option<TaskId>,
}

/// What the command line of a command about named tasks asks for.
#[derive(Debug)]
pub struct AboutTasks {
    /// Where the fleet is.
    pub connection: Connection,
    /// Which tasks.
    pub named: Named,
    /// Whether lines of JSON are wanted.
    pub json: bool,
}

impl AboutTasks {
    /// Takes everything; `named` is [`Named::read`] or [`Named::read_any`].
    pub fn read(
        mut reader: Reader,
        named: fn(&mut Reader) -> Result<Named, Invalid>,
    ) -> Result<AboutTasks, Invalid> {
        let about = AboutTasks {
            named: named(&mut reader)?,
            json: reader.switch(&JSON),
            connection: Connection::read(&mut reader)?,
        };
        reader.finish()?;
        Ok(about)
    }
}

/// The result of looking up names.
#[derive(Debug, Default)]
pub struct Found {
    /// The tasks that Redis knows, each once. Tasks of a job that ended long ago may no longer have a hash.
    pub tasks: Vec<TaskId>,
    /// The complete id of the job whose tasks they are.
    pub job: Option<TaskId>,
    /// Words that are neither the id of a known task nor the beginning of one.
    pub unknown: Vec<TaskId>,
    /// Other problems, a line each: ambiguous beginnings, an unknown job.
    pub problems: Vec<String>,
}

impl Named {
    /// Takes the words and [`JOB`]; errs if neither or both are given.
    pub fn read(reader: &mut Reader) -> Result<Named, Invalid> {
        let named = Named::read_any(reader)?;
        if named.is_empty() {
            return Err(Invalid::about(
                "which tasks? Give their ids, or -job ID (scanpush list shows them)",
            ));
        }
        Ok(named)
    }

    /// As [`Named::read`], for a command that also works without names.
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

    /// Whether nothing is named.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty() && self.job.is_none()
    }

    /// Looks the tasks up in Redis.
    pub fn find(&self, ledger: &mut ClaimTable) -> Result<Found, ClaimTableError> {
        let mut found = Found::default();
        let known = ledger.knows(&self.words)?;
        // Each lookup of a beginning reads all keys, so with several beginnings they are read once.
        let ids = match known.iter().filter(|known| !**known).count() {
            0 | 1 => None,
            _ => Some(ledger.tasks_beginning("")?),
        };
        let mut seen = HashSet::new();
        for (word, known) in self.words.iter().zip(known) {
            let matched = whole(word, known, |beginning| match &ids {
                Some(ids) => Ok(begun_by(ids, beginning)),
                None => ledger.tasks_beginning(beginning),
            })?;
            match matched {
                Match::One(id) if !seen.insert(id.clone()) => {}
                Match::One(id) => found.tasks.push(id),
                Match::None => found.unknown.push(word.clone()),
                Match::Several(ids) => found.problems.push(several(word, "tasks", &ids)),
            }
        }
        if let Some(job) = &self.job {
            match find_job(job, ledger)? {
                Ok((id, tasks)) => (found.job, found.tasks) = (Some(id), tasks),
                Err(no_job) => found.problems.push(no_job.to_string()),
            }
        }
        Ok(found)
    }
}

impl Found {
    /// Reports on stderr what could not be found, a line each. Returns true if everything was found.
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

/// The message for an unknown id.
pub fn unknown(id: &TaskId, connection: &Connection) -> String {
    format!(
        "{} is not a task of group {} ({})",
        quoted(id.as_str()),
        connection.group,
        why_unknown(id, "no server has taken it in yet, or it ended long ago")
    )
}

/// Why a name may be unknown: `why`, or it is too short for a beginning.
fn why_unknown(name: &TaskId, why: &str) -> String {
    match is_too_short(name) {
        true => format!(
            "{why}; the beginning of an id needs {ID_BEGINNING_MIN_BYTES} characters or more"
        ),
        false => why.to_owned(),
    }
}

fn is_too_short(name: &TaskId) -> bool {
    name.as_str().len() < ID_BEGINNING_MIN_BYTES
}

/// Why a name does not identify a job.
#[derive(Debug, PartialEq, Eq)]
pub enum NoJob {
    /// The group has no such job, or not yet.
    Unknown {
        /// The name as given.
        name: TaskId,
        /// The group.
        group: String,
    },
    /// It is the beginning of several ids; the line names some of them.
    Several(String),
}

impl fmt::Display for NoJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoJob::Unknown { name, group } => write!(
                f,
                "{} is not a job of group {group} ({})",
                quoted(name.as_str()),
                why_unknown(
                    name,
                    "no server has taken in a task of it yet, or it ended long ago"
                )
            ),
            NoJob::Several(line) => f.write_str(line),
        }
    }
}

/// The job with the id `name` or an id that starts with it, and its tasks.
pub fn find_job(
    name: &TaskId,
    ledger: &mut ClaimTable,
) -> Result<Result<(TaskId, Vec<TaskId>), NoJob>, ClaimTableError> {
    let tasks = ledger.job(name)?;
    let known = !tasks.is_empty();
    Ok(
        match whole(name, known, |beginning| ledger.jobs_beginning(beginning))? {
            Match::One(id) if known => Ok((id, tasks)),
            Match::One(id) => {
                let tasks = ledger.job(&id)?;
                Ok((id, tasks))
            }
            Match::None => Err(NoJob::Unknown {
                name: name.clone(),
                group: ledger.group().to_owned(),
            }),
            Match::Several(ids) => Err(NoJob::Several(several(name, "jobs", &ids))),
        },
    )
}

#[derive(Debug, PartialEq, Eq)]
enum Match {
    None,
    One(TaskId),
    Several(Vec<TaskId>),
}

/// Completes `name`: itself if it is `known`, else the one id that starts with it.
fn whole(
    name: &TaskId,
    known: bool,
    begun_by: impl FnOnce(&str) -> Result<Vec<TaskId>, ClaimTableError>,
) -> Result<Match, ClaimTableError> {
    if known {
        return Ok(Match::One(name.clone()));
    }
    if is_too_short(name) {
        return Ok(Match::None);
    }
    let mut ids = begun_by(name.as_str())?;
    Ok(match ids.len() {
        0 => Match::None,
        1 => Match::One(ids.remove(0)),
        _ => Match::Several(ids),
    })
}

/// The ids, which are ascending, that start with `beginning`.
fn begun_by(ids: &[TaskId], beginning: &str) -> Vec<TaskId> {
    let from = ids.partition_point(|id| id.as_str() < beginning);
    ids[from..]
        .iter()
        .take_while(|id| id.as_str().starts_with(beginning))
        .cloned()
        .collect()
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
    use crate::flags;
    use crate::flags::shared::{GROUP, KAFKA, REDIS, TOPIC};

    fn id(text: &str) -> TaskId {
        text.parse().unwrap()
    }

    fn among(name: &str, ids: &[&str]) -> Match {
        let known = ids.contains(&name);
        let mut ids: Vec<TaskId> = ids.iter().map(|text| id(text)).collect();
        ids.sort();
        whole(&id(name), known, |beginning| Ok(begun_by(&ids, beginning))).unwrap()
    }

    #[test]
    fn something_must_be_named_and_only_ids_or_a_job() {
        let read = |line: &[&str]| {
            flags::read_line(line, &[JOB, JSON, KAFKA, REDIS, TOPIC, GROUP], |reader| {
                AboutTasks::read(reader, Named::read)
            })
        };
        for (line, named) in [
            (&[][..], "which tasks? Give their ids, or -job ID"),
            (&["a", "-job", "b"], "\"a\" stands beside -job"),
            (&["a b"], "\"a b\" is not an id"),
        ] {
            let error = read(line).unwrap_err().to_string();
            assert!(error.starts_with(named), "{line:?}: {error}");
        }
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
    fn a_name_that_is_too_short_for_a_beginning_is_told_so() {
        let no_job = |name: &str| {
            let (name, group) = (id(name), "scanners".to_owned());
            NoJob::Unknown { name, group }.to_string()
        };
        let why = "no server has taken in a task of it yet, or it ended long ago";
        assert_eq!(
            no_job("CnW"),
            format!(
                "\"CnW\" is not a job of group scanners ({why}; the beginning of an id needs 4 characters or more)"
            )
        );
        assert_eq!(
            no_job("CnWx"),
            format!("\"CnWx\" is not a job of group scanners ({why})")
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
