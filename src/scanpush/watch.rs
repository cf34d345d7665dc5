//! `scanpush watch`, and the `-watch` of a push: follows tasks until all have ended. Reads Redis only.
//!
//! **Invariant:** it changes nothing. However it ends, the scans continue.

use super::Command;
use super::ids::{AboutTasks, Found, JOB, Named, NoJob, find_job};
use super::interrupt::Interrupt;
use super::options::Connection;
use super::output::Output;
use super::screen::{Place, Screen};
use super::watched::{WATCH_UNKNOWN_WAIT, Watched};
use crate::claim_table::{ClaimTable, ClaimTableError};
use crate::exit::{Exit, Failure};
use crate::flags::shared::{GROUP, KAFKA, REDIS, TOPIC};
use crate::flags::{Flag, Reader};
use crate::model::{State, TaskId};
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// `scanpush watch` reads Redis at this interval; less often if reading takes long.
const WATCH_EVERY: Duration = Duration::from_millis(500);
/// Reading takes at most one part in this many of the time.
const WATCH_READING_PARTS: u32 = 10;
/// How long it waits for an unreachable Redis.
const WATCH_REDIS_WAIT: Duration = Duration::from_secs(60);

const JSON: Flag = Flag::switch(
    "--json",
    "print a task, at each change, as one line of JSON",
);

pub(super) const COMMAND: Command = Command {
    name: "watch",
    about: "follows tasks with progress bars until all have ended",
    usage: "watch ID… | -job ID [flags]",
    flags: &[JOB, JSON, REDIS, GROUP, KAFKA, TOPIC],
    more: "\
On a terminal each running task has a bar, 10 at most, and there is one for all
of them. Elsewhere a line is printed for each change of state and each 10
percent; with -json it is the task as an object. Tasks that no server has
ingested yet are waited for, for at most a minute. Ctrl-C ends the watching, not
the scans. An ID may be abbreviated to its first 4 or more characters if they
are unique. It needs Redis only.
Exit code 0: all completed; 3: a task failed or was rejected; 4: none did, but
one was cancelled; 1: an ID is unknown, or Redis is not available; 2: invalid
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
    /// Ids, or beginnings of ids, that belong to no known task yet.
    words: Vec<TaskId>,
    job: Option<TaskId>,
    /// The job of the pushed tasks: shown to the user, but not read.
    pushed_as: Option<TaskId>,
}

fn run(reader: Reader, output: &mut Output<'_>) -> Result<(), Failure> {
    let AboutTasks {
        connection,
        named,
        json,
    } = AboutTasks::read(reader, Named::read)?;
    let watch = Watch {
        words: named.words,
        job: named.job,
        ..Watch::default()
    };
    let place = match json {
        true => Place::Json,
        false => Place::Stdout,
    };
    watch.follow(&connection, place, output)
}

