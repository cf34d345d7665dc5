//! Whether the process has to end: the channel `stop` is closed.

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

/// Whether the process has to end.
pub fn is_stopped(stop: &Receiver<()>) -> bool {
    stop.try_recv() != Err(TryRecvError::Empty)
}

/// Waits for `pause`, but no longer than until the process has to end. Returns true if it has to.
pub fn stopped_after(stop: &Receiver<()>, pause: Duration) -> bool {
    stop.recv_timeout(pause) != Err(RecvTimeoutError::Timeout)
}
