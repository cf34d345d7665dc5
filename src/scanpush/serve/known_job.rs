//! A job as Redis and the database know it.

use super::known_task::{KnownTask, live_tasks, unknown, with_live};
use super::problem::Problem;
use super::route::Context;
use crate::claim_table::LiveTask;
use crate::model::{FoundByPass, State, TaskId};
use crate::scanpush::job::{Job, job};
use crate::scanpush::status::PastTask;
use std::collections::{HashMap, HashSet};

/// A job.
pub struct KnownJob {
    /// The job as a whole; without its tasks.
    pub whole: Job,
    /// Its tasks in order.
    pub tasks: Vec<KnownTask>,
}

/// The job with all its tasks. Errs with 404 if neither Redis nor the database knows it, and with 503 if one of them is away.
pub fn find(context: &Context<'_>, id: &TaskId) -> Result<KnownJob, Problem> {
    let site = context.site;
    let stored = site.readers.try_ask(|reader| reader.job(id));
    let (database_error, stored) = match stored {
        Ok(stored) => (None, stored.map(|job| job.tasks).unwrap_or_default()),
        Err(error) => (Some(error), Vec::new()),
    };
    let in_database: HashSet<TaskId> = stored.iter().map(|task| task.task_id.clone()).collect();
    let mut tasks = with_live(site, stored);
    // Tasks that the database does not have yet.
    let members = site.ask_redis(|table| table.job(id));
    let mut others = members.unwrap_or_default();
    others.retain(|id| !in_database.contains(id));
    let others = live_tasks(site, &others).into_iter().flatten();
    tasks.extend(others.map(|task| KnownTask::Live(Box::new(task))));
    let whole = job(id, tasks.iter().map(as_live).collect(), 0);
    match (whole, database_error) {
        (Some(whole), _) => Ok(in_order(whole, tasks)),
        (None, None) => Err(unknown(site, &format!("job {id}"))),
        (None, Some(error)) => Err(Problem::unavailable(format!(
            "the database cannot be read: {error}"
        ))),
    }
}

/// The tasks in the job's order.
fn in_order(mut whole: Job, tasks: Vec<KnownTask>) -> KnownJob {
    let mut by_id: HashMap<String, KnownTask> = tasks
        .into_iter()
        .map(|task| (task.id().to_owned(), task))
        .collect();
    let ordered = std::mem::take(&mut whole.tasks);
    let tasks = ordered
        .iter()
        .filter_map(|task| by_id.remove(&task.task_id));
    KnownJob {
        tasks: tasks.collect(),
        whole,
    }
}

/// What a job is computed from.
fn as_live(task: &KnownTask) -> LiveTask {
    match task {
        KnownTask::Live(task) => (**task).clone(),
        KnownTask::Stored(task) => of_past(task),
    }
}

fn of_past(task: &PastTask) -> LiveTask {
    LiveTask {
        task_id: task.task_id.clone(),
        status: task.status,
        progress: match task.status {
            State::Completed => 100.0,
            _ => 0.0,
        },
        rate_pps: 0.0,
        remaining_s: None,
        found: task.found,
        found_by_pass: FoundByPass::default(),
        server: task.server.clone(),
        attempt: task.attempt,
        ip_range: task.ip_range.clone().unwrap_or_default(),
        ports: task.ports.clone().unwrap_or_default(),
        band_width: task.band_width.unwrap_or(0),
        priority: 0,
        error: task.error.clone(),
        queued_ms: task.started_ms.unwrap_or(task.updated_ms),
        started_ms: task.started_ms,
        updated_ms: task.updated_ms,
        finished_ms: task.finished_ms,
        retry_ms: None,
        resume_pass: 1,
        resume_index: 0,
        retry: task.retry,
        order: None,
        probes: None,
        job_id: task.job_id.clone(),
        shard: task.shard.clone(),
        parallel: None,
    }
}
