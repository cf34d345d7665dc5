//! What all requests share.

use super::access::Guard;
use super::live::Live;
use super::options::Options;
use super::readers::Readers;
use super::store_thread::StoreState;
use crate::connection::Connection;
use std::sync::Arc;

/// What all requests share.
pub struct Site {
    /// The command line.
    pub options: Options,
    /// Who may use it.
    pub guard: Guard,
    /// What the claim table showed last.
    pub live: Arc<Live>,
    /// Connections to the database.
    pub readers: Readers,
    /// How the thread that fills the database is doing.
    pub store: Arc<StoreState>,
}

impl Site {
    /// Kafka, Redis and the group.
    pub fn connection(&self) -> &Connection {
        &self.options.store.connection
    }
}
