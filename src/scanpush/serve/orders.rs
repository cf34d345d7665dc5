//! What a user orders about a task or a job: cancel, pause, resume, retry, priority. The page and the API share this, and it uses the code of the
//! commands.
//!
//! **Invariants:** a request waits at most a few seconds for an order to take effect; an order about a job takes longer only to give it. Each
//! order is a line of the log that says who gave it and what became of it.

use super::problem::Problem;
use super::route::Context;
use crate::claim_table::{Order, Prioritised, Restart};
use crate::model::task::Priority;
use crate::model::text::{one_line, quoted};
use crate::model::{State, TaskId};
use crate::scanpush::control::{
    CONTROL_REQUEST_WAIT, Outcome, Patience, Report, steer, steer_late,
};
use crate::scanpush::retry::{messages_of, startable, wait_ingested};
use crate::scanpush::task_topic;
use http::StatusCode;
use serde::Serialize;
use std::net::IpAddr;

/// What became of an order about a task. Field names are those of `-json`.
#[derive(Debug, Serialize)]
pub struct TaskOrder {
    /// The task.
    pub task_id: TaskId,
    /// The order.
    pub order: &'static str,
    /// The task's state; `cancelling` and `pausing` if the order is not in force yet.
    pub status: String,
    /// Why it is not in force yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The new priority, if that was ordered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// Whether it is in force.
    #[serde(skip)]
    pub is_in_force: bool,
}

/// What became of an order about a job.
#[derive(Debug, Serialize)]
pub struct JobOrder {
    /// The job.
    pub job_id: TaskId,
    /// The order.
    pub order: &'static str,
    /// Tasks for which it is in force.
    pub in_force: usize,
    /// Tasks for which it is not in force yet, and may never be if they end before.
    pub pending: usize,
    /// Tasks whose state does not allow it: they had ended before; or, for a retry, they have completed or have not ended.
    pub skipped: usize,
    /// Whether servers were still ingesting tasks of the job; the order may have missed those. Not known for a retry or a priority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_ingesting: Option<bool>,
    /// The new priority, if that was ordered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
}

/// The parameter of the path as an id. Errs with 404 if it cannot be one.
pub fn id_of(context: &Context<'_>) -> Result<TaskId, Problem> {
    let text = context.parameters.first().map_or("", String::as_str);
    text.parse()
        .map_err(|_| Problem::not_found(format!("{} is not an id", quoted(text))))
}

/// Cancels, pauses or resumes a task. Errs with 409 if its state does not allow that, and says the state.
pub fn steer_task(context: &Context<'_>, order: Order) -> Result<TaskOrder, Problem> {
    audited(context, "task", order.as_str(), |id| {
        apply_to_task(context, id, order)
    })
}

fn apply_to_task(context: &Context<'_>, id: &TaskId, order: Order) -> Result<TaskOrder, Problem> {
    let site = context.site;
    let reports = site.ask_redis(|table| {
        let ids = std::slice::from_ref(id);
        steer(order, ids, table, Patience::OF_REQUEST, &mut |_| ())
    })?;
    let Some(report) = reports.into_iter().next() else {
        return Err(Problem::unavailable("Redis gave no answer"));
    };
    let is_pending = is_pending(&report);
    match report.outcome {
        Outcome::UnknownTask => Err(unknown(context, id)),
        Outcome::Accepted | Outcome::NotInForce
            if report.outcome == Outcome::Accepted || is_pending =>
        {
            Ok(TaskOrder {
                task_id: id.clone(),
                order: order.as_str(),
                status: report.status.to_owned(),
                note: report.note,
                priority: None,
                is_in_force: !is_pending,
            })
        }
        _ => Err(Problem::conflict(format!(
            "task {id} is {}: {}",
            report.status,
            report.note.unwrap_or_default()
        ))),
    }
}

/// Whether the order will come into force without another one.
fn is_pending(report: &Report) -> bool {
    matches!(report.status, "cancelling" | "pausing")
}

/// Starts a task again from its checkpoint. Errs with 409 if its state does not allow that, and says the state.
pub fn retry_task(context: &Context<'_>) -> Result<TaskOrder, Problem> {
    audited(context, "task", "retry", |id| retry(context, id))
}

fn retry(context: &Context<'_>, id: &TaskId) -> Result<TaskOrder, Problem> {
    let site = context.site;
    let ids = std::slice::from_ref(id);
    let retries = site.ask_redis(|table| table.retries(ids))?;
    let Some(retry) = retries.into_iter().next() else {
        return Err(Problem::unavailable("Redis gave no answer"));
    };
    let restart = match startable(retry) {
        Ok(restart) => restart,
        Err(None) => return Err(unknown(context, id)),
        Err(Some(why)) => {
            return Err(Problem::conflict(format!(
                "task {id} cannot be retried: {why}"
            )));
        }
    };
    let is_late = send_retries(context, &[restart])? > 0;
    Ok(TaskOrder {
        task_id: id.clone(),
        order: "retry",
        status: State::Queued.to_string(),
        note: is_late.then(|| "Kafka has the retry, but no server has ingested it yet, or servers have refused it (see their logs)".to_owned()),
        priority: None,
        is_in_force: !is_late,
    })
}

