//! The thread that fills the database, and how it is doing.

use super::live::Away;
use crate::scanpush::store::{self, Report, Work};
use crossbeam_channel::Receiver;
use std::sync::{Mutex, PoisonError};

/// How the thread is doing.
#[derive(Debug, Default)]
pub struct StoreState(Mutex<Option<Away>>);

impl StoreState {
    /// Why the database is not filled, if it is not.
    pub fn away(&self) -> Option<Away> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Starts the thread, which works until `stop` is closed.
pub fn start(options: &store::Options, stop: Receiver<()>) -> std::io::Result<Work> {
    Work::start(options, stop)
}

/// Takes what the thread has reported.
pub fn note(_state: &StoreState, report: Report) {
    if let Report::Line(line) = report {
        log::info!("{line}");
    }
}
