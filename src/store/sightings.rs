//! The services that a batch is about: loaded once, changed in memory, written together.

use super::connection::AnyConnection;
use super::error::StoreError;
use super::schema::{NewChangeRow, ServiceRow, changes, columns_of, signed};
use super::{postgres, sqlite};
use crate::model::service::{Change, ChangeKind, Seen, Service, ServiceKey, Sighting};
use diesel::prelude::*;
use std::collections::HashMap;

/// Services as they are in memory, and changes that are not written yet.
#[derive(Default)]
pub(super) struct Sightings {
    services: HashMap<ServiceKey, Service>,
    changes: Vec<Change>,
    opened_earlier: Vec<Change>,
}

impl Sightings {
    /// Takes sightings in their order.
    pub(super) fn take<'a>(
        &mut self,
        connection: &mut AnyConnection,
        sightings: impl Iterator<Item = &'a Sighting> + Clone,
    ) -> Result<(), StoreError> {
        let mut missing: Vec<ServiceKey> = sightings
            .clone()
            .map(|sighting| sighting.key)
            .filter(|key| !self.services.contains_key(key))
            .collect();
        // Neighbours in the order of the table are in the same pages.
        missing.sort_unstable_by_key(columns_of);
        missing.dedup();
        for row in services_of(connection, &missing)? {
            let service = Service::try_from(row)?;
            self.services.insert(service.key, service);
        }
        for sighting in sightings {
            match self.services.get_mut(&sighting.key) {
                None => {
                    let (service, change) = Service::new(sighting);
                    self.services.insert(service.key, service);
                    self.changes.push(change);
                }
                Some(service) => match service.see(sighting) {
                    Seen::Known => {}
                    Seen::Changed(change) => self.changes.push(change),
                    Seen::OpenedEarlier(change) => self.open_earlier(change),
                },
            }
        }
        Ok(())
    }

    /// Corrects the change that opened the service, in memory or in the database.
    fn open_earlier(&mut self, earlier: Change) {
        let in_memory = self
            .changes
            .iter_mut()
            .find(|change| change.key == earlier.key && change.kind == ChangeKind::Opened);
        match in_memory {
            Some(change) => *change = earlier,
            None => self.opened_earlier.push(earlier),
        }
    }

    /// Writes everything, and forgets it.
    pub(super) fn write(&mut self, connection: &mut AnyConnection) -> Result<(), StoreError> {
        for change in self.opened_earlier.drain(..) {
            correct_opening(connection, &change)?;
        }
        put_services(connection, self.services.values())?;
        add_changes(connection, &self.changes)?;
        *self = Sightings::default();
        Ok(())
    }
}

fn services_of(
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
    let mut rows: Vec<ServiceRow> = services.map(ServiceRow::from).collect();
    let key = |row: &ServiceRow| (row.address.clone(), row.port, row.protocol);
    rows.sort_unstable_by_key(key);
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