/// Sends the records of these tasks to Kafka, and waits a little until servers have ingested them. Returns the number of those that were not.
/// Errs with 503 if Kafka has not acknowledged all.
fn send_retries(context: &Context<'_>, restarts: &[Restart]) -> Result<usize, Problem> {
    let site = context.site;
    let kafka = |error: &dyn std::fmt::Display| {
        Problem::unavailable(format!("Kafka has not acknowledged the retry: {error}"))
    };
    let mut producer =
        task_topic::connect_for_request(site.connection()).map_err(|error| kafka(&error))?;
    producer
        .send(&messages_of(restarts))
        .map_err(|error| kafka(&error))?;
    // The records are on Kafka: what follows only waits to show it.
    let late = site.ask_redis(|table| wait_ingested(restarts, table, CONTROL_REQUEST_WAIT));
    Ok(late.unwrap_or(restarts.len()))
}

/// Changes the priority of a task that no server runs. Errs with 409 if its state does not allow that, and says the state.
pub fn prioritise_task(context: &Context<'_>, priority: Priority) -> Result<TaskOrder, Problem> {
    let what = format!("priority {}", priority.get());
    audited(context, "task", &what, |id| {
        prioritise(context, id, priority)
    })
}

fn prioritise(
    context: &Context<'_>,
    id: &TaskId,
    priority: Priority,
) -> Result<TaskOrder, Problem> {
    let site = context.site;
    let results = site.ask_redis(|table| table.prioritise(priority, std::slice::from_ref(id)))?;
    let why = match results.first() {
        Some(Prioritised::Done(state)) => {
            return Ok(TaskOrder {
                task_id: id.clone(),
                order: "priority",
                status: state.to_string(),
                note: None,
                priority: Some(priority.get()),
                is_in_force: true,
            });
        }
        Some(Prioritised::Unknown) | None => return Err(unknown(context, id)),
        Some(Prioritised::Running) => {
            "a server runs it, so that its priority no longer matters".to_owned()
        }
        Some(Prioritised::Ending(state)) => format!("it is about to end: {state}"),
        Some(Prioritised::Ended(state)) => format!("it has ended: {state}"),
    };
    Err(Problem::conflict(format!(
        "the priority of task {id} cannot be changed: {why}"
    )))
}

/// Why an order about a task that Redis does not know is refused.
fn unknown(context: &Context<'_>, id: &TaskId) -> Problem {
    let stored = context.site.readers.try_ask(|reader| reader.task(id));
    match stored {
        Ok(Some(task)) if task.state.is_terminal() => Problem::conflict(format!(
            "task {id} is {}: it ended so long ago that only the database knows it",
            task.state
        )),
        Ok(Some(_)) => Problem::conflict(format!(
            "task {id} is in Kafka, but no server has ingested it yet"
        )),
        Ok(None) => Problem::not_found(format!("task {id} is unknown")),
        Err(error) => error.into(),
    }
}

/// Cancels, pauses or resumes the tasks of a job that have not ended. Errs with 409 if all have.
pub fn steer_job(context: &Context<'_>, order: Order) -> Result<JobOrder, Problem> {
    audited(context, "job", order.as_str(), |id| {
        apply_to_job(context, id, order)
    })
}

fn apply_to_job(context: &Context<'_>, id: &TaskId, order: Order) -> Result<JobOrder, Problem> {
    let (reports, late) = context.site.ask_redis(|table| {
        let ids = table.job(id)?;
        let (patience, progress) = (Patience::OF_REQUEST, &mut |_: &str| ());
        let mut reports = steer(order, &ids, table, patience, progress)?;
        let late = steer_late(order, id, &mut reports, table, patience, progress)?;
        Ok((reports, late))
    })?;
    if reports.is_empty() {
        return Err(unknown_job(context, id));
    }
    let pending = reports.iter().filter(|report| is_pending(report)).count();
    let in_force = reports
        .iter()
        .filter(|report| report.outcome == Outcome::Accepted && !is_pending(report))
        .count();
    if in_force + pending == 0 && reports.iter().all(|report| report.outcome.has_ended()) {
        return Err(Problem::conflict(format!(
            "all tasks of job {id} that servers have ingested have ended already"
        )));
    }
    Ok(JobOrder {
        job_id: id.clone(),
        order: order.as_str(),
        in_force,
        pending,
        skipped: reports.len() - in_force - pending,
        is_ingesting: Some(late.go_on),
        priority: None,
    })
}

