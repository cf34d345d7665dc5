//! The pages of the tasks, and the orders about a task.

use super::rows::Pager;
use super::{Action, Fact, Message, TaskTable, priority, see_other, sent_or};
use crate::claim_table::{LiveTask, Order};
use crate::flags::Flag;
use crate::model::State;
use crate::model::coverage::{Proof, ScanParameters};
use crate::model::text::one_line;
use crate::scanpush::serve::findings_export::{self, Exported, OFFERED};
use crate::scanpush::serve::known_task::{self, KnownTask, TaskRow, shown_time};
use crate::scanpush::serve::layout::{Layout, page};
use crate::scanpush::serve::links::{self, Values};
use crate::scanpush::serve::lists::Rows;
use crate::scanpush::serve::orders::{self, TaskOrder, id_of};
use crate::scanpush::serve::problem::Problem;
use crate::scanpush::serve::route::{Answer, Context, Route};
use crate::scanpush::serve::task_list::{self, TaskQuery};
use crate::store::{StoredTask, TaskEvent};
use askama::Template;
use http::{HeaderValue, StatusCode};

/// `/tasks` and what is below it.
pub const ROUTES: &[Route] = &[
    Route::read("/tasks", tasks),
    Route::read("/tasks/{task_id}", task),
    Route::read("/tasks/{task_id}/findings", findings),
    Route::change("/tasks/{task_id}/cancel", |context| {
        done(orders::steer_task(context, Order::Cancel))
    }),
    Route::change("/tasks/{task_id}/pause", |context| {
        done(orders::steer_task(context, Order::Pause))
    }),
    Route::change("/tasks/{task_id}/resume", |context| {
        done(orders::steer_task(context, Order::Resume))
    }),
    Route::change("/tasks/{task_id}/retry", |context| {
        done(orders::retry_task(context))
    }),
    Route::change("/tasks/{task_id}/priority", |context| {
        done(orders::prioritise_task(context, priority(context)?))
    }),
];

#[derive(Template)]
#[template(path = "tasks.html", config = "src/scanpush/serve/askama.toml")]
struct TasksPage {
    layout: Layout,
    states: Vec<StateOption>,
    server: String,
    text: String,
    job: String,
    servers: Vec<String>,
    is_filtered: bool,
    table: TaskTable,
    /// Why the other tasks are not shown, while the database is away.
    only_running: Option<String>,
    pager: Pager,
}

/// A choice of the filter.
struct StateOption {
    value: &'static str,
    is_chosen: bool,
}

fn tasks(context: &Context<'_>) -> Answer {
    let query = TaskQuery::read(context)?;
    if let Some(answer) = query.export(context) {
        return answer;
    }
    let (rows, next, only_running) = match query.rows(context) {
        Ok(Rows { rows, next }) => (rows, next, None),
        Err(problem) if problem.status == StatusCode::SERVICE_UNAVAILABLE => {
            (query.running(context), None, Some(problem.detail))
        }
        Err(problem) => return Err(problem),
    };
    let values = Values::of(context.request);
    let given = |flag: &Flag| values.get(flag.name());
    let state = given(&task_list::STATE);
    let (snapshot, _) = context.site.live.latest();
    Ok(page(&TasksPage {
        layout: Layout::new(context, "Tasks", "/tasks"),
        states: State::ALL
            .map(|known| StateOption {
                value: known.as_str(),
                is_chosen: known.as_str() == state,
            })
            .into(),
        server: given(&task_list::SERVER).to_owned(),
        text: given(&task_list::TEXT).to_owned(),
        job: given(&task_list::JOB).to_owned(),
        servers: snapshot
            .servers
            .iter()
            .map(|server| server.server.clone())
            .collect(),
        is_filtered: values.any(),
        only_running,
        pager: Pager::of_records(context.request, rows.len(), next.as_deref()),
        table: TaskTable {
            rows: rows.iter().map(TaskRow::from).collect(),
        },
    }))
}

#[derive(Template)]
#[template(path = "task.html", config = "src/scanpush/serve/askama.toml")]
struct TaskPage {
    layout: Layout,
    message: Option<String>,
    row: TaskRow,
    actions: Vec<Action>,
    changeable_priority: Option<u8>,
    attempt: u32,
    retry: u32,
    targets: String,
    exclude: Option<String>,
    server_exclude: Option<String>,
    ports: String,
    band_width: String,
    shard: Option<String>,
    life: Vec<Fact>,
    completeness: Vec<Fact>,
    events: Vec<EventRow>,
    formats: [(&'static str, &'static str); 6],
}

/// A change of its state.
struct EventRow {
    at: String,
    state: &'static str,
    server: String,
    attempt: u32,
    retry: u32,
    found: u64,
    error: String,
}

