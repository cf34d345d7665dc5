//! The tasks of the command line and their state in Redis. Without Redis, each id is taken as complete.

use super::super::ids::TaskNames;
use super::super::output::Output;
use crate::claim_table::{ClaimTable, ClaimTableError, LiveTask};
use crate::connection::Connection;
use crate::exit::Failure;
use crate::model::{State, TaskId};
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// How long `-follow` waits for a task that Redis does not know: no server may have ingested it yet.
const FOLLOW_UNKNOWN_WAIT: Duration = Duration::from_secs(30);

/// The tasks, and the claim table that has their states.
pub struct SelectedTasks {
    names: TaskNames,
    claim_table: ClaimTable,
    /// In the order of the command line.
    pub tasks: Vec<SelectedTask>,
    /// The error if Redis could not be reached.
    pub redis_error: Option<String>,
}

/// One of the tasks.
pub struct SelectedTask {
    /// Its id.
    pub id: TaskId,
    /// Its last state in Redis; `None` if Redis does not know it.
    pub live: Option<LiveTask>,
    /// When Redis was first found not to know it.
    unknown_since: Option<Instant>,
}

impl SelectedTask {
    fn new(id: TaskId) -> SelectedTask {
        SelectedTask {
            id,
            live: None,
            unknown_since: None,
        }
    }

    /// A task with this state in Redis.
    #[cfg(test)]
    pub fn with_state(id: TaskId, live: Option<LiveTask>) -> SelectedTask {
        SelectedTask {
            live,
            ..SelectedTask::new(id)
        }
    }

    /// Its state, if known.
    pub fn state(&self) -> Option<State> {
        self.live.as_ref().map(|live| live.status)
    }

    /// The number of its passes if it has completed; 0 if not, or if Redis does not know it.
    pub fn completed_passes(&self) -> u32 {
        self.live
            .as_ref()
            .filter(|live| live.status == State::Completed)
            .map_or(0, |live| live.found_by_pass.as_slice().len() as u32)
    }

    /// True if all its findings are in Kafka: its end is written to Redis only afterwards.
    fn has_ended(&self) -> bool {
        self.live
            .as_ref()
            .is_some_and(|live| live.status.is_terminal() && live.finished_ms.is_some())
    }
}

impl SelectedTasks {
    /// Finds the tasks. Fails if an abbreviated id is ambiguous, which is reported, or if Redis is unreachable and needed: for a job
    /// or with `follow`.
    pub fn find(
        names: TaskNames,
        connection: &Connection,
        follow: bool,
        output: &mut Output<'_>,
    ) -> Result<SelectedTasks, Failure> {
        let mut selected = SelectedTasks {
            claim_table: ClaimTable::new(&connection.redis, connection.group.as_str()),
            names,
            tasks: Vec::new(),
            redis_error: None,
        };
        let error = match selected.resolve() {
            Ok(problems) if problems.is_empty() => return Ok(selected),
            Ok(problems) => {
                for problem in problems {
                    output.problem(&format!("scanpush: {problem}"));
                }
                return Err(Failure::Said);
            }
            Err(error) => error.to_string(),
        };
        if selected.names.job.is_some() || follow {
            let flag = if follow { "-follow" } else { "-job" };
            return Err(Failure::Runtime(format!("{error} ({flag} needs Redis)")));
        }
        selected.tasks.clear();
        for id in selected.names.ids.clone() {
            selected.add(id);
        }
        selected.redis_error = Some(error);
        Ok(selected)
    }

    /// Tasks whose states are not asked for.
    pub fn of_ids(ids: Vec<TaskId>, connection: &Connection) -> SelectedTasks {
        SelectedTasks {
            claim_table: ClaimTable::new(&connection.redis, connection.group.as_str()),
            names: TaskNames::default(),
            tasks: ids.into_iter().map(SelectedTask::new).collect(),
            redis_error: None,
        }
    }

