//! The list of tasks, those that changed last first, and the changes of the state of one.

use super::connection::AnyConnection;
use super::error::StoreError;
use super::filter::TaskFilter;
use super::merge::{Found, Page, Source, Step, page};
use super::places::TaskPlace;
use super::reader::{StoreReader, StoredTask};
use super::schema::{TaskEventRow, TaskRow, parsed, signed, task_events, tasks, unsigned};
use crate::model::coverage::Proof;
use crate::model::{State, Targets, TaskId};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};
use std::cmp::Reverse;

/// State changes of a task that are shown at most, the latest.
const TASK_EVENTS_SHOWN_MAX: i64 = 1_000;
/// Scans that did not complete which are compared with networks.
const INCOMPLETE_COMPARED_MAX: i64 = 5_000;
/// Scans that did not complete which are listed.
const INCOMPLETE_LISTED_MAX: usize = 100;
/// The condition of the partial index of tasks that prove nothing. Not with a parameter: the database needs to see the value.
const IS_UNPROVEN: &str = "coalesce(proof, '') <> 'covered'";

/// A change of a task's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskEvent {
    /// When, in unix milliseconds by the server's clock.
    pub at_ms: u64,
    /// The new state.
    pub state: State,
    /// The server that reported it.
    pub server: String,
    /// Attempts started.
    pub attempt: u32,
    /// How often the task was retried after its end.
    pub retry: u32,
    /// Findings so far.
    pub found: u64,
    /// The reason, if there is one.
    pub error: Option<String>,
}

/// A scan that proves nothing about what it did not find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnprovenScan {
    /// Its task.
    pub task_id: TaskId,
    /// The state of the task.
    pub state: State,
    /// The reason of the state.
    pub error: Option<String>,
    /// What it proves.
    pub proof: Option<Proof>,
    /// When its state changed last, in unix milliseconds.
    pub changed_ms: u64,
    /// What it scans.
    targets: Targets,
}

/// The latest scans that prove nothing about what they did not find, those that changed last first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnprovenScans {
    scans: Vec<UnprovenScan>,
    /// There may be others whose state changed at this time or before, in unix milliseconds.
    cut_ms: Option<u64>,
    /// When the state of one with unknown targets changed last.
    unknown_ms: Option<u64>,
}

/// Those of some networks.
#[derive(Debug, PartialEq, Eq)]
pub struct UnprovenScansOf<'a> {
    /// The scans, those that changed last first.
    pub scans: Vec<&'a UnprovenScan>,
    /// Whether there may be more: only a limited number is compared and listed.
    pub may_be_more: bool,
}

impl UnprovenScans {
    /// Those with targets in these networks whose state changed at or after `since`, in unix seconds.
    pub fn of(&self, networks: &Targets, since: u64) -> UnprovenScansOf<'_> {
        let since_ms = since.saturating_mul(1000);
        let is_recent = |scan: &&UnprovenScan| scan.changed_ms >= since_ms;
        let mut scans: Vec<&UnprovenScan> = self
            .scans
            .iter()
            .take_while(is_recent)
            .filter(|scan| !scan.targets.intersection(networks).is_empty())
            .take(INCOMPLETE_LISTED_MAX + 1)
            .collect();
        let is_cut = scans.len() > INCOMPLETE_LISTED_MAX;
        scans.truncate(INCOMPLETE_LISTED_MAX);
        UnprovenScansOf {
            scans,
            may_be_more: is_cut
                || [self.cut_ms, self.unknown_ms]
                    .into_iter()
                    .flatten()
                    .any(|ms| ms >= since_ms),
        }
    }
}

/// What tasks are ordered by, the latest change first.
type TaskOrder = Reverse<(i64, String)>;

impl StoreReader {
    /// The next tasks that match, at most `limit`, those that changed last first. Takes about 0.1 s at most, whatever matches.
    pub fn tasks_page(
        &mut self,
        filter: &TaskFilter,
        after: Option<&TaskPlace>,
        limit: usize,
    ) -> Result<Page<StoredTask, TaskPlace>, StoreError> {
        let after = after.map(|place| Reverse((signed(place.changed_ms), place.id.to_string())));
        let is_by_state = filter.job_id.is_none() && filter.server.is_none();
        let mut states: Vec<Option<State>> = filter.states.iter().copied().map(Some).collect();
        states.sort_unstable_by_key(|state| state.map(State::as_str));
        states.dedup();
        if !is_by_state || states.is_empty() {
            states = vec![None];
        }
        let sources = states.into_iter().map(|state| TaskSource {
            filter,
            state,
            after: after.clone(),
        });
        let budget = self.page_budget();
        self.run(|connection| {
            let page = page(connection, sources.collect(), limit, budget)?;
            page.try_map(StoredTask::try_from, |Reverse((changed_ms, id))| {
                Ok(TaskPlace {
                    changed_ms: unsigned(changed_ms),
                    id: parsed("tasks.task_id", &id)?,
                })
            })
        })
    }

