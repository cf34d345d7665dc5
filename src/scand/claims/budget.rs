//! Slots and rate of this server: what is in use, and what a claim may take. No I/O.
//!
//! A slot and its rate become free as soon as masscan only waits for late answers, so that the next task can send during that wait. The
//! number of scans that only wait is limited too.

use crate::claim_table::Load;
use crate::sync::lock;
use crossbeam_channel::Sender;
use std::sync::{Arc, Mutex};

/// Scans that may exist for each slot: one sends, the others wait for late answers.
pub const SCANS_PER_SLOT: usize = 12;

/// The budget of one server.
#[derive(Debug)]
pub struct Budget {
    slots: usize,
    max_rate: u64,
    used: Mutex<Used>,
    freed: Sender<()>,
}

#[derive(Debug, Default)]
struct Used {
    sending: usize,
    alive: usize,
    rate: u64,
}

impl Budget {
    /// `slots` scans may send at the same time, `max_rate` packets per second together. `freed` gets a message when
    /// something becomes free.
    pub fn new(slots: usize, max_rate: u64, freed: Sender<()>) -> Arc<Budget> {
        Arc::new(Budget {
            slots,
            max_rate,
            used: Mutex::default(),
            freed,
        })
    }

    /// Maximum number of scans.
    pub fn scans_max(&self) -> usize {
        self.slots * SCANS_PER_SLOT
    }

    /// The load as other servers see it.
    pub fn load(&self) -> Load {
        let used = lock(&self.used);
        let free = if used.alive < self.scans_max() {
            self.slots.saturating_sub(used.sending)
        } else {
            0
        };
        Load {
            slots: self.slots,
            free,
            held: used.alive,
            rate_used: used.rate,
            max_rate: self.max_rate,
            fault: None,
        }
    }

    /// The rate at which a task with this `band_width` runs, in packets per second.
    pub fn rate_for(&self, band_width: u64) -> u64 {
        band_width.min(self.max_rate)
    }

    /// Takes a slot for a task with this `band_width` (packets per second); a task above the server's limit runs at the limit.
    pub fn take(self: &Arc<Budget>, band_width: u64) -> Permit {
        let rate_pps = self.rate_for(band_width);
        let mut used = lock(&self.used);
        used.sending += 1;
        used.alive += 1;
        used.rate += rate_pps;
        Permit {
            budget: self.clone(),
            rate_pps,
            sending: true,
        }
    }

    fn nudge(&self) {
        // If the channel is full, a wake-up is already pending.
        let _ = self.freed.try_send(());
    }
}

/// One scan's share of the budget; returned on drop.
#[derive(Debug)]
pub struct Permit {
    budget: Arc<Budget>,
    rate_pps: u64,
    sending: bool,
}

impl Permit {
    /// Packets per second that this scan may send.
    pub fn rate_pps(&self) -> u64 {
        self.rate_pps
    }

    /// For the log, that the scan sends slower than `band_width`, its task's; none if it does not.
    pub fn lowered(&self, band_width: u64) -> Option<String> {
        (self.rate_pps < band_width).then(|| {
            format!(
                "sends at {} pps (-max-rate; the task asks for {band_width})",
                self.rate_pps
            )
        })
    }

    /// The scan sends no more probes: its slot and rate are free for the next task.
    pub fn stop_sending(&mut self) {
        if !self.sending {
            return;
        }
        self.sending = false;
        let mut used = lock(&self.budget.used);
        used.sending -= 1;
        used.rate -= self.rate_pps;
        drop(used);
        self.budget.nudge();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.stop_sending();
        lock(&self.budget.used).alive -= 1;
        self.budget.nudge();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::bounded;

    #[test]
    fn slots_and_rate_come_back_when_sending_ends() {
        let (freed, nudges) = bounded(1);
        let budget = Budget::new(2, 1000, freed);
        let mut first = budget.take(800);
        let second = budget.take(5000);
        assert_eq!(second.rate_pps(), 1000, "above the limit: at the limit");
        assert_eq!(
            second.lowered(5000).as_deref(),
            Some("sends at 1000 pps (-max-rate; the task asks for 5000)")
        );
        assert_eq!(first.lowered(800), None);
        let load = budget.load();
        assert_eq!((load.free, load.held, load.rate_used), (0, 2, 1800));
        first.stop_sending();
        first.stop_sending();
        assert!(nudges.try_recv().is_ok());
        let load = budget.load();
        assert_eq!((load.free, load.held, load.rate_used), (1, 2, 1000));
        drop((first, second));
        let load = budget.load();
        assert_eq!((load.free, load.held, load.rate_used), (2, 0, 0));
    }

    #[test]
    fn scans_that_only_wait_have_a_bound() {
        let (freed, _nudges) = bounded(1);
        let budget = Budget::new(1, 1000, freed);
        let mut permits = Vec::new();
        while budget.load().free > 0 {
            let mut permit = budget.take(1);
            permit.stop_sending();
            permits.push(permit);
            assert!(permits.len() <= SCANS_PER_SLOT);
        }
        assert_eq!(permits.len(), SCANS_PER_SLOT);
    }
}