impl From<TaskEvent> for EventRow {
    fn from(event: TaskEvent) -> EventRow {
        EventRow {
            at: shown_time(Some(event.at_ms)),
            state: event.state.as_str(),
            server: one_line(&event.server),
            attempt: event.attempt,
            retry: event.retry,
            found: event.found,
            error: event.error.as_deref().map(one_line).unwrap_or_default(),
        }
    }
}

fn task(context: &Context<'_>) -> Answer {
    let id = id_of(context)?;
    let message = Message::read(context)?;
    let title = format!("Task {id}");
    let found = known_task::find(context, &id);
    let (live, stored) = match sent_or(context, found, message, &title, "task", "/tasks")? {
        Ok(found) => found,
        Err(waiting) => return Ok(waiting),
    };
    let parameters = stored.as_ref().and_then(|stored| stored.parameters.clone());
    let known = match (&live, &stored) {
        (Some(live), _) => KnownTask::Live(Box::new(live.clone())),
        (None, Some(stored)) => KnownTask::Stored(Box::new(stored.clone().into())),
        (None, None) => return Err(Problem::not_found("the task is unknown")),
    };
    let text = |of_live: fn(&LiveTask) -> &str, of_stored: fn(&ScanParameters) -> &str| {
        let stored = parameters.as_ref().map(of_stored);
        let text = live.as_ref().map(of_live).or(stored);
        text.filter(|text| !text.is_empty())
            .map_or("unknown: its record was not read".to_owned(), one_line)
    };
    let band_width = live.as_ref().map(|live| live.band_width);
    let band_width = band_width.or(stored.as_ref().and_then(|stored| stored.band_width));
    let shard = live.as_ref().and_then(|live| live.shard.as_deref());
    let shard = shard.or(stored.as_ref().and_then(|stored| stored.shard.as_deref()));
    Ok(page(&TaskPage {
        layout: Layout::new(context, title, "/tasks"),
        message: message.map(|message| message.of_task().to_owned()),
        row: TaskRow::from(&known),
        actions: live.as_ref().map(actions).unwrap_or_default(),
        changeable_priority: live.as_ref().and_then(changeable_priority),
        attempt: match &known {
            KnownTask::Live(task) => task.attempt,
            KnownTask::Stored(task) => task.attempt,
        },
        retry: match &known {
            KnownTask::Live(task) => task.retry,
            KnownTask::Stored(task) => task.retry,
        },
        targets: text(|live| &live.ip_range, |stored| &stored.ip_range),
        ports: text(|live| &live.ports, |stored| &stored.ports),
        exclude: parameters.as_ref().and_then(|known| known.exclude.clone()),
        server_exclude: parameters
            .as_ref()
            .and_then(|known| known.server_exclude.clone()),
        band_width: band_width.map_or("–".to_owned(), |pps| pps.to_string()),
        shard: shard.map(one_line),
        life: life(live.as_ref(), stored.as_ref()),
        completeness: completeness(&known, live.as_ref(), stored.as_ref()),
        events: {
            // The rest of the page is shown without the database.
            let events = context
                .site
                .readers
                .try_ask(|reader| reader.task_events(&id));
            let events = events.unwrap_or_default().into_iter();
            events.map(EventRow::from).collect()
        },
        formats: OFFERED,
    }))
}

/// What can be ordered in this state.
fn actions(task: &LiveTask) -> Vec<Action> {
    if task.finished_ms.is_some() {
        return match task.status.may_be_retried() {
            true => vec![Action::RETRY],
            false => Vec::new(),
        };
    }
    let is_paused = task.status == State::Paused || task.order == Some(Order::Pause);
    let pause = match is_paused {
        true => Action::RESUME,
        false => Action::PAUSE,
    };
    match task.order {
        Some(Order::Cancel) => Vec::new(),
        _ => vec![pause, Action::CANCEL],
    }
}

/// The priority of a task that waits; none if it can no longer be changed.
pub(super) fn changeable_priority(task: &LiveTask) -> Option<u8> {
    let waits = matches!(task.status, State::Queued | State::Paused);
    (waits && task.order.is_none()).then_some(task.priority)
}

fn life(live: Option<&LiveTask>, stored: Option<&StoredTask>) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut add = |name: &'static str, at_ms: Option<u64>| {
        if at_ms.is_some() {
            facts.push(Fact::new(name, shown_time(at_ms)));
        }
    };
    add("Queued", live.map(|live| live.queued_ms));
    add("Scan began", stored.and_then(|stored| stored.begun_ms));
    add("Attempt began", live.and_then(|live| live.started_ms));
    add("Next attempt", live.and_then(|live| live.retry_ms));
    add(
        "Last report",
        live.map(|live| live.updated_ms)
            .or(stored.map(|stored| stored.changed_ms)),
    );
    add(
        "Ended",
        live.and_then(|live| live.finished_ms)
            .or(stored.and_then(|stored| stored.ended_ms)),
    );
    let server = live.and_then(|live| live.server.as_deref());
    let server = server.or(stored.and_then(|stored| stored.server.as_deref()));
    if let Some(server) = server {
        facts.push(Fact::new("Server", one_line(server)));
    }
    if let Some(lost) = stored.map(|stored| stored.lost).filter(|&lost| lost > 0) {
        facts.push(Fact::new(
            "Servers lost while they ran it",
            lost.to_string(),
        ));
    }
    let source = match (live.is_some(), stored.is_some()) {
        (true, true) => "Redis and database",
        (true, false) => "Redis",
        (false, _) => "database: Redis has forgotten it, or is away",
    };
    facts.push(Fact::new("Known from", source.to_owned()));
    facts
}

