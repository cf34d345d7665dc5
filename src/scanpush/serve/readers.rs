//! Connections to the database for requests.

use super::live::Away;
use super::problem::Problem;
use crate::scanpush::tasks::now_ms;
use crate::store::{DatabaseSettings, StoreError, StoreReader};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Connections that are kept open while nobody uses them.
const IDLE_READERS_MAX: usize = 8;

/// Connections to the database.
pub struct Readers {
    settings: DatabaseSettings,
    state: Mutex<ReadersState>,
}

#[derive(Default)]
struct ReadersState {
    idle: Vec<StoreReader>,
    away: Option<Away>,
}

impl Readers {
    /// Connects when it is needed.
    pub fn new(settings: DatabaseSettings) -> Readers {
        Readers {
            settings,
            state: Mutex::default(),
        }
    }

    /// Asks the database. Errs with 503 if it cannot be read.
    pub fn ask<T>(
        &self,
        question: impl FnOnce(&mut StoreReader) -> Result<T, StoreError>,
    ) -> Result<T, Problem> {
        self.try_ask(question)
            .map_err(|error| Problem::unavailable(format!("the database cannot be read: {error}")))
    }

    /// The same, with the database's own error.
    pub fn try_ask<T>(
        &self,
        question: impl FnOnce(&mut StoreReader) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let idle = self.lock().idle.pop();
        let asked = idle
            .map_or_else(|| StoreReader::open(&self.settings), Ok)
            .and_then(|mut reader| question(&mut reader).map(|answer| (answer, reader)));
        let mut state = self.lock();
        match asked {
            Ok((answer, reader)) => {
                state.away = None;
                if state.idle.len() < IDLE_READERS_MAX {
                    state.idle.push(reader);
                }
                Ok(answer)
            }
            Err(error) => {
                state.idle.clear();
                state.away.get_or_insert_with(|| Away {
                    since_ms: now_ms(),
                    cause: error.to_string(),
                });
                Err(error)
            }
        }
    }

    /// Why the database could not be read when it was last asked.
    pub fn away(&self) -> Option<Away> {
        self.lock().away.clone()
    }

    fn lock(&self) -> MutexGuard<'_, ReadersState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
