//! What the claim table shows: read by one thread for all requests, so that Redis' load does not depend on the number of readers.

use crate::claim_table::{ClaimTable, ClaimTableError, LiveServer, LiveTask};
use crate::connection::Connection;
use crate::model::State;
use crate::scanpush::tasks::now_ms;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often the claim table is read.
const LIVE_INTERVAL: Duration = Duration::from_secs(1);
/// Running tasks that are shown live at most.
const LIVE_TASKS_MAX: usize = 500;

/// The claim table at one time.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// When it was read, in unix milliseconds; 0: never.
    pub at_ms: u64,
    /// The running tasks, at most [`LIVE_TASKS_MAX`].
    pub running: Vec<LiveTask>,
    /// The servers, by name.
    pub servers: Vec<LiveServer>,
}

/// Why the claim table cannot be read, and since when.
#[derive(Clone, Debug)]
pub struct Away {
    /// Since when, in unix milliseconds.
    pub since_ms: u64,
    /// The cause, in one line.
    pub cause: String,
}

/// The latest snapshot.
#[derive(Debug, Default)]
pub struct Live(Mutex<(Arc<Snapshot>, Option<Away>)>);

impl Live {
    /// The latest snapshot, and why there is no newer one.
    pub fn latest(&self) -> (Arc<Snapshot>, Option<Away>) {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, (Arc<Snapshot>, Option<Away>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the claim table until `stop` is closed.
    pub fn run(&self, connection: &Connection, stop: &Receiver<()>) {
        let mut table = None;
        loop {
            let read = read(connection, &mut table);
            self.note(read);
            match stop.recv_timeout(LIVE_INTERVAL) {
                Err(RecvTimeoutError::Timeout) => {}
                _ => return,
            }
        }
    }

    fn note(&self, read: Result<Snapshot, ClaimTableError>) {
        let mut latest = self.lock();
        match read {
            Ok(snapshot) => *latest = (Arc::new(snapshot), None),
            Err(error) => {
                let cause = error.to_string();
                let since_ms = latest.1.as_ref().map_or_else(now_ms, |away| away.since_ms);
                latest.1 = Some(Away { since_ms, cause });
            }
        }
    }
}

fn read(
    connection: &Connection,
    table: &mut Option<ClaimTable>,
) -> Result<Snapshot, ClaimTableError> {
    let mut used = match table.take() {
        Some(table) => table,
        None => ClaimTable::connect(&connection.redis, connection.group.as_str())?,
    };
    let snapshot = Snapshot {
        running: used.tasks(&[State::Running], LIVE_TASKS_MAX)?,
        servers: used.servers()?,
        at_ms: now_ms(),
    };
    *table = Some(used);
    Ok(snapshot)
}
