//! How long masscan's output may be left alone, and whether it was left alone for too long. Pure.

use super::output::PIPE_BYTES;
use std::time::{Duration, Instant};

/// A scan looks at its orders, its lease, its time-out and masscan's output at least this often: once between two of masscan's
/// readings, which wake it too. With [`LOOK_SOON`] more than they are apart: where something is awaited upon a reading, the look for it
/// is that one, unless the pipe would fill earlier.
pub const LOOK_EVERY_MAX: Duration = Duration::from_millis(600);
/// And this soon where something is about to happen: what was sent upon a reading is acknowledged, or a masscan is gone.
pub const LOOK_SOON: Duration = Duration::from_millis(250);
/// And at most this often, however much masscan prints.
const LOOK_EVERY_MIN: Duration = Duration::from_micros(500);

/// A pipe counts as full where but one of so many parts is free: a line begins another page of it where it doesn't fit into the
/// last one, so each page of 4096 bytes has some left.
const FULL_PARTS: usize = 16;
/// A finding of masscan's takes so much of the pipe, or less: 145 bytes with an IPv4 address, up to 186 with an IPv6 one.
const LINE_BYTES: f64 = 190.0;
/// After so many lines their mean counts instead.
const LINES_KNOWN: usize = 100;
/// A look comes before more than this part of the room is filled, if answers go on to come as they did …
const FILLED_PART: f64 = 0.6;
/// … and before more than this part is, were each probe answered from now on. masscan probes in a random order, so that what answers
/// is spread over the scan, and such a change is rare.
const FILLED_PART_AT_WORST: f64 = 0.75;
/// masscan's capture ring holds so many answers, and more: about 800 were measured.
const RING_ANSWERS: f64 = 500.0;
/// A terminal of Linux holds so many bytes, and more: 4 KiB of the line discipline and 8 KiB before it (13.8 KiB measured on 6.18).
const TERMINAL_BYTES: usize = 12 * 1024;

/// Follows how fast findings come.
#[derive(Debug)]
pub(super) struct Pace {
    rate_pps: f64,
    holds: usize,
    by_terminal: bool,
    /// How long after the one before it the last look was to be, or the next one is after it.
    pause: Duration,
    /// How long that might have been for what comes.
    bearable: Duration,
    /// The last look: when it was, how long after the one before it, how late that was, and what it brought.
    looked_at: Instant,
    elapsed: Duration,
    late: Duration,
    received: usize,
    /// What was read of it in all.
    lines: usize,
    bytes: usize,
}

impl Pace {
    /// Before the first look, at `now`, at a scan that sends `rate_pps` packets per second, of whose output `holds` bytes can wait;
    /// `by_terminal`: it comes to there through a terminal, from which a thread has to move it.
    pub(super) fn new(now: Instant, rate_pps: u64, holds: usize, by_terminal: bool) -> Pace {
        Pace {
            rate_pps: rate_pps.max(1) as f64,
            holds,
            by_terminal,
            pause: LOOK_EVERY_MIN,
            bearable: LOOK_EVERY_MIN,
            looked_at: now,
            elapsed: Duration::ZERO,
            late: Duration::ZERO,
            received: 0,
            lines: 0,
            bytes: 0,
        }
    }

    /// How many findings can wait, where that is fewer than [`PIPE_BYTES`] would hold.
    pub(super) fn lacks_room(&self) -> Option<usize> {
        (self.holds < PIPE_BYTES).then_some(self.holds / LINE_BYTES as usize)
    }

    /// Whether masscan, of whose output `received` bytes have come by `now`, since the last look, had to wait for so long that answers
    /// may be lost: where no more can have come than were received and its capture ring holds, none are. (A look takes long where this
    /// machine is busy, and what it receives may then be more than waited for it.)
    pub(super) fn is_overrun(&self, now: Instant, received: usize) -> bool {
        let elapsed = now.saturating_duration_since(self.looked_at);
        let may_have_come = |alone: Duration| alone.as_secs_f64() * self.rate_pps - RING_ANSWERS;
        let is_full = |held: usize, bytes: usize| bytes >= held / FULL_PARTS * (FULL_PARTS - 1);
        match self.by_terminal {
            false => {
                is_full(self.holds, received)
                    && may_have_come(elapsed) > received as f64 / self.line_bytes()
            }
            // The thread that empties it is as late as this one, as far as anybody knows. After a standstill of both it may bring what
            // waited there only for the look after that.
            true => {
                is_full(TERMINAL_BYTES, self.received + received)
                    && may_have_come(elapsed.saturating_sub(self.pause).max(self.late))
                        > TERMINAL_BYTES as f64 / LINE_BYTES
            }
        }
    }

