//! Records from the bytes of an answer to Fetch: batches of format v2 (KIP-98, Kafka 0.11 and newer). Pure.
//!
//! A [`Budget`] bounds what the batches of one fetch expand to.

use super::bytes::Bytes;
use super::decompress::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, Refusal, decompress};
use crate::kafka::fetched::{Fetched, RECORD_OVERHEAD_BYTES, Record};
use crc::{CRC_32_ISCSI, Crc, Table};

/// Bytes of records after which a fetch stops, [`RECORD_OVERHEAD_BYTES`] for each record included. The next fetch continues there.
const FETCH_RECORDS_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of decompressed batches after which a fetch stops. The last batch may exceed them.
const FETCH_UNPACKED_BYTES: usize = BATCH_BYTES_MAX;

/// Offset and length before each batch, in bytes. The length does not include them.
const BATCH_PREFIX_BYTES: usize = 12;
/// The header of a batch with its prefix, in bytes.
const BATCH_HEADER_BYTES: usize = 61;
/// Number of the format that is decoded.
const MAGIC: u8 = 2;
/// Position of that number in every format.
const MAGIC_AT: usize = 16;
/// Position of the checksum.
const CHECKSUM_AT: usize = 17;
/// Position of the first byte that it covers. The batch's first offset, its length and its format are not covered.
const CHECKED_FROM: usize = 21;
/// The checksum of a batch: CRC-32C.
const CHECKSUM: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);
/// Attribute bit of a control batch: a transaction marker.
const CONTROL_BATCH: i16 = 0x20;

/// What one fetch may still decode, over all its partitions and answers.
#[derive(Debug)]
pub(super) struct Budget {
    /// Bytes of records, as for [`FETCH_RECORDS_BYTES`].
    records: usize,
    /// Bytes of decompressed batches, as for [`FETCH_UNPACKED_BYTES`].
    unpacked: usize,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget {
            records: FETCH_RECORDS_BYTES,
            unpacked: FETCH_UNPACKED_BYTES,
        }
    }
}

impl Budget {
    /// Charges the decompressed size of a batch; a refused batch is charged the maximum.
    fn charge(&mut self, unpacked: Result<Vec<u8>, Refusal>) -> Result<Vec<u8>, Refusal> {
        let bytes = unpacked.as_ref().map_or(BATCH_BYTES_MAX, Vec::len);
        self.unpacked = self.unpacked.saturating_sub(bytes);
        unpacked
    }

    /// Whether one more batch may be decoded. True for a new budget, so each fetch makes progress.
    pub(super) fn has_room(&self) -> bool {
        self.records > 0 && self.unpacked > 0
    }
}

/// Decodes the records from `cursor` on until `budget` is used up. `bytes` begins with the batch that contains `cursor`. Returns none if `bytes` has no
/// complete batch, or `budget` no room.
///
/// A batch that cannot be decoded is a result of its own. If it is refused, `next` is the offset after it. If it is damaged or has an older format, `next`
/// is `cursor + 1`, because its header cannot be trusted.
pub(super) fn decode(bytes: &[u8], cursor: i64, budget: &mut Budget) -> Option<Fetched> {
    let (mut rest, mut next) = (bytes, None);
    let mut into = Decoded {
        cursor,
        records: Vec::new(),
        budget,
    };
    while into.budget.has_room()
        && let Some((batch, after)) = first_batch(rest)
    {
        rest = after;
        let batch = match Batch::parse(batch) {
            Ok(batch) => batch,
            // What precedes it is delivered first.
            Err(_) if !into.records.is_empty() || next.is_some() => break,
            Err(reason) => {
                return Some(Fetched::Unreadable {
                    reason,
                    next: cursor.saturating_add(1),
                });
            }
        };
        let end = batch.last().saturating_add(1);
        if end <= cursor {
            continue;
        }
        match batch.decode(&mut into) {
            Ok(()) => {}
            Err(_) if !into.records.is_empty() || next.is_some() => break,
            Err(refusal) => {
                return Some(Fetched::Refused {
                    reason: refusal.to_string(),
                    next: end,
                });
            }
        }
        // The budget may have run out inside this batch.
        if into.budget.records == 0 {
            break;
        }
        next = Some(end);
    }
    match (into.records.is_empty(), next) {
        (false, _) => Some(Fetched::Records(into.records)),
        (true, Some(next)) => Some(Fetched::Gap { next }),
        (true, None) => None,
    }
}

