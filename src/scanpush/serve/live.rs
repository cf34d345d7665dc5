//! What the claim table shows: read by one thread for all requests, so that Redis' load does not depend on the number of readers.

use super::found_rate::FoundRate;
use crate::claim_table::{ClaimTable, ClaimTableError, LiveServer, LiveTask, QueueCounts};
use crate::connection::Connection;
use crate::model::TaskId;
use crate::scanpush::tasks::now_ms;
use crate::sync::lock;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use serde::Serialize;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// How often the claim table is read.
const LIVE_INTERVAL: Duration = Duration::from_secs(1);
/// A snapshot that is older counts as one that cannot be read.
const LIVE_AGE_MAX: Duration = Duration::from_secs(5);
/// Running tasks that are shown live at most.
pub const LIVE_TASKS_MAX: usize = 500;

/// The claim table at one time.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// When it was read, in unix milliseconds; none: never.
    pub at_ms: Option<u64>,
    /// The running tasks, at most [`LIVE_TASKS_MAX`], those that started last first.
    pub running: Vec<LiveTask>,
    /// The servers, by name.
    pub servers: Vec<LiveServer>,
    /// How many tasks wait for what.
    pub queue: QueueCounts,
    /// Findings per minute since the start of this process, the present minute last.
    pub found_per_minute: Vec<u64>,
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
pub struct Live(Mutex<LiveState>);

#[derive(Debug, Default)]
struct LiveState {
    snapshot: Arc<Snapshot>,
    away: Option<Away>,
    version: u64,
    digest: u64,
    /// The number of the newest change in the database, and how many changes of tasks' states were read.
    database: (i64, u64),
    has_stopped: bool,
}

impl Live {
    /// The latest snapshot, and the reason if Redis cannot be read now.
    pub fn latest(&self) -> (Arc<Snapshot>, Option<Away>) {
        let state = self.lock();
        let away = state
            .away
            .clone()
            .or_else(|| state.snapshot.stale(now_ms()));
        (Arc::clone(&state.snapshot), away)
    }

    /// Notes what the database has: the number of the newest change, and how many changes of tasks' states were read.
    pub fn note_database(&self, newest_change: i64, states_read: u64) {
        self.lock().database = (newest_change, states_read);
    }

    /// A number that increases whenever something that pages show may have changed; none once nothing is read any more.
    pub fn version(&self) -> Option<u64> {
        let state = self.lock();
        (!state.has_stopped).then_some(state.version)
    }

    fn lock(&self) -> MutexGuard<'_, LiveState> {
        lock(&self.0)
    }

    /// Reads the claim table until `stop` is closed. `is_database_away` does not wait for the database.
    pub fn run(
        &self,
        connection: &Connection,
        is_database_away: impl Fn() -> bool,
        stop: &Receiver<()>,
    ) {
        let (mut table, mut found_rate) = (None, FoundRate::default());
        loop {
            let read = read(connection, &mut table, &mut found_rate);
            self.note(read, is_database_away());
            match stop.recv_timeout(LIVE_INTERVAL) {
                Err(RecvTimeoutError::Timeout) => {}
                _ => break,
            }
        }
        self.lock().has_stopped = true;
    }

    fn note(&self, read: Result<Snapshot, ClaimTableError>, is_database_away: bool) {
        let mut latest = self.lock();
        match read {
            Ok(snapshot) => {
                latest.snapshot = Arc::new(snapshot);
                latest.away = None;
            }
            Err(error) => {
                let cause = error.to_string();
                let since_ms = latest
                    .away
                    .as_ref()
                    .map_or_else(now_ms, |away| away.since_ms);
                latest.away = Some(Away { since_ms, cause });
            }
        }
        let away = [latest.away.is_some(), is_database_away];
        let digest = digest(&latest.snapshot, away, latest.database);
        if digest != latest.digest {
            latest.digest = digest;
            latest.version += 1;
        }
    }
}

impl Snapshot {
    /// Since when nothing was read, if that is too long.
    fn stale(&self, now_ms: u64) -> Option<Away> {
        let at_ms = self.at_ms?;
        let age_ms = now_ms.saturating_sub(at_ms);
        let is_stale = u128::from(age_ms) > LIVE_AGE_MAX.as_millis();
        is_stale.then(|| Away {
            since_ms: at_ms,
            cause: "reading it takes too long".to_owned(),
        })
    }
}

/// What differs whenever a page would, except for ages. `away`: whether Redis and the database are.
fn digest(snapshot: &Snapshot, away: [bool; 2], database: (i64, u64)) -> u64 {
    #[derive(Serialize)]
    struct Shown<'a> {
        running: &'a [LiveTask],
        servers: Vec<LiveServer>,
        queue: &'a QueueCounts,
    }
    let servers = snapshot.servers.iter().cloned();
    let shown = Shown {
        running: &snapshot.running,
        servers: servers
            .map(|server| LiveServer {
                seen_ms: 0,
                age_ms: 0,
                ..server
            })
            .collect(),
        queue: &snapshot.queue,
    };
    let mut hasher = DefaultHasher::new();
    (away, database).hash(&mut hasher);
    serde_json::to_string(&shown)
        .unwrap_or_default()
        .hash(&mut hasher);
    hasher.finish()
}

fn read(
    connection: &Connection,
    table: &mut Option<ClaimTable>,
    found_rate: &mut FoundRate,
) -> Result<Snapshot, ClaimTableError> {
    let mut used = match table.take() {
        Some(table) => table,
        None => ClaimTable::connect(&connection.redis, connection.group.as_str())?,
    };
    let running = used.running(LIVE_TASKS_MAX)?;
    let gone = found_rate.gone(&running);
    let gone: Vec<TaskId> = gone.iter().filter_map(|id| id.parse().ok()).collect();
    let gone: Vec<LiveTask> = used.tasks_of(&gone)?.into_iter().flatten().collect();
    let at_ms = now_ms();
    found_rate.note(at_ms, &running, &gone);
    let snapshot = Snapshot {
        servers: used.servers()?,
        queue: used.queue()?,
        found_per_minute: found_rate.minutes(),
        running,
        at_ms: Some(at_ms),
    };
    *table = Some(used);
    Ok(snapshot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scanpush::tasks::sample::task;

    #[test]
    fn the_version_increases_only_if_something_changed() {
        let live = Live::default();
        let snapshot = |progress| Snapshot {
            running: vec![LiveTask { progress, ..task() }],
            at_ms: Some(now_ms()),
            ..Snapshot::default()
        };
        live.note(Ok(snapshot(1.0)), false);
        let first = live.version();
        live.note(Ok(snapshot(1.0)), false);
        assert_eq!(live.version(), first);
        live.note(Ok(snapshot(2.0)), false);
        let second = live.version();
        assert!(second > first);
        live.note_database(7, 0);
        live.note(Ok(snapshot(2.0)), false);
        let third = live.version();
        assert!(third > second);
        live.note(Ok(snapshot(2.0)), true);
        assert!(live.version() > third);
    }

    #[test]
    fn an_old_snapshot_is_one_that_cannot_be_read() {
        let live = Live::default();
        let read_at = |at_ms| Snapshot {
            at_ms: Some(at_ms),
            ..Snapshot::default()
        };
        let age_max_ms = LIVE_AGE_MAX.as_millis() as u64;
        live.note(Ok(read_at(now_ms())), false);
        assert!(live.latest().1.is_none());
        let old = now_ms() - age_max_ms - 1;
        live.note(Ok(read_at(old)), false);
        assert_eq!(live.latest().1.unwrap().since_ms, old);
    }
}
