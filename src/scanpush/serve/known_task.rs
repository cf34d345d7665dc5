//! A task as Redis knows it, or as the database does if Redis has forgotten it or is away.

use super::links;
use super::problem::Problem;
use super::route::Context;
use super::site::Site;
use crate::claim_table::LiveTask;
use crate::model::text::one_line;
use crate::model::{State, TaskId};
use crate::scanpush::formats::date_form;
use crate::scanpush::status::PastTask;
use crate::scanpush::tasks::{now_ms, short, span, state_of};
use crate::store::StoredTask;
use serde::Serialize;

/// A task. In JSON it has the fields of `scanpush status -json`.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum KnownTask {
    /// From Redis.
    Live(Box<LiveTask>),
    /// From the database.
    Stored(Box<PastTask>),
}

impl KnownTask {
    /// Its state.
    pub fn state(&self) -> State {
        match self {
            KnownTask::Live(task) => task.status,
            KnownTask::Stored(task) => task.status,
        }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        match self {
            KnownTask::Live(task) => &task.task_id,
            KnownTask::Stored(task) => &task.task_id,
        }
    }

    /// Findings.
    pub fn found(&self) -> u64 {
        match self {
            KnownTask::Live(task) => task.found,
            KnownTask::Stored(task) => task.found,
        }
    }
}

/// The tasks of the database with what Redis knows about them now. Without Redis they stay as they are.
pub fn with_live(site: &Site, stored: Vec<StoredTask>) -> Vec<KnownTask> {
    let ids: Vec<TaskId> = stored.iter().map(|task| task.task_id.clone()).collect();
    let live = live_tasks(site, &ids);
    stored
        .into_iter()
        .zip(live)
        .map(|(stored, live)| match live {
            Some(live) => KnownTask::Live(Box::new(live)),
            None => KnownTask::Stored(Box::new(stored.into())),
        })
        .collect()
}

/// What Redis knows about these tasks; nothing while it is away.
pub fn live_tasks(site: &Site, ids: &[TaskId]) -> Vec<Option<LiveTask>> {
    let known = match ids.is_empty() {
        false => site.ask_redis(|table| table.tasks_of(ids)).ok(),
        true => None,
    };
    known.unwrap_or_else(|| vec![None; ids.len()])
}

/// A task with what both know. Errs with 404 if neither knows it, and with 503 if one of them is away and the other one does not know it.
pub fn find(
    context: &Context<'_>,
    id: &TaskId,
) -> Result<(Option<LiveTask>, Option<StoredTask>), Problem> {
    let live = live_tasks(context.site, std::slice::from_ref(id))
        .pop()
        .flatten();
    let stored = context.site.readers.try_ask(|reader| reader.task(id));
    match (live, stored) {
        (Some(live), stored) => Ok((Some(live), stored.ok().flatten())),
        (None, Ok(Some(stored))) => Ok((None, Some(stored))),
        (None, Ok(None)) => Err(unknown(context.site, &format!("task {id}"))),
        (None, Err(error)) => Err(Problem::unavailable(format!(
            "the database cannot be read: {error}"
        ))),
    }
}

/// Why `what` is not found in the database, and was not found in Redis.
pub fn unknown(site: &Site, what: &str) -> Problem {
    match site.live.latest().1 {
        Some(_) => Problem::unavailable(format!(
            "Redis is away, and the database does not know {what}"
        )),
        None => Problem::not_found(format!("{what} is unknown")),
    }
}

/// A task as a row of a table.
#[derive(Debug)]
pub struct TaskRow {
    /// Its id.
    pub id: String,
    /// The address of its page.
    pub href: String,
    /// Its state, with an order that is not in force yet.
    pub state: &'static str,
    /// Percent of its probes that were sent; none if that is unknown.
    pub progress: Option<u32>,
    /// What is left, its rate, and the server, while it runs.
    pub left: String,
    /// Packets per second.
    pub rate: String,
    /// Findings.
    pub found: u64,
    /// The server.
    pub server: String,
    /// Its targets, with its shard.
    pub targets: String,
    /// Its ports.
    pub ports: String,
    /// When its state changed last.
    pub changed: String,
    /// When it ended, how long ago.
    pub ended_ago: Option<String>,
    /// Its priority, if it is known.
    pub priority: Option<u8>,
    /// Its job.
    pub job: Option<Link>,
    /// The reason of its state, and when the next attempt begins.
    pub error: Option<String>,
}

/// A link to a task or job.
#[derive(Debug)]
pub struct Link {
    /// The text.
    pub text: String,
    /// The address.
    pub href: String,
}

