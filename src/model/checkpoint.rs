//! From where a scan can go on elsewhere without losing an answer.
//!
//! masscan's percentage says what was sent, not what was answered. An index is certain once the probes up to it were sent
//! long enough ago to have been answered ([`SETTLED_AFTER`] plus the task's wait), **and** every finding that masscan had
//! printed by then is acknowledged by Kafka.

use super::limits::SETTLED_AFTER;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Samples kept of each kind. masscan prints a few a second: this spans a quarter of an hour of Kafka's absence, after which
/// the checkpoint stays where it is.
const SAMPLES_MAX: usize = 4096;

/// Follows one run of masscan and knows the highest index that is certain.
#[derive(Debug)]
pub struct Checkpoint {
    range: u128,
    settle: Duration,
    certain: u64,
    found: u64,
    sent: VecDeque<Sample>,
    settled: VecDeque<(Sample, u64)>,
}

/// One reading: the index that was sent, and the findings printed by then.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    index: u64,
    printed: u64,
}

impl Checkpoint {
    /// For a task of `range` probes (addresses × ports) that waits `wait_s` seconds, begun at `resume_index`.
    pub fn new(range: u128, wait_s: u32, resume_index: u64) -> Checkpoint {
        Checkpoint {
            range,
            settle: SETTLED_AFTER + Duration::from_secs(wait_s.into()),
            certain: resume_index,
            found: 0,
            sent: VecDeque::new(),
            settled: VecDeque::new(),
        }
    }

    /// Takes a reading: at `now` masscan said `percent`, `printed` findings had come from it and the first `acknowledged`
    /// of them were acknowledged.
    pub fn observe(&mut self, now: Instant, percent: f64, printed: u64, acknowledged: u64) {
        let index = index_at(self.range, percent);
        if self.sent.len() < SAMPLES_MAX {
            self.sent.push_back(Sample {
                at: now,
                index,
                printed,
            });
        }
        while let Some(&sample) = self.sent.front()
            && now.duration_since(sample.at) >= self.settle
        {
            self.sent.pop_front();
            if self.settled.len() < SAMPLES_MAX {
                self.settled.push_back((sample, printed));
            }
        }
        self.acknowledge(acknowledged);
    }

    /// The first `acknowledged` findings of this run are acknowledged.
    pub fn acknowledge(&mut self, acknowledged: u64) {
        while let Some(&(sample, printed)) = self.settled.front()
            && printed <= acknowledged
        {
            self.settled.pop_front();
            if sample.index > self.certain {
                self.certain = sample.index;
                self.found = sample.printed;
            }
        }
    }

    /// Findings of this run below that index: those printed by the time it was sent.
    pub fn found(&self) -> u64 {
        self.found
    }

    /// Where another run may begin: masscan's `--resume-index`.
    pub fn resume_index(&self) -> u64 {
        self.certain
    }
}

/// The index at `percent` of `range` probes, rounded down. masscan prints two decimals, so one hundredth is taken off.
fn index_at(range: u128, percent: f64) -> u64 {
    let certain_percent = (percent - 0.01).clamp(0.0, 100.0);
    (range as f64 * certain_percent / 100.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(start: Instant, s: u64) -> Instant {
        start + Duration::from_secs(s)
    }

    #[test]
    fn an_index_is_certain_once_answered_and_acknowledged() {
        let start = Instant::now();
        let mut checkpoint = Checkpoint::new(10_000, 2, 0);
        checkpoint.observe(at(start, 0), 10.01, 5, 5);
        assert_eq!(checkpoint.resume_index(), 0, "just sent");
        checkpoint.observe(at(start, 3), 20.01, 8, 8);
        assert_eq!(checkpoint.resume_index(), 0, "answers may still come");
        checkpoint.observe(at(start, 4), 30.01, 9, 8);
        assert_eq!(checkpoint.resume_index(), 0, "the ninth isn't acknowledged");
        checkpoint.acknowledge(9);
        assert_eq!(checkpoint.resume_index(), 1000);
        checkpoint.observe(at(start, 60), 90.0, 20, 20);
        assert_eq!(checkpoint.resume_index(), 3000);
    }

    #[test]
    fn it_begins_where_the_last_one_ended_and_never_goes_back() {
        let start = Instant::now();
        let mut checkpoint = Checkpoint::new(10_000, 0, 4000);
        checkpoint.observe(start, 0.0, 0, 0);
        checkpoint.observe(at(start, 10), 0.0, 0, 0);
        assert_eq!(checkpoint.resume_index(), 4000);
    }

    proptest! {
        #[test]
        fn never_ahead_of_what_was_sent_before_the_wait(
            steps in prop::collection::vec((1u64..2000, 0.0f64..3.0, 0u64..5, 0u64..5), 1..200),
            wait_s in 0u32..10,
        ) {
            let start = Instant::now();
            let mut checkpoint = Checkpoint::new(1_000_000, wait_s, 0);
            let (mut now_ms, mut percent, mut printed, mut acknowledged) = (0, 0.0f64, 0, 0u64);
            let mut history = vec![];
            for (step_ms, more, found, acks) in steps {
                now_ms += step_ms;
                percent = (percent + more).min(100.0);
                printed += found;
                acknowledged = (acknowledged + acks).min(printed);
                history.push((now_ms, percent));
                checkpoint.observe(start + Duration::from_millis(now_ms), percent, printed, acknowledged);
                let settled = history.iter().rev()
                    .find(|(at, _)| now_ms - at >= 2000 + u64::from(wait_s) * 1000)
                    .map_or(0.0, |(_, percent)| *percent);
                prop_assert!(checkpoint.resume_index() as f64 <= settled * 10_000.0);
            }
        }
    }
}
