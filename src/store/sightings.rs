//! The services that a batch is about: loaded once, changed in memory, written together.

use super::connection::AnyConnection;
use super::error::StoreError;
use super::schema::{NewChangeRow, ServiceRow, changes, columns_of, signed};
use super::stop::Stop;
use super::{postgres, sqlite};
use crate::model::service::{Change, ChangeKind, Seen, Service, ServiceKey, Sighting};
use diesel::prelude::*;
use std::collections::HashMap;

/// Rows that are read or written together. Between them, the process can be stopped.
pub(super) const ROWS_MAX: usize = 4_000;

/// A service as it is in memory.
struct Held {
    service: Service,
    /// The place in [`Sightings::changes`] of the change that opened it, if it is new.
    opening: Option<usize>,
}

/// Services as they are in memory, and changes that are not written yet.
#[derive(Default)]
pub(super) struct Sightings {
    services: HashMap<ServiceKey, Held>,
    changes: Vec<Change>,
    opened_earlier: Vec<Change>,
}

impl Sightings {
    /// Takes sightings in their order.
    pub(super) fn take<'a>(
        &mut self,
        connection: &mut AnyConnection,
        sightings: impl Iterator<Item = &'a Sighting> + Clone,
        stop: &Stop,
    ) -> Result<(), StoreError> {
        let mut missing: Vec<ServiceKey> = sightings
            .clone()
            .map(|sighting| sighting.key)
            .filter(|key| !self.services.contains_key(key))
            .collect();
        // Neighbours in the order of the table are in the same pages.
        missing.sort_unstable();
        missing.dedup();
        for keys in missing.chunks(ROWS_MAX) {
            stop.check()?;
            for row in services_of(connection, keys)? {
                let service = Service::try_from(row)?;
                let opening = None;
                self.services.insert(service.key, Held { service, opening });
            }
        }
        for sighting in sightings {
            self.see(sighting);
        }
        Ok(())
    }

    fn see(&mut self, sighting: &Sighting) {
        let Some(held) = self.services.get_mut(&sighting.key) else {
            let (service, change) = Service::new(sighting);
            let opening = Some(self.changes.len());
            self.services.insert(service.key, Held { service, opening });
            self.changes.push(change);
            return;
        };
        match held.service.see(sighting) {
            Seen::Known => {}
            Seen::Changed(change) => self.changes.push(change),
            Seen::OpenedEarlier(change) => match held.opening {
                Some(place) => self.changes[place] = change,
                None => self.opened_earlier.push(change),
            },
        }
    }

    /// Writes everything, and forgets it.
    pub(super) fn write(
        &mut self,
        connection: &mut AnyConnection,
        stop: &Stop,
    ) -> Result<(), StoreError> {
        for change in self.opened_earlier.drain(..) {
            stop.check()?;
            correct_opening(connection, &change)?;
        }
        let mut services: Vec<&Service> =
            self.services.values().map(|held| &held.service).collect();
        services.sort_unstable_by_key(|service| service.key);
        for services in services.chunks(ROWS_MAX) {
            stop.check()?;
            put_services(connection, services.iter().copied())?;
        }
        for changes in self.changes.chunks(ROWS_MAX) {
            stop.check()?;
            add_changes(connection, changes)?;
        }
        *self = Sightings::default();
        Ok(())
    }
}

/// The services with these keys that exist.
pub(super) fn services_of(
    connection: &mut AnyConnection,
    keys: &[ServiceKey],
) -> Result<Vec<ServiceRow>, StoreError> {
    Ok(match connection {
        AnyConnection::Sqlite(connection) => sqlite::services_of(connection, keys)?,
        AnyConnection::Postgres(connection) => postgres::services_of(connection, keys)?,
    })
}

/// Inserts or replaces services.
pub(super) fn put_services<'a>(
    connection: &mut AnyConnection,
    services: impl Iterator<Item = &'a Service>,
) -> Result<(), StoreError> {
    let rows: Vec<ServiceRow> = services.map(ServiceRow::from).collect();
    match connection {
        AnyConnection::Sqlite(connection) => sqlite::put_services(connection, &rows)?,
        AnyConnection::Postgres(connection) => postgres::put_services(connection, &rows)?,
    }
    Ok(())
}

/// Appends changes.
pub(super) fn add_changes(
    connection: &mut AnyConnection,
    changes: &[Change],
) -> Result<(), StoreError> {
    let rows: Vec<NewChangeRow> = changes.iter().map(NewChangeRow::from).collect();
    match connection {
        AnyConnection::Sqlite(connection) => sqlite::add_changes(connection, &rows)?,
        AnyConnection::Postgres(connection) => postgres::add_changes(connection, &rows)?,
    }
    Ok(())
}

fn correct_opening(connection: &mut AnyConnection, change: &Change) -> Result<(), StoreError> {
    let (address, port, protocol) = columns_of(&change.key);
    let opening = changes::table
        .filter(changes::address.eq(address))
        .filter(changes::port.eq(port))
        .filter(changes::protocol.eq(protocol))
        .filter(changes::kind.eq(ChangeKind::Opened.as_str()));
    diesel::update(opening)
        .set((
            changes::at.eq(signed(change.at)),
            changes::task_id.eq(change.task_id.as_str()),
        ))
        .execute(connection)?;
    Ok(())
}
