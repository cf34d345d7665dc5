//! Reads the records of one partition if the plain fetch may have dropped some. Pure: the fetch is an argument.
//!
//! The `kafka` crate returns either the uncompressed records at the beginning of an answer, or the records of its first compressed batch, **and
//! silently drops the uncompressed ones before that**. One batch that it cannot decompress fails the whole answer. A record larger than the
//! answer's limit does not appear at all. The remedy for all three is to fetch just enough bytes for the batch at
//! the cursor, and nothing after it.

use crate::kafka::fetched::{Fetched, Record};

/// Bytes of one fetch from one partition.
pub(in crate::kafka) const FETCH_BYTES: i32 = 4 * 1024 * 1024;
/// Bytes of one fetch if a record is larger than [`FETCH_BYTES`]. Without it, Fetch v0 makes no progress.
const FETCH_BYTES_LARGE: i32 = 128 * 1024 * 1024;
/// Maximum number of offsets that are tried one by one to find the end of an unreadable batch.
const FETCH_SKIP_MAX_OFFSETS: i64 = 100;

/// Lower bound for the size of a batch, in bytes (its header alone has 61).
const BATCH_BYTES_MIN: i32 = 32;

/// The result of one fetch of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kafka) enum Found {
    /// These records, none before the requested offset, in a log whose next offset is `end`.
    Log { records: Vec<Record>, end: i64 },
    /// Something that cannot be decoded, with the reason.
    Undecodable(String),
    /// Another result, which is final.
    Other(Fetched),
}

impl Found {
    /// Whether this is everything in the log at `cursor`: no record before it was dropped, and none was too large.
    pub(in crate::kafka) fn is_complete(&self, cursor: i64) -> bool {
        match self {
            Found::Log { records, end } => match records.first() {
                Some(first) => first.offset == cursor,
                None => *end <= cursor,
            },
            Found::Undecodable(_) => false,
            Found::Other(_) => true,
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Found::Log { records, .. } if records.is_empty())
    }
}

/// The records at `cursor`, without loss. `ask(offset, bytes)` fetches at most `bytes` of the log from `offset` and does not wait for
/// more. Takes up to about 20 requests, and 200 more if offsets have to be skipped.
pub(in crate::kafka) fn isolate<E>(
    cursor: i64,
    ask: &mut impl FnMut(i64, i32) -> Result<Found, E>,
) -> Result<Fetched, E> {
    let mut empty_in = 0;
    let mut end = cursor;
    for bytes in [FETCH_BYTES, FETCH_BYTES_LARGE] {
        let found = ask(cursor, bytes)?;
        match found {
            Found::Other(fetched) => return Ok(fetched),
            Found::Log {
                ref records,
                end: now,
            } if records.is_empty() && now > cursor => {
                (empty_in, end) = (bytes, now);
            }
            Found::Log { records, .. } if found_at(&records, cursor) => {
                return Ok(Fetched::Records(records));
            }
            too_much => return narrow(cursor, empty_in, bytes, too_much, ask),
        }
    }
    skip_gap(cursor, end, ask)
}

/// Whether `records` begin at `cursor`, or there are none.
fn found_at(records: &[Record], cursor: i64) -> bool {
    records.first().is_none_or(|first| first.offset == cursor)
}

/// Searches for the number of bytes in which just the batch at `cursor` fits: nothing fits in `empty_in`, and `bytes` returned `found`, which
/// is too much.
fn narrow<E>(
    cursor: i64,
    mut empty_in: i32,
    mut bytes: i32,
    mut found: Found,
    ask: &mut impl FnMut(i64, i32) -> Result<Found, E>,
) -> Result<Fetched, E> {
    while bytes - empty_in > BATCH_BYTES_MIN {
        let middle = empty_in + (bytes - empty_in) / 2;
        match ask(cursor, middle)? {
            Found::Other(fetched) => return Ok(fetched),
            nothing if nothing.is_empty() => empty_in = middle,
            Found::Log { records, .. } if found_at(&records, cursor) => {
                return Ok(Fetched::Records(records));
            }
            too_much => (bytes, found) = (middle, too_much),
        }
    }
    match found {
        Found::Other(fetched) => Ok(fetched),
        // The first existing batch begins later: the offsets before it are gone (compaction, transaction markers).
        Found::Log { records, .. } => Ok(Fetched::Records(records)),
        // The error occurs even with too few bytes for any batch, so no batch is the cause.
        Found::Undecodable(reason) if bytes <= BATCH_BYTES_MIN => Ok(Fetched::Away { reason }),
        Found::Undecodable(reason) => skip_batch(cursor, empty_in, bytes, reason, ask),
    }
}

