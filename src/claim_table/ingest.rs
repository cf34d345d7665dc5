//! Ingestion: cursors, new tasks, and the offsets that the group may commit.

use super::connection::{ClaimTable, ms};
use super::error::ClaimTableError;
use crate::model::group_position::GroupPosition;
use crate::model::resume::Position;
use crate::model::text::one_line;
use crate::model::{ProbeOrder, Resume, StatusRecord, Targets, Task, TaskId};
use redis::Script;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

/// Ended tasks stay in Redis this long.
pub(super) const ENDED_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

macro_rules! script {
    ($file:literal) => {
        LazyLock::new(|| {
            Script::new(concat!(
                include_str!("scripts/prelude.lua"),
                "\nlocal function main()\n",
                include_str!(concat!("scripts/", $file)),
                "\nend\n",
                include_str!("scripts/answer.lua")
            ))
        })
    };
}
pub(super) use script;

static CURSORS: LazyLock<Script> = script!("cursors.lua");
static BEGIN: LazyLock<Script> = script!("begin.lua");
static INGEST: LazyLock<Script> = script!("ingest.lua");
static AUDIT: LazyLock<Script> = script!("audit.lua");
static POSITIONS: LazyLock<Script> = script!("positions.lua");
static COMMITTED: LazyLock<Script> = script!("committed.lua");

/// The group's position in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The next offset to ingest.
    pub next: i64,
    /// Tasks below this offset may have ended or be running: `scan-status` has to be read before they are ingested.
    pub until: i64,
    /// Identifies the start of the partition to which this cursor belongs.
    pub epoch: String,
    /// The fingerprint of the record before `next`, if known. It shows whether the log was replaced by another one.
    pub last: Option<String>,
}

/// How a partition is started.
#[derive(Clone, Copy, Debug)]
pub struct Beginning<'a> {
    /// The first offset to ingest.
    pub from: i64,
    /// The current end of the log: tasks below it may have ended already.
    pub log_end: i64,
    /// A new name for this start.
    pub epoch: &'a str,
    /// Why it is started.
    pub start: Start<'a>,
    /// Records that Kafka no longer has, as far as known.
    pub lost_records: u64,
}

/// Why a partition is started.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a> {
    /// Its cursor is missing.
    Missing,
    /// Its topic was recreated: the cursor of this epoch is replaced.
    Recreated {
        /// The epoch that is replaced.
        epoch: &'a str,
    },
    /// The group's committed offset was set back: the cursor of this epoch is replaced.
    MovedBack {
        /// The epoch that is replaced.
        epoch: &'a str,
    },
}

/// The result of an audit.
#[derive(Debug, PartialEq, Eq)]
pub struct Audit {
    /// The rank at which the next one continues; 0 if the end was reached.
    pub next: usize,
    /// Tasks with lost keys. Their partition is started again, which restores them.
    pub missing: Vec<String>,
}

/// What a task had reached before Redis lost its data; the default for a new task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// Attempts started.
    pub attempt: u32,
    /// The fence of its last change; the next one is higher, even if Redis' clock has gone back.
    pub fence: u64,
    /// Servers lost while they ran it.
    pub lost: u32,
    /// For how long servers have run it, in milliseconds.
    pub ran_ms: u64,
    /// Where the next attempt continues.
    pub resume: Resume,
}

impl From<&StatusRecord> for Past {
    /// What the task had reached with this state change.
    fn from(record: &StatusRecord) -> Past {
        Past {
            attempt: record.lineage.attempt,
            fence: record.lineage.fence,
            lost: record.lineage.lost,
            ran_ms: record.lineage.ran_ms,
            resume: record.resume,
        }
    }
}