    fn resolve(&mut self) -> Result<Vec<String>, ClaimTableError> {
        let mut problems = Vec::new();
        for id in self.names.ids.clone() {
            let one = TaskNames {
                ids: vec![id],
                job: None,
            };
            let found = one.find(&mut self.claim_table)?;
            problems.extend(found.problems);
            for id in found.tasks.into_iter().chain(found.unknown) {
                self.add(id);
            }
        }
        let mut listed = Vec::new();
        if self.names.job.is_some() {
            let found = self.names.find(&mut self.claim_table)?;
            problems.extend(found.problems);
            listed = found.tasks;
        }
        update(&mut self.tasks, listed, |ids| {
            self.claim_table.tasks_of(ids)
        })?;
        Ok(problems)
    }

    /// Updates the states, and adds tasks that the job has gained. Returns the added ones. Adds none if it fails.
    pub fn refresh(&mut self) -> Result<Vec<TaskId>, ClaimTableError> {
        let listed = match self.names.job {
            Some(_) => self.names.find(&mut self.claim_table)?.tasks,
            None => Vec::new(),
        };
        update(&mut self.tasks, listed, |ids| {
            self.claim_table.tasks_of(ids)
        })
    }

    /// True if no more findings can come: each task has ended, or has been unknown for [`FOLLOW_UNKNOWN_WAIT`]. A task that is
    /// unknown but still listed by its job ended long ago.
    pub fn have_ended(&self) -> bool {
        self.tasks.iter().all(|task| match task.unknown_since {
            None => task.has_ended(),
            Some(since) => self.names.job.is_some() || since.elapsed() >= FOLLOW_UNKNOWN_WAIT,
        })
    }

    /// False for the tasks of a job.
    pub fn are_named_by_id(&self) -> bool {
        self.names.job.is_none()
    }

    fn add(&mut self, id: TaskId) {
        if !self.tasks.iter().any(|task| task.id == id) {
            self.tasks.push(SelectedTask::new(id));
        }
    }
}

/// Adds those of `listed` that are not among `tasks`, and updates the states of all tasks that have not ended with what `read`
/// returns. Returns the added ones.
fn update(
    tasks: &mut Vec<SelectedTask>,
    listed: Vec<TaskId>,
    read: impl FnOnce(&[TaskId]) -> Result<Vec<Option<LiveTask>>, ClaimTableError>,
) -> Result<Vec<TaskId>, ClaimTableError> {
    let known: HashSet<&TaskId> = tasks.iter().map(|task| &task.id).collect();
    let new_ids = listed.into_iter().filter(|id| !known.contains(id));
    let mut new: Vec<SelectedTask> = new_ids.map(SelectedTask::new).collect();
    let open: Vec<&mut SelectedTask> = tasks
        .iter_mut()
        .chain(&mut new)
        .filter(|task| !task.has_ended())
        .collect();
    let ids: Vec<TaskId> = open.iter().map(|task| task.id.clone()).collect();
    // If this fails, `tasks` is unchanged, so that the next call returns the new tasks.
    let states = read(&ids)?;
    for (task, live) in open.into_iter().zip(states) {
        task.unknown_since = match live {
            Some(_) => None,
            None => Some(task.unknown_since.unwrap_or_else(Instant::now)),
        };
        task.live = live;
    }
    let added = new.iter().map(|task| task.id.clone()).collect();
    tasks.extend(new);
    Ok(added)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scanpush::tasks::sample::task;

    fn id(text: &str) -> TaskId {
        text.parse().unwrap()
    }

    #[test]
    fn a_new_task_of_the_job_is_returned_even_if_redis_fails_in_between() {
        let mut tasks = vec![SelectedTask::new(id("a"))];
        let listed = || vec![id("a"), id("b")];
        let failure = ClaimTableError::Malformed {
            what: "a field".into(),
            value: "x".into(),
        };
        assert!(update(&mut tasks, listed(), |_| Err(failure)).is_err());
        let read = |ids: &[TaskId]| {
            assert_eq!(ids, listed());
            Ok(vec![Some(task()), None])
        };
        assert_eq!(update(&mut tasks, listed(), read).unwrap(), [id("b")]);
        let known: Vec<bool> = tasks.iter().map(|task| task.live.is_some()).collect();
        assert_eq!(known, [true, false]);
        assert!(tasks[1].unknown_since.is_some());
    }
}