    /// The changes of the state of a task, oldest first; of more than 1000 the latest.
    pub fn task_events(&mut self, task_id: &TaskId) -> Result<Vec<TaskEvent>, StoreError> {
        self.run(|connection| {
            let rows: Vec<TaskEventRow> = task_events::table
                .filter(task_events::task_id.eq(task_id.as_str()))
                .order((
                    task_events::at_ms.desc(),
                    task_events::retry.desc(),
                    task_events::fence.desc(),
                    task_events::state.asc(),
                ))
                .limit(TASK_EVENTS_SHOWN_MAX)
                .select(TaskEventRow::as_select())
                .load(connection)?;
            rows.into_iter().rev().map(TaskEvent::try_from).collect()
        })
    }

    /// The latest scans that began and did not complete, or completed without proof. Those that are still running belong to them.
    pub fn unproven_scans(&mut self) -> Result<UnprovenScans, StoreError> {
        self.run(|connection| {
            let rows: Vec<TaskRow> = tasks::table
                .filter(sql::<Bool>(IS_UNPROVEN))
                .order(tasks::changed_ms.desc())
                .limit(INCOMPLETE_COMPARED_MAX)
                .select(TaskRow::as_select())
                .load(connection)?;
            let is_cut = rows.len() as i64 >= INCOMPLETE_COMPARED_MAX;
            let cut_ms = rows.last().filter(|_| is_cut);
            let cut_ms = cut_ms.map(|row| unsigned(row.changed_ms));
            let mut scans = Vec::new();
            let mut unknown_ms = None;
            for row in rows {
                let task = StoredTask::try_from(row)?;
                let changed_ms = task.changed_ms;
                match unproven(task) {
                    Unproven::Not => {}
                    Unproven::Scan(scan) => scans.push(*scan),
                    Unproven::Unknown => unknown_ms = unknown_ms.max(Some(changed_ms)),
                }
            }
            Ok(UnprovenScans {
                scans,
                cut_ms,
                unknown_ms,
            })
        })
    }
}

/// Whether a task is a scan that proves nothing.
enum Unproven {
    /// It has a proof, or never began.
    Not,
    /// It is.
    Scan(Box<UnprovenScan>),
    /// It is, but what it scanned is unknown.
    Unknown,
}

fn unproven(task: StoredTask) -> Unproven {
    let has_begun =
        task.begun_ms.is_some() || matches!(task.state, State::Failed | State::Cancelled);
    let is_proven = task.state == State::Completed && task.proof == Some(Proof::Covered);
    if !has_begun || is_proven {
        return Unproven::Not;
    }
    let coverage = task.parameters.map(|parameters| parameters.coverage());
    let Some(Ok(coverage)) = coverage else {
        return Unproven::Unknown;
    };
    Unproven::Scan(Box::new(UnprovenScan {
        task_id: task.task_id,
        state: task.state,
        error: task.error,
        proof: task.proof,
        changed_ms: task.changed_ms,
        targets: coverage.targets,
    }))
}

/// Tasks of a job, of a server, in a state, or all of them.
struct TaskSource<'a> {
    filter: &'a TaskFilter,
    /// Only in this state, which the index finds.
    state: Option<State>,
    after: Option<TaskOrder>,
}

/// A condition on tasks for either database.
type TaskCondition = Box<
    dyn BoxableExpression<
            tasks::table,
            <AnyConnection as diesel::Connection>::Backend,
            SqlType = Bool,
        >,
>;

/// What the two databases do not have in common.
struct Dialect {
    /// Ids in the order of their bytes.
    id: &'static str,
    /// The columns without an index, so that SQLite uses the index that has the rows in order.
    state: &'static str,
    server: &'static str,
    /// The place of a text in another.
    find: &'static str,
}

const SQLITE: Dialect = Dialect {
    id: "tasks.task_id",
    state: "+tasks.state",
    server: "+tasks.server",
    find: "instr",
};

const POSTGRES: Dialect = Dialect {
    id: "tasks.task_id COLLATE \"C\"",
    state: "tasks.state",
    server: "tasks.server",
    find: "strpos",
};

fn dialect_of(connection: &AnyConnection) -> &'static Dialect {
    match connection {
        AnyConnection::Sqlite(_) => &SQLITE,
        AnyConnection::Postgres(_) => &POSTGRES,
    }
}

