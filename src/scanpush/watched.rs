//! A task that `scanpush watch` follows. Pure.

use crate::claim_table::LiveTask;
use crate::model::TaskId;
use std::time::{Duration, Instant};

/// How long `watch` waits for tasks that no server has ingested yet, counted from the last one that was.
pub const WATCH_UNKNOWN_WAIT: Duration = Duration::from_secs(60);

/// One task that is watched.
#[derive(Debug)]
pub struct Watched {
    /// Its id.
    pub id: TaskId,
    /// Its last known state; none until a server has ingested it.
    pub task: Option<LiveTask>,
    /// When Redis was first found not to know it any more.
    pub gone_since: Option<Instant>,
}

impl Watched {
    /// Updates it with what Redis returned at `now`. While a Redis that lost its data is rebuilt, the last state is kept for
    /// [`WATCH_UNKNOWN_WAIT`]; then the task counts as unknown.
    pub fn update(&mut self, found: Option<LiveTask>, now: Instant) {
        if found.is_some() {
            (self.task, self.gone_since) = (found, None);
            return;
        }
        let gone = *self.gone_since.get_or_insert(now);
        if now.duration_since(gone) >= WATCH_UNKNOWN_WAIT {
            self.task = None;
        }
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.task
            .as_ref()
            .is_some_and(|task| task.finished_ms.is_some())
    }
}
