//! The pass that a scan is in: one masscan over all probes of the task.

use crate::model::resume::Position;
use crate::model::{Estimate, FoundByPass, ProbeOrder, Task};

/// State of the current pass.
#[derive(Debug)]
pub(super) struct CurrentPass {
    /// The pass, from 1.
    pub(super) number: u32,
    /// The index at which it began in this attempt.
    pub(super) begin_index: u64,
    /// The highest percentage that masscan has shown in it.
    pub(super) percent: f64,
    /// Probes that were counted as sent in it.
    sent: u64,
    pub(super) estimate: Estimate,
    /// Findings before it began, those of earlier attempts in it included.
    found_before: FoundByPass,
    /// Findings that this attempt had printed before it began.
    printed_before: u64,
}

impl CurrentPass {
    /// The pass of `begin`, before which there were `found_before` findings, `printed_before` of them printed in this attempt.
    pub(super) fn new(
        probe_order: ProbeOrder,
        task: &Task,
        begin: Position,
        found_before: FoundByPass,
        printed_before: u64,
    ) -> CurrentPass {
        CurrentPass {
            number: begin.pass,
            begin_index: begin.index,
            percent: 0.0,
            sent: 0,
            estimate: Estimate::new(probe_order, task, begin.pass),
            // A pass without findings is listed too.
            found_before: found_before.with(begin.pass, found_before.of(begin.pass)),
            printed_before,
        }
    }

    /// Probes that masscan has sent since the last call, by its own percentage.
    pub(super) fn newly_sent(&mut self, probe_order: &ProbeOrder) -> u64 {
        let sent = probe_order.probes_between(self.begin_index, self.percent);
        let newly = sent.saturating_sub(self.sent);
        self.sent += newly;
        newly
    }

    /// Findings of each pass when this attempt has printed `printed`, of at most `range` probes in a pass. An answer that was on its way at a
    /// checkpoint may count in both attempts or in neither.
    pub(super) fn found(&self, printed: u64, range: u128) -> FoundByPass {
        let most = u64::try_from(range).unwrap_or(u64::MAX);
        let here = self.found_before.of(self.number) + printed.saturating_sub(self.printed_before);
        self.found_before.with(self.number, here.min(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Targets;

    #[test]
    fn findings_count_in_the_pass_that_printed_them() {
        let task = Task {
            retries: 2,
            ..Task::new(
                "a".parse().unwrap(),
                "10.0.0.0/24".parse().unwrap(),
                "80".parse().unwrap(),
                Default::default(),
            )
        };
        let probe_order = ProbeOrder::new(&task, &Targets::default(), 100);
        let earlier = FoundByPass::default().with(1, 250).with(2, 100);
        let second = Position {
            pass: 2,
            index: 120,
        };
        let resumed = CurrentPass::new(probe_order, &task, second, earlier, 0);
        assert_eq!(resumed.found(30, 256).as_slice(), [250, 130]);
        assert_eq!(resumed.found(200, 256).as_slice(), [250, 256]);
        let third = Position { pass: 3, index: 0 };
        let next = CurrentPass::new(probe_order, &task, third, resumed.found(30, 256), 30);
        assert_eq!(next.found(30, 256).as_slice(), [250, 130, 0]);
        assert_eq!(next.found(37, 256).as_slice(), [250, 130, 7]);
    }
}
