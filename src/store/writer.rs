//! Writes batches, each in one transaction, under a lease that one `scanpush store` holds at a time.

use super::batch::{Batch, Event, Position, PositionChange, StatusChange, StoredFinding};
use super::connection::{AnyConnection, DatabaseSettings, Purpose, now_ms, open, transaction};
use super::ends::{miss_services, prove};
use super::error::StoreError;
use super::schema::{
    FindingRow, PositionRow, columns_of, counters, positions, signed, store_lease, unsigned,
};
use super::sightings::{ROWS_MAX, Sightings};
use super::stop::Stop;
use super::{postgres, retention, sqlite, tasks};
use crate::model::State;
use crossbeam_channel::Receiver;
use diesel::prelude::*;
use std::collections::{BTreeMap, HashSet};

/// How long a lease is valid without renewal, in milliseconds. Every batch renews it.
const STORE_LEASE_MS: i64 = 10_000;

/// How findings become services and changes.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// The name of this process in the lease.
    pub holder: String,
    /// How many completed scans in a row must miss a service to close it.
    pub closed_after: u32,
    /// Whether findings are kept besides services.
    pub keeps_findings: bool,
}

/// Whether this process may write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lease {
    /// It may.
    Held,
    /// Another process does.
    HeldBy(String),
}

/// A database that is written to.
pub struct StoreWriter {
    settings: DatabaseSettings,
    options: WriterOptions,
    connection: AnyConnection,
    stop: Stop,
}

impl StoreWriter {
    /// Connects, and creates the database's schema or brings it up to date. Once `stop` is closed, calls err with [`StoreError::Stopped`].
    pub fn open(
        settings: &DatabaseSettings,
        options: WriterOptions,
        stop: &Receiver<()>,
    ) -> Result<StoreWriter, StoreError> {
        Ok(StoreWriter {
            connection: open(settings, Purpose::Writing)?,
            settings: settings.clone(),
            options,
            stop: Stop::new(stop),
        })
    }

    /// Renews the lease. Errs with [`StoreError::LeaseLost`] if another process has had it since it was taken.
    pub fn renew_lease(&mut self) -> Result<(), StoreError> {
        let holder = self.options.holder.clone();
        self.transaction(|connection| renew_lease(connection, &holder))
    }

    /// Takes the lease if no other process has it. What was read before, the positions above all, may be outdated then.
    pub fn take_lease(&mut self) -> Result<Lease, StoreError> {
        let holder = self.options.holder.clone();
        self.transaction(|connection| take_lease(connection, &holder))
    }

    /// Gives the lease back, so that another process need not wait.
    pub fn give_lease_back(&mut self) -> Result<(), StoreError> {
        let holder = self.options.holder.clone();
        self.transaction(|connection| {
            diesel::update(store_lease::table.filter(store_lease::holder.eq(&holder)))
                .set(store_lease::holder.eq(None::<String>))
                .execute(connection)?;
            Ok(())
        })
    }

    /// How far each partition of each topic was read.
    pub fn positions(&mut self) -> Result<BTreeMap<(String, i32), Position>, StoreError> {
        let rows: Vec<PositionRow> = positions::table
            .select(PositionRow::as_select())
            .load(&mut self.connection)
            .map_err(|error| self.named(error.into()))?;
        let position = |row: PositionRow| {
            let position = Position {
                next_offset: row.next_offset,
                records: unsigned(row.records),
                lost: unsigned(row.lost),
                gap_until: unsigned(row.gap_until),
            };
            ((row.topic, row.topic_partition), position)
        };
        Ok(rows.into_iter().map(position).collect())
    }

