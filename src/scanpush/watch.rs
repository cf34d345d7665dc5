//! `scanpush watch`, and the `-watch` of a push: follows tasks until all have ended. Reads Redis only.
//!
//! **Invariant:** it changes nothing. However it ends, the scans continue.

use super::Command;
use super::ids::{FoundTasks, JOB, JobError, TaskNames, TaskOptions, find_job};
use super::interrupt::Interrupt;
use super::output::Output;
use super::screen::{Place, Screen};
use super::watched::{WATCH_UNKNOWN_WAIT, Watched};
use crate::claim_table::{ClaimTable, ClaimTableError};
use crate::connection::Connection;
use crate::exit::{Exit, Failure};
use crate::flags::{Flag, Reader};
use crate::model::{State, TaskId};
use std::collections::HashSet;
use std::fmt;
use std::time::{Duration, Instant};

/// `scanpush watch` reads Redis at this interval; less often if reading takes long.
const WATCH_INTERVAL: Duration = Duration::from_millis(500);
/// Reading Redis takes at most 1/N of the time.
const WATCH_READ_FRACTION: u32 = 10;
/// Longest outage of Redis that is waited for.
const WATCH_REDIS_WAIT: Duration = Duration::from_secs(60);

const JSON: Flag = Flag::switch("--json", "print a task as one line of JSON at each change");

pub(super) const COMMAND: Command = Command {
    name: "watch",
    about: "follows tasks with progress bars until all have ended",
    usage: "watch ID… | -job ID [flags]",
    flags: &[JOB, JSON],
    more: "\
On a terminal each running task has a progress bar, at most 10, and all tasks
together have one. Elsewhere a line is printed for each change of state and each
10 percent; with -json it is the task as an object. Tasks that no server has
ingested yet are waited for, at most a minute. Ctrl-C ends the watching, not the
scans. An ID may be abbreviated to its first characters, at least 4, if they are
unique. Needs Redis only.
Exit code 0: all completed; 3: one failed or was rejected; 4: none failed, but
one was cancelled; 1: an ID is unknown or Redis is unreachable; 2: invalid
flags; 130: Ctrl-C.

examples:
  scanpush watch Wb3ZtqLk9Xe_fJ2vR0yAc
  scanpush watch -job j7Kd0 && scanpush results -job j7Kd0 -format csv
  scanpush watch -job j7Kd0 -json | jq -r '[.task_id, .status] | @tsv'
",
    run,
};

/// The tasks that are watched.
#[derive(Debug, Default)]
pub struct Watch {
    tasks: Vec<Watched>,
    known: HashSet<TaskId>,
    /// The job, and the ids, complete or abbreviated, that belong to no known task yet.
    names: TaskNames,
    /// The job of the pushed tasks: shown to the user, but not read.
    pushed_as: Option<TaskId>,
}

fn run(reader: Reader, output: &mut Output<'_>) -> Result<(), Failure> {
    let TaskOptions {
        connection,
        names,
        json,
    } = TaskOptions::read(reader, TaskNames::read)?;
    let watch = Watch {
        names,
        ..Watch::default()
    };
    let place = match json {
        true => Place::Json,
        false => Place::Stdout,
    };
    watch.follow(&connection, place, output)
}

impl Watch {
    /// Watches tasks that were just pushed as `job` and may not be ingested yet.
    pub fn of(ids: impl IntoIterator<Item = TaskId>, job: Option<TaskId>) -> Watch {
        let mut watch = Watch {
            pushed_as: job,
            ..Watch::default()
        };
        for id in ids {
            watch.add(id);
        }
        watch
    }

    /// Shows them at `place` until all have ended. `Ok` only if all have completed.
    pub fn follow(
        mut self,
        connection: &Connection,
        place: Place,
        output: &mut Output<'_>,
    ) -> Result<(), Failure> {
        let interrupt = Interrupt::catch()?;
        let Connection { redis, group, .. } = connection;
        let mut claim_table = ClaimTable::connect(redis, group.as_str())
            .map_err(|error| Failure::Runtime(error.to_string()))?;
        let mut screen = Screen::new(place, output);
        let (mut ingested_at, mut answered_at) = (Instant::now(), Instant::now());
        loop {
            let began = Instant::now();
            let known = self.known_count();
            match self.update(&mut claim_table) {
                Ok(()) => answered_at = Instant::now(),
                Err(UpdateError::Redis(error)) if answered_at.elapsed() < WATCH_REDIS_WAIT => {
                    screen.say(&format!("{error}; trying again"), output)?;
                }
                Err(error) => {
                    screen.close();
                    return Err(Failure::Runtime(error.to_string()));
                }
            }
            if self.known_count() > known {
                ingested_at = Instant::now();
            }
            screen.draw(&self.tasks, output)?;
            let waited = ingested_at.elapsed();
            if self.has_ended(waited >= WATCH_UNKNOWN_WAIT) {
                screen.close();
                return self.finish(connection, output);
            }
            let unknown = self.unknown_count();
            if unknown > 0 && waited >= WATCH_INTERVAL * 2 {
                let line = format!("waiting for a server to ingest {}", task_count(unknown));
                screen.say(&line, output)?;
            }
            if interrupt.wait(WATCH_INTERVAL.max(began.elapsed() * WATCH_READ_FRACTION)) {
                screen.leave(output)?;
                return Err(self.interrupted(output));
            }
        }
    }

