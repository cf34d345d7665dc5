//! The way into the claim table: cursors, ingest, and what the group may commit.

use super::connection::{ClaimTable, ms};
use super::error::ClaimTableError;
use crate::model::text::quoted;
use crate::model::{ProbeOrder, Resume, Targets, Task, TaskId};
use redis::Script;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

macro_rules! script {
    ($file:literal) => {
        LazyLock::new(|| {
            Script::new(concat!(
                include_str!("scripts/prelude.lua"),
                "\n",
                include_str!(concat!("scripts/", $file))
            ))
        })
    };
}
pub(super) use script;

static CURSORS: LazyLock<Script> = script!("cursors.lua");
static BEGIN: LazyLock<Script> = script!("begin.lua");
static INGEST: LazyLock<Script> = script!("ingest.lua");
static AUDIT: LazyLock<Script> = script!("audit.lua");
static COMMITTABLE: LazyLock<Script> = script!("committable.lua");

/// Where the group stands in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The next offset to ingest.
    pub next: i64,
    /// Below this offset, tasks may have ended or be running: look at `scan-status` before ingesting them.
    pub until: i64,
    /// The name of the beginning after which this cursor counts.
    pub epoch: String,
    /// The fingerprint of the record before `next`, where it is known: by it, another log at the same offsets is noticed.
    pub last: Option<String>,
}

/// How a partition is begun.
#[derive(Clone, Copy, Debug)]
pub struct Beginning<'a> {
    /// The first offset to ingest.
    pub from: i64,
    /// The log's end now: what lies below it may have ended already.
    pub log_end: i64,
    /// A name for this beginning.
    pub epoch: &'a str,
    /// The beginning that it replaces, where the cursor is there but counts no longer: the topic was made anew.
    pub replaces: Option<&'a str>,
    /// Records that Kafka no longer has, as far as known.
    pub lost_records: u64,
}

/// What an audit found.
#[derive(Debug, PartialEq, Eq)]
pub struct Audit {
    /// The rank at which the next one goes on; 0 once the end was reached.
    pub next: usize,
    /// Tasks that were not whole. Their partition is begun anew, which brings them back.
    pub missing: Vec<String>,
}

/// What a task has behind it from before a lost Redis; nothing where it is new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// Attempts begun.
    pub attempt: u32,
    /// Servers lost under it.
    pub lost: u32,
    /// Where the next attempt continues.
    pub resume: Resume,
}

/// What becomes of a record at ingest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// A task to be claimed.
    Ready(Past),
    /// It was running when Redis was lost: kept for its server for one lease.
    Held {
        /// That server.
        server: String,
        /// The claim under which it runs.
        fence: u64,
        /// What it has behind it.
        past: Past,
    },
    /// It was paused when Redis was lost, by a change that has this fence.
    Paused {
        /// The fence.
        fence: u64,
        /// What it has behind it.
        past: Past,
    },
    /// It ended before Redis was lost.
    Ended,
    /// No valid task.
    Rejected {
        /// One line: why.
        reason: String,
    },
}

/// One record on its way into the claim table.
#[derive(Clone, Debug)]
pub struct NewTask {
    /// Where its record lies.
    pub offset: i64,
    /// Its id, also where it is no valid task.
    pub task_id: TaskId,
    /// The task; none where it is rejected.
    pub task: Option<Task>,
    /// What becomes of it.
    pub disposition: Disposition,
}

/// A run of records of one partition.
#[derive(Debug)]
pub struct Ingest<'a> {
    /// The partition.
    pub partition: i32,
    /// The cursor that the caller read; the call changes nothing where it is another by now.
    pub cursor: &'a Cursor,
    /// The offset behind the last record.
    pub next: i64,
    /// The fingerprint of the last record; none where there is none before `next`.
    pub last: Option<&'a str>,
    /// Records that Kafka no longer has between the cursor and the first record.
    pub lost_records: u64,
    /// The caller, who ends the rejected ones.
    pub server: &'a str,
    /// Lease of held and rejected ones.
    pub lease: Duration,
    /// The records, in order.
    pub tasks: &'a [NewTask],
}

/// What ingest did with one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Taken up.
    Added,
    /// Read again, nothing changed.
    Known,
    /// Another record has this id: dropped.
    Duplicate,
    /// Ended before Redis was lost: dropped.
    Ended,
    /// No valid task: the caller ends it, under this fence.
    Rejected {
        /// The fence.
        fence: u64,
    },
}

/// The answer of an ingest call.
#[derive(Debug, PartialEq, Eq)]
pub enum Ingested {
    /// Somebody else moved the cursor, or the partition has to be begun: read the cursors again.
    Moved,
    /// Done: an outcome for each record.
    Done(Vec<Outcome>),
}

impl ClaimTable {
    /// The cursor of each of `partitions`; none for one that has to be begun.
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

