//! Findings per minute, from the findings of the running tasks in successive snapshots. Pure.

use crate::claim_table::LiveTask;
use crate::model::resume::Position;
use std::collections::{HashMap, VecDeque};

/// Minutes that are kept.
pub const FOUND_MINUTES: usize = 60;
/// Milliseconds of a minute.
const MINUTE_MS: u64 = 60_000;

/// Findings per minute since this process has been reading the claim table.
#[derive(Debug, Default)]
pub struct FoundRate {
    /// The minutes since the first snapshot, oldest first: the number of the minute and its findings.
    minutes: VecDeque<(u64, u64)>,
    /// Findings of the running tasks at the last snapshot; none before the first one.
    known: Option<HashMap<String, u64>>,
}

impl FoundRate {
    /// The running tasks of the last snapshot that are not among `running`.
    pub fn gone(&self, running: &[LiveTask]) -> Vec<String> {
        let known = self.known.iter().flat_map(HashMap::keys);
        known
            .filter(|id| !running.iter().any(|task| task.task_id == **id))
            .cloned()
            .collect()
    }

    /// Takes a snapshot: the running tasks, and the last states of those that were running at the one before.
    pub fn note(&mut self, at_ms: u64, running: &[LiveTask], gone: &[LiveTask]) {
        let new: u64 = match &self.known {
            // What was found before the first snapshot was not found in this minute.
            None => 0,
            Some(known) => running
                .iter()
                .chain(gone)
                .map(|task| match known.get(&task.task_id) {
                    Some(before) => task.found.saturating_sub(*before),
                    None if is_new(task) => task.found,
                    None => 0,
                })
                .fold(0, u64::saturating_add),
        };
        let minute = at_ms / MINUTE_MS;
        match self.minutes.back_mut() {
            Some((last, found)) if *last >= minute => *found = found.saturating_add(new),
            last => {
                // Redis was away meanwhile: what was found then counts in the minute in which it became known.
                let from = last.map_or(minute, |(last, _)| *last + 1);
                let from = from.max((minute + 1).saturating_sub(FOUND_MINUTES as u64));
                self.minutes
                    .extend((from..minute).map(|minute| (minute, 0)));
                self.minutes.push_back((minute, new));
            }
        }
        while self.minutes.len() > FOUND_MINUTES {
            self.minutes.pop_front();
        }
        let found = running
            .iter()
            .map(|task| (task.task_id.clone(), task.found));
        self.known = Some(found.collect());
    }

    /// Findings of each minute, oldest first, the present one last; at most [`FOUND_MINUTES`].
    pub fn minutes(&self) -> Vec<u64> {
        self.minutes.iter().map(|(_, found)| *found).collect()
    }
}

/// Whether all its findings are from its present attempt: it does not continue at a checkpoint.
fn is_new(task: &LiveTask) -> bool {
    task.resume_pass == Position::START.pass && task.resume_index == 0 && task.attempt <= 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scanpush::tasks::sample::task;

    fn with(task_id: &str, found: u64) -> LiveTask {
        LiveTask {
            task_id: task_id.into(),
            found,
            ..task()
        }
    }

    #[test]
    fn only_what_is_found_meanwhile_counts() {
        let mut rate = FoundRate::default();
        let at = |minute: u64| minute * MINUTE_MS + 5;
        rate.note(at(10), &[with("a", 100)], &[]);
        assert_eq!(rate.minutes(), [0]);
        let resumed = LiveTask {
            resume_index: 7,
            ..with("c", 50)
        };
        rate.note(at(10) + 1000, &[with("a", 103), with("b", 2), resumed], &[]);
        assert_eq!(rate.minutes(), [5]);
        assert_eq!(rate.gone(&[with("b", 2), with("c", 50)]), ["a"]);
        rate.note(at(12), &[with("b", 2), with("c", 51)], &[with("a", 110)]);
        assert_eq!(rate.minutes(), [5, 0, 8]);
        rate.note(at(12), &[with("b", 0)], &[]);
        assert_eq!(rate.minutes(), [5, 0, 8]);
        rate.note(at(1000), &[], &[]);
        assert_eq!(rate.minutes(), [0; FOUND_MINUTES]);
    }
}