/// A link to the page of a job.
pub fn job_link(id: &str) -> Link {
    Link {
        text: one_line(id),
        href: links::job(id),
    }
}

/// A time for people; a dash for none.
pub fn shown_time(at_ms: Option<u64>) -> String {
    at_ms
        .filter(|&at_ms| at_ms > 0)
        .map_or("–".to_owned(), |at_ms| date_form(at_ms / 1000))
}

/// How long ago that was.
pub fn ago(at_ms: u64) -> String {
    span(now_ms().saturating_sub(at_ms) / 1000)
}

/// Whole percent; 100 only if all is sent.
pub fn percent(progress: f64) -> u32 {
    progress.clamp(0.0, 100.0).floor() as u32
}

impl From<&KnownTask> for TaskRow {
    fn from(task: &KnownTask) -> TaskRow {
        match task {
            KnownTask::Live(task) => TaskRow::from(&**task),
            KnownTask::Stored(task) => TaskRow::from(&**task),
        }
    }
}

fn dash() -> String {
    "–".to_owned()
}

impl From<&LiveTask> for TaskRow {
    fn from(task: &LiveTask) -> TaskRow {
        let is_running = task.status == State::Running;
        let again = task.retry_ms.filter(|_| task.status == State::Queued);
        let again = again.map(|retry_ms| {
            let wait = span(retry_ms.saturating_sub(now_ms()).div_ceil(1000));
            format!("attempt {} in {wait}", task.attempt + 1)
        });
        let error = task.error.as_deref().map(one_line);
        let error: Vec<String> = again.into_iter().chain(error).collect();
        TaskRow {
            id: one_line(&task.task_id),
            href: links::task(&task.task_id),
            state: state_of(task),
            progress: Some(percent(task.progress)),
            left: task
                .remaining_s
                .filter(|_| is_running)
                .map_or_else(dash, span),
            rate: match is_running {
                true => short(task.rate_pps),
                false => dash(),
            },
            found: task.found,
            server: task.server.as_deref().map_or_else(dash, one_line),
            targets: targets(&task.ip_range, task.shard.as_deref()),
            ports: one_line(&task.ports),
            changed: shown_time(task.finished_ms.or(Some(task.updated_ms))),
            ended_ago: task.finished_ms.map(ago),
            priority: Some(task.priority),
            job: task.job_id.as_deref().map(job_link),
            error: (!error.is_empty()).then(|| error.join(": ")),
        }
    }
}

impl From<&PastTask> for TaskRow {
    fn from(task: &PastTask) -> TaskRow {
        TaskRow {
            id: one_line(&task.task_id),
            href: links::task(&task.task_id),
            state: task.status.as_str(),
            progress: (task.status == State::Completed).then_some(100),
            left: dash(),
            rate: dash(),
            found: task.found,
            server: task.server.as_deref().map_or_else(dash, one_line),
            targets: task
                .ip_range
                .as_deref()
                .map_or_else(dash, |ip_range| targets(ip_range, task.shard.as_deref())),
            ports: task.ports.as_deref().map_or_else(dash, one_line),
            changed: shown_time(Some(task.updated_ms)),
            ended_ago: task.finished_ms.map(ago),
            priority: None,
            job: task.job_id.as_deref().map(job_link),
            error: task.error.as_deref().map(one_line),
        }
    }
}

/// Longest list of targets in a table, in characters.
const TARGETS_SHOWN_MAX: usize = 60;

fn targets(ip_range: &str, shard: Option<&str>) -> String {
    let mut text: String = one_line(ip_range).chars().take(TARGETS_SHOWN_MAX).collect();
    if ip_range.chars().count() > TARGETS_SHOWN_MAX {
        text.push('…');
    }
    match shard {
        Some(shard) => format!("{text} {}", one_line(shard)),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scanpush::tasks::sample::task;

    #[test]
    fn addresses_of_pages_are_encoded_and_texts_have_no_control_characters() {
        let hostile = LiveTask {
            task_id: "a/b?<script>".into(),
            server: Some("x\u{1b}[2J".into()),
            ip_range: "1".repeat(100),
            job_id: Some("#j".into()),
            ..task()
        };
        let row = TaskRow::from(&hostile);
        assert_eq!(row.href, "/tasks/a%2Fb%3F%3Cscript%3E");
        assert_eq!(row.server, "x\u{fffd}[2J");
        assert!(row.targets.ends_with('…') && row.targets.chars().count() == 61);
        assert_eq!(row.job.unwrap().href, "/jobs/%23j");
        assert_eq!(row.progress, Some(99));
    }
}
