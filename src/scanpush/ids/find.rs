//! Looks up in Redis the tasks that a command line names.

use super::abbreviation::{Match, ambiguous, complete, unknown_job, unknown_task, with_prefix};
use super::options::TaskNames;
use crate::claim_table::{ClaimTable, ClaimTableError};
use crate::model::{GroupName, TaskId};
use crate::scanpush::output::Output;
use std::collections::HashSet;
use std::fmt;

/// The result of looking up names.
#[derive(Debug, Default)]
pub struct FoundTasks {
    /// The tasks, each once. Of a job also those that ended so long ago that Redis has only their ids.
    pub tasks: Vec<TaskId>,
    /// The complete id of the job whose tasks they are.
    pub job: Option<TaskId>,
    /// Names that are neither the id of a known task nor an abbreviation of one.
    pub unknown: Vec<TaskId>,
    /// Other problems, a line each: ambiguous ids, an unknown job.
    pub problems: Vec<String>,
}

impl FoundTasks {
    /// Reports on stderr what could not be found, a line each. Returns true if everything was found.
    pub fn report(&self, group: &GroupName, output: &mut Output<'_>) -> bool {
        for id in &self.unknown {
            output.problem(&format!("scanpush: {}", unknown_task(id, group)));
        }
        for problem in &self.problems {
            output.problem(&format!("scanpush: {problem}"));
        }
        self.unknown.is_empty() && self.problems.is_empty()
    }
}

impl TaskNames {
    /// Looks the tasks up.
    pub fn find(&self, claim_table: &mut ClaimTable) -> Result<FoundTasks, ClaimTableError> {
        let mut found = find_ids(&self.ids, claim_table)?;
        if let Some(job) = &self.job {
            match find_job(job, claim_table) {
                Ok(job) => (found.job, found.tasks) = (Some(job.id), job.tasks),
                Err(JobError::Redis(error)) => return Err(error),
                Err(error) => found.problems.push(error.to_string()),
            }
        }
        Ok(found)
    }
}

fn find_ids(names: &[TaskId], claim_table: &mut ClaimTable) -> Result<FoundTasks, ClaimTableError> {
    let mut found = FoundTasks::default();
    let known = claim_table.knows(names)?;
    // Each lookup of a prefix reads all keys, so with several prefixes they are read once.
    let ids = match known.iter().filter(|known| !**known).count() {
        0 | 1 => None,
        _ => Some(claim_table.tasks_beginning("")?),
    };
    let mut seen = HashSet::new();
    for (name, known) in names.iter().zip(known) {
        let matched = complete(name, known, |prefix| match &ids {
            Some(ids) => Ok(with_prefix(ids, prefix)),
            None => claim_table.tasks_beginning(prefix),
        })?;
        match matched {
            Match::One(id) if !seen.insert(id.clone()) => {}
            Match::One(id) => found.tasks.push(id),
            Match::None => found.unknown.push(name.clone()),
            Match::Several(ids) => found.problems.push(ambiguous(name, "tasks", &ids)),
        }
    }
    Ok(found)
}

/// A job that Redis knows.
#[derive(Debug)]
pub struct FoundJob {
    /// Its complete id.
    pub id: TaskId,
    /// Its tasks, also those that ended so long ago that Redis has only their ids.
    pub tasks: Vec<TaskId>,
}

/// Looks up the job with the id `name`, complete or abbreviated.
pub fn find_job(name: &TaskId, claim_table: &mut ClaimTable) -> Result<FoundJob, JobError> {
    let tasks = claim_table.job(name)?;
    let known = !tasks.is_empty();
    let id = match complete(name, known, |prefix| claim_table.jobs_beginning(prefix))? {
        Match::One(id) => id,
        Match::None => {
            let line = unknown_job(name, claim_table.group());
            return Err(JobError::Unknown(line));
        }
        Match::Several(ids) => return Err(JobError::Ambiguous(ambiguous(name, "jobs", &ids))),
    };
    let tasks = match known {
        true => tasks,
        false => claim_table.job(&id)?,
    };
    Ok(FoundJob { id, tasks })
}

/// Why a job was not found.
#[derive(Debug)]
pub enum JobError {
    /// The group does not know the job; contains the message.
    Unknown(String),
    /// Its abbreviated id fits several; the line names some of them.
    Ambiguous(String),
    /// Redis could not be asked.
    Redis(ClaimTableError),
}

impl From<ClaimTableError> for JobError {
    fn from(error: ClaimTableError) -> JobError {
        JobError::Redis(error)
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JobError::Unknown(line) | JobError::Ambiguous(line) => f.write_str(line),
            JobError::Redis(error) => error.fmt(f),
        }
    }
}
