//! An operator's orders: cancel, pause, resume, retry; and the outbox of state changes that are not on Kafka yet.
//!
//! **Invariant:** only servers write `scan-status`. If no server runs the task, the change is made here and put into the outbox, from which
//! a server publishes it. So a change is published even if scanpush is killed.

use super::claims::{Claim, ClaimArguments, Ending, resume, waiting};
use super::connection::{ClaimTable, ms};
use super::error::ClaimTableError;
use super::fields::Fields;
use super::ingest::script;
use super::order::Order;
use crate::model::task::RETRY_MAX;
use crate::model::text::quoted;
use crate::model::{Resume, State, Task, TaskId};
use redis::Script;
use serde::Serialize;
use std::sync::LazyLock;
use std::time::Duration;

/// Tasks in one call that cancels, pauses, resumes or changes the priority.
pub(super) const CONTROL_BATCH_MAX: usize = 500;

static CONTROL: LazyLock<Script> = script!("control.lua");
static OUTBOX: LazyLock<Script> = script!("outbox.lua");
static PUBLISHED: LazyLock<Script> = script!("published.lua");

/// The result of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steered {
    /// The task is now in this state, or was already.
    Done(State),
    /// A server runs the task and gets the order within a second.
    Ordered,
    /// It will end in this state: the next server that reaps ends it.
    Ending(State),
    /// The task had already ended.
    Ended(State),
    /// No such task.
    Unknown,
}

/// Whether a task may be started again.
#[derive(Clone, Debug, PartialEq)]
pub enum Retry {
    /// It may.
    Again(Box<Restart>),
    /// It has not ended, or is about to end.
    Open(State),
    /// It ended in a state that cannot be retried.
    Ended(State),
    /// It was retried too often.
    TooOften,
    /// No such task.
    Unknown,
}

/// The start of a task that had ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Restart {
    /// The task of the record that starts it.
    pub task: Task,
    /// The checkpoint from which it continues. It is not in the record: ingestion takes it from Redis.
    pub resume: Resume,
}

impl ClaimTable {
    /// The records that would start `ids` again, in the same order.
    pub fn retries(&mut self, ids: &[TaskId]) -> Result<Vec<Retry>, ClaimTableError> {
        let keys: Vec<String> = ids.iter().map(|id| self.task_key(id)).collect();
        self.hashes(&keys)?.iter().map(retry_of).collect()
    }

    /// Gives an order about each of `ids` and returns the results. May be repeated.
    pub fn control(
        &mut self,
        order: Order,
        ids: &[TaskId],
    ) -> Result<Vec<Steered>, ClaimTableError> {
        #[derive(Serialize)]
        struct Arguments<'a> {
            order: Order,
            ids: &'a [TaskId],
        }
        let mut steered = Vec::with_capacity(ids.len());
        for some in ids.chunks(CONTROL_BATCH_MAX) {
            let arguments = Arguments { order, ids: some };
            let answers: Vec<(String, String)> = self.call(&CONTROL, &arguments)?;
            for (answer, state) in answers {
                steered.push(parse_steered(&answer, &state)?);
            }
        }
        self.wait_for_replica();
        Ok(steered)
    }

    /// Takes at most `most` state changes that are not on Kafka yet, for `taken`: until then no other server takes them. An entry is an error if a
    /// field of the task cannot be read.
    pub fn outbox(
        &mut self,
        taken: Duration,
        most: usize,
    ) -> Result<Vec<Result<Ending, ClaimTableError>>, ClaimTableError> {
        #[derive(Serialize)]
        struct Arguments {
            taken_ms: u64,
            max: usize,
        }
        let arguments = Arguments {
            taken_ms: ms(taken),
            max: most,
        };
        let entries: Vec<Vec<String>> = self.call(&OUTBOX, &arguments)?;
        let entries = entries.into_iter();
        Ok(entries
            .map(|flat| waiting(&Fields::from_flat(flat)))
            .collect())
    }

    /// Removes an entry of the outbox: Kafka has acknowledged its record. `change` has the fence of that record.
    pub fn published(&mut self, change: &Claim) -> Result<(), ClaimTableError> {
        self.call::<String>(&PUBLISHED, &ClaimArguments::of(change))
            .map(drop)
    }

    /// Which of `ids` have a state change that is not on Kafka yet.
    pub fn are_in_outbox(&mut self, ids: &[TaskId]) -> Result<Vec<bool>, ClaimTableError> {
        let key = self.key("outbox");
        let scores: Vec<Option<f64>> = self.run(|connection| {
            let mut pipeline = redis::pipe();
            for id in ids {
                pipeline.cmd("ZSCORE").arg(&key).arg(id.as_str());
            }
            pipeline.query(connection)
        })?;
        Ok(scores.iter().map(Option::is_some).collect())
    }
}

pub(super) fn retry_of(fields: &Fields) -> Result<Retry, ClaimTableError> {
    if fields.is_empty() {
        return Ok(Retry::Unknown);
    }
    let state: State = fields.need("status")?;
    if fields.text("finished_ms").is_none() {
        return Ok(Retry::Open(state));
    }
    // A task that was never valid has no record.
    if !state.may_be_retried() || fields.text("record").is_none() {
        return Ok(Retry::Ended(state));
    }
    let retry = fields.get("retry")?.unwrap_or(0) + 1;
    if retry > RETRY_MAX {
        return Ok(Retry::TooOften);
    }
    let record: String = fields.need("record")?;
    let task = Task::from_record(record.as_bytes()).map_err(|rejected| {
        let id = fields.text("task_id").unwrap_or_default();
        ClaimTableError::malformed(
            format!("the record of task {}", quoted(id)),
            &rejected.reason,
        )
    })?;
    Ok(Retry::Again(Box::new(Restart {
        task: Task { retry, ..task },
        resume: resume(fields)?,
    })))
}

fn parse_steered(answer: &str, state: &str) -> Result<Steered, ClaimTableError> {
    let malformed =
        || ClaimTableError::malformed("an answer of control.lua", &format!("{answer} {state}"));
    let known = || state.parse::<State>().map_err(|_| malformed());
    Ok(match answer {
        "done" => Steered::Done(known()?),
        "ordered" => Steered::Ordered,
        "ending" => Steered::Ending(known()?),
        "ended" => Steered::Ended(known()?),
        "unknown" => Steered::Unknown,
        _ => return Err(malformed()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_orders_parse() {
        for order in [Order::Cancel, Order::Pause, Order::Resume] {
            assert_eq!(order.to_string().parse(), Ok(order));
        }
        assert!("stop".parse::<Order>().is_err());
        for (answer, state, steered) in [
            ("done", "paused", Steered::Done(State::Paused)),
            ("ordered", "running", Steered::Ordered),
            ("ending", "cancelled", Steered::Ending(State::Cancelled)),
            ("ended", "failed", Steered::Ended(State::Failed)),
            ("unknown", "", Steered::Unknown),
        ] {
            assert_eq!(parse_steered(answer, state).unwrap(), steered);
        }
        assert!(parse_steered("done", "x\x1b").is_err());
        assert!(parse_steered("?", "queued").is_err());
    }
}
