//! Lists of tasks and jobs, those that changed last first.

use super::error::StoreError;
use super::reader::{StoreReader, StoredTask, pattern_of};
use super::schema::{TaskRow, parsed, signed, tasks, unsigned};
use crate::model::{State, TaskId};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use std::collections::{BTreeMap, HashMap};

/// Which tasks of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskListFilter {
    /// Only in one of these states; empty: in any.
    pub states: Vec<State>,
    /// Only those whose state this server reported.
    pub server: Option<String>,
    /// Only those with this text in their id, job, targets or error.
    pub text: Option<String>,
    /// Only those of this job.
    pub job: Option<TaskId>,
}

/// A place in a list: when the last entry before it changed, in unix milliseconds, and its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListPlace {
    /// The time.
    pub changed_ms: u64,
    /// The id.
    pub id: TaskId,
}

/// A job as an entry of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobSummary {
    /// Its id.
    pub job_id: TaskId,
    /// Its tasks, by state.
    pub states: BTreeMap<&'static str, u64>,
    /// Findings of its tasks.
    pub found: u64,
    /// When one of its tasks changed last, in unix milliseconds.
    pub changed_ms: u64,
}

#[derive(QueryableByName)]
struct JobStateRow {
    #[diesel(sql_type = Text)]
    job_id: String,
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = BigInt)]
    task_count: i64,
    #[diesel(sql_type = BigInt)]
    found: i64,
    #[diesel(sql_type = BigInt)]
    changed_ms: i64,
}

const JOB_STATES: &str = "SELECT job_id, state, COUNT(*) AS task_count, CAST(SUM(found) AS BIGINT) AS found, MAX(changed_ms) AS changed_ms \
     FROM tasks WHERE job_id IS NOT NULL GROUP BY job_id, state";

impl StoreReader {
    /// At most `limit` tasks that match, those that changed last first, from the one after `after` on.
    pub fn latest_tasks(
        &mut self,
        filter: &TaskListFilter,
        after: Option<&ListPlace>,
        limit: usize,
    ) -> Result<Vec<StoredTask>, StoreError> {
        // Only the ids at first: the rows may have long lists of targets, and many tasks may have changed at the same time.
        let mut query = tasks::table
            .order((tasks::changed_ms.desc(), tasks::task_id.desc()))
            .limit(signed(limit as u64))
            .select(tasks::task_id)
            .into_boxed();
        if !filter.states.is_empty() {
            let states: Vec<&str> = filter.states.iter().map(|state| state.as_str()).collect();
            query = query.filter(tasks::state.eq_any(states));
        }
        if let Some(server) = &filter.server {
            query = query.filter(tasks::server.eq(server));
        }
        if let Some(job) = &filter.job {
            query = query.filter(tasks::job_id.eq(job.as_str()));
        }
        if let Some(text) = &filter.text {
            let pattern = format!("%{}", pattern_of(text));
            query = query.filter(
                tasks::task_id
                    .like(pattern.clone())
                    .escape('\\')
                    .or(tasks::job_id.like(pattern.clone()).escape('\\'))
                    .or(tasks::ip_range.like(pattern.clone()).escape('\\'))
                    .or(tasks::error.like(pattern).escape('\\')),
            );
        }
        if let Some(after) = after {
            let at = signed(after.changed_ms);
            query = query.filter(tasks::changed_ms.le(at)).filter(
                tasks::changed_ms.lt(at).or(tasks::changed_ms
                    .eq(at)
                    .and(tasks::task_id.lt(after.id.as_str()))),
            );
        }
        let ids: Vec<String> = query
            .load(&mut self.connection)
            .map_err(|error| self.named(error))?;
        let rows: Vec<TaskRow> = tasks::table
            .filter(tasks::task_id.eq_any(&ids))
            .select(TaskRow::as_select())
            .load(&mut self.connection)
            .map_err(|error| self.named(error))?;
        let mut rows: HashMap<String, TaskRow> = rows
            .into_iter()
            .map(|row| (row.task_id.clone(), row))
            .collect();
        let rows = ids.iter().filter_map(|id| rows.remove(id));
        rows.map(StoredTask::try_from).collect()
    }

    /// At most `limit` jobs, those with the latest change of a task first, from the one after `after` on; `text`: only those whose id has this text.
    /// Reads every task that belongs to a job.
    pub fn latest_jobs(
        &mut self,
        text: Option<&str>,
        after: Option<&ListPlace>,
        limit: usize,
    ) -> Result<Vec<JobSummary>, StoreError> {
        let rows: Vec<JobStateRow> = diesel::sql_query(JOB_STATES)
            .load(&mut self.connection)
            .map_err(|error| self.named(error))?;
        let mut jobs: HashMap<String, JobSummary> = HashMap::new();
        for row in rows {
            if text.is_some_and(|text| !row.job_id.contains(text)) {
                continue;
            }
            let state: State = parsed("tasks.state", &row.state)?;
            let job = match jobs.entry(row.job_id) {
                std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::hash_map::Entry::Vacant(new) => {
                    let job_id = parsed("tasks.job_id", new.key())?;
                    new.insert(JobSummary {
                        job_id,
                        states: BTreeMap::new(),
                        found: 0,
                        changed_ms: 0,
                    })
                }
            };
            job.states.insert(state.as_str(), unsigned(row.task_count));
            job.found = job.found.saturating_add(unsigned(row.found));
            job.changed_ms = job.changed_ms.max(unsigned(row.changed_ms));
        }
        let mut jobs: Vec<JobSummary> = jobs.into_values().collect();
        jobs.sort_unstable_by(|a, b| (b.changed_ms, &b.job_id).cmp(&(a.changed_ms, &a.job_id)));
        let is_after = |job: &JobSummary| {
            after.is_none_or(|after| (job.changed_ms, &job.job_id) < (after.changed_ms, &after.id))
        };
        Ok(jobs.into_iter().filter(is_after).take(limit).collect())
    }
}
