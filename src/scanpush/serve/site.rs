//! What all requests share.

use super::access::Guard;
use super::answers::Answers;
use super::kept_pages::KeptPages;
use super::live::Live;
use super::metrics::{Metrics, Watched};
use super::options::Options;
use super::problem::Problem;
use super::readers::Readers;
use super::statistics::LatestStatistics;
use super::store_thread::StoreState;
use super::tables::Tables;
use crate::claim_table::{ClaimTable, ClaimTableError};
use crate::connection::Connection;
use crate::model::Invalid;
use crate::scanpush::interrupt::Interrupt;
use std::sync::Arc;

/// What all requests share.
pub struct Site {
    /// The command line.
    pub options: Options,
    /// Metrics and health.
    pub metrics: Arc<Metrics>,
    /// Who may use it.
    pub guard: Guard,
    /// What the claim table showed last.
    pub live: Arc<Live>,
    /// Connections to the database.
    pub readers: Arc<Readers>,
    /// Connections to Redis.
    pub tables: Tables,
    /// Whether this process is to end.
    pub interrupt: Interrupt,
    /// What pages from the database showed last.
    pub kept_pages: KeptPages,
    /// Answers of the database that requests share.
    pub answers: Answers,
    /// What the database has.
    pub statistics: Arc<LatestStatistics>,
    /// How the thread that fills the database is doing.
    pub store: Arc<StoreState>,
}

impl Site {
    /// Connects to nothing yet. Errs if the file of users is invalid.
    pub fn new(options: Options, interrupt: Interrupt) -> Result<Arc<Site>, Invalid> {
        let live = Arc::new(Live::default());
        let readers = Arc::new(Readers::new(options.store.database.clone()));
        let store = Arc::new(StoreState::default());
        let statistics = Arc::new(LatestStatistics::default());
        let watched = Watched {
            live: Arc::clone(&live),
            readers: Arc::clone(&readers),
            store: Arc::clone(&store),
            statistics: Arc::clone(&statistics),
        };
        Ok(Arc::new(Site {
            metrics: Arc::new(Metrics::new(watched, options.metrics.clone())),
            guard: Guard::new(options.access.clone(), options.http)?,
            live,
            readers,
            tables: Tables::default(),
            interrupt,
            kept_pages: KeptPages::default(),
            answers: Answers::default(),
            statistics,
            store,
            options,
        }))
    }

    /// Asks the claim table. Errs with 503 if Redis cannot be reached, at once if that is known.
    pub fn ask_redis<T>(
        &self,
        question: impl FnOnce(&mut ClaimTable) -> Result<T, ClaimTableError>,
    ) -> Result<T, Problem> {
        match self.live.latest() {
            (_, Some(away)) => Err(Problem::unavailable(away.cause)),
            (_, None) => self.tables.ask(self.connection(), question),
        }
    }

    /// Kafka, Redis and the group.
    pub fn connection(&self) -> &Connection {
        &self.options.store.connection
    }
}
