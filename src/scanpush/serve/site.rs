//! What all requests share.

use super::kept_pages::KeptPages;
use super::live::Live;
use super::options::Options;
use super::readers::Readers;
use super::statistics::LatestStatistics;
use super::store_thread::StoreState;
use super::tables::Tables;
use crate::connection::Connection;
use crate::scanpush::interrupt::Interrupt;
use std::sync::Arc;

/// What all requests share.
pub struct Site {
    /// The command line.
    pub options: Options,
    /// What the claim table showed last.
    pub live: Arc<Live>,
    /// Connections to the database.
    pub readers: Readers,
    /// Connections to Redis.
    pub tables: Tables,
    /// Whether this process is to end.
    pub interrupt: Interrupt,
    /// What pages from the database showed last.
    pub kept_pages: KeptPages,
    /// What the database has.
    pub statistics: LatestStatistics,
    /// How the thread that fills the database is doing.
    pub store: Arc<StoreState>,
}

impl Site {
    /// Connects to nothing yet.
    pub fn new(options: Options, interrupt: Interrupt) -> Arc<Site> {
        Arc::new(Site {
            live: Arc::new(Live::default()),
            readers: Readers::new(options.store.database.clone()),
            tables: Tables::default(),
            interrupt,
            kept_pages: KeptPages::default(),
            statistics: LatestStatistics::default(),
            store: Arc::new(StoreState::default()),
            options,
        })
    }

    /// Kafka, Redis and the group.
    pub fn connection(&self) -> &Connection {
        &self.options.store.connection
    }
}
