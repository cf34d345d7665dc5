//! Detects that masscan was blocked on its output for so long that it may have lost answers. Pure.
//!
//! While masscan is blocked, answers collect in its capture ring. When the ring is full, further answers are lost and masscan does not report
//! it. So answers may be lost if its output was full, and more answers may have arrived since the last read than the output and the
//! ring hold.

use std::time::{Duration, Instant};

/// A lower bound of the answers that masscan's capture ring holds: about 800 were measured, with offloads off and an MTU of 1500.
const RING_ANSWERS: f64 = 500.0;
/// The output counts as full if less than one of this many parts is free: a line does not cross a page of the pipe, so each page of 4096
/// bytes has some bytes left.
const FULL_PARTS: usize = 16;

/// Follows the reads of one masscan's output.
#[derive(Debug)]
pub(super) struct OverrunDetector {
    capacity: usize,
    rate_pps: f64,
    last_read: Option<Instant>,
}

impl OverrunDetector {
    /// For an output in which `capacity` bytes can wait, of a scan that sends `rate_pps` packets per second.
    pub(super) fn new(capacity: usize, rate_pps: u64) -> OverrunDetector {
        OverrunDetector {
            capacity,
            rate_pps: rate_pps as f64,
            last_read: None,
        }
    }

    /// To be called after each read, at `now`. `waiting` is the number of bytes before the read, `line_bytes` the average length of a line.
    /// Returns whether answers may have been lost before the read.
    pub(super) fn after_read(&mut self, now: Instant, waiting: usize, line_bytes: usize) -> bool {
        let since_last_read = self
            .last_read
            .map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        self.last_read = Some(now);
        let was_full = waiting >= self.capacity / FULL_PARTS * (FULL_PARTS - 1);
        let findings_max = (self.capacity / line_bytes.max(1)) as f64;
        let answers_max = since_last_read.as_secs_f64() * self.rate_pps;
        was_full && answers_max > findings_max + RING_ANSWERS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_may_be_lost_only_if_the_output_was_full_for_longer_than_the_ring_lasts() {
        const MIB: usize = 1024 * 1024;
        const LINE_BYTES: usize = 150;
        // Capacity, rate, milliseconds since the last read, bytes that waited; may answers be lost?
        for (capacity, rate_pps, away_ms, waiting, lost) in [
            // A pipe of 1 MiB holds about 7000 findings: 70 ms at 100 000 packets per second.
            (MIB, 100_000, 20, 300_000, false),
            (MIB, 100_000, 74, MIB - 10_000, false),
            (MIB, 100_000, 80, MIB - 10_000, true),
            (MIB, 100_000, 5_000, 900_000, false),
            (MIB, 1_000, 2_000, MIB, false),
            // A terminal holds about 80: 58 ms at 10 000 packets per second.
            (12_288, 10_000, 50, 12_288, false),
            (12_288, 10_000, 60, 12_288, true),
            (12_288, 10_000, 600, 4_000, false),
        ] {
            let start = Instant::now();
            let mut overrun = OverrunDetector::new(capacity, rate_pps);
            assert!(
                !overrun.after_read(start, waiting, LINE_BYTES),
                "the first read"
            );
            let now = start + Duration::from_millis(away_ms);
            assert_eq!(
                overrun.after_read(now, waiting, LINE_BYTES),
                lost,
                "{capacity} {rate_pps} {away_ms} {waiting}"
            );
        }
    }
}
