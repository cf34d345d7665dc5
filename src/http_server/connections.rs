//! The open connections.

use super::connection::Connection;
use super::limits::Limits;
use std::collections::BTreeMap;
use std::time::Instant;

/// The number of a connection. It is not used again.
pub type ConnectionId = u64;

/// The open connections, by number.
#[derive(Debug, Default)]
pub struct Connections {
    open: BTreeMap<ConnectionId, Connection>,
    next_id: ConnectionId,
}

impl Connections {
    /// Adds a connection.
    pub fn add(&mut self, connection: Connection) {
        self.open.insert(self.next_id, connection);
        self.next_id += 1;
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (ConnectionId, &Connection)> {
        self.open.iter().map(|(id, connection)| (*id, connection))
    }

    /// The connection with a number, if it is open.
    pub fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.open.get_mut(&id)
    }

    /// Takes a connection out. Dropping it closes it.
    pub fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        self.open.remove(&id)
    }

    /// Closes all but those that are being answered. Returns whether any are left.
    pub fn retain_answering(&mut self) -> bool {
        self.open
            .retain(|_, connection| connection.state().is_answering());
        !self.open.is_empty()
    }

    /// Closes the connection that has waited longest without a complete request, or else has been reading its response longest.
    /// Returns whether there was one.
    pub fn close_one(&mut self) -> bool {
        self.close_lowest(|_| true)
    }

    /// Closes connections until the memory for requests and responses is within `max_bytes`, but leaves one. Returns how many.
    pub fn free_memory(&mut self, max_bytes: usize) -> u64 {
        let mut closed = 0;
        loop {
            let sizes = || self.open.values().map(Connection::buffered_bytes);
            let is_within = sizes().sum::<usize>() <= max_bytes;
            let users = sizes().filter(|bytes| *bytes > 0).count();
            if is_within || users < 2 || !self.close_lowest(|one| one.buffered_bytes() > 0) {
                return closed;
            }
            closed += 1;
        }
    }

    fn close_lowest(&mut self, may_close: impl Fn(&Connection) -> bool) -> bool {
        let lowest = self
            .open
            .iter()
            .filter(|(_, connection)| may_close(connection))
            .filter_map(|(id, connection)| Some((connection.state().rank()?, *id)))
            .min();
        let Some((_, id)) = lowest else {
            return false;
        };
        self.open.remove(&id).is_some()
    }

    /// When the first deadline is.
    pub fn next_deadline(&self, limits: &Limits) -> Option<Instant> {
        self.open
            .values()
            .filter_map(|connection| connection.state().deadline(limits))
            .min()
    }

    /// The connections whose deadline has passed.
    pub fn expired(&self, limits: &Limits, now: Instant) -> Vec<ConnectionId> {
        self.iter()
            .filter(|(_, connection)| {
                let deadline = connection.state().deadline(limits);
                deadline.is_some_and(|deadline| deadline <= now)
            })
            .map(|(id, _)| id)
            .collect()
    }
}