    /// Whether all tasks have ended. With `give_up`, tasks that were never known, or that Redis has lost, count as ended.
    fn has_ended(&self, give_up: bool) -> bool {
        let mut tasks = self.tasks.iter();
        tasks.all(|one| one.has_ended() || one.task.is_none() && give_up)
            && (self.unknown_count() == 0 || give_up)
    }

    fn interrupted(&self, output: &mut Output<'_>) -> Failure {
        let next_steps = self.next_steps();
        output.problem(&format!(
            "scanpush: stopped watching; the scans continue{next_steps}"
        ));
        Failure::Found(Exit::Interrupted)
    }

    /// The commands that show and cancel the tasks; empty if they need more than one id.
    fn next_steps(&self) -> String {
        match (
            &self.tasks[..],
            self.names.job.as_ref().or(self.pushed_as.as_ref()),
        ) {
            ([one], None) => format!(
                "; show the task: scanpush status {id}; cancel it: scanpush cancel {id}",
                id = one.id
            ),
            (_, Some(job)) => {
                format!("; show the job: scanpush job {job}; cancel it: scanpush cancel -job {job}")
            }
            (_, None) => String::new(),
        }
    }

    /// Reads all tasks that have not ended.
    fn update(&mut self, claim_table: &mut ClaimTable) -> Result<(), UpdateError> {
        self.resolve_names(claim_table)?;
        let open: Vec<usize> = (0..self.tasks.len())
            .filter(|&i| !self.tasks[i].has_ended())
            .collect();
        let now = Instant::now();
        let ids: Vec<TaskId> = open.iter().map(|&i| self.tasks[i].id.clone()).collect();
        for (i, task) in open.into_iter().zip(claim_table.tasks_of(&ids)?) {
            self.tasks[i].update(task, now);
        }
        Ok(())
    }

    /// Completes abbreviated ids, and adds new tasks of the job.
    fn resolve_names(&mut self, claim_table: &mut ClaimTable) -> Result<(), UpdateError> {
        if let Some(job) = &self.names.job {
            match find_job(job, claim_table) {
                Ok(job) => {
                    self.names.job = Some(job.id);
                    job.tasks.into_iter().for_each(|id| self.add(id));
                }
                // It may still appear.
                Err(JobError::Unknown(_)) => {}
                Err(JobError::Ambiguous(problem)) => return Err(UpdateError::Ambiguous(problem)),
                Err(JobError::Redis(error)) => return Err(error.into()),
            }
        }
        if self.names.ids.is_empty() {
            return Ok(());
        }
        self.complete_ids(|names| names.find(claim_table))
    }

    /// Adds the tasks that `find` finds for the unresolved ids. If it fails, all of them are kept for the next call.
    fn complete_ids(
        &mut self,
        find: impl FnOnce(&TaskNames) -> Result<FoundTasks, ClaimTableError>,
    ) -> Result<(), UpdateError> {
        let names = TaskNames {
            ids: self.names.ids.clone(),
            job: None,
        };
        let found = find(&names)?;
        found.tasks.into_iter().for_each(|id| self.add(id));
        self.names.ids = found.unknown;
        match found.problems.into_iter().next() {
            Some(problem) => Err(UpdateError::Ambiguous(problem)),
            None => Ok(()),
        }
    }

    fn add(&mut self, id: TaskId) {
        if self.known.insert(id.clone()) {
            self.tasks.push(Watched {
                id,
                task: None,
                gone_since: None,
            });
        }
    }

    /// Number of tasks that Redis knows, or has known until recently.
    fn known_count(&self) -> usize {
        self.tasks.iter().filter(|one| one.task.is_some()).count()
    }

    /// Number of tasks and ids that Redis does not know; a job without a task counts as one.
    fn unknown_count(&self) -> usize {
        let no_job = self.names.job.is_some() && self.tasks.is_empty();
        self.tasks.len() - self.known_count() + self.names.ids.len() + usize::from(no_job)
    }

    /// Reports how many tasks are unknown, and returns the result.
    fn finish(&self, connection: &Connection, output: &mut Output<'_>) -> Result<(), Failure> {
        output.flush()?;
        let unknown = self.unknown_count();
        if unknown > 0 {
            output.problem(&format!(
                "scanpush: no server of group {} has ingested {} within {} s, or Redis has lost them; check the servers: scanpush servers",
                connection.group,
                task_count(unknown),
                WATCH_UNKNOWN_WAIT.as_secs()
            ));
        }
        let states = self
            .tasks
            .iter()
            .filter_map(|one| Some(one.task.as_ref()?.status));
        result_of(states, unknown)
    }
}

/// Why the tasks could not be read.
#[derive(Debug)]
enum UpdateError {
    /// A name fits several ids. Reading again does not help.
    Ambiguous(String),
    /// Reading again may help.
    Redis(ClaimTableError),
}

