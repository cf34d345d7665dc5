//! `/api/v1/tasks` and `/api/v1/queue`: tasks, pushes and orders.

use super::{body, json, json_with, priority};
use crate::claim_table::{Order, QueueCounts};
use crate::model::{Invalid, State, TaskId};
use crate::scanpush::serve::fields;
use crate::scanpush::serve::findings_export::{self, Exported};
use crate::scanpush::serve::known_task::{self, KnownTask};
use crate::scanpush::serve::lists::Rows;
use crate::scanpush::serve::new_scan::{self, Plan};
use crate::scanpush::serve::orders::{self, TaskOrder, id_of};
use crate::scanpush::serve::problem::Problem;
use crate::scanpush::serve::route::{Answer, Context, Route};
use crate::scanpush::serve::task_list::TaskQuery;
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// The routes.
pub const ROUTES: &[Route] = &[
    Route::read("/api/v1/tasks", list),
    Route::change("/api/v1/tasks", push),
    Route::read("/api/v1/tasks/{task_id}", task),
    Route::read("/api/v1/tasks/{task_id}/findings", findings),
    Route::change("/api/v1/tasks/{task_id}/cancel", |context| {
        steer(context, Order::Cancel)
    }),
    Route::change("/api/v1/tasks/{task_id}/pause", |context| {
        steer(context, Order::Pause)
    }),
    Route::change("/api/v1/tasks/{task_id}/resume", |context| {
        steer(context, Order::Resume)
    }),
    Route::change("/api/v1/tasks/{task_id}/retry", |context| {
        ordered(orders::retry_task(context))
    }),
    Route::change("/api/v1/tasks/{task_id}/priority", |context| {
        ordered(orders::prioritise_task(context, priority(context)?))
    }),
    Route::read("/api/v1/queue", queue),
];

/// Names of fields of a task's record that stand for flags.
const RECORD_NAMES: [(&str, &str); 6] = [
    ("ip_range", "ip"),
    ("band_width", "bandwidth"),
    ("wait_s", "wait"),
    ("timeout_s", "timeout"),
    ("task_id", "id"),
    ("job_id", "job"),
];

fn list(context: &Context<'_>) -> Answer {
    #[derive(Serialize)]
    struct Document {
        tasks: Vec<KnownTask>,
        /// `after` of the next page; none if this is the last one.
        next: Option<String>,
    }
    let query = TaskQuery::read(context)?;
    if let Some(answer) = query.export(context) {
        return answer;
    }
    let Rows { rows, next } = query.rows(context)?;
    Ok(json(&Document { tasks: rows, next }))
}

fn task(context: &Context<'_>) -> Answer {
    #[derive(Serialize)]
    struct Document {
        #[serde(flatten)]
        task: KnownTask,
        /// What its end proves about services that it did not find, if the database knows it.
        #[serde(skip_serializing_if = "Option::is_none")]
        proof: Option<&'static str>,
        /// The changes of its state, oldest first.
        events: Vec<Event>,
    }
    #[derive(Serialize)]
    struct Event {
        at_ms: u64,
        status: State,
        server: String,
        attempt: u32,
        retry: u32,
        found: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    }
    let id = id_of(context)?;
    let (live, stored) = known_task::find(context, &id)?;
    let events = context
        .site
        .readers
        .try_ask(|reader| reader.task_events(&id));
    let events = events.unwrap_or_default().into_iter().map(|event| Event {
        at_ms: event.at_ms,
        status: event.state,
        server: event.server,
        attempt: event.attempt,
        retry: event.retry,
        found: event.found,
        error: event.error,
    });
    let proof = stored.as_ref().and_then(|stored| stored.proof);
    let task = match (live, stored) {
        (Some(live), _) => KnownTask::Live(Box::new(live)),
        (None, Some(stored)) => KnownTask::Stored(Box::new(stored.into())),
        (None, None) => return Err(Problem::not_found("the task is unknown")),
    };
    Ok(json(&Document {
        task,
        proof: proof.map(|proof| proof.as_str()),
        events: events.collect(),
    }))
}

