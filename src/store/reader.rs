//! Reads a database: its size, single tasks and jobs, and what is known about an address. The lists are in files of their own.

use super::connection::{AnyConnection, DatabaseSettings, Purpose, limit_statements, open};
use super::error::StoreError;
use super::merge::{Budget, PAGE_WAIT_MS};
use super::schema::{
    ChangeRow, FindingRow, ServiceColumns, TaskRow, changes, counters, findings, key_of, parsed,
    services, tasks, unsigned,
};
use super::tasks::find;
use crate::model::coverage::{Proof, ScanParameters};
use crate::model::service::{Change, ServiceState, Sighting, ordered_bytes};
use crate::model::{Finding, FindingRecord, State, TaskId};
use diesel::dsl::{count_star, max};
use diesel::prelude::*;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Rows of one query.
const PAGE_ROWS: usize = 2_000;
/// Tasks whose findings are counted by one query.
const COUNTED_TASKS: usize = 500;
/// Ids that an abbreviated one is compared with at most.
const CANDIDATES_MAX: usize = 1_000;

/// A database that is read from.
pub struct StoreReader {
    settings: DatabaseSettings,
    connection: AnyConnection,
    page_wait: Duration,
}

/// A change with its number, which increases in the order in which changes were noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberedChange {
    /// The number, from 1.
    pub id: i64,
    /// The change.
    pub change: Change,
}

/// A task as the database knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTask {
    /// Its id.
    pub task_id: TaskId,
    /// The job that it belongs to.
    pub job_id: Option<String>,
    /// Its state.
    pub state: State,
    /// What it scans; none if its record was not read.
    pub parameters: Option<ScanParameters>,
    /// Packets per second.
    pub band_width: Option<u64>,
    /// Its priority; higher ones go first.
    pub priority: Option<u8>,
    /// Passes after the first.
    pub retries: Option<u32>,
    /// Its share of the probes, like `2/16`.
    pub shard: Option<String>,
    /// The server that reported its state.
    pub server: Option<String>,
    /// Attempts started.
    pub attempt: u32,
    /// Servers lost while they ran it.
    pub lost: u32,
    /// How often it was retried after its end.
    pub retry: u32,
    /// Findings.
    pub found: u64,
    /// Findings of each pass, as JSON.
    pub found_by_pass: Option<String>,
    /// The reason of its state.
    pub error: Option<String>,
    /// When its state changed last, in unix milliseconds.
    pub changed_ms: u64,
    /// When it began, in unix milliseconds.
    pub begun_ms: Option<u64>,
    /// When it ended, in unix milliseconds.
    pub ended_ms: Option<u64>,
    /// What it proves about services that it did not find, once it has completed.
    pub proof: Option<Proof>,
}

/// How much the database has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Open services.
    pub open: u64,
    /// Closed services.
    pub closed: u64,
    /// Tasks.
    pub tasks: u64,
    /// Records that changed nothing, by reason.
    pub ignored: BTreeMap<String, u64>,
}

/// A job as the database knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredJob {
    /// Its tasks, in the order of their ids.
    pub tasks: Vec<StoredTask>,
}

impl StoreReader {
    /// Connects. Errs if the database does not exist, or was not made by this version of the program.
    pub fn open(settings: &DatabaseSettings) -> Result<StoreReader, StoreError> {
        Ok(StoreReader {
            connection: open(settings, Purpose::Reading)?,
            settings: settings.clone(),
            page_wait: Duration::from_millis(PAGE_WAIT_MS),
        })
    }

    /// Lets a page of a list take this long instead of 0.1 s; with less, more pages are incomplete.
    pub fn set_page_wait(&mut self, wait: Duration) {
        self.page_wait = wait;
    }

    /// The budget of a page that begins now.
    pub(super) fn page_budget(&self) -> Budget {
        Budget::Page(Instant::now() + self.page_wait)
    }

    /// Lets the server cancel statements that take longer. A file has no server.
    pub fn limit_statements(&mut self, limit: Duration) -> Result<(), StoreError> {
        self.run(|connection| limit_statements(connection, limit))
    }

    /// Reads, and names the database in an error.
    pub(super) fn run<T>(
        &mut self,
        work: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        work(&mut self.connection).map_err(|error| error.of(&self.settings.url))
    }

    /// The error with the database's name.
    fn named(&self, error: impl Into<StoreError>) -> StoreError {
        error.into().of(&self.settings.url)
    }

    /// The number of the newest change; none if there is none.
    pub fn newest_change(&mut self) -> Result<Option<i64>, StoreError> {
        let newest = changes::table.select(max(changes::id));
        newest
            .first(&mut self.connection)
            .map_err(|error| self.named(error))
    }