/// What ingestion does with a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// It is new, or starts a task again that has ended.
    New,
    /// It starts a task again that is already in the claim table; if the table does not know the task, the record is rejected.
    Retry {
        /// Why it is rejected then, as one line.
        unless_known: String,
    },
    /// It was queued when Redis lost its data.
    Ready(Past),
    /// It was running when Redis lost its data: kept for its server for one lease.
    Held {
        /// That server.
        server: String,
        /// What it had reached, with the fence of the claim under which it runs.
        past: Past,
    },
    /// It was paused when Redis lost its data.
    Paused(Past),
    /// It ended before Redis lost its data.
    Ended {
        /// Its terminal record, if the task may be started again: then Redis has to know it.
        restored: Option<Box<StatusRecord>>,
    },
    /// It is not a valid task.
    Rejected {
        /// The reason, as one line.
        reason: String,
    },
    /// Nor is it, and there were too many: it is counted, but not kept, unless it is known to hold back the committed offset.
    LeftOut {
        /// The reason, as one line.
        reason: String,
    },
}

/// One record that is to be ingested.
#[derive(Clone, Debug)]
pub struct NewTask {
    /// Offset of its record.
    pub offset: i64,
    /// Its id, even if it is not a valid task.
    pub task_id: TaskId,
    /// The id of the record itself, under which it is rejected if it may not start the task of its id again.
    pub record_id: TaskId,
    /// The task; none if it is rejected.
    pub task: Option<Task>,
    /// What to do with it.
    pub disposition: Disposition,
}

/// Consecutive records of one partition.
#[derive(Debug)]
pub struct Ingest<'a> {
    /// The partition.
    pub partition: i32,
    /// The cursor that the caller read. If it has changed, the call changes nothing.
    pub cursor: &'a Cursor,
    /// The offset after the last record.
    pub next: i64,
    /// The fingerprint of the last record; none if there is no record before `next`.
    pub last: Option<&'a str>,
    /// Records that Kafka no longer has between the cursor and the first record.
    pub lost_records: u64,
    /// The caller, which ends rejected tasks.
    pub server: &'a str,
    /// Lease of held and rejected tasks.
    pub lease: Duration,
    /// Refused retries that are kept as rejected tasks; those after them are left out.
    pub refusals_max: u32,
    /// The records, in order.
    pub tasks: &'a [NewTask],
}

/// The result for one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Added.
    Added,
    /// The same record was read again; nothing changed.
    Known,
    /// Another record has this id, and the same `retry` or a higher one; ignored.
    Duplicate,
    /// The task of its id is started again.
    Again {
        /// From this checkpoint.
        resume: Resume,
    },
    /// Ended before Redis lost its data; ignored.
    Ended,
    /// Not a valid task or not a valid retry, and one too many to be kept; nothing changed.
    LeftOut {
        /// The reason, as one line.
        reason: String,
    },
    /// Not a valid task: the caller ends it under this fence.
    Rejected {
        /// The fence.
        fence: u64,
    },
    /// It may not start the task of its id again: the caller ends the record, by its own id, under this fence.
    Refused {
        /// The fence.
        fence: u64,
        /// The reason, as one line.
        reason: String,
    },
}

/// The result of an ingest call.
#[derive(Debug, PartialEq, Eq)]
pub enum Ingested {
    /// The cursor has moved or is missing: read the cursors again.
    Moved,
    /// One outcome for each record.
    Done(Vec<Outcome>),
}

impl ClaimTable {
    /// The cursor of each partition; none for one that has to be started.
    pub fn cursors(
        &mut self,
        partitions: &[i32],
    ) -> Result<BTreeMap<i32, Option<Cursor>>, ClaimTableError> {
        let found: Vec<Vec<Option<String>>> = self.call(&CURSORS, &Partitions::new(partitions))?;
        partitions
            .iter()
            .zip(found)
            .map(|(&partition, cursor)| Ok((partition, parse_cursor(partition, cursor)?)))
            .collect()
    }