    /// Begins a partition whose cursor is missing. False where another server was first.
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
        }
        let arguments = Arguments {
            partition: partition.to_string(),
            from: beginning.from.to_string(),
            log_end: beginning.log_end.to_string(),
            epoch: beginning.epoch,
            replaces: beginning.replaces,
            lost_records: beginning.lost_records,
        };
        self.call(&BEGIN, &arguments)
    }

    /// Looks at up to `most` unfinished tasks of a partition, from rank `from` on, for those whose keys were lost one by one.
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
            next: next.parse().map_err(|_| ClaimTableError::Malformed {
                what: "the rank of audit.lua".to_owned(),
                value: quoted(&next),
            })?,
            missing: answer.collect(),
        })
    }

    /// Takes records into the claim table and moves the cursor past them, at once or not at all.
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
            records: run.tasks.iter().map(ingest_record).collect(),
        };
        let mut answer = self.call::<Vec<String>>(&INGEST, &arguments)?.into_iter();
        if answer.next().as_deref() != Some("ok") {
            return Ok(Ingested::Moved);
        }
        let outcomes: Vec<Outcome> = answer
            .map(|word| parse_outcome(&word))
            .collect::<Result<_, _>>()?;
        if outcomes.len() != run.tasks.len() {
            return Err(ClaimTableError::Malformed {
                what: "the number of ingest.lua's outcomes".to_owned(),
                value: outcomes.len().to_string(),
            });
        }
        Ok(Ingested::Done(outcomes))
    }

    /// For each of `partitions` the offset that the group may commit; those whose state is not whole are left out.
    pub fn committable(
        &mut self,
        partitions: &[i32],
    ) -> Result<BTreeMap<i32, i64>, ClaimTableError> {
        let offsets: Vec<String> = self.call(&COMMITTABLE, &Partitions::new(partitions))?;
        Ok(partitions
            .iter()
            .zip(offsets)
            .filter_map(|(&partition, offset)| Some((partition, offset.parse().ok()?)))
            .collect())
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
        _ => Err(ClaimTableError::Malformed {
            what: format!("the cursor of partition {partition}"),
            value: quoted(&format!("{cursor} until {until}")),
        }),
    }
}

fn parse_outcome(word: &str) -> Result<Outcome, ClaimTableError> {
    Ok(match word {
        "added" => Outcome::Added,
        "known" => Outcome::Known,
        "duplicate" => Outcome::Duplicate,
        "ended" => Outcome::Ended,
        fence => Outcome::Rejected {
            fence: fence.parse().map_err(|_| ClaimTableError::Malformed {
                what: "an outcome of ingest.lua".to_owned(),
                value: quoted(fence),
            })?,
        },
    })
}

/// The partitions that a script is asked about.
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

/// One record for ingest.lua. Offset and field values are strings: a Lua number would lose the last digits of a fence.
#[derive(Serialize)]
struct IngestRecord<'a> {
    offset: String,
    task_id: &'a str,
    disposition: &'static str,
    fields: Map<String, Value>,
}

fn ingest_record(new: &NewTask) -> IngestRecord<'_> {
    let mut fields = new.task.as_ref().map(task_fields).unwrap_or_default();
    let mut set = |name: &str, value: String| {
        fields.insert(name.to_owned(), json!(value));
    };
    let disposition = match &new.disposition {
        Disposition::Ready(past) => {
            set_past(past, new.task.as_ref(), &mut set);
            "ready"
        }
        Disposition::Held {
            server,
            fence,
            past,
        } => {
            set("server", server.clone());
            set("fence", fence.to_string());
            set_past(past, new.task.as_ref(), &mut set);
            "held"
        }
        Disposition::Paused { fence, past } => {
            set("fence", fence.to_string());
            set_past(past, new.task.as_ref(), &mut set);
            "paused"
        }
        Disposition::Ended => "ended",
        Disposition::Rejected { reason } => {
            set("error", reason.clone());
            "rejected"
        }
    };
    IngestRecord {
        offset: new.offset.to_string(),
        task_id: new.task_id.as_str(),
        disposition,
        fields,
    }
}

/// Progress never goes back to 0: a task that has come some way shows it before its next attempt begins, too.
fn set_past(past: &Past, task: Option<&Task>, set: &mut impl FnMut(&str, String)) {
    let resume = &past.resume;
    set("attempt", past.attempt.to_string());
    set("lost", past.lost.to_string());
    set("resume_index", resume.index.to_string());
    set("resume_found", resume.found.to_string());
    if let Some(walk) = resume.walk {
        set("resume_for", walk.to_string());
    }
    if let Some(task) = task.filter(|_| resume.index > 0) {
        let walk = ProbeOrder::new(task, &Targets::default(), task.band_width.pps());
        set("progress", format!("{:.2}", walk.percent_at(resume.index)));
        set("found", resume.found.to_string());
    }
}

/// The task as fields of its hash: the ones that people and scripts read, and the whole record for the server that claims it.
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

/// The probes that are this task's own: a shard's part of the whole.
fn probes_of(task: &Task) -> u128 {
    let count = task.shard.map_or(1, |shard| u128::from(shard.count.max(1)));
    task.probes().div_ceil(count)
}
