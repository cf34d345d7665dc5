//! What was read from Kafka, in the order in which it is applied, and how far it was read.

use crate::model::service::Sighting;
use crate::model::{State, Targets, Task, TaskId};
use std::collections::BTreeMap;

/// A finding that is new to the database, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFinding {
    /// What was found, when and by which task.
    pub sighting: Sighting,
    /// The server that found it.
    pub server: String,
    /// The task's attempt.
    pub attempt: u32,
    /// The pass of the attempt.
    pub pass: u32,
}

/// A valid record of `scan-tasks`.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskAt {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The task.
    pub task: Task,
}

/// What a `completed` record says beyond the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// When the scan began whose findings count, in unix milliseconds. None if the record does not say it, or if findings may be missing: such a
    /// scan proves nothing about services that it did not find.
    pub begun_ms: Option<u64>,
    /// The addresses that the server left out of the task's targets.
    pub server_exclude: Targets,
}

/// A valid record of `scan-status`. Its texts are bounded and have no control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusChange {
    /// The task.
    pub task_id: TaskId,
    /// Its new state.
    pub status: State,
    /// The server that reported it.
    pub server: String,
    /// Attempts started so far.
    pub attempt: u32,
    /// Servers lost while they ran it.
    pub lost: u32,
    /// The fence of the claim.
    pub fence: u64,
    /// Which retry of the task it is about.
    pub retry: u32,
    /// Where the task's own record is: partition and offset.
    pub record: (i32, i64),
    /// Findings so far.
    pub found: u64,
    /// Findings of each pass, as JSON; none before the first pass.
    pub found_by_pass: Option<String>,
    /// The reason, if there is one.
    pub error: Option<String>,
    /// Unix milliseconds by the server's clock.
    pub at_ms: u64,
    /// Only if the status is `completed`.
    pub completion: Option<Completion>,
}

/// One step of a batch.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Findings, in the order of their partitions.
    Findings(Vec<StoredFinding>),
    /// A task was pushed or retried.
    Task(Box<TaskAt>),
    /// A task's state changed. If it completed, all of its findings came before.
    Status(Box<StatusChange>),
}

/// How far a partition was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The next offset to read.
    pub next_offset: i64,
    /// Records read, valid or not.
    pub records: u64,
    /// Records that Kafka had removed before they were read, or that could not be decoded.
    pub lost: u64,
    /// Findings before this time may be missing, in unix seconds; 0: none are.
    pub gap_until: u64,
}

/// What a batch adds to a position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PositionChange {
    /// The next offset to read.
    pub next_offset: i64,
    /// Records read in this batch.
    pub records: u64,
    /// Records lost in this batch.
    pub lost: u64,
    /// The new end of the gap if it grew, in unix seconds.
    pub gap_until: u64,
}

/// What is written in one transaction.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// In the order in which they are applied.
    pub events: Vec<Event>,
    /// The partitions that were read, by topic and partition. Gaps count for all events of the batch.
    pub positions: BTreeMap<(String, i32), PositionChange>,
    /// Records that changed nothing, by reason.
    pub ignored: BTreeMap<&'static str, u64>,
}

impl Batch {
    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.positions.is_empty() && self.ignored.is_empty()
    }
}
