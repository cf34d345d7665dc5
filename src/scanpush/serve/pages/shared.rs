//! What several pages have in common: messages after an order, buttons, facts, the table of tasks.

use crate::flags::{Flag, values};
use crate::http_server::Response;
use crate::model::State;
use crate::model::task::Priority;
use crate::scanpush::serve::known_task::TaskRow;
use crate::scanpush::serve::layout::{Layout, page};
use crate::scanpush::serve::orders::{JobOrder, TaskOrder};
use crate::scanpush::serve::problem::Problem;
use crate::scanpush::serve::route::Context;
use askama::Template;
use http::StatusCode;

const PRIORITY: Flag = Flag::required("--priority", "N", "0 to 9, higher priorities run first");
const RESULT: Flag = Flag::optional("--result", "CODE", "what to say about an order");

/// The table of tasks.
#[derive(Template)]
#[template(path = "task_table.html", config = "src/scanpush/serve/askama.toml")]
pub struct TaskTable {
    /// Its rows.
    pub rows: Vec<TaskRow>,
}

/// A button that orders something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// The last segment of its address.
    pub name: &'static str,
    /// What it says.
    pub label: &'static str,
    /// Whether it ends something.
    pub is_danger: bool,
}

impl Action {
    /// Cancel.
    pub const CANCEL: Action = Action {
        name: "cancel",
        label: "Cancel",
        is_danger: true,
    };
    /// Pause.
    pub const PAUSE: Action = Action {
        name: "pause",
        label: "Pause",
        is_danger: false,
    };
    /// Retry.
    pub const RETRY: Action = Action {
        name: "retry",
        label: "Retry",
        is_danger: false,
    };
    /// Resume.
    pub const RESUME: Action = Action {
        name: "resume",
        label: "Resume",
        is_danger: false,
    };
}

/// A line of a list of facts.
#[derive(Clone, Debug)]
pub struct Fact {
    /// What it is about.
    pub name: String,
    /// What is so.
    pub value: String,
}

impl Fact {
    /// A fact.
    pub fn new(name: &str, value: String) -> Fact {
        Fact::of(name.to_owned(), value)
    }

    /// A fact whose name was made.
    pub fn of(name: String, value: String) -> Fact {
        Fact { name, value }
    }
}

/// How many tasks are in a state.
#[derive(Clone, Copy, Debug)]
pub struct StateCount {
    /// The state.
    pub name: &'static str,
    /// The tasks.
    pub count: u64,
}

impl StateCount {
    /// Those of all states that have tasks, in the order of a task's life.
    pub fn all(count_of: impl Fn(&str) -> Option<u64>) -> Vec<StateCount> {
        let counts = State::ALL.into_iter().filter_map(|state| {
            Some(StateCount {
                name: state.as_str(),
                count: count_of(state.as_str())?,
            })
        });
        counts.collect()
    }
}

/// What a page says after an order. It is chosen by a word in the address, so that no address can make a page say something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// The tasks are on Kafka.
    Sent,
    Cancelled,
    Cancelling,
    Paused,
    Pausing,
    Resumed,
    Retried,
    Retrying,
    Prioritised,
    /// Servers were still ingesting tasks of the job.
    Ingesting,
}

impl Message {
    const ALL: [Message; 10] = [
        Message::Sent,
        Message::Cancelled,
        Message::Cancelling,
        Message::Paused,
        Message::Pausing,
        Message::Resumed,
        Message::Retried,
        Message::Retrying,
        Message::Prioritised,
        Message::Ingesting,
    ];