    /// How much the database has. Reads every service.
    pub fn counts(&mut self) -> Result<Counts, StoreError> {
        counts(&mut self.connection).map_err(|error| self.named(error))
    }

    /// The changes of one address, oldest first.
    pub fn changes_of(&mut self, ip: IpAddr) -> Result<Vec<NumberedChange>, StoreError> {
        let rows: Vec<ChangeRow> = changes::table
            .filter(changes::address.eq(ordered_bytes(ip.to_canonical()).to_vec()))
            .order((changes::at, changes::id))
            .select(ChangeRow::as_select())
            .load(&mut self.connection)
            .map_err(|error| self.named(error))?;
        rows.into_iter().map(numbered).collect()
    }

    /// A task.
    pub fn task(&mut self, task_id: &TaskId) -> Result<Option<StoredTask>, StoreError> {
        let row = find(&mut self.connection, task_id).map_err(|error| self.named(error))?;
        row.map(StoredTask::try_from).transpose()
    }

    /// A job with all its tasks.
    pub fn job(&mut self, job_id: &TaskId) -> Result<Option<StoredJob>, StoreError> {
        let rows: Vec<TaskRow> = tasks::table
            .filter(tasks::job_id.eq(job_id.as_str()))
            .order(tasks::task_id)
            .select(TaskRow::as_select())
            .load(&mut self.connection)
            .map_err(|error| self.named(error))?;
        let tasks: Vec<StoredTask> = rows
            .into_iter()
            .map(StoredTask::try_from)
            .collect::<Result<_, _>>()?;
        Ok((!tasks.is_empty()).then_some(StoredJob { tasks }))
    }

    /// The ids of tasks that begin with `prefix`, in order, at most [`CANDIDATES_MAX`].
    pub fn tasks_beginning(&mut self, prefix: &str) -> Result<Vec<TaskId>, StoreError> {
        let ids: Result<Vec<String>, _> = tasks::table
            .filter(tasks::task_id.like(pattern_of(prefix)).escape('\\'))
            .select(tasks::task_id)
            .limit(CANDIDATES_MAX as i64)
            .load(&mut self.connection);
        let ids = ids.map_err(|error| self.named(error))?;
        Ok(ids_beginning(prefix, ids))
    }

    /// The ids of jobs that begin with `prefix`, in order, at most [`CANDIDATES_MAX`].
    pub fn jobs_beginning(&mut self, prefix: &str) -> Result<Vec<TaskId>, StoreError> {
        let ids: Result<Vec<Option<String>>, _> = tasks::table
            .filter(tasks::job_id.like(pattern_of(prefix)).escape('\\'))
            .select(tasks::job_id)
            .distinct()
            .limit(CANDIDATES_MAX as i64)
            .load(&mut self.connection);
        let ids = ids.map_err(|error| self.named(error))?;
        Ok(ids_beginning(prefix, ids.into_iter().flatten()))
    }

    /// Passes the kept findings of a task to `each`, ordered by address, port and protocol.
    pub fn findings_of(
        &mut self,
        task_id: &TaskId,
        mut each: impl FnMut(Sighting),
    ) -> Result<(), StoreError> {
        self.finding_rows(task_id, |row| {
            each(Sighting {
                key: key_of(&row.address, row.port, row.protocol)?,
                at: unsigned(row.at),
                task_id: task_id.clone(),
                reason: parsed("findings.reason", &row.reason)?,
                ttl: u8::try_from(row.ttl).unwrap_or_default(),
            });
            Ok(true)
        })
    }

