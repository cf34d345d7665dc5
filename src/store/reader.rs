//! Queries. All lists are read in pages, so that memory does not grow with the answer.

use super::conditions::{has_port, is_after, ports_in_sql};
use super::connection::{AnyConnection, DatabaseSettings, Purpose, open};
use super::error::StoreError;
use super::filter::{ChangeFilter, ServiceFilter};
use super::schema::{
    ChangeRow, FindingRow, ServiceColumns, ServiceRow, TaskRow, changes, columns_of, counters,
    findings, key_of, number_of, parsed, services, signed, tasks, unsigned,
};
use super::tasks::find;
use crate::model::coverage::{Proof, ScanParameters};
use crate::model::ports::PortRange;
use crate::model::service::{Change, Service, ServiceKey, ServiceState, Sighting, ordered_bytes};
use crate::model::{Finding, FindingRecord, Ports, State, Targets, TaskId};
use diesel::dsl::{max, sql};
use diesel::prelude::*;
use diesel::sql_types::{Binary, Bool};
use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Rows of one query.
const PAGE_ROWS: usize = 2_000;
/// Rows that are read without an order and sorted here. An index that finds them is faster than one that has them in order, if there are so few;
/// no database knows that in advance.
const FEW_ROWS: usize = 4_000;
/// With more ranges than this, few rows are not searched for: each range is a query.
const FEW_RANGES_MAX: usize = 16;
/// With more networks than this, the database is asked for the range from the first to the last address, and the networks are applied to the rows:
/// each network is a query.
const NETWORKS_IN_SQL_MAX: usize = 1_000;
/// Ids that an abbreviated one is compared with at most.
const CANDIDATES_MAX: usize = 1_000;

/// The condition of the partial index of closed services. Not with a parameter: the database needs to see the value.
const IS_CLOSED: &str = "state = 'closed'";

/// A change with what changes are ordered by: time and number.
type PlacedChange = ((i64, i64), NumberedChange);