    /// Starts a partition. Returns false if another server was first.
    pub fn begin(
        &mut self,
        partition: i32,
        beginning: &Beginning<'_>,
    ) -> Result<bool, ClaimTableError> {
        #[derive(Serialize)]
        struct Arguments<'a> {
            partition: String,
            from: String,
            log_end: String,
            epoch: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            replaces: Option<&'a str>,
            lost_records: u64,
            is_loss: bool,
        }
        let (replaces, is_loss) = match beginning.start {
            Start::Missing => (None, beginning.lost_records > 0),
            Start::Recreated { epoch } => (Some(epoch), true),
            Start::MovedBack { epoch } => (Some(epoch), false),
        };
        let arguments = Arguments {
            partition: partition.to_string(),
            from: beginning.from.to_string(),
            log_end: beginning.log_end.to_string(),
            epoch: beginning.epoch,
            replaces,
            lost_records: beginning.lost_records,
            is_loss,
        };
        self.call(&BEGIN, &arguments)
    }

    /// Checks up to `most` unfinished tasks of a partition, beginning at rank `from`, for lost keys.
    pub fn audit(
        &mut self,
        partition: i32,
        from: usize,
        most: usize,
    ) -> Result<Audit, ClaimTableError> {
        #[derive(Serialize)]
        struct Arguments {
            partition: String,
            from: usize,
            max: usize,
        }
        let arguments = Arguments {
            partition: partition.to_string(),
            from,
            max: most,
        };
        let mut answer = self.call::<Vec<String>>(&AUDIT, &arguments)?.into_iter();
        let next = answer.next().unwrap_or_default();
        Ok(Audit {
            next: next
                .parse()
                .map_err(|_| ClaimTableError::malformed("the rank of audit.lua", &next))?,
            missing: answer.collect(),
        })
    }

    /// Adds records to the claim table and moves the cursor past them, atomically.
    pub fn ingest(&mut self, run: &Ingest<'_>) -> Result<Ingested, ClaimTableError> {
        #[derive(Serialize)]
        struct Arguments<'a> {
            partition: String,
            cursor: String,
            epoch: &'a str,
            next: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            last: Option<&'a str>,
            lost_records: u64,
            server: &'a str,
            lease_ms: u64,
            kept_ms: u64,
            refusals_max: u32,
            records: Vec<IngestRecord<'a>>,
        }
        let arguments = Arguments {
            partition: run.partition.to_string(),
            cursor: run.cursor.next.to_string(),
            epoch: &run.cursor.epoch,
            next: run.next.to_string(),
            last: run.last,
            lost_records: run.lost_records,
            server: run.server,
            lease_ms: ms(run.lease),
            kept_ms: ms(ENDED_KEPT),
            refusals_max: run.refusals_max,
            records: run.tasks.iter().map(ingest_record).collect(),
        };
        let answer: Vec<Vec<String>> = self.call(&INGEST, &arguments)?;
        let mut answer = answer.into_iter();
        if answer.next().unwrap_or_default() != ["ok"] {
            return Ok(Ingested::Moved);
        }
        let outcomes: Vec<Outcome> = answer
            .map(|words| parse_outcome(&words))
            .collect::<Result<_, _>>()?;
        if outcomes.len() != run.tasks.len() {
            return Err(ClaimTableError::malformed(
                "the number of ingest.lua's outcomes",
                &outcomes.len().to_string(),
            ));
        }
        Ok(Ingested::Done(outcomes))
    }

    /// For each partition, the offset that the group may commit and the offset that it committed last.
    pub fn positions(
        &mut self,
        partitions: &[i32],
    ) -> Result<BTreeMap<i32, GroupPosition>, ClaimTableError> {
        let found: Vec<(String, String)> = self.call(&POSITIONS, &Partitions::new(partitions))?;
        let position = |(committable, committed): (String, String)| GroupPosition {
            committable: committable.parse().ok(),
            committed: committed.parse().ok(),
        };
        Ok(partitions
            .iter()
            .copied()
            .zip(found.into_iter().map(position))
            .collect())
    }

    /// Notes the offsets that Kafka has acknowledged as the group's.
    pub fn note_committed(&mut self, offsets: &BTreeMap<i32, i64>) -> Result<(), ClaimTableError> {
        #[derive(Serialize)]
        struct Arguments {
            offsets: Vec<[String; 2]>,
        }
        let offsets = offsets
            .iter()
            .map(|(partition, offset)| [partition.to_string(), offset.to_string()]);
        let arguments = Arguments {
            offsets: offsets.collect(),
        };
        self.call::<String>(&COMMITTED, &arguments).map(drop)
    }
}

