//! Detects packets that the kernel drops during a scan. The counters are read on other threads, so that no scan waits for them.

use crate::masscan::{self, Drops, NetworkOf};
use crate::model::TaskId;
use crate::model::source::Interface;
use crate::scand::logging::with_task;
use crate::scand::metrics::ServerMetrics;
use crate::sync::lock;
use log::{debug, warn};
use std::sync::{Arc, Mutex};
use std::thread;

/// What the kernel has dropped since a scan started.
#[derive(Clone)]
pub(super) struct DropsWatch {
    task_id: TaskId,
    interface: Option<Interface>,
    seen: Arc<Mutex<Readings>>,
    metrics: Arc<ServerMetrics>,
}

#[derive(Default)]
struct Readings {
    /// The counters when the first masscan started.
    before: Option<Drops>,
    /// What has been dropped since then, as a text for people.
    note: Option<String>,
}

impl DropsWatch {
    pub(super) fn new(
        task_id: &TaskId,
        interface: Option<Interface>,
        metrics: &Arc<ServerMetrics>,
    ) -> DropsWatch {
        DropsWatch {
            metrics: metrics.clone(),
            task_id: task_id.clone(),
            interface,
            seen: Arc::default(),
        }
    }

    /// Reads the counters in the network of this masscan, on a new thread. The first reading is the baseline; later ones are compared with it.
    pub(super) fn read(&self, whose: NetworkOf) {
        let watch = self.clone();
        let reading = thread::Builder::new()
            .name("drops".into())
            .spawn(move || watch.compare(masscan::drops(whose, watch.interface.as_ref())));
        if let Err(error) = reading {
            debug!("cannot read the kernel's counters: no thread: {error}");
        }
    }

    fn compare<E: std::fmt::Display>(&self, read: Result<Drops, E>) {
        let _task = with_task(&self.task_id);
        let now = match read {
            Ok(now) => now,
            Err(error) => return debug!("cannot read the kernel's counters: {error}"),
        };
        let mut seen = lock(&self.seen);
        let Some(before) = &seen.before else {
            seen.before = Some(now);
            return;
        };
        if let Some(note) = now.since(before) {
            warn!("{note}");
            if seen.note.is_none() {
                self.metrics.packets_dropped();
            }
            seen.note = Some(note);
        }
    }

    /// What was dropped, as far as known.
    pub(super) fn note(&self) -> Option<String> {
        lock(&self.seen).note.clone()
    }
}