/// The records decoded so far, and what is left of the budget.
struct Decoded<'a> {
    cursor: i64,
    records: Vec<Record>,
    budget: &'a mut Budget,
}

/// The bytes of the first batch, and what follows it. None if it is not complete.
fn first_batch(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut prefix = Bytes(bytes);
    let _base = prefix.i64()?;
    let length = usize::try_from(prefix.i32()?).ok()?;
    bytes.split_at_checked(BATCH_PREFIX_BYTES.checked_add(length)?)
}

/// A batch whose checksum is right.
struct Batch<'a> {
    /// Offset of the first record.
    base: i64,
    /// Distance of the last record's offset from the first one's. Not negative in a valid batch.
    last_delta: i32,
    attributes: i16,
    count: i32,
    /// The records, compressed or not.
    body: &'a [u8],
}

impl<'a> Batch<'a> {
    /// Errs with the reason if the batch is damaged, or has an older format. A producer cannot cause either: the broker checks what it is sent.
    fn parse(bytes: &'a [u8]) -> Result<Batch<'a>, String> {
        let damaged = || {
            "the checksum of the batch is wrong: it was damaged on the way, or is damaged on the broker's disk".to_owned()
        };
        if bytes.get(MAGIC_AT).is_some_and(|&magic| magic != MAGIC) {
            return Err("a message format older than that of Kafka 0.11".to_owned());
        }
        let (header, body) = bytes
            .split_at_checked(BATCH_HEADER_BYTES)
            .ok_or_else(damaged)?;
        let batch = Batch::of_header(header, body).ok_or_else(damaged)?;
        let checksum = Bytes(&header[CHECKSUM_AT..]).i32();
        match checksum == Some(CHECKSUM.checksum(&bytes[CHECKED_FROM..]).cast_signed()) {
            true => Ok(batch),
            false => Err(damaged()),
        }
    }

    fn of_header(header: &[u8], body: &'a [u8]) -> Option<Batch<'a>> {
        let mut fields = Bytes(header);
        let base = fields.i64()?;
        fields.take(CHECKED_FROM - 8)?;
        let attributes = fields.i16()?;
        let last_delta = fields.i32()?;
        // Two timestamps; the producer's id, epoch and sequence.
        fields.take(8 + 8 + 8 + 2 + 4)?;
        let count = fields.i32()?;
        Some(Batch {
            base,
            last_delta,
            attributes,
            count,
            body,
        })
    }

    /// Offset of the last record.
    fn last(&self) -> i64 {
        self.base.saturating_add(self.last_delta.max(0).into())
    }

    /// Adds the records at or after the cursor until the budget is used up. Errs at the first record whose offset is outside of the batch or not above
    /// the previous one: such an offset would move the cursor past records of other batches.
    fn decode(&self, into: &mut Decoded<'_>) -> Result<(), Refusal> {
        if self.attributes & CONTROL_BATCH != 0 {
            return Ok(());
        }
        // Compaction leaves fewer records than offsets, never more.
        let offsets = i64::from(self.last_delta) + 1;
        if !(0..=offsets).contains(&i64::from(self.count)) || offsets < 1 {
            return Err(Refusal::Malformed);
        }
        if self.count > BATCH_RECORDS_MAX {
            return Err(Refusal::TooManyRecords(self.count));
        }
        match decompress(self.attributes, self.body) {
            None => self.add_records(self.body, into),
            Some(unpacked) => self.add_records(&into.budget.charge(unpacked)?, into),
        }
    }

    /// Adds the records of `body`, which is not compressed.
    fn add_records(&self, body: &[u8], into: &mut Decoded<'_>) -> Result<(), Refusal> {
        let (mut body, mut allowed) = (Bytes(body), self.base);
        for _ in 0..self.count {
            let (offset, value) = record(&mut body, self.base).ok_or(Refusal::Malformed)?;
            if !(allowed..=self.last()).contains(&offset) {
                return Err(Refusal::Malformed);
            }
            allowed = offset.saturating_add(1);
            if offset < into.cursor {
                continue;
            }
            if into.budget.records == 0 {
                break;
            }
            let record = Record::new(offset, value);
            let bytes = record.value.len() + RECORD_OVERHEAD_BYTES;
            into.budget.records = into.budget.records.saturating_sub(bytes);
            into.records.push(record);
        }
        Ok(())
    }
}

/// Offset and value of the next record of a batch whose first offset is `base`.
fn record<'a>(body: &mut Bytes<'a>, base: i64) -> Option<(i64, &'a [u8])> {
    let length = usize::try_from(body.varint()?).ok()?;
    let mut record = Bytes(body.take(length)?);
    let _attributes = record.take(1)?;
    let _timestamp = record.varint()?;
    let offset = base.checked_add(record.varint()?)?;
    let _key = record.sized()?;
    Some((offset, record.sized()?.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::super::decompress::packed::{gzip, lz4, snappy, snappy_java, zstd};
    use super::{decode as decode_within, *};
    use proptest::prelude::*;

    fn decode(bytes: &[u8], cursor: i64) -> Option<Fetched> {
        decode_within(bytes, cursor, &mut Budget::default())
    }

    fn varint(number: i64) -> Vec<u8> {
        let mut rest = ((number << 1) ^ (number >> 63)) as u64;
        let mut bytes = Vec::new();
        while rest >= 0x80 {
            bytes.push((rest as u8 & 0x7f) | 0x80);
            rest >>= 7;
        }
        bytes.push(rest as u8);
        bytes
    }

    fn body(values: &[&[u8]]) -> Vec<u8> {
        body_at((0..).zip(values.iter().copied()))
    }

    /// Records with these offsets after the base.
    fn body_at<'a>(values: impl IntoIterator<Item = (i64, &'a [u8])>) -> Vec<u8> {
        let records = values.into_iter().flat_map(|(delta, value)| {
            let length = varint(i64::try_from(value.len()).unwrap());
            // Attributes, timestamp, offset, no key, value, no headers.
            let record = [
                &[0, 0][..],
                &varint(delta),
                &varint(-1),
                &length,
                value,
                &[0],
            ]
            .concat();
            [varint(i64::try_from(record.len()).unwrap()), record].concat()
        });
        records.collect()
    }

    /// A batch of `count` offsets from `base`.
    fn batch(base: i64, attributes: i16, count: i32, body: &[u8]) -> Vec<u8> {
        let length = i32::try_from(BATCH_HEADER_BYTES - BATCH_PREFIX_BYTES + body.len()).unwrap();
        [
            &base.to_be_bytes()[..],
            &length.to_be_bytes(),
            &[0; 4],
            &[2],
            &[0; 4],
            &attributes.to_be_bytes(),
            &(count - 1).to_be_bytes(),
            &[0; 8 + 8 + 8 + 2 + 4],
            &count.to_be_bytes(),
            body,
        ]
        .concat()
        .with_checksum()
    }

    trait Checksummed {
        /// The batch with the checksum of its present content.
        fn with_checksum(self) -> Vec<u8>;
    }

    impl Checksummed for Vec<u8> {
        fn with_checksum(mut self) -> Vec<u8> {
            let checksum = CHECKSUM.checksum(&self[CHECKED_FROM..]);
            self[CHECKSUM_AT..CHECKED_FROM].copy_from_slice(&checksum.to_be_bytes());
            self
        }
    }

    fn records(fetched: Option<Fetched>) -> Vec<(i64, String)> {
        match fetched {
            Some(Fetched::Records(records)) => records
                .into_iter()
                .map(|record| (record.offset, String::from_utf8(record.value).unwrap()))
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn batches_of_all_codecs_follow_each_other() {
        let two = body(&[b"a", b"b"]);
        let (first, second) = two.split_at(5);
        let log = [
            batch(10, 0, 2, &two),
            batch(12, 1, 2, &gzip(&two)),
            batch(14, 2, 2, &snappy(&two)),
            batch(16, 2, 2, &snappy_java(&[first, second])),
            // A transaction marker.
            batch(18, 0x30, 1, &[1, 2, 3]),
            batch(19, 3, 2, &lz4(&two)),
            batch(21, 4, 2, &zstd(&two)),
        ]
        .concat();
        let all: Vec<i64> = records(decode(&log, 11)).into_iter().map(|r| r.0).collect();
        assert_eq!(all, [11, 12, 13, 14, 15, 16, 17, 19, 20, 21, 22]);
        // The answer ends in the middle of a batch.
        assert_eq!(
            records(decode(&log[..log.len() - 1], 20)),
            [(20, "b".to_owned())]
        );
        assert_eq!(decode(&log[..BATCH_HEADER_BYTES], 10), None);
        assert_eq!(
            decode(&batch(18, 0x30, 1, &[]), 18),
            Some(Fetched::Gap { next: 19 })
        );
    }

    #[test]
    fn a_bomb_is_refused_with_the_offset_after_it() {
        let large = body(&[&vec![b'0'; BATCH_BYTES_MAX]]);
        for (codec, bomb) in [
            (1, gzip(&large)),
            (2, snappy(&large)),
            (3, lz4(&large)),
            (4, zstd(&large)),
        ] {
            let log = [
                batch(5, codec, 1000, &bomb),
                batch(1005, 0, 1, &body(&[b"x"])),
            ]
            .concat();
            match decode(&log, 5) {
                Some(Fetched::Refused { reason, next: 1005 }) => {
                    assert_eq!(
                        reason,
                        "a compressed batch that expands to more than 32 MiB"
                    );
                }
                other => panic!("{codec}: {other:?}"),
            }
            assert_eq!(records(decode(&log, 1005)), [(1005, "x".to_owned())]);
        }
    }

    #[test]
    fn what_precedes_an_undecodable_batch_is_delivered() {
        let good = || batch(0, 0, 1, &body(&[b"x"]));
        let mut old = batch(1, 0, 1, &[1, 2, 3]);
        old[16] = 1;
        let mut damaged = batch(1, 0, 1, &body(&[b"172.16.0.0/24"]));
        let last = damaged.len() - 3;
        damaged[last] ^= 1;
        let no_header = [&1i64.to_be_bytes()[..], &30i32.to_be_bytes(), &[2; 30]].concat();
        // A damaged distance to the last offset must not be used for `next`.
        let mut moved_end = batch(1, 0, 1, &body(&[b"x"]));
        moved_end[23] = 0x7f;
        for (bad, expected) in [
            (old, "a message format older than that of Kafka 0.11"),
            (damaged, "the checksum of the batch is wrong"),
            (no_header, "the checksum of the batch is wrong"),
            (moved_end, "the checksum of the batch is wrong"),
        ] {
            let log = [good(), bad].concat();
            assert_eq!(records(decode(&log, 0)), [(0, "x".to_owned())]);
            match decode(&log, 1) {
                Some(Fetched::Unreadable { reason, next: 2 }) => {
                    assert!(reason.starts_with(expected), "{reason}");
                }
                other => panic!("{other:?}"),
            }
        }
        for bad in [
            batch(0, 0, 2, b""),
            batch(0, 1, 1, b"not gzip"),
            batch(0, 2, 1, b"\xffnot snappy"),
            batch(0, 3, 1, b"not lz4"),
            batch(0, 4, 1, b"not zstd"),
            batch(0, 6, 1, b""),
        ] {
            assert!(matches!(decode(&bad, 0), Some(Fetched::Refused { .. })));
        }
    }

    /// A batch as Kafka 3.9.1 has stored it: three records, written by kcat.
    const STORED: &str = concat!(
        "000000000000000000000051000000000262088e7a000000000002000001a22d062811000001a22d062811ffffffffffffffffffffffffffff0000000312",
        "00000001066f6e650012000002010674776f0016000004010a746872656500",
    );

    #[test]
    fn a_batch_of_a_broker_is_decoded() {
        let stored: Vec<u8> = (STORED.as_bytes().chunks(2))
            .map(|digits| u8::from_str_radix(str::from_utf8(digits).unwrap(), 16).unwrap())
            .collect();
        let values = ["one", "two", "three"].map(str::to_owned);
        assert_eq!(
            records(decode(&stored, 0)),
            (0..).zip(values).collect::<Vec<_>>()
        );
        for at in (0..stored.len()).filter(|at| *at >= CHECKSUM_AT) {
            let mut damaged = stored.clone();
            damaged[at] ^= 1;
            let decoded = decode(&damaged, 0);
            assert!(
                matches!(decoded, Some(Fetched::Unreadable { next: 1, .. })),
                "{at}"
            );
        }
    }

    #[test]
    fn many_small_records_are_delivered_in_parts() {
        let count = FETCH_RECORDS_BYTES / RECORD_OVERHEAD_BYTES + 10;
        let packed = gzip(&body(&vec![&b""[..]; count]));
        let log = batch(0, 1, i32::try_from(count).unwrap(), &packed);
        let first = records(decode(&log, 0)).len();
        assert_eq!(first, FETCH_RECORDS_BYTES / RECORD_OVERHEAD_BYTES);
        assert_eq!(
            records(decode(&log, i64::try_from(first).unwrap())).len(),
            10
        );
    }

    #[test]
    fn a_record_outside_of_its_batch_does_not_move_the_cursor_out_of_it() {
        let next = batch(14, 0, 1, &body(&[b"next"]));
        // A batch of the offsets 10 to 13; the number of its records, their distances from 10, and those that are delivered.
        let cases: [(i32, &[i64], &[i64]); 9] = [
            (2, &[1, 3], &[11, 13]),
            (2, &[0, 4], &[10]),
            (1, &[1 << 40], &[]),
            (1, &[i64::MAX], &[]),
            (1, &[-1], &[]),
            (3, &[0, 1, 1], &[10, 11]),
            (3, &[0, 2, 1], &[10, 12]),
            (2, &[0], &[10]),
            (5, &[0, 1, 2, 3, 4], &[]),
        ];
        for (count, deltas, delivered) in cases {
            for (codec, pack) in [(0, <[u8]>::to_vec as fn(&[u8]) -> Vec<u8>), (1, gzip)] {
                let records = pack(&body_at(deltas.iter().map(|&delta| (delta, &b"x"[..]))));
                let mut log = batch(10, codec, 4, &records);
                log[57..61].copy_from_slice(&count.to_be_bytes());
                log = log.with_checksum();
                log.extend(&next);
                let (mut cursor, mut seen, mut refused) = (10, Vec::new(), None);
                // Each fetch makes progress.
                for _ in 0..4 {
                    match decode(&log, cursor) {
                        Some(Fetched::Records(records)) => {
                            seen.extend(records.iter().map(|record| record.offset));
                            cursor = records.last().unwrap().offset + 1;
                        }
                        Some(Fetched::Refused { reason, next }) => {
                            assert_eq!(reason, "the batch is malformed");
                            refused = Some(next);
                            cursor = next;
                        }
                        other => assert_eq!((other, cursor), (None, 15)),
                    }
                }
                let is_good = deltas == [1, 3];
                assert_eq!(refused, (!is_good).then_some(14), "{deltas:?}");
                assert_eq!(seen, [delivered, &[14]].concat(), "{deltas:?}");
            }
        }
    }

    #[test]
    fn a_batch_with_an_impossible_header_is_refused() {
        let records = body(&[b"x"]);
        for (last_delta, count, codec, reason) in [
            (-1i32, 1i32, 0, "the batch is malformed"),
            (i32::MIN, 1, 0, "the batch is malformed"),
            (0, -1, 0, "the batch is malformed"),
            (0, 2, 0, "the batch is malformed"),
            // Not even decompressed: its body is not gzip.
            (
                BATCH_RECORDS_MAX,
                BATCH_RECORDS_MAX + 1,
                1,
                "a batch of 600001 records, more than 600000",
            ),
        ] {
            let mut log = batch(5, codec, 1, &records);
            log[23..27].copy_from_slice(&last_delta.to_be_bytes());
            log[57..61].copy_from_slice(&count.to_be_bytes());
            let log = log.with_checksum();
            let expected = Fetched::Refused {
                reason: reason.to_owned(),
                next: 6 + i64::from(last_delta.max(0)),
            };
            assert_eq!(decode(&log, 5), Some(expected), "{last_delta} {count}");
        }
        // Compaction has removed all records, or all but a few.
        let mut log = batch(5, 0, 1000, b"");
        log[57..61].copy_from_slice(&[0; 4]);
        let log = log.with_checksum();
        assert_eq!(decode(&log, 5), Some(Fetched::Gap { next: 1005 }));
    }

    #[test]
    fn many_small_bombs_are_unpacked_in_parts() {
        // Long values are shortened, so their size says little about what was decompressed.
        let zeros = vec![b'0'; 10 << 20];
        let bombs = body(&[&zeros]);
        for (codec, bomb) in [
            (1, gzip(&bombs)),
            (2, snappy(&bombs)),
            (3, lz4(&bombs)),
            (4, zstd(&bombs)),
        ] {
            let log: Vec<u8> = (0..20)
                .flat_map(|offset| batch(offset, codec, 1, &bomb))
                .collect();
            let mut budget = Budget::default();
            let Some(Fetched::Records(first)) = decode_within(&log, 0, &mut budget) else {
                panic!("{codec}");
            };
            assert_eq!(first.len(), 4, "40 MiB");
            // This fetch's budget is used up; the next fetch continues.
            assert_eq!(decode_within(&log, 4, &mut budget), None);
            assert!(!budget.has_room());
            let Some(Fetched::Records(second)) = decode(&log, 4) else {
                panic!("{codec}");
            };
            assert_eq!(second[0].offset, 4);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), codec in 0i16..8, count in -5i32..1000) {
            decode(&bytes, 0);
            decode(&batch(0, codec, count, &bytes), 0);
        }
    }
}