    /// Writes a batch. `results_topic`: the topic whose gaps make scans prove nothing. Errs with [`StoreError::LeaseLost`] if another process
    /// has the lease; nothing is written after an error.
    pub fn apply(&mut self, batch: &Batch, results_topic: &str) -> Result<(), StoreError> {
        let (options, stop) = (self.options.clone(), self.stop.clone());
        self.transaction(|connection| {
            renew_lease(connection, &options.holder)?;
            for ((topic, partition), change) in &batch.positions {
                advance(connection, topic, *partition, change)?;
            }
            for (reason, count) in &batch.ignored {
                add_to_counter(connection, reason, *count)?;
            }
            let gap_until = gap_until(connection, results_topic)?;
            let now = now_ms(connection)?;
            let mut sightings = Sightings::default();
            for event in &batch.events {
                match event {
                    Event::Findings(findings) => {
                        let all = findings.iter().map(|finding| &finding.sighting);
                        sightings.take(connection, all, &stop)?;
                        if options.keeps_findings {
                            put_findings(connection, findings, &stop)?;
                        }
                    }
                    Event::Task(record) => tasks::put_record(connection, record, now)?,
                    Event::Status(change) => {
                        if change.status == State::Completed {
                            sightings.write(connection, &stop)?;
                        }
                        change_status(connection, change, &options, gap_until, &stop)?;
                    }
                }
                stop.check()?;
            }
            sightings.write(connection, &stop)?;
            // A long transaction must not leave a lease that is over already.
            renew_lease(connection, &options.holder)
        })
    }

    /// Deletes what is older than `keep` allows, in short transactions. Returns the number of deleted rows.
    pub fn delete_old(&mut self, keep: &retention::Keep, now: u64) -> Result<u64, StoreError> {
        let (stop, holder) = (self.stop.clone(), self.options.holder.clone());
        let deleted = retention::delete_old(&mut self.connection, keep, now, &stop, |connection| {
            renew_lease(connection, &holder)
        });
        deleted.map_err(|error| self.named(error))
    }