impl From<ClaimTableError> for UpdateError {
    fn from(error: ClaimTableError) -> UpdateError {
        UpdateError::Redis(error)
    }
}

impl fmt::Display for UpdateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UpdateError::Ambiguous(problem) => f.write_str(problem),
            UpdateError::Redis(error) => error.fmt(f),
        }
    }
}

/// The result of a command that waited for tasks: failed before cancelled before unknown.
pub fn result_of(states: impl Iterator<Item = State>, unknown: usize) -> Result<(), Failure> {
    let (mut failed, mut cancelled) = (false, false);
    for state in states {
        failed |= matches!(state, State::Failed | State::Rejected);
        cancelled |= state == State::Cancelled;
    }
    match (failed, cancelled, unknown) {
        (true, ..) => Err(Failure::Found(Exit::TasksFailed)),
        (false, true, _) => Err(Failure::Found(Exit::TasksCancelled)),
        (false, false, 0) => Ok(()),
        (false, false, _) => Err(Failure::Said),
    }
}

fn task_count(count: usize) -> String {
    match count {
        1 => "a task".to_owned(),
        count => format!("{count} tasks"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tasks::sample::task;
    use super::*;
    use crate::claim_table::LiveTask;

    #[test]
    fn the_worst_end_determines_the_exit_code() {
        use State::*;
        let exit = |states: &[State], unknown| match result_of(states.iter().copied(), unknown) {
            Ok(()) => Exit::Success,
            Err(Failure::Found(exit)) => exit,
            Err(_) => Exit::Failed,
        };
        for (states, unknown, expected) in [
            (&[Completed, Completed][..], 0, Exit::Success),
            (&[Completed, Failed, Cancelled], 1, Exit::TasksFailed),
            (&[Completed, Rejected], 0, Exit::TasksFailed),
            (&[Completed, Cancelled], 1, Exit::TasksCancelled),
            (&[Completed], 1, Exit::Failed),
        ] {
            assert_eq!(exit(states, unknown), expected, "{states:?} {unknown}");
        }
    }

    #[test]
    fn a_task_is_watched_once_and_until_it_has_ended() {
        let id = |text: &str| -> TaskId { text.parse().unwrap() };
        let mut watch = Watch::of([id("a"), id("b"), id("a")], None);
        assert_eq!(
            (
                watch.tasks.len(),
                watch.known_count(),
                watch.unknown_count()
            ),
            (2, 0, 2)
        );
        watch.tasks[0].task = Some(task());
        assert!(!watch.tasks[0].has_ended() && watch.unknown_count() == 1);
        watch.tasks[0].task = Some(LiveTask {
            finished_ms: Some(1),
            ..task()
        });
        assert!(watch.tasks[0].has_ended());
        assert_eq!(watch.next_steps(), "");
        assert_eq!(
            Watch::of([id("a")], None).next_steps(),
            "; show the task: scanpush status a; cancel it: scanpush cancel a"
        );
        assert_eq!(
            Watch::of([id("a"), id("b")], Some(id("j"))).next_steps(),
            "; show the job: scanpush job j; cancel it: scanpush cancel -job j"
        );
        let job = Watch {
            names: TaskNames {
                job: Some(id("j")),
                ..TaskNames::default()
            },
            ..Watch::default()
        };
        assert_eq!(
            job.unknown_count(),
            1,
            "a job that is not known yet is waited for"
        );
    }

    #[test]
    fn ids_stay_unresolved_if_redis_fails() {
        let id = |text: &str| -> TaskId { text.parse().unwrap() };
        let mut watch = Watch {
            names: TaskNames {
                ids: vec![id("abcd"), id("efgh")],
                job: None,
            },
            ..Watch::default()
        };
        let failure = ClaimTableError::Malformed {
            what: "a field".into(),
            value: "x".into(),
        };
        assert!(watch.complete_ids(|_| Err(failure)).is_err());
        assert_eq!(watch.names.ids, [id("abcd"), id("efgh")]);
        assert_eq!(watch.unknown_count(), 2);
        let found = FoundTasks {
            tasks: vec![id("abcdef")],
            unknown: vec![id("efgh")],
            ..FoundTasks::default()
        };
        watch.complete_ids(|_| Ok(found)).unwrap();
        assert_eq!(watch.names.ids, [id("efgh")]);
        assert_eq!(watch.tasks[0].id, id("abcdef"));
    }

    #[test]
    fn a_task_that_redis_lost_shows_for_a_while() {
        let mut one = Watched {
            id: "a".parse().unwrap(),
            task: None,
            gone_since: None,
        };
        let start = Instant::now();
        one.update(Some(task()), start);
        one.update(None, start);
        one.update(None, start + WATCH_UNKNOWN_WAIT / 2);
        assert!(one.task.is_some());
        one.update(Some(task()), start + WATCH_UNKNOWN_WAIT / 2);
        one.update(None, start + WATCH_UNKNOWN_WAIT);
        assert!(one.task.is_some(), "it was back in between");
        one.update(None, start + WATCH_UNKNOWN_WAIT * 2);
        assert!(one.task.is_none());
    }
}