    /// So many of its lines were read, and bytes in them.
    pub(super) fn read(&mut self, lines: usize, bytes: usize) {
        self.lines += lines;
        self.bytes += bytes;
    }

    /// What a line of it takes.
    fn line_bytes(&self) -> f64 {
        match self.lines {
            ..LINES_KNOWN => LINE_BYTES,
            lines => self.bytes as f64 / lines as f64,
        }
    }

    /// A look at `now` brought `received` bytes.
    pub(super) fn looked(&mut self, now: Instant, received: usize) {
        self.elapsed = now.saturating_duration_since(self.looked_at);
        self.late = self.elapsed.saturating_sub(self.pause);
        (self.looked_at, self.received) = (now, received);
    }

    /// For how long from `now` the next look may wait: `most` after the last one at most, which took some time itself. Until a part of
    /// the output's room is filled, so that the rest is left for a look that comes late; twice as long as the last time at most, since
    /// answers come in bursts.
    pub(super) fn pause(&mut self, now: Instant, most: Duration) -> Duration {
        let room = self.holds as f64;
        let filled_after =
            self.elapsed.as_secs_f64() * room * FILLED_PART / self.received.max(1) as f64;
        let filled_at_worst = room * FILLED_PART_AT_WORST / self.line_bytes() / self.rate_pps;
        self.bearable = Duration::from_secs_f64(filled_after.min(filled_at_worst))
            .min(self.bearable * 2)
            .max(LOOK_EVERY_MIN);
        self.pause = self.bearable.min(most);
        let passed = now.saturating_duration_since(self.looked_at);
        self.pause.saturating_sub(passed).max(LOOK_EVERY_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLDS: usize = PIPE_BYTES;

    /// One whose pauses have grown to the longest, at its next look.
    fn grown(rate_pps: u64) -> (Instant, Pace) {
        let start = Instant::now();
        let pace = Pace {
            pause: LOOK_EVERY_MAX,
            bearable: LOOK_EVERY_MAX,
            ..Pace::new(start, rate_pps, HOLDS, false)
        };
        (start + LOOK_EVERY_MAX, pace)
    }

    /// Looks `looks` times at findings of `bytes_per_second`, and gives the last pause.
    fn settled(rate_pps: u64, bytes_per_second: f64, looks: u32) -> Duration {
        let mut now = Instant::now();
        let mut pace = Pace::new(now, rate_pps, HOLDS, false);
        let mut pause = LOOK_EVERY_MIN;
        for _ in 0..looks {
            now += pause;
            let received = bytes_per_second * pause.as_secs_f64();
            pace.looked(now, received as usize);
            pause = pace.pause(now, LOOK_EVERY_MAX);
        }
        pause
    }

    #[test]
    fn as_long_as_the_pipe_holds_it() {
        for (rate_pps, bytes_per_second, least_ms, most_ms) in [
            (1000, 0.0, 600.0, 600.0),
            (10_000, 0.0, 413.0, 414.0),
            // A hundred thousand findings a second.
            (10_000, 15_000_000.0, 40.0, 43.0),
            // As fast as it can.
            (10_000, 1e12, 0.5, 0.5),
            // All may begin to answer.
            (100_000, 0.0, 41.0, 42.0),
        ] {
            let pause = settled(rate_pps, bytes_per_second, 20).as_secs_f64() * 1000.0;
            assert!(
                (least_ms..=most_ms).contains(&pause),
                "{rate_pps} pps, {bytes_per_second} bytes a second: {pause} ms"
            );
        }
    }

    /// One look upon a reading of masscan's, one for what was awaited with it, and no more before the next reading.
    #[test]
    fn two_looks_a_reading_are_enough() {
        // Every 0.75 s, and a moment late.
        const READING: Duration = Duration::from_millis(760);
        let mut now = Instant::now();
        let mut pace = Pace::new(now, 10_000, HOLDS, false);
        let (mut looks, mut most) = (vec![], LOOK_SOON);
        for _ in 0..60 {
            // One finding in ten probes, of the longest lines that IPv4 has; with each reading they are read.
            let received = |pause: Duration| (pause.as_secs_f64() * 1000.0 * 145.0) as usize;
            let pause = pace.pause(now, most);
            let next = looks.last().map_or(now, |&(reading, _)| reading) + READING;
            let is_reading = now + pause >= next || looks.is_empty();
            let passed = if is_reading { next - now } else { pause };
            now += passed;
            pace.looked(now, received(passed));
            match is_reading {
                true => {
                    pace.read(750, 750 * 145);
                    looks.push((now, 1));
                }
                false => looks.last_mut().unwrap().1 += 1,
            }
            most = if is_reading {
                LOOK_SOON
            } else {
                LOOK_EVERY_MAX
            };
        }
        let counts: Vec<u32> = looks.iter().map(|&(_, count)| count).collect();
        assert!(
            counts[10..counts.len() - 1].iter().all(|&count| count == 2),
            "{counts:?}"
        );
    }

    #[test]
    fn shorter_lines_leave_more_time() {
        let (now, mut pace) = grown(10_000);
        pace.read(1000, 133_000);
        pace.looked(now, 0);
        let pause = pace.pause(now, LOOK_EVERY_MAX).as_secs_f64();
        assert!((0.590..0.592).contains(&pause), "{pause} s");
    }

    #[test]
    fn what_a_terminal_brings_late_counts_as_late() {
        let start = Instant::now();
        let ms = |ms| start + Duration::from_millis(ms);
        let mut pace = Pace::new(start, 1000, HOLDS, true);
        // Both stood still for a second; the thread that empties the terminal comes second.
        assert!(!pace.is_overrun(ms(1000), 0));
        pace.looked(ms(1000), 0);
        pace.pause(ms(1000), LOOK_EVERY_MAX);
        assert!(pace.is_overrun(ms(1001), 20_000));
        pace.looked(ms(1001), 20_000);
        pace.pause(ms(1001), LOOK_EVERY_MAX);
        assert!(!pace.is_overrun(ms(1003), 20_000), "not for ever");
    }

    #[test]
    fn what_is_received_was_not_lost_however_long_it_took() {
        let start = Instant::now();
        let mut pace = Pace::new(start, 10_000, HOLDS, false);
        pace.read(1000, 133_000);
        let is_overrun = |elapsed_ms, received| {
            let now = start + Duration::from_millis(elapsed_ms);
            pace.is_overrun(now, received)
        };
        // Each probe is answered, and that is all here.
        assert!(!is_overrun(780, 7800 * 133));
        assert!(!is_overrun(2000, 20_000 * 133));
        // Half of them, or more than have room.
        assert!(!is_overrun(780, 3900 * 133));
        assert!(is_overrun(2000, 10_000 * 133));
        assert!(is_overrun(1200, HOLDS));
    }

    #[test]
    fn a_smaller_pipe_shows() {
        let lacks = |holds| Pace::new(Instant::now(), 1000, holds, false).lacks_room();
        assert_eq!(lacks(HOLDS), None);
        assert_eq!(lacks(4096), Some(21));
    }

    #[test]
    fn it_grows_by_and_by_and_shrinks_at_once() {
        assert_eq!(settled(1000, 0.0, 1), LOOK_EVERY_MIN * 2);
        assert_eq!(settled(1000, 0.0, 2), LOOK_EVERY_MIN * 4);
        let (now, mut pace) = grown(1000);
        pace.looked(now, 8 * HOLDS);
        let pause = pace.pause(now, LOOK_EVERY_MAX);
        assert_eq!(pause, LOOK_EVERY_MAX.mul_f64(FILLED_PART / 8.0));
        pace.looked(now, 0);
        assert_eq!(pace.pause(now, LOOK_EVERY_MIN), LOOK_EVERY_MIN);
    }

    #[test]
    fn what_a_look_takes_is_not_waited_for_again() {
        let (now, mut pace) = grown(1000);
        pace.looked(now, 0);
        for (took, left) in [
            (LOOK_EVERY_MAX / 4, LOOK_EVERY_MAX - LOOK_EVERY_MAX / 4),
            (LOOK_EVERY_MAX * 2, LOOK_EVERY_MIN),
        ] {
            assert_eq!(pace.pause(now + took, LOOK_EVERY_MAX), left);
        }
    }

    #[test]
    fn a_full_pipe_means_losses_where_more_can_have_come() {
        for (rate_pps, elapsed_ms, received, by_terminal, is_overrun) in [
            (10_000, 5000, HOLDS / 2, false, false),
            (10_000, 500, HOLDS, false, false),
            (10_000, 700, HOLDS, false, true),
            // Nearly full, since no further line fitted.
            (10_000, 700, HOLDS - HOLDS / 20, false, true),
            (1000, 2000, HOLDS, false, false),
            (100_000, 50, HOLDS, false, false),
            (100_000, 70, HOLDS, false, true),
            (1000, 500, 100_000, true, false),
            (1000, 700, 100_000, true, true),
            (1000, 1900, 10_000, true, false),
            (10_000, 50, 100_000, true, false),
            (10_000, 70, 100_000, true, true),
        ] {
            let start = Instant::now();
            let pace = Pace::new(start, rate_pps, HOLDS, by_terminal);
            let now = start + Duration::from_millis(elapsed_ms);
            assert_eq!(
                pace.is_overrun(now, received),
                is_overrun,
                "{rate_pps} pps, {elapsed_ms} ms, {received} bytes, by a terminal: {by_terminal}"
            );
        }
    }
}