fn parse_cursor(
    partition: i32,
    found: Vec<Option<String>>,
) -> Result<Option<Cursor>, ClaimTableError> {
    if found.is_empty() {
        return Ok(None);
    }
    let mut words = found.into_iter().map(Option::unwrap_or_default);
    let mut next = || words.next().unwrap_or_default();
    let (cursor, until, epoch) = (next(), next(), next());
    let last = Some(next()).filter(|last| !last.is_empty());
    match (cursor.parse(), until.parse()) {
        (Ok(next), Ok(until)) => Ok(Some(Cursor {
            next,
            until,
            epoch,
            last,
        })),
        _ => Err(ClaimTableError::malformed(
            format!("the cursor of partition {partition}"),
            &format!("{cursor} until {until}"),
        )),
    }
}

fn parse_outcome(words: &[String]) -> Result<Outcome, ClaimTableError> {
    let malformed =
        || ClaimTableError::malformed("an outcome of ingest.lua", &one_line(&words.join(" ")));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let fence = |text: &str| text.parse().map_err(|_| malformed());
    Ok(match words[..] {
        ["added"] => Outcome::Added,
        ["known"] => Outcome::Known,
        ["duplicate"] => Outcome::Duplicate,
        ["ended"] => Outcome::Ended,
        ["left out", reason] => Outcome::LeftOut {
            reason: one_line(reason),
        },
        ["again", pass, index, found, probe_order] => Outcome::Again {
            resume: Resume {
                position: Position {
                    pass: pass.parse().map_err(|_| malformed())?,
                    index: index.parse().map_err(|_| malformed())?,
                },
                found: found.parse().map_err(|_| malformed())?,
                probe_order: probe_order.parse().ok(),
            },
        },
        ["rejected", of] => Outcome::Rejected { fence: fence(of)? },
        ["refused", of, reason] => Outcome::Refused {
            fence: fence(of)?,
            reason: one_line(reason),
        },
        _ => return Err(malformed()),
    })
}

/// The partitions that a script reads.
#[derive(Serialize)]
struct Partitions {
    partitions: Vec<String>,
}

impl Partitions {
    fn new(partitions: &[i32]) -> Partitions {
        Partitions {
            partitions: partitions.iter().map(i32::to_string).collect(),
        }
    }
}

/// One record for ingest.lua. Offset and field values are strings, because a Lua number would lose the last digits of a fence.
#[derive(Serialize)]
struct IngestRecord<'a> {
    offset: String,
    task_id: &'a str,
    record_id: &'a str,
    disposition: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    unless_known: Option<&'a str>,
    fields: Map<String, Value>,
}