/// A database that is read from.
pub struct StoreReader {
    settings: DatabaseSettings,
    pub(super) connection: AnyConnection,
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
        })
    }

    /// The error with the database's name.
    pub(super) fn named(&self, error: impl Into<StoreError>) -> StoreError {
        error.into().of(&self.settings.url)
    }

    /// How much the database has. Reads every service.
    pub fn counts(&mut self) -> Result<Counts, StoreError> {
        counts(&mut self.connection).map_err(|error| self.named(error))
    }

    /// The number of the newest change; none if there is none.
    pub fn newest_change(&mut self) -> Result<Option<i64>, StoreError> {
        let newest = changes::table.select(max(changes::id));
        newest
            .first(&mut self.connection)
            .map_err(|error| self.named(error))
    }

    /// Passes the services that match to `each`, ordered by address, port and protocol, from the one after `after` on, until `each` returns false.
    pub fn services(
        &mut self,
        filter: &ServiceFilter,
        after: Option<ServiceKey>,
        mut each: impl FnMut(Service) -> bool,
    ) -> Result<(), StoreError> {
        if let Some(few) = self.few_services(filter)? {
            let after = after.map(|key| columns_of(&key));
            for (columns, service) in few {
                if Some(columns) > after && !each(service) {
                    break;
                }
            }
            return Ok(());
        }
        let port_filter = ports_in_sql(filter.ports.as_ref());
        let ranges = ranges_of(filter.networks.as_ref());
        let mut after = after.map(|key| columns_of(&key));
        for (first, last) in ranges {
            if after
                .as_ref()
                .is_some_and(|(address, _, _)| *address > last)
            {
                continue;
            }
            loop {
                // Only one lower bound: SQLite seeks to the first one that it finds, and would read the rows before `after` again.
                let after_in_range = after.clone().filter(|(address, _, _)| *address >= first);
                let mut query = services::table
                    .filter(services::address.le(last.clone()))
                    .order((services::address, services::port, services::protocol))
                    .limit(PAGE_ROWS as i64)
                    .select(ServiceRow::as_select())
                    .into_boxed();
                if let Some(state) = filter.state {
                    query = query.filter(services::state.eq(state.as_str()));
                }
                if let Some(since) = filter.since {
                    let closed_since = services::state
                        .eq(ServiceState::Closed.as_str())
                        .and(services::state_since.ge(signed(since)));
                    query = query.filter(services::last_seen.ge(signed(since)).or(closed_since));
                }
                if let Some(since) = filter.new_since {
                    query = query.filter(services::first_seen.ge(signed(since)));
                }
                query = match port_filter {
                    [] => query,
                    [one] if one.first == one.last => query
                        .filter(services::port.eq(i32::from(one.first)))
                        .filter(services::protocol.eq(number_of(one.proto))),
                    several => query.filter(has_port(several)),
                };
                query = match after_in_range {
                    None => query.filter(services::address.ge(first.clone())),
                    Some(after) => query.filter(is_after(after)),
                };
                let rows: Vec<ServiceRow> = query
                    .load(&mut self.connection)
                    .map_err(|error| self.named(error))?;
                let is_last = rows.len() < PAGE_ROWS;
                for row in rows {
                    let service = Service::try_from(row)?;
                    after = Some(columns_of(&service.key));
                    if filter.matches(&service) && !each(service) {
                        return Ok(());
                    }
                }
                if is_last {
                    break;
                }
            }
        }
        Ok(())
    }

    /// All services that match, in order, if an index finds few candidates: closed services, or those of several ports. None if there are many.
    fn few_services(
        &mut self,
        filter: &ServiceFilter,
    ) -> Result<Option<Vec<(ServiceColumns, Service)>>, StoreError> {
        let rows = || services::table.select(ServiceRow::as_select()).into_boxed();
        let ports = filter.ports.as_ref().map(Ports::ranges).unwrap_or_default();
        let queries = if filter.state == Some(ServiceState::Closed) {
            let since = signed(filter.since.unwrap_or(0));
            if self.has_many_closed(since)? {
                return Ok(None);
            }
            let closed = rows().filter(sql::<Bool>(IS_CLOSED));
            vec![closed.filter(services::state_since.ge(since))]
        } else if (2..=FEW_RANGES_MAX).contains(&ports.len()) && filter.networks.is_none() {
            let of_port = |range: &PortRange| {
                let ports = i32::from(range.first)..=i32::from(range.last);
                rows()
                    .filter(services::port.between(*ports.start(), *ports.end()))
                    .filter(services::protocol.eq(number_of(range.proto)))
            };
            ports.iter().map(of_port).collect()
        } else {
            return Ok(None);
        };
        let (mut few, mut candidates) = (Vec::new(), 0);
        for query in queries {
            let left = FEW_ROWS + 1 - candidates;
            let rows: Vec<ServiceRow> = query
                .limit(left as i64)
                .load(&mut self.connection)
                .map_err(|error| self.named(error))?;
            candidates += rows.len();
            if candidates > FEW_ROWS {
                return Ok(None);
            }
            for row in rows {
                let service = Service::try_from(row)?;
                if filter.matches(&service) {
                    few.push((columns_of(&service.key), service));
                }
            }
        }
        few.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Ok(Some(few))
    }

    /// Whether more than [`FEW_ROWS`] services have closed since then. Reads only an index.
    fn has_many_closed(&mut self, since: i64) -> Result<bool, StoreError> {
        let beyond: Option<i64> = services::table
            .filter(sql::<Bool>(IS_CLOSED))
            .filter(services::state_since.ge(since))
            .order(services::state_since)
            .select(services::state_since)
            .offset(FEW_ROWS as i64)
            .first(&mut self.connection)
            .optional()
            .map_err(|error| self.named(error))?;
        Ok(beyond.is_some())
    }

    /// Passes the changes that match to `each`, newest first, from the one after `after` on, until `each` returns false.
    pub fn changes(
        &mut self,
        filter: &ChangeFilter,
        after: Option<&NumberedChange>,
        mut each: impl FnMut(NumberedChange) -> bool,
    ) -> Result<(), StoreError> {
        let mut after = after.map(|last| (signed(last.change.at), last.id));
        if let Some(few) = self.few_changes(filter)? {
            for (place, change) in few {
                if after.is_none_or(|after| place < after) && !each(change) {
                    break;
                }
            }
            return Ok(());
        }
        let port_filter = ports_in_sql(filter.ports.as_ref());
        // One range is a condition for the database; several are tested here.
        let ranges = ranges_of(filter.networks.as_ref());
        let hull = ranges.first().zip(ranges.last());
        // The unary plus keeps SQLite from using the index of addresses, after which it would sort every row that matches.
        let address = match self.connection {
            AnyConnection::Sqlite(_) => "+changes.address",
            AnyConnection::Postgres(_) => "changes.address",
        };
        loop {
            let mut query = changes::table
                .order((changes::at.desc(), changes::id.desc()))
                .limit(PAGE_ROWS as i64)
                .select(ChangeRow::as_select())
                .into_boxed();
            if let (Some(_), Some((first, last))) = (&filter.networks, hull) {
                query = query
                    .filter(sql::<Binary>(address).ge(first.0.clone()))
                    .filter(sql::<Binary>(address).le(last.1.clone()));
            }
            query = match filter.kinds[..] {
                [one] => query.filter(changes::kind.eq(one.as_str())),
                [one, two] => query.filter(
                    changes::kind
                        .eq(one.as_str())
                        .or(changes::kind.eq(two.as_str())),
                ),
                _ => query,
            };
            if let Some(since) = filter.since {
                query = query.filter(changes::at.ge(signed(since)));
            }
            if let [one] = port_filter
                && one.first == one.last
            {
                query = query
                    .filter(changes::port.eq(i32::from(one.first)))
                    .filter(changes::protocol.eq(number_of(one.proto)));
            }
            // One upper bound only, as for services.
            query = match (after, filter.until) {
                (Some((at, id)), _) => query.filter(changes::at.le(at)).filter(
                    changes::at
                        .lt(at)
                        .or(changes::at.eq(at).and(changes::id.lt(id))),
                ),
                (None, Some(until)) => query.filter(changes::at.lt(signed(until))),
                (None, None) => query,
            };
            let rows: Vec<ChangeRow> = query
                .load(&mut self.connection)
                .map_err(|error| self.named(error))?;
            let is_last = rows.len() < PAGE_ROWS;
            for row in rows {
                after = Some((row.at, row.id));
                let found = numbered(row)?;
                if filter.matches(&found.change) && !each(found) {
                    return Ok(());
                }
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// All changes that match, newest first, with what they are ordered by, if the networks have few changes. None if they have many.
    fn few_changes(
        &mut self,
        filter: &ChangeFilter,
    ) -> Result<Option<Vec<PlacedChange>>, StoreError> {
        let Some(networks) = &filter.networks else {
            return Ok(None);
        };
        let ranges = ranges_of(Some(networks));
        if ranges.len() > FEW_RANGES_MAX {
            return Ok(None);
        }
        let (mut few, mut candidates) = (Vec::new(), 0);
        for (first, last) in ranges {
            let left = FEW_ROWS + 1 - candidates;
            let rows: Vec<ChangeRow> = changes::table
                .filter(changes::address.ge(first))
                .filter(changes::address.le(last))
                .limit(left as i64)
                .select(ChangeRow::as_select())
                .load(&mut self.connection)
                .map_err(|error| self.named(error))?;
            candidates += rows.len();
            if candidates > FEW_ROWS {
                return Ok(None);
            }
            for row in rows {
                let place = (row.at, row.id);
                let found = numbered(row)?;
                if filter.matches(&found.change) {
                    few.push((place, found));
                }
            }
        }
        few.sort_unstable_by_key(|(place, _)| Reverse(*place));
        Ok(Some(few))
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

    /// The number of kept findings of a task.
    pub fn count_findings_of(&mut self, task_id: &TaskId) -> Result<u64, StoreError> {
        let kept: i64 = findings::table
            .filter(findings::task_id.eq(task_id.as_str()))
            .count()
            .get_result(&mut self.connection)
            .map_err(|error| self.named(error))?;
        Ok(unsigned(kept))
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
            shard: row.shard,
            server: row.server,
            attempt: u32::try_from(row.attempt).unwrap_or_default(),
            lost: u32::try_from(row.lost).unwrap_or_default(),
            retry: u32::try_from(row.retry).unwrap_or_default(),
            found: unsigned(row.found),
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

fn numbered(row: ChangeRow) -> Result<NumberedChange, StoreError> {
    Ok(NumberedChange {
        id: row.id,
        change: Change::try_from(row)?,
    })
}

/// A pattern of LIKE for what begins with `prefix`.
pub(super) fn pattern_of(prefix: &str) -> String {
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

/// The first and last address of each range, in order; one range with everything if there is no filter, or with everything from the first to the
/// last network if there are more than [`NETWORKS_IN_SQL_MAX`].
fn ranges_of(networks: Option<&Targets>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let Some(networks) = networks else {
        return vec![(vec![0; 16], vec![0xff; 16])];
    };
    let mut ranges: Vec<(Vec<u8>, Vec<u8>)> = networks
        .ranges()
        .iter()
        .map(|range| {
            (
                ordered_bytes(range.first()).to_vec(),
                ordered_bytes(range.last()).to_vec(),
            )
        })
        .collect();
    // IPv4 is not before all of IPv6 in the order of the table.
    ranges.sort_unstable();
    if ranges.len() > NETWORKS_IN_SQL_MAX
        && let (Some((first, _)), Some((_, last))) = (ranges.first(), ranges.last())
    {
        return vec![(first.clone(), last.clone())];
    }
    ranges
}
