//! Estimates when a scan will have sent everything. Pure.
//!
//! masscan's own estimate is useless early on: for four addresses it says that `2d07h` remain. This one divides the remaining probes by the
//! granted rate. If masscan progresses more slowly than that, its measured pace counts instead: its rate includes the resets that it sends to
//! answers, so it sends fewer probes where many addresses answer (FACTS).

use super::probe_order::ProbeOrder;
use super::task::Task;
use std::time::{Duration, Instant};

/// The measured rate is used after masscan has sent for this long.
const ESTIMATE_MEASURED_AFTER: Duration = Duration::from_secs(3);
/// And after it has progressed by this many percent, because its percentage is rounded to two decimals.
const ESTIMATE_MEASURED_PERCENT: f64 = 0.5;

/// The estimate during one pass.
#[derive(Debug)]
pub struct Estimate {
    probe_order: ProbeOrder,
    later_passes: u32,
    /// Seconds that this pass and the later ones wait for late answers, without the last pass.
    waits_s: u64,
    /// The first progress line of the pass, and when it came.
    first: Option<(Instant, f64)>,
}

impl Estimate {
    /// For `pass` (from 1) of `task` in this probe order.
    pub fn new(probe_order: ProbeOrder, task: &Task, pass: u32) -> Estimate {
        let waits = (pass..task.passes()).map(|pass| u64::from(task.wait_s_of(pass)));
        Estimate {
            probe_order,
            later_passes: task.passes().saturating_sub(pass),
            waits_s: waits.sum(),
            first: None,
        }
    }

    /// Seconds until masscan has sent everything, rounded up, after it showed `percent` of this pass at `now`. Not for progress lines while it
    /// waits.
    pub fn remaining_s(&mut self, now: Instant, percent: f64) -> u64 {
        let (since, from) = *self.first.get_or_insert((now, percent));
        let (took, done) = (now.saturating_duration_since(since), percent - from);
        let is_measured = took >= ESTIMATE_MEASURED_AFTER && done >= ESTIMATE_MEASURED_PERCENT;
        let measured_s = |left: f64| match is_measured {
            true => took.as_secs_f64() * left.max(0.0) / done,
            false => 0.0,
        };
        // It never sends faster than the granted rate.
        let pass_s = self
            .probe_order
            .sending_s(percent)
            .max(measured_s(100.0 - percent));
        let later_s = self.probe_order.sending_s(0.0).max(measured_s(100.0));
        (pass_s + later_s * f64::from(self.later_passes)).ceil() as u64 + self.waits_s
    }

    /// Seconds until masscan has sent everything, once this pass is sent; none if it is the last one.
    pub fn later_passes_s(&mut self, now: Instant) -> Option<u64> {
        (self.later_passes > 0).then(|| self.remaining_s(now, 100.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Targets;

    fn estimate(ip_range: &str, rate_pps: u64) -> Estimate {
        let task = Task::new(
            "a".parse().unwrap(),
            ip_range.parse().unwrap(),
            "80".parse().unwrap(),
            "1".parse().unwrap(),
        );
        let probe_order = ProbeOrder::new(&task, &Targets::default(), rate_pps);
        Estimate::new(probe_order, &task, 1)
    }

    #[test]
    fn later_passes_and_the_waits_before_them_count() {
        let task = Task {
            retries: 2,
            wait_s: 10,
            ..Task::new(
                "a".parse().unwrap(),
                "10.0.0.0/24".parse().unwrap(),
                "80".parse().unwrap(),
                Default::default(),
            )
        };
        let probe_order = ProbeOrder::new(&task, &Targets::default(), 256);
        let now = Instant::now();
        let estimate = |pass| Estimate::new(probe_order, &task, pass);
        assert_eq!(estimate(1).remaining_s(now, 0.0), 3 + 2 + 2);
        assert_eq!(estimate(2).remaining_s(now, 0.0), 2 + 2);
        assert_eq!(estimate(2).later_passes_s(now), Some(1 + 2));
        assert_eq!(estimate(3).remaining_s(now, 0.0), 1);
        assert_eq!(estimate(3).later_passes_s(now), None);
    }

    #[test]
    fn at_first_the_granted_rate_is_used() {
        let now = Instant::now();
        assert_eq!(estimate("10.0.0.0/30", 300).remaining_s(now, 0.0), 1);
        assert_eq!(estimate("10.0.0.0/16", 300).remaining_s(now, 0.0), 219);
        let mut half = estimate("10.0.0.0/16", 300);
        half.remaining_s(now, 0.0);
        let soon = now + Duration::from_secs(1);
        assert_eq!(half.remaining_s(soon, 50.0), 110);
        assert_eq!(half.remaining_s(soon, 100.0), 0);
    }

    #[test]
    fn a_slower_measured_rate_is_used() {
        let now = Instant::now();
        let mut slow = estimate("10.0.0.0/16", 300);
        // The first 20 % were sent by another server and do not count.
        slow.remaining_s(now, 20.0);
        // 10 % in 44 s is half the granted rate.
        let later = now + Duration::from_secs(44);
        assert_eq!(slow.remaining_s(later, 30.0), 308);
        // Not enough for a measurement: too little time, too few percent.
        let mut early = estimate("10.0.0.0/16", 300);
        early.remaining_s(now, 0.0);
        assert_eq!(early.remaining_s(now + Duration::from_secs(2), 0.6), 218);
        assert_eq!(early.remaining_s(now + Duration::from_secs(9), 0.1), 219);
    }
}
