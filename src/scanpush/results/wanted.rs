//! Which tasks the findings are wanted of, and what Redis tells of them. Without Redis a word is a whole id, and nothing more is
//! known.

use super::super::ids::Named;
use super::super::options::Connection;
use super::super::output::Output;
use crate::claim_table::{ClaimTable, ClaimTableError, LiveTask};
use crate::exit::Failure;
use crate::model::{State, TaskId};
use std::time::Duration;
use std::time::Instant;

/// A task that Redis does not know is waited for so long: it may have been pushed just now.
const FOLLOW_UNKNOWN_WAIT: Duration = Duration::from_secs(30);

/// The tasks, and where to ask for them.
pub struct Wanted {
    named: Named,
    ledger: ClaimTable,
    /// In the order of the command line.
    pub tasks: Vec<WantedTask>,
    /// Why Redis could not be asked.
    pub away: Option<String>,
}

/// A task whose findings are wanted.
pub struct WantedTask {
    /// Its id.
    pub id: TaskId,
    /// As Redis last told; none where Redis knows none.
    pub live: Option<LiveTask>,
    /// Since when Redis has known none.
    unknown_since: Option<Instant>,
}

impl WantedTask {
    fn new(id: TaskId) -> WantedTask {
        WantedTask {
            id,
            live: None,
            unknown_since: None,
        }
    }

    /// As if Redis had told this.
    #[cfg(test)]
    pub fn told(id: TaskId, live: Option<LiveTask>) -> WantedTask {
        WantedTask {
            live,
            ..WantedTask::new(id)
        }
    }

    /// Its state, where it is known.
    pub fn state(&self) -> Option<State> {
        self.live.as_ref().map(|live| live.status)
    }

    /// True where all its findings are in Kafka: its end is told only after they are.
    fn is_over(&self) -> bool {
        self.live
            .as_ref()
            .is_some_and(|live| live.status.is_terminal() && live.finished_ms.is_some())
    }
}

impl Wanted {
    /// Finds the tasks. Says what is wrong with the names and errs where they are ambiguous; errs where Redis is away and
    /// needed: for a job, and where `follow` is set.
    pub fn find(
        named: Named,
        connection: &Connection,
        follow: bool,
        output: &mut Output<'_>,
    ) -> Result<Wanted, Failure> {
        let mut wanted = Wanted {
            ledger: ClaimTable::new(&connection.redis, connection.group.as_str()),
            named,
            tasks: Vec::new(),
            away: None,
        };
        let error = match wanted.ask() {
            Ok(problems) if problems.is_empty() => return Ok(wanted),
            Ok(problems) => {
                for problem in problems {
                    output.problem(&format!("scanpush: {problem}"));
                }
                return Err(Failure::Said);
            }
            Err(error) => error.to_string(),
        };
        if wanted.named.job.is_some() || follow {
            let flag = if follow { "-follow" } else { "-job" };
            return Err(Failure::Runtime(format!("{error} ({flag} needs Redis)")));
        }
        wanted.tasks.clear();
        for word in &wanted.named.words {
            if !wanted.tasks.iter().any(|task| task.id == *word) {
                wanted.tasks.push(WantedTask::new(word.clone()));
            }
        }
        wanted.away = Some(error);
        Ok(wanted)
    }

    fn ask(&mut self) -> Result<Vec<String>, ClaimTableError> {
        let mut problems = Vec::new();
        for word in self.named.words.clone() {
            let one = Named {
                words: vec![word.clone()],
                job: None,
            };
            let found = one.find(&mut self.ledger)?;
            problems.extend(found.problems);
            for id in found.tasks.into_iter().chain(found.unknown) {
                self.add(id);
            }
        }
        if self.named.job.is_some() {
            let found = self.named.find(&mut self.ledger)?;
            problems.extend(found.problems);
            for id in found.tasks {
                self.add(id);
            }
        }
        self.look_at_states()?;
        Ok(problems)
    }

    /// Asks again for the states, and for tasks that the job has got since. Gives the new ones.
    pub fn look(&mut self) -> Result<Vec<TaskId>, ClaimTableError> {
        let mut new = Vec::new();
        if self.named.job.is_some() {
            let known: std::collections::HashSet<TaskId> =
                self.tasks.iter().map(|task| task.id.clone()).collect();
            let found = self.named.find(&mut self.ledger)?;
            new.extend(found.tasks.into_iter().filter(|id| !known.contains(id)));
            self.tasks.extend(new.iter().cloned().map(WantedTask::new));
        }
        self.look_at_states()?;
        Ok(new)
    }

    /// True where nothing more can come: all have ended, or nobody has known them for [`FOLLOW_UNKNOWN_WAIT`]. A task that a
    /// job still names and that is not known itself ended long ago.
    pub fn are_over(&self) -> bool {
        self.tasks.iter().all(|task| match task.unknown_since {
            None => task.is_over(),
            Some(since) => self.named.job.is_some() || since.elapsed() >= FOLLOW_UNKNOWN_WAIT,
        })
    }

    /// False for the tasks of a job.
    pub fn is_by_id(&self) -> bool {
        self.named.job.is_none()
    }

    fn add(&mut self, id: TaskId) {
        if self.named.job.is_some() || !self.tasks.iter().any(|task| task.id == id) {
            self.tasks.push(WantedTask::new(id));
        }
    }

    /// What has ended stays as it is: no need to ask again.
    fn look_at_states(&mut self) -> Result<(), ClaimTableError> {
        let open: Vec<usize> = (0..self.tasks.len())
            .filter(|&n| !self.tasks[n].is_over())
            .collect();
        let ids: Vec<TaskId> = open.iter().map(|&n| self.tasks[n].id.clone()).collect();
        for (&n, live) in open.iter().zip(self.ledger.tasks_of(&ids)?) {
            let task = &mut self.tasks[n];
            task.unknown_since = match live {
                Some(_) => None,
                None => Some(task.unknown_since.unwrap_or_else(Instant::now)),
            };
            task.live = live;
        }
        Ok(())
    }
}
