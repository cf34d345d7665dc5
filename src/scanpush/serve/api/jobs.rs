//! `/api/v1/jobs`: jobs, and orders about all tasks of a job.

use super::{json, json_with, priority};
use crate::claim_table::Order;
use crate::scanpush::job::Job;
use crate::scanpush::serve::findings_export::{self, Exported};
use crate::scanpush::serve::known_job;
use crate::scanpush::serve::known_task::KnownTask;
use crate::scanpush::serve::list_records::JobRecord;
use crate::scanpush::serve::lists::Rows;
use crate::scanpush::serve::orders::{self, JobOrder, id_of};
use crate::scanpush::serve::problem::Problem;
use crate::scanpush::serve::route::{Answer, Context, Route};
use crate::scanpush::serve::task_list::JobQuery;
use http::StatusCode;
use serde::Serialize;
use std::collections::BTreeMap;

/// Tasks that the document of a job contains; the list of tasks has all.
const JOB_DOCUMENT_TASKS_MAX: usize = 1000;

/// The routes.
pub const ROUTES: &[Route] = &[
    Route::read("/api/v1/jobs", list),
    Route::read("/api/v1/jobs/{job_id}", job),
    Route::read("/api/v1/jobs/{job_id}/findings", findings),
    Route::change("/api/v1/jobs/{job_id}/cancel", |context| {
        steer(context, Order::Cancel)
    }),
    Route::change("/api/v1/jobs/{job_id}/pause", |context| {
        steer(context, Order::Pause)
    }),
    Route::change("/api/v1/jobs/{job_id}/resume", |context| {
        steer(context, Order::Resume)
    }),
    Route::change("/api/v1/jobs/{job_id}/retry", |context| {
        ordered(orders::retry_job(context))
    }),
    Route::change("/api/v1/jobs/{job_id}/priority", |context| {
        ordered(orders::prioritise_job(context, priority(context)?))
    }),
];

fn list(context: &Context<'_>) -> Answer {
    #[derive(Serialize)]
    struct Document {
        jobs: Vec<JobRecord>,
        /// `after` of the next page; none if this is the last one.
        next: Option<String>,
    }
    let query = JobQuery::read(context)?;
    if let Some(answer) = query.export(context) {
        return answer;
    }
    let Rows { rows, next } = query.rows(context)?;
    Ok(json(&Document {
        jobs: rows.iter().map(JobRecord::from).collect(),
        next,
    }))
}

fn job(context: &Context<'_>) -> Answer {
    #[derive(Serialize)]
    struct Document<'a> {
        #[serde(flatten)]
        whole: JobFields<'a>,
        tasks: &'a [KnownTask],
        has_more_tasks: bool,
    }
    #[derive(Serialize)]
    struct JobFields<'a> {
        job_id: &'a str,
        state: crate::model::State,
        states: &'a BTreeMap<&'static str, usize>,
        progress: f64,
        rate_pps: f64,
        remaining_s: Option<u64>,
        found: u64,
    }
    let known = known_job::find(context, &id_of(context)?)?;
    let Job {
        job_id,
        state,
        states,
        progress,
        rate_pps,
        remaining_s,
        found,
        ..
    } = &known.whole;
    let shown = known.tasks.len().min(JOB_DOCUMENT_TASKS_MAX);
    Ok(json(&Document {
        whole: JobFields {
            job_id,
            state: *state,
            states,
            progress: *progress,
            rate_pps: *rate_pps,
            remaining_s: *remaining_s,
            found: *found,
        },
        tasks: &known.tasks[..shown],
        has_more_tasks: shown < known.tasks.len(),
    }))
}

fn findings(context: &Context<'_>) -> Answer {
    let id = id_of(context)?;
    let job = known_job::find(context, &id)?;
    let tasks = job.tasks.iter().filter_map(|task| {
        Some(Exported {
            id: task.id().parse().ok()?,
            found: task.found(),
        })
    });
    findings_export::answer(context, id.as_str(), tasks.collect())
}

fn steer(context: &Context<'_>, order: Order) -> Answer {
    ordered(orders::steer_job(context, order))
}

/// 200 if the order is in force for all tasks, 202 if it is not yet.
fn ordered(order: Result<JobOrder, Problem>) -> Answer {
    let order = order?;
    let status = match order.pending == 0 && order.is_ingesting != Some(true) {
        true => StatusCode::OK,
        false => StatusCode::ACCEPTED,
    };
    Ok(json_with(status, &order))
}
