//! The pages of the jobs, and the orders about a job.

use super::kept::or_last;
use super::rows::Pager;
use super::tasks;
use super::{Action, Message, StateCount, TaskTable, priority, see_other, sent_or};
use crate::claim_table::Order;
use crate::model::State;
use crate::scanpush::job::Job;
use crate::scanpush::serve::findings_export::{self, Exported, OFFERED};
use crate::scanpush::serve::known_job;
use crate::scanpush::serve::known_task::{KnownTask, Link, TaskRow, job_link, percent, shown_time};
use crate::scanpush::serve::layout::{Layout, page};
use crate::scanpush::serve::links;
use crate::scanpush::serve::lists::Rows;
use crate::scanpush::serve::orders::{self, JobOrder, id_of};
use crate::scanpush::serve::problem::Problem;
use crate::scanpush::serve::route::{Answer, Context, Route};
use crate::scanpush::serve::task_list::JobQuery;
use crate::scanpush::tasks::{short, span};
use crate::store::JobSummary;
use askama::Template;
use http::HeaderValue;

/// Tasks of a job that its page shows.
const JOB_ROWS_MAX: usize = 200;

/// `/jobs` and what is below it.
pub const ROUTES: &[Route] = &[
    Route::read("/jobs", |context| or_last(context, jobs)),
    Route::read("/jobs/{job_id}", job),
    Route::read("/jobs/{job_id}/findings", findings),
    Route::change("/jobs/{job_id}/cancel", |context| {
        done(orders::steer_job(context, Order::Cancel))
    }),
    Route::change("/jobs/{job_id}/pause", |context| {
        done(orders::steer_job(context, Order::Pause))
    }),
    Route::change("/jobs/{job_id}/resume", |context| {
        done(orders::steer_job(context, Order::Resume))
    }),
    Route::change("/jobs/{job_id}/retry", |context| {
        done(orders::retry_job(context))
    }),
    Route::change("/jobs/{job_id}/priority", |context| {
        done(orders::prioritise_job(context, priority(context)?))
    }),
];

#[derive(Template)]
#[template(path = "jobs.html", config = "src/scanpush/serve/askama.toml")]
struct JobsPage {
    layout: Layout,
    rows: Vec<JobRow>,
    pager: Pager,
}

/// A job as a row.
struct JobRow {
    link: Link,
    tasks: u64,
    states: Vec<StateCount>,
    found: u64,
    changed: String,
}

impl From<&JobSummary> for JobRow {
    fn from(job: &JobSummary) -> JobRow {
        JobRow {
            link: job_link(job.job_id.as_str()),
            tasks: job.tasks,
            states: StateCount::all(|wanted| {
                let mut counts = job.by_state.iter();
                counts
                    .find(|(state, _)| state.as_str() == wanted)
                    .map(|(_, count)| *count)
            }),
            found: job.found,
            changed: shown_time(Some(job.changed_ms)),
        }
    }
}

fn jobs(context: &Context<'_>) -> Answer {
    let query = JobQuery::read(context)?;
    if let Some(answer) = query.export(context) {
        return answer;
    }
    let Rows { rows, next } = query.rows(context)?;
    Ok(page(&JobsPage {
        layout: Layout::new(context, "Jobs", "/jobs"),
        pager: Pager::of_records(context.request, rows.len(), next.as_deref()),
        rows: rows.iter().map(JobRow::from).collect(),
    }))
}

#[derive(Template)]
#[template(path = "job.html", config = "src/scanpush/serve/askama.toml")]
struct JobPage {
    layout: Layout,
    message: Option<String>,
    link: Link,
    /// Its id as the value of a field of a query.
    job_value: String,
    state: &'static str,
    actions: Vec<Action>,
    changeable_priority: Option<u8>,
    progress: u32,
    found: u64,
    rate: String,
    left: String,
    states: Vec<StateCount>,
    table: TaskTable,
    has_more: bool,
    formats: [(&'static str, &'static str); 6],
}

fn job(context: &Context<'_>) -> Answer {
    let id = id_of(context)?;
    let message = Message::read(context)?;
    let title = format!("Job {id}");
    let found = known_job::find(context, &id);
    let known = match sent_or(context, found, message, &title, "job", "/jobs")? {
        Ok(known) => known,
        Err(waiting) => return Ok(waiting),
    };
    let whole = &known.whole;
    let link = job_link(id.as_str());
    let job_value = link.href.trim_start_matches("/jobs/").to_owned();
    Ok(page(&JobPage {
        layout: Layout::new(context, title, "/jobs"),
        message: message.map(|message| message.of_job().to_owned()),
        link,
        job_value,
        state: whole.state.as_str(),
        actions: actions(whole),
        changeable_priority: changeable_priority(&known.tasks),
        progress: percent(whole.progress),
        found: whole.found,
        rate: short(whole.rate_pps),
        left: whole.remaining_s.map_or("–".to_owned(), span),
        states: StateCount::all(|state| whole.states.get(state).map(|&count| count as u64)),
        table: TaskTable {
            rows: known
                .tasks
                .iter()
                .take(JOB_ROWS_MAX)
                .map(TaskRow::from)
                .collect(),
        },
        has_more: known.tasks.len() > JOB_ROWS_MAX,
        formats: OFFERED,
    }))
}

/// What can be ordered about a job with tasks in these states.
fn actions(job: &Job) -> Vec<Action> {
    let mut actions = match job.state {
        State::Paused => vec![Action::RESUME, Action::CANCEL],
        state if state.is_terminal() => Vec::new(),
        _ => vec![Action::PAUSE, Action::RESUME, Action::CANCEL],
    };
    let may_be_retried = |state: State| {
        state.may_be_retried()
            && job
                .states
                .get(state.as_str())
                .is_some_and(|&count| count > 0)
    };
    if State::ALL.into_iter().any(may_be_retried) {
        actions.insert(0, Action::RETRY);
    }
    actions
}

/// The highest priority of the tasks whose priority can be changed.
fn changeable_priority(tasks: &[KnownTask]) -> Option<u8> {
    let priorities = tasks.iter().filter_map(|task| match task {
        KnownTask::Live(task) => tasks::changeable_priority(task),
        KnownTask::Stored(_) => None,
    });
    priorities.max()
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
    findings_export::answer(context, &format!("job-{id}"), tasks.collect())
}

/// Back to the page of the job, which shows the result.
fn done(order: Result<JobOrder, Problem>) -> Answer {
    let order = order?;
    let message = Message::of_job_order(&order);
    let place = format!(
        "{}?result={}",
        links::job(order.job_id.as_str()),
        message.code()
    );
    let place = HeaderValue::from_str(&place).map_err(|_| Problem::not_found("no such page"))?;
    Ok(see_other(place))
}