impl Source for TaskSource<'_> {
    type Place = TaskOrder;
    type Row = TaskRow;

    fn read(
        &mut self,
        connection: &mut AnyConnection,
        step: Step,
    ) -> Result<Found<TaskOrder, TaskRow>, StoreError> {
        let dialect = dialect_of(connection);
        let end = match step.scanned {
            None => None,
            Some(scanned) => self.end_of_step(connection, scanned)?,
        };
        let mut query = tasks::table
            .order((tasks::changed_ms.desc(), sql::<Text>(dialect.id).desc()))
            .limit(step.rows as i64)
            .select(TaskRow::as_select())
            .into_boxed();
        let oldest = end.as_ref().map(|Reverse((changed_ms, _))| *changed_ms);
        if let Some(oldest) = oldest {
            query = query.filter(tasks::changed_ms.ge(oldest));
        }
        for condition in self.in_order(dialect) {
            query = query.filter(condition);
        }
        for condition in self.conditions(dialect) {
            query = query.filter(condition);
        }
        let loaded: Vec<TaskRow> = query.load(connection)?;
        let is_full = loaded.len() >= step.rows;
        let mut rows = Vec::with_capacity(loaded.len());
        let mut last_row = None;
        for row in loaded {
            let place = Reverse((row.changed_ms, row.task_id.clone()));
            last_row = Some(place.clone());
            if end.as_ref().is_none_or(|end| place <= *end) {
                rows.push((place, row));
            }
        }
        let reached = match (is_full, end) {
            (true, Some(end)) => last_row.map(|last| last.min(end)),
            (true, None) => last_row,
            (false, end) => end,
        };
        self.after = reached.clone();
        Ok(Found { rows, reached })
    }
}

impl TaskSource<'_> {
    /// What the index finds in order: the job, else the server, else the state; after `after`.
    fn in_order(&self, dialect: &Dialect) -> Vec<TaskCondition> {
        let mut conditions: Vec<TaskCondition> = Vec::new();
        if let Some(job_id) = &self.filter.job_id {
            let is_of_job = tasks::job_id.eq(job_id.to_string());
            conditions.push(Box::new(is_of_job.assume_not_null()));
        } else if let Some(server) = &self.filter.server {
            let is_of_server = tasks::server.eq(server.clone());
            conditions.push(Box::new(is_of_server.assume_not_null()));
        } else if let Some(state) = self.state {
            conditions.push(Box::new(tasks::state.eq(state.as_str())));
        }
        if let Some(Reverse((changed_ms, id))) = &self.after {
            conditions.push(Box::new(tasks::changed_ms.le(*changed_ms)));
            let is_next = tasks::changed_ms
                .eq(*changed_ms)
                .and(sql::<Text>(dialect.id).lt(id.clone()));
            conditions.push(Box::new(tasks::changed_ms.lt(*changed_ms).or(is_next)));
        }
        conditions
    }

    /// What the database tests with the rows.
    fn conditions(&self, dialect: &Dialect) -> Vec<TaskCondition> {
        let mut conditions: Vec<TaskCondition> = Vec::new();
        if self.state.is_none() && !self.filter.states.is_empty() {
            let names: Vec<&str> = self
                .filter
                .states
                .iter()
                .map(|state| state.as_str())
                .collect();
            let is_one = names.iter().fold(None, |all: Option<TaskCondition>, name| {
                let one = sql::<Text>(dialect.state).eq((*name).to_owned());
                Some(match all {
                    None => Box::new(one),
                    Some(all) => Box::new(all.or(one)),
                })
            });
            conditions.extend(is_one);
        }
        if let (Some(_), Some(server)) = (&self.filter.job_id, &self.filter.server) {
            conditions.push(Box::new(sql::<Text>(dialect.server).eq(server.clone())));
        }
        if let Some(text) = &self.filter.text {
            let text = text.to_ascii_lowercase();
            let columns = ["task_id", "job_id", "ip_range", "error"];
            let has_text = columns
                .iter()
                .fold(None, |all: Option<TaskCondition>, column| {
                    let find = format!("{}(lower(coalesce(tasks.{column}, '')), ", dialect.find);
                    let one = sql::<Bool>(&find)
                        .bind::<Text, _>(text.clone())
                        .sql(") > 0");
                    Some(match all {
                        None => Box::new(one),
                        Some(all) => Box::new(all.or(one)),
                    })
                });
            conditions.extend(has_text);
        }
        conditions
    }

    /// The place of the last of the next `scanned` rows, whether they match or not; none if there are fewer.
    fn end_of_step(
        &self,
        connection: &mut AnyConnection,
        scanned: usize,
    ) -> Result<Option<TaskOrder>, StoreError> {
        let dialect = dialect_of(connection);
        let mut query = tasks::table
            .order((tasks::changed_ms.desc(), sql::<Text>(dialect.id).desc()))
            .offset(scanned as i64 - 1)
            .limit(1)
            .select((tasks::changed_ms, tasks::task_id))
            .into_boxed();
        for condition in self.in_order(dialect) {
            query = query.filter(condition);
        }
        Ok(query.first(connection).optional()?.map(Reverse))
    }
}

impl TryFrom<TaskEventRow> for TaskEvent {
    type Error = StoreError;

    fn try_from(row: TaskEventRow) -> Result<TaskEvent, StoreError> {
        Ok(TaskEvent {
            at_ms: unsigned(row.at_ms),
            state: parsed("task_events.state", &row.state)?,
            server: row.server,
            attempt: u32::try_from(row.attempt).unwrap_or_default(),
            retry: u32::try_from(row.retry).unwrap_or_default(),
            found: unsigned(row.found),
            error: row.error,
        })
    }
}