    fn transaction<T>(
        &mut self,
        work: impl FnOnce(&mut AnyConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        transaction(&mut self.connection, work).map_err(|error| error.of(&self.settings.url))
    }

    fn named(&self, error: StoreError) -> StoreError {
        error.of(&self.settings.url)
    }
}

fn take_lease(connection: &mut AnyConnection, holder: &str) -> Result<Lease, StoreError> {
    let now = now_ms(connection)?;
    let may_be_taken = store_lease::holder
        .is_null()
        .or(store_lease::holder.eq(holder))
        .or(store_lease::renewed_ms.lt(now - STORE_LEASE_MS))
        // A clock that was set back: such a lease would last for ever.
        .or(store_lease::renewed_ms.gt(now + STORE_LEASE_MS));
    let taken = diesel::update(store_lease::table.filter(may_be_taken.assume_not_null()))
        .set((
            store_lease::holder.eq(Some(holder)),
            store_lease::renewed_ms.eq(now),
        ))
        .execute(connection)?;
    if taken > 0 {
        return Ok(Lease::Held);
    }
    let holder = holder_of_lease(connection)?;
    Ok(Lease::HeldBy(holder.unwrap_or_default()))
}

fn holder_of_lease(connection: &mut AnyConnection) -> Result<Option<String>, StoreError> {
    Ok(store_lease::table
        .select(store_lease::holder)
        .first(connection)?)
}

/// Renews the lease if nobody else has taken it, expired or not. A writer that merely took a free lease here would go on from positions that another
/// one has moved in the meantime.
fn renew_lease(connection: &mut AnyConnection, holder: &str) -> Result<(), StoreError> {
    let now = now_ms(connection)?;
    let renewed = diesel::update(store_lease::table.filter(store_lease::holder.eq(holder)))
        .set(store_lease::renewed_ms.eq(now))
        .execute(connection)?;
    if renewed > 0 {
        return Ok(());
    }
    Err(StoreError::LeaseLost {
        holder: holder_of_lease(connection)?,
    })
}

fn advance(
    connection: &mut AnyConnection,
    topic: &str,
    partition: i32,
    change: &PositionChange,
) -> Result<(), StoreError> {
    let same = positions::table
        .filter(positions::topic.eq(topic))
        .filter(positions::topic_partition.eq(partition));
    let known: Option<PositionRow> = same
        .select(PositionRow::as_select())
        .first(connection)
        .optional()?;
    let new = |known: Option<&PositionRow>| PositionRow {
        topic: topic.to_owned(),
        topic_partition: partition,
        next_offset: change.next_offset,
        records: known.map_or(0, |known| known.records) + signed(change.records),
        lost: known.map_or(0, |known| known.lost) + signed(change.lost),
        gap_until: known
            .map_or(0, |known| known.gap_until)
            .max(signed(change.gap_until)),
    };
    match known {
        Some(known) => diesel::update(same)
            .set(new(Some(&known)))
            .execute(connection)?,
        None => diesel::insert_into(positions::table)
            .values(new(None))
            .execute(connection)?,
    };
    Ok(())
}

fn gap_until(connection: &mut AnyConnection, topic: &str) -> Result<u64, StoreError> {
    let latest: Option<i64> = positions::table
        .filter(positions::topic.eq(topic))
        .select(diesel::dsl::max(positions::gap_until))
        .first(connection)?;
    Ok(unsigned(latest.unwrap_or_default()))
}

fn add_to_counter(
    connection: &mut AnyConnection,
    name: &str,
    count: u64,
) -> Result<(), StoreError> {
    let same = counters::table.filter(counters::name.eq(name));
    let updated = diesel::update(same)
        .set(counters::value.eq(counters::value + signed(count)))
        .execute(connection)?;
    if updated == 0 {
        diesel::insert_into(counters::table)
            .values((counters::name.eq(name), counters::value.eq(signed(count))))
            .execute(connection)?;
    }
    Ok(())
}

fn change_status(
    connection: &mut AnyConnection,
    change: &StatusChange,
    options: &WriterOptions,
    gap_until: u64,
    stop: &Stop,
) -> Result<(), StoreError> {
    let known = tasks::find(connection, &change.task_id)?;
    let record = tasks::record_at(connection, &change.task_id, change.record)?;
    let Some(mut row) = tasks::with_status(known, record.as_ref(), change) else {
        return add_to_counter(connection, "late or repeated status records", 1);
    };
    tasks::put_event(connection, change)?;
    let completion = change.completion.as_ref();
    if let Some(completion) = completion {
        let is_conclusive = completion.begun_ms.is_some();
        let (proof, proven) = prove(connection, &row, is_conclusive, gap_until)?;
        row.proof = Some(proof.as_str().to_owned());
        if let Some(proven) = proven {
            miss_services(connection, &proven, options.closed_after, stop)?;
        }
    }
    tasks::put(connection, &row)
}

/// Inserts the findings of a batch that their tasks have not found before.
fn put_findings(
    connection: &mut AnyConnection,
    findings: &[StoredFinding],
    stop: &Stop,
) -> Result<(), StoreError> {
    let mut seen = HashSet::with_capacity(findings.len());
    let mut new: Vec<&StoredFinding> = findings
        .iter()
        .filter(|finding| seen.insert((&finding.sighting.task_id, finding.sighting.key)))
        .collect();
    // Neighbours in the order of the table are in the same pages.
    new.sort_unstable_by_key(|finding| (&finding.sighting.task_id, finding.sighting.key));
    for findings in new.chunks(ROWS_MAX) {
        stop.check()?;
        let rows: Vec<FindingRow> = findings
            .iter()
            .map(|finding| finding_row(finding))
            .collect();
        match connection {
            AnyConnection::Sqlite(connection) => sqlite::put_findings(connection, &rows)?,
            AnyConnection::Postgres(connection) => postgres::put_findings(connection, &rows)?,
        }
    }
    Ok(())
}

fn finding_row(finding: &StoredFinding) -> FindingRow {
    let (address, port, protocol) = columns_of(&finding.sighting.key);
    FindingRow {
        task_id: finding.sighting.task_id.to_string(),
        address,
        port,
        protocol,
        at: signed(finding.sighting.at),
        reason: finding.sighting.reason.to_string(),
        ttl: i16::from(finding.sighting.ttl),
        server: finding.server.clone(),
        attempt: i32::try_from(finding.attempt).unwrap_or(i32::MAX),
        pass: i32::try_from(finding.pass).unwrap_or(i32::MAX),
    }
}
