//! Deletes what is old, a few rows in each transaction, so that nobody waits long for a lock.

use super::connection::{AnyConnection, transaction};
use super::error::StoreError;
use super::schema::{changes, findings, services, signed, task_events, task_records, tasks};
use super::stop::Stop;
use crate::model::span::Retention;
use diesel::prelude::*;

/// Maximum number of rows that one transaction selects.
const PAGE_ROWS: i64 = 5_000;

/// How long things are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Changes, tasks, and services since they were last seen.
    pub history: Retention,
    /// Findings; none: they are not kept at all.
    pub findings: Option<Retention>,
}

/// Deletes what is older than `keep` allows at `now`, in unix seconds. Each transaction begins with `begin`. Returns the number of deleted rows.
pub(super) fn delete_old(
    connection: &mut AnyConnection,
    keep: &Keep,
    now: u64,
    stop: &Stop,
    mut begin: impl FnMut(&mut AnyConnection) -> Result<(), StoreError>,
) -> Result<u64, StoreError> {
    let history = signed(keep.history.cutoff_s(now));
    let findings_before = keep
        .findings
        .map_or(i64::MAX, |findings| signed(findings.cutoff_s(now)));
    let mut deleted = 0;
    let mut repeat = |work: &mut dyn FnMut(&mut AnyConnection) -> Result<Page, StoreError>| {
        loop {
            stop.check()?;
            let page = transaction(connection, |connection| {
                begin(connection)?;
                work(connection)
            })?;
            deleted += page.deleted as u64;
            if page.is_last {
                return Ok::<(), StoreError>(());
            }
        }
    };
    repeat(&mut |connection| delete_old_changes(connection, history))?;
    repeat(&mut |connection| delete_old_tasks(connection, history.saturating_mul(1000)))?;
    repeat(&mut |connection| delete_old_task_records(connection, history.saturating_mul(1000)))?;
    repeat(&mut |connection| delete_old_events(connection, history.saturating_mul(1000)))?;
    repeat(&mut |connection| delete_old_findings(connection, findings_before))?;
    let mut after = Vec::new();
    repeat(&mut |connection| delete_old_services(connection, history, &mut after))?;
    Ok(deleted)
}

/// What one transaction did.
struct Page {
    deleted: usize,
    is_last: bool,
}

impl Page {
    /// After `read` rows of at most [`PAGE_ROWS`].
    fn new(read: usize, deleted: usize) -> Page {
        Page {
            deleted,
            is_last: (read as i64) < PAGE_ROWS,
        }
    }
}

fn delete_old_changes(connection: &mut AnyConnection, before: i64) -> Result<Page, StoreError> {
    let ids: Vec<i64> = changes::table
        .filter(changes::at.lt(before))
        .order((changes::at, changes::id))
        .limit(PAGE_ROWS)
        .select(changes::id)
        .load(connection)?;
    let deleted =
        diesel::delete(changes::table.filter(changes::id.eq_any(ids))).execute(connection)?;
    Ok(Page::new(deleted, deleted))
}

fn delete_old_tasks(connection: &mut AnyConnection, before_ms: i64) -> Result<Page, StoreError> {
    let ids: Vec<String> = tasks::table
        .filter(tasks::changed_ms.lt(before_ms))
        .order(tasks::changed_ms)
        .limit(PAGE_ROWS)
        .select(tasks::task_id)
        .load(connection)?;
    let deleted =
        diesel::delete(tasks::table.filter(tasks::task_id.eq_any(ids))).execute(connection)?;
    Ok(Page::new(deleted, deleted))
}

fn delete_old_task_records(
    connection: &mut AnyConnection,
    before_ms: i64,
) -> Result<Page, StoreError> {
    let times: Vec<i64> = task_records::table
        .filter(task_records::read_ms.lt(before_ms))
        .order(task_records::read_ms)
        .limit(PAGE_ROWS)
        .select(task_records::read_ms)
        .load(connection)?;
    let Some(last) = times.last().copied() else {
        return Ok(Page::new(0, 0));
    };
    let deleted = diesel::delete(task_records::table.filter(task_records::read_ms.le(last)))
        .execute(connection)?;
    Ok(Page::new(times.len(), deleted))
}

fn delete_old_events(connection: &mut AnyConnection, before_ms: i64) -> Result<Page, StoreError> {
    let times: Vec<i64> = task_events::table
        .filter(task_events::at_ms.lt(before_ms))
        .order(task_events::at_ms)
        .limit(PAGE_ROWS)
        .select(task_events::at_ms)
        .load(connection)?;
    let Some(last) = times.last().copied() else {
        return Ok(Page::new(0, 0));
    };
    let deleted = diesel::delete(task_events::table.filter(task_events::at_ms.le(last)))
        .execute(connection)?;
    Ok(Page::new(times.len(), deleted))
}

/// All findings of the last selected second are deleted too, so it may be more than [`PAGE_ROWS`].
fn delete_old_findings(connection: &mut AnyConnection, before: i64) -> Result<Page, StoreError> {
    let times: Vec<i64> = findings::table
        .filter(findings::at.lt(before))
        .order(findings::at)
        .limit(PAGE_ROWS)
        .select(findings::at)
        .load(connection)?;
    let Some(last) = times.last().copied() else {
        return Ok(Page::new(0, 0));
    };
    let deleted =
        diesel::delete(findings::table.filter(findings::at.le(last))).execute(connection)?;
    Ok(Page::new(times.len(), deleted))
}

/// Scans the addresses after `after`, and advances it. `last_seen` has no index, because every scan would update it.
fn delete_old_services(
    connection: &mut AnyConnection,
    before: i64,
    after: &mut Vec<u8>,
) -> Result<Page, StoreError> {
    let addresses: Vec<Vec<u8>> = services::table
        .filter(services::address.gt(after.clone()))
        .order((services::address, services::port, services::protocol))
        .limit(PAGE_ROWS)
        .select(services::address)
        .load(connection)?;
    let Some(last) = addresses.last().cloned() else {
        return Ok(Page::new(0, 0));
    };
    let old = services::table
        .filter(services::address.gt(std::mem::replace(after, last.clone())))
        .filter(services::address.le(last))
        .filter(services::last_seen.lt(before));
    let deleted = diesel::delete(old).execute(connection)?;
    Ok(Page::new(addresses.len(), deleted))
}
