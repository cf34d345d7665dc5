//! Where a scan can be continued without losing an answer. Pure.
//!
//! masscan's percentage tells what was sent, not what was answered. An index is certain once the probes up to it were sent long enough ago to
//! have been answered ([`SETTLED_AFTER`] plus the pass's wait), **and** Kafka has acknowledged every finding that masscan had printed by then.

use super::found_by_pass::FoundByPass;
use super::probe_order::ProbeOrder;
use super::resume::{Position, Resume};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Answers to probes that were sent longer ago than this plus the pass's wait are certain to have arrived. It is less than two intervals of
/// masscan's progress lines (0.75 s each), and together with a wait in whole seconds it is not a multiple of that interval, so that a line
/// that comes a moment early does not cost another interval. With one more interval, [`CHECKPOINT_CHECK_EVERY`] and the interval at which
/// progress is written, at most the probes of 3 s plus the wait are sent again, if Kafka acknowledges at once.
pub const SETTLED_AFTER: Duration = Duration::from_millis(1200);

/// A scan compares its checkpoint with Kafka's acknowledgements this often.
pub const CHECKPOINT_CHECK_EVERY: Duration = Duration::from_millis(250);

/// Maximum number of samples of each kind. masscan prints four progress lines in three seconds, so this is enough for an outage of Kafka of three
/// quarters of an hour. After that the checkpoint does not move until Kafka is reachable again.
const SAMPLES_MAX: usize = 4096;

/// The highest certain position of one attempt.
#[derive(Debug)]
pub struct Checkpoint {
    probe_order: ProbeOrder,
    settle: Duration,
    /// False if masscan uses another probe order than expected.
    known: bool,
    /// True once masscan's output may no longer be complete.
    held: bool,
    certain: Position,
    /// Findings before `certain`.
    found: FoundByPass,
    /// The pass that is being sent.
    pass: u32,
    sent: VecDeque<Sample>,
    settled: VecDeque<(Sample, u64)>,
}

/// One progress line: the position that was sent, and the findings of all attempts in that pass by then.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    position: Position,
    found: u64,
}

impl Checkpoint {
    /// For an attempt along `probe_order` that begins at `begin`, before which `found` findings were made. That pass waits `wait_s` seconds.
    pub fn new(
        probe_order: ProbeOrder,
        wait_s: u32,
        begin: Position,
        found: FoundByPass,
    ) -> Checkpoint {
        Checkpoint {
            probe_order,
            settle: settle(wait_s),
            known: true,
            held: false,
            certain: begin,
            found,
            pass: begin.pass,
            sent: VecDeque::new(),
            settled: VecDeque::new(),
        }
    }

    /// The pass is complete at `now`, with `found` findings; this attempt has printed `printed` findings by now, of all passes. The next pass
    /// waits `wait_s` seconds.
    pub fn complete_pass(&mut self, now: Instant, found: u64, printed: u64, wait_s: u32) {
        let at_end = Position {
            pass: self.pass,
            index: u64::try_from(self.probe_order.range()).unwrap_or(u64::MAX),
        };
        self.pass += 1;
        self.settle = settle(wait_s);
        self.sent.clear();
        // A masscan that hung after its wait was killed, but the output of the next one is complete again.
        self.held = false;
        let at_next = Position {
            pass: self.pass,
            index: 0,
        };
        for (position, found) in [(at_end, found), (at_next, 0)] {
            let sample = Sample {
                at: now,
                position,
                found,
            };
            self.settled.push_back((sample, printed));
        }
    }

    /// Takes a progress line: at `now` masscan showed `percent`, and there were `found` findings in this pass.
    pub fn observe(&mut self, now: Instant, percent: f64, found: u64) {
        if self.sent.len() < SAMPLES_MAX && !self.held {
            self.sent.push_back(Sample {
                at: now,
                position: Position {
                    pass: self.pass,
                    index: self.probe_order.index_at(percent),
                },
                found,
            });
        }
    }

    /// Takes the state at `now`: this run has printed `printed` findings, and the first `acknowledged` of them are acknowledged. Returns whether an
    /// index was added for which only acknowledgements are missing.
    pub fn settle(&mut self, now: Instant, printed: u64, acknowledged: u64) -> bool {
        let mut settled = false;
        while let Some(&sample) = self.sent.front()
            && now.duration_since(sample.at) >= self.settle
        {
            self.sent.pop_front();
            if self.settled.len() < SAMPLES_MAX {
                self.settled.push_back((sample, printed));
                settled = true;
            }
        }
        self.acknowledge(acknowledged);
        settled && !self.settled.is_empty()
    }

