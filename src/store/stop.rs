//! Tells work on many rows that the process has to end.

use super::error::StoreError;
use crossbeam_channel::{Receiver, TryRecvError};

/// Whether the process has to end.
#[derive(Clone, Debug)]
pub(super) struct Stop(Receiver<()>);

impl Stop {
    /// It has to end once `stop` is closed.
    pub(super) fn new(stop: &Receiver<()>) -> Stop {
        Stop(stop.clone())
    }

    /// Errs if the process has to end.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        match self.0.try_recv() {
            Err(TryRecvError::Empty) => Ok(()),
            Ok(()) | Err(TryRecvError::Disconnected) => Err(StoreError::Stopped),
        }
    }
}
