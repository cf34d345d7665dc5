//! The list of jobs, those that changed last first. Every page counts the tasks of all jobs, in an index that has all that is shown.

use super::connection::AnyConnection;
use super::error::StoreError;
use super::merge::Page;
use super::places::TaskPlace;
use super::reader::StoreReader;
use super::schema::{parsed, signed, unsigned};
use crate::model::{State, TaskId};
use diesel::deserialize::QueryableByName;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};

/// A job and how many of its tasks are in each state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSummary {
    /// Its id.
    pub job_id: TaskId,
    /// Its tasks.
    pub tasks: u64,
    /// Its tasks in each state, in the order of [`State::ALL`]; states without tasks are left out.
    pub by_state: Vec<(State, u64)>,
    /// Findings of all of its tasks.
    pub found: u64,
    /// When the first of them began, in unix milliseconds.
    pub begun_ms: Option<u64>,
    /// When the last of them ended, in unix milliseconds, if all of them have.
    pub ended_ms: Option<u64>,
    /// When the state of one of them changed last, in unix milliseconds.
    pub changed_ms: u64,
}

#[derive(QueryableByName)]
struct JobRow {
    #[diesel(sql_type = Text)]
    job_id: String,
    #[diesel(sql_type = BigInt)]
    tasks: i64,
    #[diesel(sql_type = BigInt)]
    queued: i64,
    #[diesel(sql_type = BigInt)]
    running: i64,
    #[diesel(sql_type = BigInt)]
    paused: i64,
    #[diesel(sql_type = BigInt)]
    completed: i64,
    #[diesel(sql_type = BigInt)]
    failed: i64,
    #[diesel(sql_type = BigInt)]
    cancelled: i64,
    #[diesel(sql_type = BigInt)]
    rejected: i64,
    #[diesel(sql_type = BigInt)]
    found: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    begun_ms: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    ended_ms: Option<i64>,
    #[diesel(sql_type = BigInt)]
    changed_ms: i64,
}

impl StoreReader {
    /// The next jobs, at most `limit`, those that changed last first.
    pub fn jobs_page(
        &mut self,
        after: Option<&TaskPlace>,
        limit: usize,
    ) -> Result<Page<JobSummary, TaskPlace>, StoreError> {
        let limit = limit.max(1);
        let mut rows = self.run(|connection| load(connection, after, limit.saturating_add(1)))?;
        let is_cut = rows.len() > limit;
        rows.truncate(limit);
        let jobs: Vec<JobSummary> = rows
            .into_iter()
            .map(JobSummary::try_from)
            .collect::<Result<_, _>>()?;
        let next = jobs.last().filter(|_| is_cut).map(|last| TaskPlace {
            changed_ms: last.changed_ms,
            id: last.job_id.clone(),
        });
        Ok(Page { rows: jobs, next })
    }
}

fn load(
    connection: &mut AnyConnection,
    after: Option<&TaskPlace>,
    limit: usize,
) -> Result<Vec<JobRow>, StoreError> {
    let id = match connection {
        AnyConnection::Sqlite(_) => "job_id",
        AnyConnection::Postgres(_) => "job_id COLLATE \"C\"",
    };
    let counts: Vec<String> = State::ALL
        .iter()
        .map(|state| {
            let name = state.as_str();
            format!("SUM(CASE WHEN state = '{name}' THEN 1 ELSE 0 END) AS {name}")
        })
        .collect();
    let (changed_ms, after_id) = after.map_or((i64::MAX, ""), |after| {
        (signed(after.changed_ms), after.id.as_str())
    });
    let text = format!(
        "SELECT job_id, COUNT(*) AS tasks, {}, CAST(SUM(found) AS BIGINT) AS found, MIN(begun_ms) AS begun_ms, \
         CASE WHEN COUNT(*) = COUNT(ended_ms) THEN MAX(ended_ms) END AS ended_ms, MAX(changed_ms) AS changed_ms \
         FROM tasks WHERE job_id IS NOT NULL GROUP BY job_id \
         HAVING MAX(changed_ms) < $1 OR (MAX(changed_ms) = $2 AND {id} < $3) \
         ORDER BY MAX(changed_ms) DESC, {id} DESC LIMIT $4",
        counts.join(", ")
    );
    let query = diesel::sql_query(text)
        .bind::<BigInt, _>(changed_ms)
        .bind::<BigInt, _>(changed_ms)
        .bind::<Text, _>(after_id)
        .bind::<BigInt, _>(limit as i64);
    Ok(match connection {
        AnyConnection::Sqlite(connection) => query.load(connection)?,
        AnyConnection::Postgres(connection) => query.load(connection)?,
    })
}

impl TryFrom<JobRow> for JobSummary {
    type Error = StoreError;

    fn try_from(row: JobRow) -> Result<JobSummary, StoreError> {
        let count_of = |state: State| match state {
            State::Queued => row.queued,
            State::Running => row.running,
            State::Paused => row.paused,
            State::Completed => row.completed,
            State::Failed => row.failed,
            State::Cancelled => row.cancelled,
            State::Rejected => row.rejected,
        };
        let by_state = State::ALL
            .iter()
            .map(|state| (*state, unsigned(count_of(*state))));
        Ok(JobSummary {
            job_id: parsed("tasks.job_id", &row.job_id)?,
            tasks: unsigned(row.tasks),
            by_state: by_state.filter(|(_, count)| *count > 0).collect(),
            found: unsigned(row.found),
            begun_ms: row.begun_ms.map(unsigned),
            ended_ms: row.ended_ms.map(unsigned),
            changed_ms: unsigned(row.changed_ms),
        })
    }
}