/// Starts the tasks of a job again that failed, were cancelled, or that no server might run. Errs with 409 if there are none.
pub fn retry_job(context: &Context<'_>) -> Result<JobOrder, Problem> {
    audited(context, "job", "retry", |id| retry_tasks_of(context, id))
}

fn retry_tasks_of(context: &Context<'_>, id: &TaskId) -> Result<JobOrder, Problem> {
    let retries = context.site.ask_redis(|table| {
        let ids = table.job(id)?;
        table.retries(&ids)
    })?;
    if retries.is_empty() {
        return Err(unknown_job(context, id));
    }
    let known = retries.len();
    let restarts: Vec<Restart> = retries
        .into_iter()
        .filter_map(|retry| startable(retry).ok())
        .collect();
    if restarts.is_empty() {
        return Err(Problem::conflict(format!(
            "no task of job {id} can be retried: none has failed, been cancelled or been rejected by all servers, or each was retried too often"
        )));
    }
    let late = send_retries(context, &restarts)?;
    Ok(JobOrder {
        job_id: id.clone(),
        order: "retry",
        in_force: restarts.len() - late,
        pending: late,
        skipped: known - restarts.len(),
        is_ingesting: None,
        priority: None,
    })
}

/// Changes the priority of the tasks of a job that no server runs. Errs with 409 if there are none.
pub fn prioritise_job(context: &Context<'_>, priority: Priority) -> Result<JobOrder, Problem> {
    let what = format!("priority {}", priority.get());
    audited(context, "job", &what, |id| {
        prioritise_tasks_of(context, id, priority)
    })
}

fn prioritise_tasks_of(
    context: &Context<'_>,
    id: &TaskId,
    priority: Priority,
) -> Result<JobOrder, Problem> {
    let results = context.site.ask_redis(|table| {
        let ids = table.job(id)?;
        table.prioritise(priority, &ids)
    })?;
    if results.is_empty() {
        return Err(unknown_job(context, id));
    }
    let is_done = |result: &&Prioritised| matches!(result, Prioritised::Done(_));
    let in_force = results.iter().filter(is_done).count();
    if in_force == 0 {
        return Err(Problem::conflict(format!(
            "the priority of job {id} cannot be changed: servers run its tasks, or they have ended"
        )));
    }
    Ok(JobOrder {
        job_id: id.clone(),
        order: "priority",
        in_force,
        pending: 0,
        skipped: results.len() - in_force,
        is_ingesting: None,
        priority: Some(priority.get()),
    })
}

/// Why an order about a job that Redis does not know is refused.
fn unknown_job(context: &Context<'_>, id: &TaskId) -> Problem {
    let stored = context.site.readers.try_ask(|reader| reader.job(id));
    match stored {
        Ok(Some(_)) => Problem::conflict(format!(
            "Redis does not know job {id}: all its tasks ended long ago, or no server has ingested them yet"
        )),
        Ok(None) => Problem::not_found(format!("job {id} is unknown")),
        Err(error) => error.into(),
    }
}

/// What the log says about the result of an order.
trait Audited {
    fn shown(&self) -> String;
}

impl Audited for TaskOrder {
    fn shown(&self) -> String {
        self.status.clone()
    }
}

impl Audited for JobOrder {
    fn shown(&self) -> String {
        format!(
            "{} in force, {} pending, {} skipped",
            self.in_force, self.pending, self.skipped
        )
    }
}

/// Carries out `order` about the task or job (`kind`) of the path. The log says what was ordered and the result.
fn audited<T: Audited>(
    context: &Context<'_>,
    kind: &str,
    what: &str,
    order: impl FnOnce(&TaskId) -> Result<T, Problem>,
) -> Result<T, Problem> {
    let id = id_of(context)?;
    let done = order(&id);
    let result = match &done {
        Ok(done) => done.shown(),
        Err(problem) if problem.status == StatusCode::SERVICE_UNAVAILABLE => {
            format!("failed: {}", problem.detail)
        }
        Err(problem) => format!("refused: {}", problem.detail),
    };
    note(context, &format!("{what} of {kind} {id}: {result}"));
    done
}

/// Writes a line to the log about something that a user changed.
pub fn note(context: &Context<'_>, what: &str) {
    let address = context.site.guard.client(context.request);
    log::info!("{}", line(&context.user.name, address, what));
}

/// A line of the log, whatever a client has put into its parts.
fn line(user: &str, address: IpAddr, what: &str) -> String {
    format!("{} at {address}: {}", one_line(user), one_line(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_cannot_be_forged() {
        let address = IpAddr::from([192, 0, 2, 1]);
        let line = line(
            "anna\r\n",
            address,
            "push p: failed: \"a\nmallory at 10.0.0.1: x\u{1b}[2K\"",
        );
        assert!(!line.contains(char::is_control), "{line}");
        assert!(line.starts_with("anna at 192.0.2.1: push p: failed: "));
    }
}