/// What is certain about what it found and did not find.
fn completeness(
    known: &KnownTask,
    live: Option<&LiveTask>,
    stored: Option<&StoredTask>,
) -> Vec<Fact> {
    let proof = stored.and_then(|stored| stored.proof);
    let state = match (known.state(), live) {
        (State::Completed, _) => match proof {
            Some(Proof::FindingsLost) => {
                "all probes were sent, but Kafka had removed findings before they were read"
            }
            Some(Proof::Inconclusive) => "all probes were sent, but answers may be missing",
            _ => "all probes were sent, and every answer that arrived is kept",
        }
        .to_owned(),
        (_, Some(live)) => format!(
            "partial: {:.2} % of the probes were sent; it goes on in pass {}",
            live.progress.clamp(0.0, 100.0),
            live.resume_pass
        ),
        (state, None) => format!("partial: it is {state}"),
    };
    let mut facts = vec![Fact::new("Findings", state)];
    let by_pass = live
        .map(|live| live.found_by_pass.as_slice())
        .unwrap_or_default();
    for (number, found) in by_pass.iter().enumerate() {
        let pass = format!("Pass {}", number + 1);
        facts.push(Fact::of(pass, format!("{found} found")));
    }
    if let Some(proof) = proof {
        facts.push(Fact::new(
            "Ports without a finding",
            shown_proof(proof).to_owned(),
        ));
    } else if known.state() != State::Completed {
        let proves_nothing = "are unproven: only a completed scan proves anything";
        facts.push(Fact::new(
            "Ports without a finding",
            proves_nothing.to_owned(),
        ));
    }
    if stored.is_some_and(|stored| {
        let parameters = stored.parameters.as_ref();
        parameters.is_some_and(|known| known.server_exclude.is_some())
    }) {
        facts.push(Fact::new(
            "Not checked",
            "addresses that the server left out".to_owned(),
        ));
    }
    facts
}

fn shown_proof(proof: Proof) -> &'static str {
    match proof {
        Proof::Covered => "did not answer: known services there count as missed by this scan",
        Proof::WaitsForShards => "are unproven until all shards of the job have completed",
        Proof::UnknownRecord => {
            "are unproven: what was scanned is unknown, since Kafka had removed the task's record"
        }
        Proof::Inconclusive => "are unproven: answers may be missing",
        Proof::FindingsLost => "are unproven: findings were lost",
        Proof::ShardWithoutJob => "are unproven: it is a shard without a job",
    }
}

fn findings(context: &Context<'_>) -> Answer {
    let id = id_of(context)?;
    let (live, stored) = known_task::find(context, &id)?;
    let found = live.map(|live| live.found);
    let exported = Exported {
        found: found.or(stored.map(|stored| stored.found)).unwrap_or(0),
        id: id.clone(),
    };
    findings_export::answer(context, &format!("task-{id}"), vec![exported])
}

/// Back to the page of the task, which shows the result.
fn done(order: Result<TaskOrder, Problem>) -> Answer {
    let order = order?;
    let message = Message::of_order(&order);
    let place = format!(
        "{}?result={}",
        links::task(order.task_id.as_str()),
        message.code()
    );
    let place = HeaderValue::from_str(&place).map_err(|_| Problem::not_found("no such page"))?;
    Ok(see_other(place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scanpush::tasks::sample::task;

    #[test]
    fn only_what_the_state_allows_is_offered() {
        let names = |status, order, ended: bool| -> Vec<&'static str> {
            let task = LiveTask {
                status,
                order,
                finished_ms: ended.then_some(1),
                ..task()
            };
            actions(&task).iter().map(|action| action.name).collect()
        };
        for (status, order, ended, expected) in [
            (State::Running, None, false, &["pause", "cancel"][..]),
            (State::Paused, None, false, &["resume", "cancel"]),
            (
                State::Running,
                Some(Order::Pause),
                false,
                &["resume", "cancel"],
            ),
            (State::Running, Some(Order::Cancel), false, &[]),
            (State::Failed, None, true, &["retry"]),
            (State::Completed, None, true, &[]),
        ] {
            assert_eq!(names(status, order, ended), expected, "{status}");
        }
    }
}
