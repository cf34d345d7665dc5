//! The queues as a whole, and the place of a task in its queue: counts for display, and an operator's change of a task's priority.

use super::connection::ClaimTable;
use super::control::CONTROL_BATCH_MAX;
use super::error::ClaimTableError;
use super::ingest::script;
use crate::model::task::Priority;
use crate::model::{State, TaskId};
use redis::Script;
use serde::Serialize;
use std::sync::LazyLock;

/// Jobs whose throttled tasks are counted.
const COUNTED_JOBS_MAX: usize = 1000;

static QUEUE: LazyLock<Script> = script!("queue.lua");
static PRIORITISE: LazyLock<Script> = script!("prioritise.lua");

/// Tasks that have not ended, by what they wait for. Field names are those of the API.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct QueueCounts {
    /// May be claimed.
    pub ready: u64,
    /// Wait for the limit of their job.
    pub throttled: u64,
    /// Wait for their next attempt.
    pub delayed: u64,
    /// A server runs or ends them.
    pub running: u64,
    /// Paused by an operator.
    pub paused: u64,
    /// When the oldest ready task was queued, in unix milliseconds by Redis' clock.
    pub oldest_queued_ms: Option<u64>,
    /// There are more throttled tasks: only those of some jobs were counted.
    pub has_more_throttled: bool,
}

/// The result of a change of priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prioritised {
    /// The task has this priority; it is in this state.
    Done(State),
    /// A server runs the task.
    Running,
    /// It will end in this state.
    Ending(State),
    /// It has ended in this state.
    Ended(State),
    /// No such task.
    Unknown,
}

impl ClaimTable {
    /// Counts the tasks that have not ended. Its cost does not depend on their number.
    pub fn queue(&mut self) -> Result<QueueCounts, ClaimTableError> {
        #[derive(Serialize)]
        struct Arguments {
            jobs_max: usize,
        }
        let arguments = Arguments {
            jobs_max: COUNTED_JOBS_MAX,
        };
        let answer: Vec<String> = self.call(&QUEUE, &arguments)?;
        parse_counts(&answer)
            .ok_or_else(|| ClaimTableError::malformed("an answer of queue.lua", &answer.join(" ")))
    }

    /// Gives each of `ids` this priority and returns the results. May be repeated. A table that is rebuilt from Kafka has the priority of the
    /// task's record again.
    pub fn prioritise(
        &mut self,
        priority: Priority,
        ids: &[TaskId],
    ) -> Result<Vec<Prioritised>, ClaimTableError> {
        #[derive(Serialize)]
        struct Arguments<'a> {
            priority: Priority,
            ids: &'a [TaskId],
        }
        let mut results = Vec::with_capacity(ids.len());
        for some in ids.chunks(CONTROL_BATCH_MAX) {
            let arguments = Arguments {
                priority,
                ids: some,
            };
            let answers: Vec<(String, String)> = self.call(&PRIORITISE, &arguments)?;
            for (answer, state) in answers {
                results.push(parse_prioritised(&answer, &state).ok_or_else(|| {
                    ClaimTableError::malformed(
                        "an answer of prioritise.lua",
                        &format!("{answer} {state}"),
                    )
                })?);
            }
        }
        self.wait_for_replica();
        Ok(results)
    }
}

fn parse_counts(answer: &[String]) -> Option<QueueCounts> {
    let [ready, throttled, delayed, running, paused, oldest, more] = answer else {
        return None;
    };
    Some(QueueCounts {
        ready: ready.parse().ok()?,
        throttled: throttled.parse().ok()?,
        delayed: delayed.parse().ok()?,
        running: running.parse().ok()?,
        paused: paused.parse().ok()?,
        oldest_queued_ms: match oldest.as_str() {
            "" => None,
            oldest => Some(oldest.parse().ok()?),
        },
        has_more_throttled: !more.is_empty(),
    })
}

fn parse_prioritised(answer: &str, state: &str) -> Option<Prioritised> {
    Some(match answer {
        "done" => Prioritised::Done(state.parse().ok()?),
        "running" => Prioritised::Running,
        "ending" => Prioritised::Ending(state.parse().ok()?),
        "ended" => Prioritised::Ended(state.parse().ok()?),
        "unknown" => Prioritised::Unknown,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_parse() {
        let words = |text: &str| -> Vec<String> { text.split(',').map(str::to_owned).collect() };
        assert_eq!(
            parse_counts(&words("3,2,1,4,5,1795333296000,1")),
            Some(QueueCounts {
                ready: 3,
                throttled: 2,
                delayed: 1,
                running: 4,
                paused: 5,
                oldest_queued_ms: Some(1_795_333_296_000),
                has_more_throttled: true,
            })
        );
        assert_eq!(
            parse_counts(&words("0,0,0,0,0,,")),
            Some(QueueCounts::default())
        );
        assert_eq!(parse_counts(&words("0,0,0,0,x,,")), None);
        assert_eq!(
            parse_prioritised("done", "paused"),
            Some(Prioritised::Done(State::Paused))
        );
        assert_eq!(
            parse_prioritised("running", "running"),
            Some(Prioritised::Running)
        );
        assert_eq!(parse_prioritised("ended", "x"), None);
    }
}