fn ingest_record(new: &NewTask) -> IngestRecord<'_> {
    let mut fields = new.task.as_ref().map(task_fields).unwrap_or_default();
    let mut set = |name: &str, value: String| {
        fields.insert(name.to_owned(), json!(value));
    };
    let mut unless_known = None;
    let disposition = match &new.disposition {
        Disposition::New => {
            set_past(&Past::default(), None, &mut set);
            "new"
        }
        Disposition::Retry {
            unless_known: reason,
        } => {
            unless_known = Some(reason.as_str());
            set_past(&Past::default(), None, &mut set);
            "new"
        }
        Disposition::Ready(past) => {
            set_past(past, new.task.as_ref(), &mut set);
            "ready"
        }
        Disposition::Held { server, past } => {
            set("server", server.clone());
            set_past(past, new.task.as_ref(), &mut set);
            "held"
        }
        Disposition::Paused(past) => {
            set_past(past, new.task.as_ref(), &mut set);
            "paused"
        }
        Disposition::Ended { restored } => {
            if let Some(record) = restored.as_deref().filter(|_| new.task.is_some()) {
                set_ended(record, new.task.as_ref(), &mut set);
            }
            "ended"
        }
        Disposition::Rejected { reason } => {
            set("error", reason.clone());
            "rejected"
        }
        Disposition::LeftOut { reason } => {
            set("error", reason.clone());
            "left out"
        }
    };
    IngestRecord {
        offset: new.offset.to_string(),
        task_id: new.task_id.as_str(),
        record_id: new.record_id.as_str(),
        disposition,
        unless_known,
        fields,
    }
}

/// Sets what the task had reached, including its progress: a task that was partly scanned shows it before its next attempt begins.
fn set_past(past: &Past, task: Option<&Task>, set: &mut impl FnMut(&str, String)) {
    let resume = &past.resume;
    set("attempt", past.attempt.to_string());
    set("fence", past.fence.to_string());
    set("lost", past.lost.to_string());
    set("ran_ms", past.ran_ms.to_string());
    set("resume_pass", resume.position.pass.to_string());
    set("resume_index", resume.position.index.to_string());
    set("resume_found_by_pass", resume.found.to_string());
    if let Some(probe_order) = resume.probe_order {
        set("resume_for", probe_order.to_string());
    }
    if let Some(task) = task.filter(|_| resume.position > Position::START) {
        let probe_order = ProbeOrder::new(task, &Targets::default(), task.band_width.pps());
        let percent = probe_order.percent_at(resume.position);
        set("progress", format!("{percent:.2}"));
        set("found", resume.found.most().to_string());
        set("found_by_pass", resume.found.to_string());
    }
}

/// Sets the end of a task as its terminal record has it.
fn set_ended(record: &StatusRecord, task: Option<&Task>, set: &mut impl FnMut(&str, String)) {
    set_past(&Past::from(record), task, set);
    set("status", record.status.to_string());
    set("server", record.server.clone());
    set("found", record.found.to_string());
    set("found_by_pass", record.found_by_pass.to_string());
    if let Some(error) = &record.error {
        set("error", error.clone());
    }
    // Labels: Redis' own times are lost.
    for name in ["queued_ms", "finished_ms"] {
        set(name, record.at_ms.to_string());
    }
}

/// The fields of the task's hash: those that people and scripts read, and the complete record for the server that claims it.
fn task_fields(task: &Task) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut set = |name: &str, value: String| fields.insert(name.to_owned(), json!(value));
    set("record", task.to_record());
    set("ip_range", task.ip_range.to_string());
    set("ports", task.ports.to_string());
    set("band_width", task.band_width.pps().to_string());
    set("probes", probes_of(task).to_string());
    set("priority", task.priority.get().to_string());
    if let Some(job_id) = &task.job_id {
        set("job_id", job_id.to_string());
    }
    if let Some(parallel) = task.parallel {
        set("parallel", parallel.to_string());
    }
    if let Some(shard) = task.shard {
        set("shard", shard.to_string());
    }
    set("progress", "0".to_owned());
    set("found", "0".to_owned());
    if task.retry > 0 {
        set("retry", task.retry.to_string());
    }
    fields
}

/// The probes of this task in all passes; for a shard its share of the whole.
fn probes_of(task: &Task) -> u128 {
    let count = task.shard.map_or(1, |shard| u128::from(shard.count.max(1)));
    task.probes().div_ceil(count) * u128::from(task.passes())
}