impl Watch {
    /// For these tasks, which may still be unknown, pushed as `job`.
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
        // When a task was last found for the first time, and when Redis last answered.
        let (mut progress_at, mut redis_at) = (Instant::now(), Instant::now());
        loop {
            let began = Instant::now();
            let known_before = self.known_tasks();
            if let Err(problem) = self.update(&mut claim_table, &mut redis_at, |error| {
                screen.say(&format!("{error}; trying again"), output)
            })? {
                screen.close();
                return Err(Failure::Runtime(problem));
            }
            if self.known_tasks() > known_before {
                progress_at = Instant::now();
            }
            screen.draw(&self.tasks, output)?;
            let waited = progress_at.elapsed();
            if self.is_complete(waited >= WATCH_UNKNOWN_WAIT) {
                screen.close();
                return self.end(connection, output);
            }
            let unknown = self.unknown();
            if unknown > 0 && waited >= WATCH_EVERY * 2 {
                let line = format!("waiting for a server to ingest {}", tasks(unknown));
                screen.say(&line, output)?;
            }
            interrupt.sleep(WATCH_EVERY.max(began.elapsed() * WATCH_READING_PARTS));
            if interrupt.came() {
                screen.leave(output)?;
                let further = self.further();
                output.notice(&format!("stopped watching; the scans continue{further}"));
                return Err(Failure::Found(Exit::Interrupted));
            }
        }
    }

    /// Whether all have ended; once it `is_late`, unknown tasks are no longer waited for.
    fn is_complete(&self, is_late: bool) -> bool {
        let is_done = |one: &Watched| one.has_ended() || one.task.is_none() && is_late;
        self.tasks.iter().all(is_done) && (self.unknown() == 0 || is_late)
    }

    /// What the user can do about the scans now; nothing if no single name covers them.
    fn further(&self) -> String {
        match (
            &self.tasks[..],
            self.job.as_ref().or(self.pushed_as.as_ref()),
        ) {
            ([one], None) => format!(
                "; check with: scanpush status {id}; stop with: scanpush cancel {id}",
                id = one.id
            ),
            (_, Some(job)) => {
                format!("; check with: scanpush job {job}; stop with: scanpush cancel -job {job}")
            }
            (_, None) => String::new(),
        }
    }

    /// Reads all tasks that have not ended. If Redis does not answer, `on_error` is called for up to [`WATCH_REDIS_WAIT`]. The inner error is
    /// final.
    fn update(
        &mut self,
        claim_table: &mut ClaimTable,
        redis_at: &mut Instant,
        on_error: impl FnOnce(ClaimTableError) -> Result<(), Failure>,
    ) -> Result<Result<(), String>, Failure> {
        match self.read(claim_table) {
            Ok(result) => {
                *redis_at = Instant::now();
                Ok(result)
            }
            Err(error) if redis_at.elapsed() >= WATCH_REDIS_WAIT => Ok(Err(error.to_string())),
            Err(error) => on_error(error).map(Ok),
        }
    }

    fn read(
        &mut self,
        claim_table: &mut ClaimTable,
    ) -> Result<Result<(), String>, ClaimTableError> {
        if let Some(job) = self.job.clone() {
            match find_job(&job, claim_table)? {
                Ok((id, tasks)) => {
                    self.job = Some(id);
                    tasks.into_iter().for_each(|id| self.add(id));
                }
                // It may still appear.
                Err(NoJob::Unknown { .. }) => {}
                Err(NoJob::Several(problem)) => return Ok(Err(problem)),
            }
        }
        if let Some(problem) = self.resolve_words(|named| named.find(claim_table))? {
            return Ok(Err(problem));
        }
        let open: Vec<usize> = (0..self.tasks.len())
            .filter(|&i| !self.tasks[i].has_ended())
            .collect();
        let now = Instant::now();
        let ids: Vec<TaskId> = open.iter().map(|&i| self.tasks[i].id.clone()).collect();
        for (i, task) in open.into_iter().zip(claim_table.tasks_of(&ids)?) {
            self.tasks[i].update(task, now);
        }
        Ok(Ok(()))
    }

    /// Completes abbreviated ids with `find`; if that fails, they are kept. Returns a problem that is final, if there is one.
    fn resolve_words(
        &mut self,
        find: impl FnOnce(&Named) -> Result<Found, ClaimTableError>,
    ) -> Result<Option<String>, ClaimTableError> {
        if self.words.is_empty() {
            return Ok(None);
        }
        let found = find(&Named {
            words: self.words.clone(),
            job: None,
        })?;
        found.tasks.into_iter().for_each(|id| self.add(id));
        self.words = found.unknown;
        Ok(found.problems.into_iter().next())
    }

    fn add(&mut self, id: TaskId) {
        if self.known.insert(id.clone()) {
            self.tasks.push(Watched {
                id,
                task: None,
                gone: None,
            });
        }
    }

    /// Tasks that were known at least once.
    fn known_tasks(&self) -> usize {
        self.tasks.iter().filter(|one| one.task.is_some()).count()
    }

    /// Tasks and words that were never known; a job without a task counts as one.
    fn unknown(&self) -> usize {
        let no_job = self.job.is_some() && self.tasks.is_empty();
        self.tasks.len() - self.known_tasks() + self.words.len() + usize::from(no_job)
    }

    /// Reports what was never known, and returns the result.
    fn end(&self, connection: &Connection, output: &mut Output<'_>) -> Result<(), Failure> {
        output.flush()?;
        let unknown = self.unknown();
        if unknown > 0 {
            output.notice(&format!(
                "no server of group {} has ingested {} within {} s, or Redis has lost them: check whether one is up with scanpush servers",
                connection.group,
                tasks(unknown),
                WATCH_UNKNOWN_WAIT.as_secs()
            ));
        }
        let states = self
            .tasks
            .iter()
            .filter_map(|one| Some(one.task.as_ref()?.status));
        verdict(states, unknown)
    }
}

/// A failed task counts for more than a cancelled one, and that for more than an unknown one.
pub fn verdict(states: impl Iterator<Item = State>, unknown: usize) -> Result<(), Failure> {
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

fn tasks(count: usize) -> String {
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
    fn the_exit_code_is_that_of_the_worst() {
        use State::*;
        let exit = |states: &[State], unknown| match verdict(states.iter().copied(), unknown) {
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
    fn abbreviated_ids_are_kept_while_redis_does_not_answer() {
        let word: TaskId = "abcd".parse().unwrap();
        let mut watch = Watch {
            words: vec![word.clone()],
            ..Watch::default()
        };
        let error = || ClaimTableError::Malformed {
            what: "x".to_owned(),
            value: "y".to_owned(),
        };
        assert!(watch.resolve_words(|_| Err(error())).is_err());
        assert_eq!((watch.words.clone(), watch.unknown()), (vec![word], 1));
        let found = || Found {
            tasks: vec!["abcdef".parse().unwrap()],
            ..Found::default()
        };
        assert!(watch.resolve_words(|_| Ok(found())).unwrap().is_none());
        assert_eq!((watch.words.len(), watch.tasks.len()), (0, 1));
    }

    #[test]
    fn a_task_is_watched_once_and_until_it_has_ended() {
        let id = |text: &str| -> TaskId { text.parse().unwrap() };
        let mut watch = Watch::of([id("a"), id("b"), id("a")], None);
        assert_eq!(
            (watch.tasks.len(), watch.known_tasks(), watch.unknown()),
            (2, 0, 2)
        );
        watch.tasks[0].task = Some(task());
        assert!(!watch.tasks[0].has_ended() && watch.unknown() == 1);
        watch.tasks[0].task = Some(LiveTask {
            finished_ms: Some(1),
            ..task()
        });
        assert!(watch.tasks[0].has_ended());
        assert_eq!(watch.further(), "");
        assert_eq!(
            Watch::of([id("a")], None).further(),
            "; check with: scanpush status a; stop with: scanpush cancel a"
        );
        assert_eq!(
            Watch::of([id("a"), id("b")], Some(id("j"))).further(),
            "; check with: scanpush job j; stop with: scanpush cancel -job j"
        );
        let job = Watch {
            job: Some(id("j")),
            ..Watch::default()
        };
        assert_eq!(
            job.unknown(),
            1,
            "a job that nobody knows yet is waited for"
        );
    }

    #[test]
    fn a_task_that_redis_lost_shows_for_a_while() {
        let mut one = Watched {
            id: "a".parse().unwrap(),
            task: None,
            gone: None,
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