    /// The word in the address.
    pub fn code(self) -> &'static str {
        match self {
            Message::Sent => "sent",
            Message::Cancelled => "cancelled",
            Message::Cancelling => "cancelling",
            Message::Paused => "paused",
            Message::Pausing => "pausing",
            Message::Resumed => "resumed",
            Message::Retried => "retried",
            Message::Retrying => "retrying",
            Message::Prioritised => "prioritised",
            Message::Ingesting => "ingesting",
        }
    }

    /// What the address of the request asks to say. An unknown word says nothing.
    pub fn read(context: &Context<'_>) -> Result<Option<Message>, Problem> {
        let mut reader = context.query(&[RESULT])?;
        let code = reader.optional(&RESULT, |text| Ok(text.to_owned()))?;
        reader.finish()?;
        let message = Message::ALL
            .into_iter()
            .find(|message| Some(message.code()) == code.as_deref());
        Ok(message)
    }

    /// What to say about an order about a task.
    pub fn of_order(order: &TaskOrder) -> Message {
        match (order.order, order.is_in_force) {
            ("cancel", true) => Message::Cancelled,
            ("cancel", false) => Message::Cancelling,
            ("pause", true) => Message::Paused,
            ("pause", false) => Message::Pausing,
            ("retry", true) => Message::Retried,
            ("retry", false) => Message::Retrying,
            ("priority", _) => Message::Prioritised,
            _ => Message::Resumed,
        }
    }

    /// What to say about an order about a job.
    pub fn of_job_order(order: &JobOrder) -> Message {
        match (order.order, order.pending) {
            _ if order.is_ingesting == Some(true) => Message::Ingesting,
            ("cancel", 0) => Message::Cancelled,
            ("cancel", _) => Message::Cancelling,
            ("pause", 0) => Message::Paused,
            ("pause", _) => Message::Pausing,
            ("retry", 0) => Message::Retried,
            ("retry", _) => Message::Retrying,
            ("priority", _) => Message::Prioritised,
            _ => Message::Resumed,
        }
    }

    /// The sentence about a task.
    pub fn of_task(self) -> &'static str {
        match self {
            Message::Sent => "Kafka has acknowledged the task.",
            Message::Cancelled => "The task is cancelled.",
            Message::Cancelling => "The task is being cancelled.",
            Message::Paused => "The task is paused.",
            Message::Pausing => "The task is being paused.",
            Message::Resumed => "The task goes on.",
            Message::Retried => "The task is queued again; it continues at its checkpoint.",
            Message::Retrying => "Kafka has the retry; no server has ingested it yet.",
            Message::Prioritised => "The priority is changed.",
            Message::Ingesting => "The task is being ingested.",
        }
    }

    /// The sentence about a job.
    pub fn of_job(self) -> &'static str {
        match self {
            Message::Sent => "Kafka has acknowledged all tasks.",
            Message::Cancelled => "All tasks that had not ended are cancelled.",
            Message::Cancelling => "The tasks are being cancelled.",
            Message::Paused => "All tasks that had not ended are paused.",
            Message::Pausing => "The tasks are being paused.",
            Message::Resumed => "The tasks go on.",
            Message::Retried => {
                "Tasks that failed or were cancelled are queued again; they continue at their checkpoints."
            }
            Message::Retrying => {
                "Kafka has the retries; servers have not ingested all of them yet."
            }
            Message::Prioritised => "The priority of the tasks that wait is changed.",
            Message::Ingesting => {
                "Servers are still ingesting tasks of the job: repeat the order when all are here."
            }
        }
    }
}

/// The priority in a form.
pub fn priority(context: &Context<'_>) -> Result<Priority, Problem> {
    let mut reader = context.form(&[PRIORITY])?;
    let priority = reader.value(&PRIORITY, values::priority)?;
    reader.finish()?;
    Ok(priority)
}

#[derive(Template)]
#[template(path = "waiting.html", config = "src/scanpush/serve/askama.toml")]
struct WaitingPage {
    layout: Layout,
    part: &'static str,
}

/// What was found; or, if it was just sent and is still unknown or cannot be read, the page that waits for it.
pub fn sent_or<T>(
    context: &Context<'_>,
    found: Result<T, Problem>,
    message: Option<Message>,
    title: &str,
    part: &'static str,
    current: &'static str,
) -> Result<Result<T, Response>, Problem> {
    match found {
        Ok(found) => Ok(Ok(found)),
        Err(problem)
            if message == Some(Message::Sent)
                && [StatusCode::NOT_FOUND, StatusCode::SERVICE_UNAVAILABLE]
                    .contains(&problem.status) =>
        {
            Ok(Err(page(&WaitingPage {
                layout: Layout::new(context, title, current),
                part,
            })))
        }
        Err(problem) => Err(problem),
    }
}