    /// Passes the kept findings of a task to `each` as their records, in the same order, until `each` returns false.
    pub fn finding_records_of(
        &mut self,
        task_id: &TaskId,
        mut each: impl FnMut(&FindingRecord<'_>) -> bool,
    ) -> Result<(), StoreError> {
        self.finding_rows(task_id, |row| {
            let key = key_of(&row.address, row.port, row.protocol)?;
            Ok(each(&FindingRecord {
                task_id: Cow::Borrowed(&row.task_id),
                finding: Finding {
                    ip: key.ip,
                    port: key.port,
                    proto: key.proto,
                    status: parsed("findings.status", "open")?,
                    reason: parsed("findings.reason", &row.reason)?,
                    ttl: u8::try_from(row.ttl).unwrap_or_default(),
                    timestamp: unsigned(row.at),
                },
                server: Cow::Borrowed(&row.server),
                attempt: u32::try_from(row.attempt).unwrap_or_default(),
                pass: u32::try_from(row.pass).unwrap_or_default(),
            }))
        })
    }

    /// The numbers of kept findings of tasks, without tasks that have none.
    pub fn count_findings_of(
        &mut self,
        task_ids: &[TaskId],
    ) -> Result<HashMap<String, u64>, StoreError> {
        let mut counts = HashMap::new();
        for ids in task_ids.chunks(COUNTED_TASKS) {
            let rows: Vec<(String, i64)> = findings::table
                .filter(findings::task_id.eq_any(ids.iter().map(TaskId::as_str)))
                .group_by(findings::task_id)
                .select((findings::task_id, count_star()))
                .load(&mut self.connection)
                .map_err(|error| self.named(error))?;
            counts.extend(rows.into_iter().map(|(id, kept)| (id, unsigned(kept))));
        }
        Ok(counts)
    }

    fn finding_rows(
        &mut self,
        task_id: &TaskId,
        mut each: impl FnMut(&FindingRow) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let mut after: Option<ServiceColumns> = None;
        loop {
            let mut query = findings::table
                .filter(findings::task_id.eq(task_id.as_str()))
                .order((findings::address, findings::port, findings::protocol))
                .limit(PAGE_ROWS as i64)
                .select(FindingRow::as_select())
                .into_boxed();
            if let Some((address, port, protocol)) = after.take() {
                query = query.filter(findings::address.ge(address.clone())).filter(
                    findings::address.gt(address).or(findings::port
                        .gt(port)
                        .or(findings::port.eq(port).and(findings::protocol.gt(protocol)))),
                );
            }
            let rows: Vec<FindingRow> = query
                .load(&mut self.connection)
                .map_err(|error| self.named(error))?;
            let is_last = rows.len() < PAGE_ROWS;
            for row in &rows {
                if !each(row)? {
                    return Ok(());
                }
            }
            after = rows
                .into_iter()
                .next_back()
                .map(|row| (row.address, row.port, row.protocol));
            if is_last {
                return Ok(());
            }
        }
    }
}

impl TryFrom<TaskRow> for StoredTask {
    type Error = StoreError;

    fn try_from(row: TaskRow) -> Result<StoredTask, StoreError> {
        let parameters = row.parameters();
        Ok(StoredTask {
            task_id: parsed("tasks.task_id", &row.task_id)?,
            job_id: row.job_id,
            state: parsed("tasks.state", &row.state)?,
            parameters,
            band_width: row.band_width.map(unsigned),
            priority: row
                .priority
                .and_then(|priority| u8::try_from(priority).ok()),
            retries: row.retries.and_then(|retries| u32::try_from(retries).ok()),
            shard: row.shard,
            server: row.server,
            attempt: u32::try_from(row.attempt).unwrap_or_default(),
            lost: u32::try_from(row.lost).unwrap_or_default(),
            retry: u32::try_from(row.retry).unwrap_or_default(),
            found: unsigned(row.found),
            found_by_pass: row.found_by_pass,
            error: row.error,
            changed_ms: unsigned(row.changed_ms),
            begun_ms: row.begun_ms.map(unsigned),
            ended_ms: row.ended_ms.map(unsigned),
            proof: row
                .proof
                .map(|proof| parsed("tasks.proof", &proof))
                .transpose()?,
        })
    }
}

fn counts(connection: &mut AnyConnection) -> Result<Counts, StoreError> {
    let closed: i64 = services::table
        .filter(services::state.eq(ServiceState::Closed.as_str()))
        .count()
        .get_result(connection)?;
    let all: i64 = services::table.count().get_result(connection)?;
    let task_count: i64 = tasks::table.count().get_result(connection)?;
    let ignored: Vec<(String, i64)> = counters::table
        .select((counters::name, counters::value))
        .load(connection)?;
    Ok(Counts {
        open: unsigned(all - closed),
        closed: unsigned(closed),
        tasks: unsigned(task_count),
        ignored: ignored
            .into_iter()
            .map(|(name, value)| (name, unsigned(value)))
            .collect(),
    })
}

pub(super) fn numbered(row: ChangeRow) -> Result<NumberedChange, StoreError> {
    Ok(NumberedChange {
        id: row.id,
        change: Change::try_from(row)?,
    })
}

/// A pattern of LIKE for what begins with `prefix`.
fn pattern_of(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len() + 1);
    for c in prefix.chars() {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern + "%"
}

/// SQLite's LIKE takes upper and lower case for the same.
fn ids_beginning(prefix: &str, ids: impl IntoIterator<Item = String>) -> Vec<TaskId> {
    let ids = ids.into_iter().filter(|id| id.starts_with(prefix));
    let mut ids: Vec<TaskId> = ids.filter_map(|id| id.parse().ok()).collect();
    ids.sort();
    ids
}