fn findings(context: &Context<'_>) -> Answer {
    let id = id_of(context)?;
    let (live, stored) = known_task::find(context, &id)?;
    let found = live
        .map(|live| live.found)
        .or(stored.map(|stored| stored.found));
    let exported = Exported {
        found: found.unwrap_or(0),
        id: id.clone(),
    };
    findings_export::answer(context, id.as_str(), vec![exported])
}

fn steer(context: &Context<'_>, order: Order) -> Answer {
    ordered(orders::steer_task(context, order))
}

/// 200 if the order is in force, 202 if it will be.
fn ordered(order: Result<TaskOrder, Problem>) -> Answer {
    let order = order?;
    let status = match order.is_in_force {
        true => StatusCode::OK,
        false => StatusCode::ACCEPTED,
    };
    Ok(json_with(status, &order))
}

fn queue(context: &Context<'_>) -> Answer {
    #[derive(Serialize)]
    struct Document<'a> {
        /// When Redis was read, in unix milliseconds; 0: never.
        at_ms: u64,
        #[serde(flatten)]
        queue: &'a QueueCounts,
        /// Findings per minute since the start of this process, the present minute last.
        found_per_minute: &'a [u64],
    }
    let (snapshot, _) = context.site.live.latest();
    Ok(json(&Document {
        at_ms: snapshot.at_ms.unwrap_or(0),
        queue: &snapshot.queue,
        found_per_minute: &snapshot.found_per_minute,
    }))
}

fn push(context: &Context<'_>) -> Answer {
    #[derive(Serialize)]
    struct Document<'a> {
        push: &'a TaskId,
        job_id: Option<&'a TaskId>,
        task_ids: Vec<&'a TaskId>,
        addresses: u64,
        probes: u64,
        rate_pps: u64,
        duration_s: u64,
        warnings: &'a [String],
    }
    let object: Map<String, Value> = body(context)?;
    let mut given: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::new();
    for (name, value) in &object {
        let known = RECORD_NAMES.iter().find(|(record, _)| record == name);
        let name = known.map_or(name.as_str(), |(_, flag)| flag);
        if let Some(text) = text_of(value).map_err(|error| error.of(name))? {
            given.push((Cow::from(name), Cow::from(text)));
        }
    }
    let plan = Plan::read(fields::reader(given.into_iter(), &new_scan::fields())?)?;
    plan.send(context)?;
    let as_u64 = |count: u128| u64::try_from(count).unwrap_or(u64::MAX);
    let response = json_with(
        StatusCode::CREATED,
        &Document {
            push: &plan.push_id,
            job_id: plan.job_id(),
            task_ids: plan.tasks.iter().map(|task| &task.task_id).collect(),
            addresses: as_u64(plan.size.addresses),
            probes: as_u64(plan.size.probes),
            rate_pps: plan.size.rate_pps,
            duration_s: plan.size.duration_s.ceil() as u64,
            warnings: &plan.warnings,
        },
    );
    let place = match plan.place() {
        Some(place) => HeaderValue::from_str(&format!("/api/v1{place}")),
        None => return Ok(response),
    };
    Ok(match place {
        Ok(place) => response.with(header::LOCATION, place),
        Err(_) => response,
    })
}

/// The value as a flag has it; none for null.
fn text_of(value: &Value) -> Result<Option<String>, Invalid> {
    let of_scalar = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let text = match value {
        Value::Null | Value::Bool(false) => return Ok(None),
        Value::Bool(true) => Some("yes".to_owned()),
        Value::Array(list) => list
            .iter()
            .map(of_scalar)
            .collect::<Option<Vec<_>>>()
            .map(|list| list.join(",")),
        other => of_scalar(other),
    };
    match text {
        Some(text) => Ok(Some(text)),
        None => Err(Invalid::about(
            "has to be a string, a number or a list of them",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_those_of_flags() {
        for (value, text) in [
            (json!("10.0.0.1"), Some("10.0.0.1")),
            (json!(443), Some("443")),
            (json!([80, "U:53"]), Some("80,U:53")),
            (json!(null), None),
            (json!(true), Some("yes")),
        ] {
            assert_eq!(text_of(&value).unwrap().as_deref(), text);
        }
        for value in [json!({}), json!([[1]]), json!([null])] {
            assert!(text_of(&value).is_err(), "{value}");
        }
    }
}
