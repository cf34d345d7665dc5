//! What the end of a task proves: services that a completed scan covered and did not find have been missed by it.

use super::conditions::{has_port, is_after, ports_in_sql};
use super::connection::AnyConnection;
use super::error::StoreError;
use super::schema::{ServiceColumns, ServiceRow, TaskRow, services, signed, tasks, unsigned};
use super::sightings::{add_changes, put_services};
use super::stop::Stop;
use crate::model::coverage::{Coverage, Proof, are_complete};
use crate::model::service::{Change, CoveringScan, Missed, Service, ServiceState, ordered_bytes};
use crate::model::targets::AddressRange;
use crate::model::task::Shard;
use crate::model::{State, TaskId};
use diesel::prelude::*;

/// Services that are read and judged together.
const PAGE_ROWS: i64 = 5_000;

/// What a scan covered, and when.
pub(super) struct ProvenScan {
    pub scan: CoveringScan,
    pub coverage: Coverage,
}

/// The proof of a task that has just completed, and what it covered, alone or with the other shards of its job, if it is [`Proof::Covered`].
/// `gap_until`: findings before this time may be missing, in unix seconds.
pub(super) fn prove(
    connection: &mut AnyConnection,
    row: &TaskRow,
    is_conclusive: bool,
    gap_until: u64,
) -> Result<(Proof, Option<ProvenScan>), StoreError> {
    let nothing = |proof| Ok((proof, None));
    let Some(parameters) = row.parameters() else {
        return nothing(Proof::UnknownRecord);
    };
    let Some(mut begun_ms) = row.begun_ms.filter(|_| is_conclusive) else {
        return nothing(Proof::Inconclusive);
    };
    let mut other_shards: Vec<TaskId> = Vec::new();
    if let Some(shard) = &row.shard {
        let Some(job_id) = &row.job_id else {
            return nothing(Proof::ShardWithoutJob);
        };
        let Ok(shard) = shard.parse::<Shard>() else {
            return nothing(Proof::UnknownRecord);
        };
        let others = completed_shards(connection, job_id, &row.task_id)?;
        let same: Vec<CompletedShard> = others
            .iter()
            .filter(|other| other.parameters().as_ref() == Some(&parameters))
            .filter_map(CompletedShard::of)
            .filter(|other| other.shard.count == shard.count)
            .collect();
        let shards = same.iter().map(|other| other.shard).chain([shard]);
        if !are_complete(shard.count, shards) {
            return nothing(Proof::WaitsForShards);
        }
        for other in &same {
            other_shards.extend(other.task_id.parse());
            begun_ms = begun_ms.min(other.begun_ms);
        }
    }
    let begun = unsigned(begun_ms) / 1000;
    if begun < gap_until {
        return nothing(Proof::FindingsLost);
    }
    let (Ok(coverage), Ok(task_id)) = (parameters.coverage(), row.task_id.parse::<TaskId>()) else {
        return nothing(Proof::UnknownRecord);
    };
    for shard in &other_shards {
        set_proof(connection, shard, Proof::Covered)?;
    }
    let scan = CoveringScan {
        task_id,
        other_shards,
        begun,
        ended: unsigned(row.ended_ms.unwrap_or_default()) / 1000,
    };
    Ok((Proof::Covered, Some(ProvenScan { scan, coverage })))
}

/// A shard whose scan has completed.
struct CompletedShard {
    task_id: String,
    shard: Shard,
    begun_ms: i64,
}

impl CompletedShard {
    fn of(row: &TaskRow) -> Option<CompletedShard> {
        Some(CompletedShard {
            task_id: row.task_id.clone(),
            shard: row.shard.as_ref()?.parse().ok()?,
            begun_ms: row.begun_ms?,
        })
    }
}

fn set_proof(
    connection: &mut AnyConnection,
    task_id: &TaskId,
    proof: Proof,
) -> Result<(), StoreError> {
    diesel::update(tasks::table.filter(tasks::task_id.eq(task_id.as_str())))
        .set(tasks::proof.eq(proof.as_str()))
        .execute(connection)?;
    Ok(())
}

/// The other completed shards of the job of `task_id` that wait for shards.
fn completed_shards(
    connection: &mut AnyConnection,
    job_id: &str,
    task_id: &str,
) -> Result<Vec<TaskRow>, StoreError> {
    Ok(tasks::table
        .filter(tasks::job_id.eq(job_id))
        .filter(tasks::task_id.ne(task_id))
        .filter(tasks::shard.is_not_null())
        .filter(tasks::state.eq(State::Completed.as_str()))
        .filter(tasks::proof.eq(Proof::WaitsForShards.as_str()))
        .select(TaskRow::as_select())
        .load(connection)?)
}

/// Counts the scan for each open service that it covered and did not find. Errs with [`StoreError::Stopped`] if the process has to end.
pub(super) fn miss_services(
    connection: &mut AnyConnection,
    proven: &ProvenScan,
    closed_after: u32,
    stop: &Stop,
) -> Result<(), StoreError> {
    for range in proven.coverage.targets.ranges() {
        let mut after: Option<ServiceColumns> = None;
        loop {
            stop.check()?;
            let page = open_services(connection, range, proven, after.take())?;
            let Some(last) = page.last() else { break };
            after = Some((last.address.clone(), last.port, last.protocol));
            let is_last = (page.len() as i64) < PAGE_ROWS;
            miss_page(connection, page, proven, closed_after)?;
            if is_last {
                break;
            }
        }
    }
    Ok(())
}

fn miss_page(
    connection: &mut AnyConnection,
    page: Vec<ServiceRow>,
    proven: &ProvenScan,
    closed_after: u32,
) -> Result<(), StoreError> {
    let (mut missed, mut changes): (Vec<Service>, Vec<Change>) = (Vec::new(), Vec::new());
    for row in page {
        let mut service = Service::try_from(row)?;
        if !proven
            .coverage
            .has_port(service.key.proto, service.key.port)
        {
            continue;
        }
        match service.miss(&proven.scan, closed_after) {
            Missed::Unchanged => continue,
            Missed::Counted => {}
            Missed::Closed(change) => changes.push(change),
        }
        missed.push(service);
    }
    put_services(connection, missed.iter())?;
    add_changes(connection, &changes)
}

/// The open services in `range`, after the key `after`, that were last seen before the scan began.
fn open_services(
    connection: &mut AnyConnection,
    range: &AddressRange,
    proven: &ProvenScan,
    after: Option<ServiceColumns>,
) -> Result<Vec<ServiceRow>, StoreError> {
    let mut query = services::table
        .filter(services::address.le(ordered_bytes(range.last()).to_vec()))
        .filter(services::state.eq(ServiceState::Open.as_str()))
        .filter(services::last_seen.lt(signed(proven.scan.begun)))
        .order((services::address, services::port, services::protocol))
        .limit(PAGE_ROWS)
        .select(ServiceRow::as_select())
        .into_boxed();
    if let [_, ..] = ports_in_sql(Some(&proven.coverage.ports)) {
        query = query.filter(has_port(proven.coverage.ports.ranges()));
    }
    query = match after {
        None => query.filter(services::address.ge(ordered_bytes(range.first()).to_vec())),
        Some(after) => query.filter(is_after(after)),
    };
    Ok(query.load(connection)?)
}