/// The batch at `cursor` cannot be decoded; it does not fit in `empty_in`, but does in `bytes`. Finds where the next one begins.
fn skip_batch<E>(
    cursor: i64,
    empty_in: i32,
    bytes: i32,
    reason: String,
    ask: &mut impl FnMut(i64, i32) -> Result<Found, E>,
) -> Result<Fetched, E> {
    // One by one, because a longer step could skip a readable record between two unreadable batches.
    let mut next = cursor + 1;
    while next < cursor + FETCH_SKIP_MAX_OFFSETS
        && matches!(ask(next, bytes)?, Found::Undecodable(_))
        // If something fits in `empty_in`, the batch at `next` is a smaller one, so the unreadable batch has ended.
        && ask(next, empty_in.max(1))?.is_empty()
    {
        next += 1;
    }
    Ok(Fetched::Unreadable { reason, next })
}

/// No batch at `cursor` contains a record at or after it, although the log continues to `end`: continues after the gap.
fn skip_gap<E>(
    cursor: i64,
    end: i64,
    ask: &mut impl FnMut(i64, i32) -> Result<Found, E>,
) -> Result<Fetched, E> {
    let last = end.min(cursor + FETCH_SKIP_MAX_OFFSETS);
    for offset in cursor + 1..last {
        match ask(offset, FETCH_BYTES_LARGE)? {
            nothing if nothing.is_empty() => {}
            Found::Other(fetched) => return Ok(fetched),
            found if found.is_complete(offset) => return isolate(offset, ask),
            too_much => return narrow(offset, 0, FETCH_BYTES_LARGE, too_much, ask),
        }
    }
    if last == end {
        // A transaction marker, or compacted: the log ends with offsets without records.
        return Ok(Fetched::Records(Vec::new()));
    }
    Ok(Fetched::Gap { next: last })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Kind::{Empty, Packed, Plain, Strange};
    use proptest::prelude::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Kind {
        Plain,
        /// Compressed with a codec that the crate supports.
        Packed,
        /// Compressed with a codec that it does not support.
        Strange,
        /// A transaction marker, or compacted: offsets without records.
        Empty,
    }

    #[derive(Clone, Copy, Debug)]
    struct Batch {
        kind: Kind,
        records: i64,
        bytes: i32,
    }

    fn batch(kind: Kind, records: i64, bytes: i32) -> Batch {
        Batch {
            kind,
            records,
            bytes,
        }
    }

    /// Answers like the broker and the crate together: complete batches up to `bytes`, from the one that contains `offset`.
    fn ask(log: &[Batch], offset: i64, bytes: i32) -> Found {
        let end = log.iter().map(|batch| batch.records).sum();
        if offset > end {
            return Found::Other(Fetched::OutOfRange);
        }
        let (mut first, mut left, mut plain) = (0, i64::from(bytes), Vec::new());
        for batch in log {
            let offsets = first..first + batch.records;
            first = offsets.end;
            if offsets.end <= offset {
                continue;
            }
            left -= i64::from(batch.bytes);
            if left < 0 {
                break;
            }
            let record = |offset| Record {
                offset,
                value: Vec::new(),
            };
            let records = offsets.filter(|&of| of >= offset).map(record);
            match batch.kind {
                Plain => plain.extend(records),
                Packed => {
                    return Found::Log {
                        records: records.collect(),
                        end,
                    };
                }
                Strange => return Found::Undecodable("strange".to_owned()),
                Empty => {}
            }
        }
        Found::Log {
            records: plain,
            end,
        }
    }

    fn fetch(log: &[Batch], cursor: i64) -> Fetched {
        let mut asked = 0;
        let fetched = isolate(cursor, &mut |offset, bytes| {
            asked += 1;
            assert!(
                asked <= 60 + 2 * FETCH_SKIP_MAX_OFFSETS,
                "too many requests"
            );
            Ok::<_, ()>(ask(log, offset, bytes))
        });
        fetched.unwrap()
    }

    fn offsets(fetched: &Fetched) -> Vec<i64> {
        match fetched {
            Fetched::Records(records) => records.iter().map(|record| record.offset).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_batch_at_the_cursor_comes_first() {
        let large = FETCH_BYTES + 1;
        for (log, cursor, expected) in [
            (vec![], 0, vec![]),
            (vec![batch(Plain, 3, 100)], 3, vec![]),
            // The crate alone would return 3 and 4 here.
            (
                vec![batch(Plain, 3, 100), batch(Packed, 2, 80)],
                0,
                vec![0, 1, 2],
            ),
            (vec![batch(Plain, 3, 100), batch(Packed, 2, 80)], 2, vec![2]),
            (
                vec![batch(Plain, 1, large), batch(Packed, 2, 80)],
                0,
                vec![0],
            ),
            (vec![batch(Plain, 1, 68), batch(Strange, 1, 68)], 0, vec![0]),
            (
                vec![
                    batch(Empty, 2, 70),
                    batch(Plain, 1, 68),
                    batch(Packed, 2, 80),
                ],
                0,
                vec![2],
            ),
            (
                vec![batch(Empty, 2, large), batch(Plain, 1, 68)],
                0,
                vec![2],
            ),
            (vec![batch(Plain, 1, 68), batch(Empty, 1, 78)], 1, vec![]),
        ] {
            assert_eq!(offsets(&fetch(&log, cursor)), expected, "{log:?}");
        }
    }

    #[test]
    fn an_unreadable_batch_is_skipped_up_to_a_bound() {
        let next = |log: &[Batch], cursor| match fetch(log, cursor) {
            Fetched::Unreadable { next, .. } => next,
            other => panic!("{other:?}"),
        };
        assert_eq!(next(&[batch(Strange, 3, 90), batch(Plain, 1, 68)], 0), 3);
        assert_eq!(next(&[batch(Strange, 3, 90), batch(Plain, 1, 68)], 1), 3);
        assert_eq!(next(&[batch(Strange, 3, 90)], 0), 3);
        assert_eq!(
            next(&[batch(Strange, 1000, 9000)], 7),
            7 + FETCH_SKIP_MAX_OFFSETS
        );
        let gap = fetch(&[batch(Empty, 1000, 61)], 0);
        let next = FETCH_SKIP_MAX_OFFSETS;
        assert_eq!(gap, Fetched::Gap { next }, "nothing is lost there");
    }

    #[test]
    fn an_error_at_every_size_is_not_skipped() {
        let fetched = isolate(5, &mut |_, _| {
            Ok::<_, ()>(Found::Undecodable("storage".to_owned()))
        });
        assert_eq!(
            fetched,
            Ok(Fetched::Away {
                reason: "storage".to_owned()
            })
        );
        let gone = isolate(5, &mut |_, _| Ok::<_, ()>(Found::Other(Fetched::Gone)));
        assert_eq!(gone, Ok(Fetched::Gone));
        let failed = isolate(5, &mut |_, _| Err::<Found, _>("cut"));
        assert_eq!(failed, Err("cut"));
    }

    fn batches() -> impl Strategy<Value = Vec<Batch>> {
        let kind = prop_oneof![Just(Plain), Just(Packed), Just(Strange), Just(Empty)];
        let bytes = prop_oneof![68..2000, FETCH_BYTES - 100..FETCH_BYTES + 100];
        let batch = (kind, 1i64..8, bytes);
        prop::collection::vec(
            batch.prop_map(|(kind, records, bytes)| Batch {
                kind,
                records,
                bytes,
            }),
            0..12,
        )
    }

    proptest! {
        /// A reader that follows the cursor gets each readable record once and in order. All others are reported as unreadable.
        #[test]
        fn no_record_is_skipped(log in batches()) {
            let mut readable = Vec::new();
            let mut end = 0;
            for batch in &log {
                if matches!(batch.kind, Plain | Packed) {
                    readable.extend(end..end + batch.records);
                }
                end += batch.records;
            }
            let (mut cursor, mut read) = (0, Vec::new());
            for _ in 0..200 {
                // As the reader does: the plain fetch first, then `isolate` if that may have dropped records.
                let plain = ask(&log, cursor, FETCH_BYTES);
                let fetched = match plain {
                    Found::Log { ref records, .. } if plain.is_complete(cursor) => Fetched::Records(records.clone()),
                    _ => fetch(&log, cursor),
                };
                match fetched {
                    Fetched::Records(records) => match records.last() {
                        Some(last) => {
                            read.extend(records.iter().map(|record| record.offset));
                            cursor = last.offset + 1;
                        }
                        None => break,
                    },
                    Fetched::Unreadable { next, .. } => {
                        prop_assert!(next > cursor);
                        prop_assert!(!readable.iter().any(|offset| (cursor..next).contains(offset)));
                        cursor = next;
                    }
                    Fetched::Gap { next } => {
                        prop_assert!(next > cursor);
                        prop_assert!(!readable.iter().any(|offset| (cursor..next).contains(offset)));
                        cursor = next;
                    }
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            prop_assert_eq!(read, readable);
        }
    }
}
