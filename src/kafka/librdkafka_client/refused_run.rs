//! Finds the end of a run of batches that librdkafka cannot decompress. Pure.
//!
//! librdkafka's error names the first offset of the batch, but not the last one. It names the same batch for every offset inside, so the last one is found
//! by a search in doubling steps and then by bisection. If the next batch is refused too, the search goes on in that one.

/// The search for the end of a run. Everything from the offset where it began up to `inside` is in refused batches, or has no record.
#[derive(Debug)]
pub(super) struct RefusedRun {
    /// What librdkafka calls the batch that contains `inside`: its first offset, or in formats before Kafka 0.11 the offset of the wrapper message.
    batch: i64,
    /// The highest offset that is known to be inside.
    inside: i64,
    /// The lowest offset that is known to be outside `batch`.
    outside: i64,
    /// The refused batch that contains `outside`; none if that can be read, or is the end of the log.
    next_batch: Option<i64>,
    /// Distance from `inside` of the next offset to ask for. At most half of what is left is used.
    step: i64,
    /// The offset after the partition's last one.
    log_end: i64,
}

impl RefusedRun {
    /// Begins at `inside`, an offset of the refused `batch`.
    pub(super) fn new(batch: i64, inside: i64, log_end: i64) -> RefusedRun {
        RefusedRun {
            batch,
            inside,
            outside: log_end,
            next_batch: None,
            step: 1,
            log_end,
        }
    }

    /// The offset after what is known to be refused.
    pub(super) fn end(&self) -> i64 {
        self.inside.saturating_add(1)
    }

    /// The offset to ask for; none if the end of the run is known.
    pub(super) fn question(&self) -> Option<i64> {
        let candidates = self.outside.saturating_sub(self.inside);
        (candidates > 1).then(|| self.inside + self.step.min(candidates / 2))
    }

    /// Records the result for `offset`: the refused batch that contains it, or none if it can be read.
    pub(super) fn answer(&mut self, offset: i64, batch: Option<i64>) {
        match batch {
            Some(batch) if batch == self.batch => {
                self.inside = offset;
                self.step = self.step.saturating_mul(2);
            }
            // This is the other batch's first offset, so that is where it begins.
            Some(other) if (self.inside + 1..offset).contains(&other) => {
                (self.outside, self.next_batch) = (other, batch);
            }
            _ => (self.outside, self.next_batch) = (offset, batch),
        }
        if self.outside.saturating_sub(self.inside) == 1
            && let Some(next) = self.next_batch
        {
            *self = RefusedRun::new(next, self.outside, self.log_end);
        }
    }
}

/// How librdkafka calls the batch that it cannot decompress, from the text of its error (`rd_kafka_msgset_reader_decompress` in
/// `rdkafka_msgset_reader.c`); none if the text says something else.
pub(super) fn refused_batch_in(text: &str) -> Option<i64> {
    let (_, rest) = text
        .strip_prefix("Decompression (codec ")?
        .split_once(") of message at ")?;
    rest.split_once(' ')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Batches with their first and last offsets, and whether they are refused, in order.
    type Log<'a> = &'a [(i64, i64, bool)];

    /// Searches from `cursor` on. Returns the end and the number of questions.
    fn search(log: Log<'_>, cursor: i64, log_end: i64) -> (i64, usize) {
        let found = |offset: i64| {
            let batch = log.iter().find(|batch| batch.1 >= offset);
            batch.and_then(|&(first, _, is_refused)| is_refused.then_some(first))
        };
        let mut run = RefusedRun::new(found(cursor).unwrap(), cursor, log_end);
        let mut questions = 0;
        while let Some(offset) = run.question() {
            assert!(run.end() <= offset && offset < log_end, "{offset}");
            run.answer(offset, found(offset));
            questions += 1;
        }
        (run.end(), questions)
    }

    #[test]
    fn the_end_of_a_batch_is_found_with_few_questions() {
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
            let log = [(0, last, true), (last + 1, i64::MAX, false)];
            let (end, questions) = search(&log, cursor, log_end);
            assert_eq!(end, last + 1);
            assert!(
                questions <= questions_max,
                "{cursor} to {last}: {questions}"
            );
        }
    }

    #[test]
    fn a_run_ends_at_the_first_batch_that_can_be_read() {
        let logs: [(Log<'_>, i64, usize); 7] = [
            (&[(0, 0, true), (1, 1, true), (2, 2, false)], 2, 2),
            (&[(0, 4, true), (5, 9, true), (10, 10, false)], 10, 12),
            (&[(0, 4, true), (5, 5, false), (6, 9, true)], 5, 6),
            (&[(0, 4, true), (5, 9, true)], 10, 12),
            // Compaction has removed what was between.
            (&[(0, 1, true), (7, 9, true), (10, 10, false)], 10, 12),
            (&[(0, 1, true), (7, 9, false)], 7, 8),
            (&[(0, 0, true), (1, 99, false), (100, 900, true)], 1, 10),
        ];
        for (log, expected, questions_max) in logs {
            let log_end = log.last().unwrap().1 + 1;
            let (end, questions) = search(log, 0, log_end);
            // Offsets without a record may be skipped or not.
            let read_first = log.iter().find(|batch| batch.1 >= end).copied();
            let expected_first = log.iter().find(|batch| batch.1 >= expected).copied();
            assert_eq!(read_first, expected_first, "{log:?}: {end}");
            assert!(questions <= questions_max, "{log:?}: {questions}");
        }
    }

    #[test]
    fn batches_of_one_record_need_one_question_each() {
        let mut log: Vec<_> = (0..1000).map(|offset| (offset, offset, true)).collect();
        log.push((1000, 1000, false));
        assert_eq!(search(&log, 0, 1001), (1000, 1000));
    }

    #[test]
    fn a_search_that_stops_early_knows_what_is_refused() {
        let mut run = RefusedRun::new(10, 10, 1000);
        for expected in [11, 13, 17] {
            assert_eq!(run.question(), Some(expected));
            run.answer(expected, Some(10));
        }
        assert_eq!(run.end(), 18);
        // An empty log, or one that has shrunk.
        assert_eq!(RefusedRun::new(10, 10, 3).question(), None);
    }

    #[test]
    fn the_batch_is_in_librdkafkas_text() {
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
            assert_eq!(refused_batch_in(text), expected, "{text}");
        }
    }
}
