//! The size of the fetch window: how many bytes of a partition one fetch requests. Pure.
//!
//! If an answer contains compressed batches, the `kafka` crate returns only the first one, although the broker has converted and sent all of
//! them. With a window of 4 MiB and findings in batches of 20 KB, 199 of 200 batches are wasted, and reading a million findings takes minutes.
//! So the window is halved as long as answers indicate this, until one batch just fits.

/// Minimum size of the window, in bytes.
const FETCH_BATCH_BYTES_MIN: i32 = 4 * 1024;
/// After a batch did not fit, the window is not made smaller for this many answers.
const FETCH_WINDOW_KEPT_ANSWERS: u32 = 64;

/// What the broker adds to a record in an answer, in bytes.
const RECORD_OVERHEAD_BYTES: usize = 34;

/// The window of one partition.
#[derive(Debug)]
pub(in crate::kafka) struct Window {
    bytes: i32,
    /// The previous answer, if the window was halved after it.
    halved_at: Option<usize>,
    /// Answers for which the window keeps its size, because a smaller one was too small.
    kept_for: u32,
}

impl Window {
    /// Starts with the maximum.
    pub(in crate::kafka) fn new(full: i32) -> Window {
        Window {
            bytes: full,
            halved_at: None,
            kept_for: 0,
        }
    }

    /// The size of the window in bytes; `full` is the maximum.
    pub(in crate::kafka) fn bytes(&self, full: i32) -> i32 {
        self.bytes.min(full)
    }

    /// An answer returned `count` records with values of `value_bytes` together, and there are more after them.
    pub(in crate::kafka) fn after_answer(&mut self, count: usize, value_bytes: usize) {
        if self.kept_for > 0 {
            self.kept_for -= 1;
            return;
        }
        let got = value_bytes + count * RECORD_OVERHEAD_BYTES;
        let asked = usize::try_from(self.bytes).unwrap_or(0);
        // Uncompressed records fill the window, and half the window returns half of them. Compressed ones do neither.
        let is_cut = got * 2 < asked || got * 2 > asked * 3;
        let is_same = self.halved_at.is_some_and(|before| got * 4 > before * 3);
        if is_cut || is_same {
            self.bytes = (self.bytes / 2).max(FETCH_BATCH_BYTES_MIN);
            self.halved_at = Some(got);
        } else if self.halved_at.take().is_some() {
            self.bytes = self.bytes.saturating_mul(2);
            self.kept_for = FETCH_WINDOW_KEPT_ANSWERS;
        }
    }

    /// An answer returned nothing although there is something: a batch does not fit. Returns whether the window was enlarged.
    pub(in crate::kafka) fn was_too_small(&mut self, full: i32) -> bool {
        let before = self.bytes(full);
        self.bytes = before.saturating_mul(2).min(full);
        self.halved_at = None;
        self.kept_for = FETCH_WINDOW_KEPT_ANSWERS;
        self.bytes > before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: i32 = 4 * 1024 * 1024;

    /// Reads `answers` answers from a log of compressed batches. Each has `batch_bytes` and contains 1000 records of `plain_bytes` in total.
    /// Returns the number of requests, and the bytes that were sent in vain.
    fn read(window: &mut Window, answers: u32, batch_bytes: i32, plain_bytes: usize) -> (u32, i64) {
        let (mut requests, mut wasted) = (0, 0);
        for _ in 0..answers {
            loop {
                requests += 1;
                if window.bytes(FULL) >= batch_bytes {
                    break;
                }
                assert!(window.was_too_small(FULL));
            }
            wasted += i64::from(window.bytes(FULL) - batch_bytes);
            window.after_answer(1000, plain_bytes - 1000 * RECORD_OVERHEAD_BYTES);
        }
        (requests, wasted)
    }

    #[test]
    fn compressed_batches_are_fetched_one_by_one() {
        for (batch_bytes, plain_bytes) in [
            (20_000, 200_000),
            (60_000, 200_000),
            (5_000, 40_000),
            (150_000, 200_000),
        ] {
            let mut window = Window::new(FULL);
            read(&mut window, 20, batch_bytes, plain_bytes);
            let (requests, wasted) = read(&mut window, 1000, batch_bytes, plain_bytes);
            assert!(requests < 1050, "{batch_bytes}: {requests}");
            assert!(
                wasted <= 1000 * i64::from(batch_bytes),
                "{batch_bytes}: {wasted}"
            );
        }
    }

    #[test]
    fn the_window_grows_for_a_large_batch_and_shrinks_again() {
        let mut window = Window::new(FULL);
        read(&mut window, 50, 10_000, 100_000);
        let (requests, _) = read(&mut window, 1, 900_000, 4_000_000);
        assert!(requests < 10);
        read(&mut window, 10 * FETCH_WINDOW_KEPT_ANSWERS, 10_000, 100_000);
        assert!(window.bytes(FULL) < 40_000, "{window:?}");
    }

    #[test]
    fn uncompressed_records_keep_the_full_window() {
        let mut window = Window::new(FULL);
        for answer in 0..1000 {
            let asked = usize::try_from(window.bytes(FULL)).unwrap();
            // Alternately slightly more and slightly less than the window.
            let got = asked * (80 + answer % 40) / 100;
            window.after_answer(got / 200, got - got / 200 * RECORD_OVERHEAD_BYTES);
            assert_eq!(window.bytes(FULL), FULL);
        }
    }

    #[test]
    fn the_window_does_not_exceed_the_maximum() {
        let mut window = Window::new(FULL);
        assert!(!window.was_too_small(FULL));
        assert_eq!(window.bytes(FULL), FULL);
        assert_eq!(window.bytes(1000), 1000);
    }
}
