//! How much of a partition one fetch asks for. Pure.
//!
//! Of an answer with compressed batches the `kafka` crate hands out the first batch only, and the broker has converted and sent
//! all of them: with 4 MiB asked for and findings in batches of 20 KB, 199 of 200 are work for nothing, and reading a million
//! takes minutes. So the portion is halved as long as the answers show that they are cut this way, until a batch just fits.

/// Least bytes of a partition that one fetch asks for where its batches are compressed and small.
const FETCH_BATCH_BYTES_MIN: i32 = 4 * 1024;
/// After a batch did not fit into what was asked for, no less is asked for in so many answers.
const FETCH_PORTION_KEPT_ANSWERS: u32 = 64;

/// What the broker adds to a record in an answer, in bytes.
const RECORD_OVERHEAD_BYTES: usize = 34;

/// The portion of one partition.
#[derive(Debug)]
pub(in crate::kafka) struct Portion {
    bytes: i32,
    /// What the answer before brought, where the portion was halved after it.
    halved_at: Option<usize>,
    /// Answers for which it stays as it is, since less was too little.
    kept_for: u32,
}

impl Portion {
    /// To begin with, all that one may ask for.
    pub(in crate::kafka) fn new(full: i32) -> Portion {
        Portion {
            bytes: full,
            halved_at: None,
            kept_for: 0,
        }
    }

    /// Bytes to ask for, where `full` is the most that one may.
    pub(in crate::kafka) fn bytes(&self, full: i32) -> i32 {
        self.bytes.min(full)
    }

    /// An answer brought `count` records with values of `value_bytes` in all, and there are more behind it.
    pub(in crate::kafka) fn brought(&mut self, count: usize, value_bytes: usize) {
        if self.kept_for > 0 {
            self.kept_for -= 1;
            return;
        }
        let got = value_bytes + count * RECORD_OVERHEAD_BYTES;
        let asked = usize::try_from(self.bytes).unwrap_or(0);
        // Plain records fill what was asked for, and half of it brings half of them.
        let is_cut = got * 2 < asked || got * 2 > asked * 3;
        let is_same = self.halved_at.is_some_and(|before| got * 4 > before * 3);
        if is_cut || is_same {
            self.bytes = (self.bytes / 2).max(FETCH_BATCH_BYTES_MIN);
            self.halved_at = Some(got);
        } else if self.halved_at.take().is_some() {
            self.bytes = self.bytes.saturating_mul(2);
            self.kept_for = FETCH_PORTION_KEPT_ANSWERS;
        }
    }

    /// An answer brought nothing though there is something: a batch doesn't fit. True where more can be asked for now.
    pub(in crate::kafka) fn was_too_small(&mut self, full: i32) -> bool {
        let before = self.bytes(full);
        self.bytes = before.saturating_mul(2).min(full);
        self.halved_at = None;
        self.kept_for = FETCH_PORTION_KEPT_ANSWERS;
        self.bytes > before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: i32 = 4 * 1024 * 1024;

    /// Reads `answers` answers of a log of compressed batches, `batch_bytes` each with 1000 records of `plain_bytes` in all.
    /// Gives the requests that took, and the bytes that were sent for nothing.
    fn read(
        portion: &mut Portion,
        answers: u32,
        batch_bytes: i32,
        plain_bytes: usize,
    ) -> (u32, i64) {
        let (mut requests, mut wasted) = (0, 0);
        for _ in 0..answers {
            loop {
                requests += 1;
                if portion.bytes(FULL) >= batch_bytes {
                    break;
                }
                assert!(portion.was_too_small(FULL));
            }
            wasted += i64::from(portion.bytes(FULL) - batch_bytes);
            portion.brought(1000, plain_bytes - 1000 * RECORD_OVERHEAD_BYTES);
        }
        (requests, wasted)
    }

    #[test]
    fn compressed_batches_are_asked_for_one_by_one() {
        for (batch_bytes, plain_bytes) in [
            (20_000, 200_000),
            (60_000, 200_000),
            (5_000, 40_000),
            (150_000, 200_000),
        ] {
            let mut portion = Portion::new(FULL);
            read(&mut portion, 20, batch_bytes, plain_bytes);
            let (requests, wasted) = read(&mut portion, 1000, batch_bytes, plain_bytes);
            assert!(requests < 1050, "{batch_bytes}: {requests}");
            assert!(
                wasted <= 1000 * i64::from(batch_bytes),
                "{batch_bytes}: {wasted}"
            );
        }
    }

    #[test]
    fn a_large_batch_is_got_over_and_small_ones_follow() {
        let mut portion = Portion::new(FULL);
        read(&mut portion, 50, 10_000, 100_000);
        let (requests, _) = read(&mut portion, 1, 900_000, 4_000_000);
        assert!(requests < 10);
        read(
            &mut portion,
            10 * FETCH_PORTION_KEPT_ANSWERS,
            10_000,
            100_000,
        );
        assert!(portion.bytes(FULL) < 40_000, "{portion:?}");
    }

    #[test]
    fn plain_records_are_asked_for_in_full() {
        let mut portion = Portion::new(FULL);
        for answer in 0..1000 {
            let asked = usize::try_from(portion.bytes(FULL)).unwrap();
            // Now a bit more, now a bit less than was asked for.
            let got = asked * (80 + answer % 40) / 100;
            portion.brought(got / 200, got - got / 200 * RECORD_OVERHEAD_BYTES);
            assert_eq!(portion.bytes(FULL), FULL);
        }
    }

    #[test]
    fn the_largest_portion_that_is_too_small_stays() {
        let mut portion = Portion::new(FULL);
        assert!(!portion.was_too_small(FULL));
        assert_eq!(portion.bytes(FULL), FULL);
        assert_eq!(portion.bytes(1000), 1000);
    }
}
