//! Where a batch ends that librdkafka cannot decompress.
//!
//! librdkafka's error names the first offset of the batch, but not the last one. It names the same first offset for every offset inside the batch, so
//! the last one is found by asking: at doubling distances until an offset is outside, then by halving.

/// The search for the last offset of a batch.
#[derive(Debug)]
pub(super) struct EndSearch {
    /// The highest offset that is known to be inside.
    inside: i64,
    /// The lowest offset that is known to be outside.
    outside: i64,
    /// Distance of the next question from `inside`, if that is not outside.
    step: i64,
}

impl EndSearch {
    /// `inside` is an offset inside the batch, `log_end` the offset after the partition's last one.
    pub(super) fn new(inside: i64, log_end: i64) -> EndSearch {
        EndSearch {
            inside,
            outside: log_end,
            step: 1,
        }
    }

    /// The highest offset that is known to be inside.
    pub(super) fn inside(&self) -> i64 {
        self.inside
    }

    /// The offset to ask for; none if the end is known.
    pub(super) fn question(&self) -> Option<i64> {
        let candidates = self.outside.saturating_sub(self.inside);
        (candidates > 1).then(|| self.inside + self.step.min(candidates / 2))
    }

    /// Whether `offset`, which was asked for, is inside.
    pub(super) fn answer(&mut self, offset: i64, is_inside: bool) {
        if is_inside {
            self.inside = offset;
            self.step = self.step.saturating_mul(2);
        } else {
            self.outside = offset;
        }
    }
}

/// The first offset of the batch that cannot be decompressed, from librdkafka's text (`rd_kafka_msgset_reader_decompress` in
/// `rdkafka_msgset_reader.c`); none if the text says something else.
pub(super) fn first_offset(text: &str) -> Option<i64> {
    let (_, rest) = text
        .strip_prefix("Decompression (codec ")?
        .split_once(") of message at ")?;
    rest.split_once(' ')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_offset_is_found_with_few_questions() {
        for (cursor, last, log_end, questions_max) in [
            (7, 7, 8, 0),
            (7, 7, 1_000_000, 1),
            (7, 8, 1_000_000, 3),
            (0, 2, 1_000_000, 5),
            (0, 99, 100, 12),
            (0, 99, 1_000_000, 14),
            (40, 99, 1_000_000, 13),
            (1_000_000, 1_599_999, 1_600_000, 41),
            (0, 599_999, i64::MAX, 41),
        ] {
            let mut search = EndSearch::new(cursor, log_end);
            let mut questions = 0;
            while let Some(offset) = search.question() {
                assert!(cursor < offset && offset < log_end, "{offset}");
                search.answer(offset, offset <= last);
                questions += 1;
            }
            assert_eq!(search.inside(), last);
            assert!(
                questions <= questions_max,
                "{cursor} to {last}: {questions}"
            );
        }
    }

    #[test]
    fn a_search_that_stops_early_knows_what_is_inside() {
        let mut search = EndSearch::new(10, 1000);
        for expected in [11, 13, 17] {
            assert_eq!(search.question(), Some(expected));
            search.answer(expected, true);
        }
        assert_eq!(search.inside(), 17);
        // An empty log, or one that has shrunk.
        assert_eq!(EndSearch::new(10, 3).question(), None);
    }

    #[test]
    fn the_first_offset_is_in_librdkafkas_text() {
        for (text, expected) in [
            (
                "Decompression (codec 0x1) of message at 37 of 5120 bytes failed: Local: Not implemented",
                Some(37),
            ),
            (
                "Decompression (codec 0x4) of message at 0 of 9 bytes failed: Local: Invalid compressed data",
                Some(0),
            ),
            (
                "Decompression (codec 0x1) of message at x of 5120 bytes",
                None,
            ),
            ("Message at offset 12 might be too large to fetch", None),
            ("", None),
        ] {
            assert_eq!(first_offset(text), expected, "{text}");
        }
    }
}