    /// Takes the number of this run's findings that Kafka has acknowledged.
    pub fn acknowledge(&mut self, acknowledged: u64) {
        while let Some(&(sample, printed)) = self.settled.front()
            && printed <= acknowledged
        {
            self.settled.pop_front();
            if sample.position > self.certain {
                self.certain = sample.position;
                self.found = self.found.with(sample.position.pass, sample.found);
            }
        }
    }

    /// To be called when masscan is being killed or its output was not read for a while: answers to what it sent since the last call of
    /// [`Checkpoint::settle`] may be missing. From now on only acknowledgements make an index certain.
    pub fn hold(&mut self) {
        self.held = true;
        self.sent.clear();
    }

    /// To be called when masscan uses another probe order than expected: no other run can use its indices.
    pub fn forget(&mut self) {
        self.known = false;
    }

    /// Where the next run may begin.
    pub fn resume(&self) -> Resume {
        if !self.known {
            return Resume::default();
        }
        Resume {
            position: self.certain,
            found: self.found,
            probe_order: Some(self.probe_order.name()),
        }
    }
}

fn settle(wait_s: u32) -> Duration {
    SETTLED_AFTER + Duration::from_secs(wait_s.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::progress::PROGRESS_EVERY;
    use crate::model::{Targets, Task};
    use proptest::prelude::*;

    fn at(start: Instant, s: u64) -> Instant {
        start + Duration::from_secs(s)
    }

    /// 10 000 probes and no retries, however many ports they are.
    fn probe_order(addresses: &str) -> ProbeOrder {
        let task = Task::new(
            "a".parse().unwrap(),
            addresses.parse().unwrap(),
            "443".parse().unwrap(),
            Default::default(),
        );
        ProbeOrder::new(&task, &Targets::default(), 1000)
    }

    /// 10 000 probes.
    fn ten_thousand(wait_s: u32, begin: u64) -> Checkpoint {
        Checkpoint::new(
            probe_order("10.0.0.0-10.0.39.15"),
            wait_s,
            Position {
                pass: 1,
                index: begin,
            },
            FoundByPass::default().with(1, 7),
        )
    }

    #[test]
    fn what_was_sent_before_a_standstill_never_becomes_certain() {
        let start = Instant::now();
        let mut checkpoint = ten_thousand(2, 0);
        checkpoint.observe(at(start, 0), 10.01, 12);
        checkpoint.settle(at(start, 4), 5, 0);
        checkpoint.observe(at(start, 4), 50.0, 12);
        checkpoint.hold();
        checkpoint.observe(at(start, 60), 60.0, 12);
        checkpoint.settle(at(start, 120), 5, 5);
        assert_eq!(
            checkpoint.resume().position.index,
            1000,
            "settled before, acknowledged after"
        );
    }

    #[test]
    fn an_index_is_certain_once_answered_and_acknowledged() {
        let start = Instant::now();
        let mut checkpoint = ten_thousand(2, 0);
        let index = |checkpoint: &Checkpoint| checkpoint.resume().position.index;
        checkpoint.observe(at(start, 0), 10.01, 12);
        checkpoint.settle(at(start, 0), 5, 5);
        assert_eq!(index(&checkpoint), 0, "just sent");
        assert!(!checkpoint.settle(at(start, 3), 8, 8));
        assert_eq!(index(&checkpoint), 0, "answers may still come");
        assert!(
            checkpoint.settle(at(start, 4), 9, 8),
            "it waits for the ninth"
        );
        assert!(!checkpoint.settle(at(start, 4), 9, 8), "reported only once");
        assert_eq!(index(&checkpoint), 0, "the ninth is not acknowledged");
        checkpoint.acknowledge(9);
        assert_eq!(
            (index(&checkpoint), checkpoint.resume().found.of(1)),
            (1000, 12)
        );
        checkpoint.observe(at(start, 5), 30.01, 15);
        checkpoint.settle(at(start, 60), 20, 20);
        assert_eq!(index(&checkpoint), 3000);
    }

    #[test]
    fn a_complete_pass_moves_the_checkpoint_to_the_next_once_acknowledged() {
        let start = Instant::now();
        let mut checkpoint = ten_thousand(2, 0);
        checkpoint.observe(at(start, 0), 50.0, 20);
        checkpoint.hold();
        checkpoint.complete_pass(at(start, 1), 40, 33, 10);
        assert_eq!(checkpoint.resume().position, Position::START);
        checkpoint.acknowledge(32);
        assert_eq!(checkpoint.resume().position, Position::START);
        checkpoint.acknowledge(33);
        let resume = checkpoint.resume();
        assert_eq!(resume.position, Position { pass: 2, index: 0 });
        assert_eq!(resume.found.as_slice(), [40, 0]);
        checkpoint.observe(at(start, 2), 10.01, 5);
        checkpoint.settle(at(start, 6), 38, 38);
        assert_eq!(
            checkpoint.resume().position.index,
            0,
            "the last pass waits longer"
        );
        checkpoint.settle(at(start, 14), 38, 38);
        let resume = checkpoint.resume();
        assert_eq!(
            resume.position,
            Position {
                pass: 2,
                index: 1000
            }
        );
        assert_eq!(resume.found.as_slice(), [40, 5]);
    }

    #[test]
    fn it_begins_where_the_last_one_ended_and_never_goes_back() {
        let start = Instant::now();
        let mut checkpoint = ten_thousand(0, 4000);
        checkpoint.observe(start, 0.0, 0);
        checkpoint.settle(at(start, 10), 0, 0);
        assert_eq!(
            (
                checkpoint.resume().position.index,
                checkpoint.resume().found.of(1)
            ),
            (4000, 7)
        );
        checkpoint.forget();
        assert_eq!(checkpoint.resume(), Resume::default());
    }

    #[test]
    fn at_most_the_probes_of_the_wait_and_3_s_are_repeated() {
        // masscan's progress lines come every 0.75 s and wake the scan, which reads the findings and settles. What was printed by then is
        // acknowledged within 0.1 s; the next check sees that and writes it to Redis. The other checks change nothing.
        const TICK: Duration = Duration::from_millis(50);
        let ticks = |time: Duration| (time.as_millis() / TICK.as_millis()) as usize;
        let (line_every, check_after) = (
            ticks(Duration::from_millis(750)),
            ticks(CHECKPOINT_CHECK_EVERY),
        );
        let mut worst = 0;
        // On a busy machine a line may be read late.
        for late in 0..=ticks(Duration::from_millis(100)) {
            let start = Instant::now();
            let mut checkpoint = ten_thousand(2, 0);
            let (mut written, mut handed_over) = (vec![], 0);
            for tick in 0..1200 {
                let now = start + TICK * tick as u32;
                let seen = tick / line_every;
                if tick % line_every == late {
                    // Each second one percent: 100 probes and 10 findings.
                    let percent = (seen * line_every) as f64 / 20.0;
                    let printed = seen as u64 * 7;
                    checkpoint.observe(now, percent, printed);
                    if checkpoint.settle(now, printed, handed_over) {
                        handed_over = printed;
                    }
                }
                if tick % line_every == late + check_after {
                    checkpoint.acknowledge(handed_over);
                }
                written.push(checkpoint.resume().position.index);
            }
            for killed in 150..1200 {
                let sent = killed as u64 * 5;
                worst = worst.max(sent - written[killed - ticks(PROGRESS_EVERY)]);
            }
        }
        assert!(worst <= 100 * (2 + 3), "{worst} probes");
        assert!(worst > 100 * 4, "the bound is tight: {worst}");
    }

    proptest! {
        #[test]
        fn a_checkpoint_is_never_ahead_of_what_was_sent_before_the_wait(
            steps in prop::collection::vec((1u64..2000, 0.0f64..3.0, 0u64..5, 0u64..5), 1..200),
            wait_s in 0u32..10,
        ) {
            let start = Instant::now();
            let mut checkpoint = Checkpoint::new(probe_order("10.0.0.0-10.15.66.63"), wait_s, Position::START, FoundByPass::default());
            let (mut now_ms, mut percent, mut printed, mut acknowledged) = (0, 0.0f64, 0, 0u64);
            let mut history = vec![];
            for (step_ms, more, found, acks) in steps {
                now_ms += step_ms;
                percent = (percent + more).min(100.0);
                printed += found;
                acknowledged = (acknowledged + acks).min(printed);
                history.push((now_ms, percent));
                let now = start + Duration::from_millis(now_ms);
                checkpoint.observe(now, percent, printed);
                checkpoint.settle(now, printed, acknowledged);
                let settled = history.iter().rev()
                    .find(|(at, _)| now_ms - at >= SETTLED_AFTER.as_millis() as u64 + u64::from(wait_s) * 1000)
                    .map_or(0.0, |(_, percent)| *percent);
                prop_assert!(checkpoint.resume().position.index as f64 <= settled * 10_000.0);
            }
        }
    }
}
