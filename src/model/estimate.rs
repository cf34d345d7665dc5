//! When a scan will have sent everything. Pure.
//!
//! masscan's own estimate is wild early on: of four addresses `2d07h` is left, it says. Here it is what is left of the walk at the
//! rate that was granted; and where masscan gets on more slowly than that, at its pace. It does where many addresses answer, since its
//! replies to them count as packets too, and what it calls its rate holds both.
use super::probe_order::ProbeOrder;
use std::time::Duration;
use std::time::Instant;

/// masscan's pace counts in the estimate of what is left once it has sent for so long.
pub const ESTIMATE_MEASURED_AFTER: Duration = Duration::from_secs(3);
/// Further condition: it has progressed by this many percent, because what it shows is rounded to two decimals.
pub const ESTIMATE_MEASURED_PERCENT: f64 = 0.5;

/// The estimate for one run of masscan.
#[derive(Debug)]
pub struct Estimate {
    probe_order: ProbeOrder,
    /// The first progress line, and when it came.
    first: Option<(Instant, f64)>,
}

impl Estimate {
    /// For a run with this probe order.
    pub fn new(probe_order: ProbeOrder) -> Estimate {
        Estimate {
            probe_order,
            first: None,
        }
    }

    /// Seconds until masscan has sent everything, rounded up, after it showed `percent` at `now`. Not for progress lines while it waits.
    pub fn remaining_s(&mut self, now: Instant, percent: f64) -> u64 {
        let (since, from) = *self.first.get_or_insert((now, percent));
        let granted_s = self.probe_order.sending_s(percent);
        let (took, done) = (now.saturating_duration_since(since), percent - from);
        let is_measured = took >= ESTIMATE_MEASURED_AFTER && done >= ESTIMATE_MEASURED_PERCENT;
        let measured_s = match is_measured {
            true => took.as_secs_f64() * (100.0 - percent).max(0.0) / done,
            false => 0.0,
        };
        // It never sends faster than the granted rate.
        granted_s.max(measured_s).ceil() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Targets, Task};
    use std::time::Duration;

    fn estimate(ip_range: &str, rate_pps: u64) -> Estimate {
        let task = Task::new(
            "a".parse().unwrap(),
            ip_range.parse().unwrap(),
            "80".parse().unwrap(),
            "1".parse().unwrap(),
        );
        Estimate::new(ProbeOrder::new(&task, &Targets::default(), rate_pps))
    }

    #[test]
    fn early_on_it_is_what_is_left_at_the_granted_rate() {
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
    fn where_it_gets_on_more_slowly_that_pace_counts() {
        let now = Instant::now();
        let mut slow = estimate("10.0.0.0/16", 300);
        // Another server's part: no measure of this run's pace.
        slow.remaining_s(now, 20.0);
        // 10 % in 44 s is half the granted rate.
        let later = now + Duration::from_secs(44);
        assert_eq!(slow.remaining_s(later, 30.0), 308);
        // Too little to be measured, by the time and by the percentage.
        let mut early = estimate("10.0.0.0/16", 300);
        early.remaining_s(now, 0.0);
        assert_eq!(early.remaining_s(now + Duration::from_secs(2), 0.6), 218);
        assert_eq!(early.remaining_s(now + Duration::from_secs(9), 0.1), 219);
    }
}
