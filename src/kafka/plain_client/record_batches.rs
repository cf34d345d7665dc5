//! Records from the bytes of an answer to Fetch: batches of format v2 (Kafka 0.11 and newer). Pure.
//!
//! A small compressed batch may expand to any size, so decompression ends at [`BATCH_BYTES_MAX`], and the batch is refused. A [`Budget`] bounds what
//! many batches expand to.

use crate::kafka::fetched::{Fetched, RECORD_OVERHEAD_BYTES, Record};
use flate2::read::GzDecoder;
use std::io::Read;

/// Size up to which a batch of records is decompressed, in bytes.
pub(super) const BATCH_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Records that the header of a batch may announce. A larger batch is refused before it is decompressed.
const BATCH_RECORDS_MAX: i32 = 600_000;
/// Bytes of records after which a fetch stops, [`RECORD_OVERHEAD_BYTES`] for each record included. The next fetch continues there.
const DECODED_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of decompressed batches after which a fetch stops. The last batch may exceed them.
const UNPACKED_BYTES: usize = BATCH_BYTES_MAX;

/// Offset and length before each batch, in bytes. The length does not include them.
const BATCH_PREFIX_BYTES: usize = 12;
/// The header of a batch with its prefix, in bytes.
const BATCH_HEADER_BYTES: usize = 61;
/// How snappy-java, which Kafka uses, begins: a magic number, then two versions of 4 bytes each.
const SNAPPY_JAVA_MAGIC: &[u8] = b"\x82SNAPPY\0";
/// Length of the header of snappy-java.
const SNAPPY_JAVA_HEADER_BYTES: usize = 16;

/// What one fetch may still decode, over all its partitions and answers.
#[derive(Debug)]
pub(super) struct Budget {
    /// Bytes of records, as for [`DECODED_BYTES`].
    decoded: usize,
    /// Bytes of decompressed batches, as for [`UNPACKED_BYTES`].
    unpacked: usize,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget {
            decoded: DECODED_BYTES,
            unpacked: UNPACKED_BYTES,
        }
    }
}

impl Budget {
    /// Counts what a batch was decompressed to; one that was not may have taken as much as is allowed.
    fn unpack(&mut self, unpacked: Result<Vec<u8>, Undecodable>) -> Result<Vec<u8>, Undecodable> {
        let bytes = unpacked.as_ref().map_or(BATCH_BYTES_MAX, Vec::len);
        self.unpacked = self.unpacked.saturating_sub(bytes);
        unpacked
    }

    /// Whether one more batch may be decoded. True for a new budget, so each fetch makes progress.
    pub(super) fn has_room(&self) -> bool {
        self.decoded > 0 && self.unpacked > 0
    }
}

/// Decodes the records from `cursor` on until `budget` is used up. `bytes` begins with the batch that contains `cursor`. None if there is no complete batch,
/// or no room.
///
/// Batches that cannot be decoded are a result of their own, with the offset after them.
pub(super) fn decode(bytes: &[u8], cursor: i64, budget: &mut Budget) -> Option<Fetched> {
    let (mut rest, mut next) = (bytes, None);
    let mut into = Decoded {
        cursor,
        records: Vec::new(),
        budget,
    };
    while into.budget.has_room()
        && let Some((batch, after)) = Batch::first(rest)
    {
        rest = after;
        let end = batch.last.saturating_add(1);
        if end <= cursor {
            continue;
        }
        match batch.decode(&mut into) {
            Ok(()) => {}
            // What precedes it is delivered first.
            Err(_) if !into.records.is_empty() || next.is_some() => break,
            Err(Undecodable::Here(reason)) => {
                return Some(Fetched::Unreadable { reason, next: end });
            }
            Err(Undecodable::Anywhere(reason)) => {
                return Some(Fetched::Refused { reason, next: end });
            }
        }
        // The end of the batch may not have been reached.
        if into.budget.decoded == 0 {
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

/// Why a batch cannot be decoded.
#[derive(Debug)]
enum Undecodable {
    /// This client cannot, but another can.
    Here(String),
    /// No client of this program can.
    Anywhere(String),
}

/// The records so far.
struct Decoded<'a> {
    cursor: i64,
    records: Vec<Record>,
    budget: &'a mut Budget,
}

/// A batch as it is stored.
struct Batch<'a> {
    base: i64,
    last: i64,
    /// Whether the header's offsets and count are possible.
    is_plausible: bool,
    attributes: i16,
    count: i32,
    /// The format; only 2 is decoded.
    magic: u8,
    /// The records, compressed or not.
    body: &'a [u8],
}

impl<'a> Batch<'a> {
    /// The first batch of `bytes`, and what follows it. None if it is not complete.
    fn first(bytes: &'a [u8]) -> Option<(Batch<'a>, &'a [u8])> {
        let mut head = Bytes(bytes);
        let base = head.i64()?;
        let length = usize::try_from(head.i32()?).ok()?;
        let (batch, rest) = bytes.split_at_checked(BATCH_PREFIX_BYTES.checked_add(length)?)?;
        let magic = *batch.get(16)?;
        if magic != 2 {
            // A single message, or several that are compressed; then this is the offset of the last one.
            let old = Batch {
                base,
                last: base,
                is_plausible: true,
                attributes: 0,
                count: 0,
                magic,
                body: &[],
            };
            return Some((old, rest));
        }
        let (header, body) = batch.split_at_checked(BATCH_HEADER_BYTES)?;
        let mut fields = Bytes(header.get(21..)?);
        let attributes = fields.i16()?;
        let last_delta = i64::from(fields.i32()?);
        let last = base.saturating_add(last_delta.max(0));
        let count = Bytes(header.get(57..)?).i32()?;
        // Compaction leaves fewer records than offsets, never more.
        let is_plausible = last_delta >= 0 && (0..=last_delta + 1).contains(&i64::from(count));
        let batch = Batch {
            base,
            last,
            is_plausible,
            attributes,
            count,
            magic,
            body,
        };
        Some((batch, rest))
    }

    /// Adds the records at or after the cursor until [`DECODED_BYTES`] are reached. Errs at the first record whose offset is outside of the batch
    /// or not above the previous one: the cursor would leave the batch with it, and skip records of others.
    fn decode(&self, into: &mut Decoded<'_>) -> Result<(), Undecodable> {
        if self.magic != 2 {
            return Err(Undecodable::Here(
                "a message format older than Kafka 0.11".to_owned(),
            ));
        }
        // A transaction marker.
        if self.attributes & 0x20 != 0 {
            return Ok(());
        }
        if !self.is_plausible {
            return Err(malformed());
        }
        if self.count > BATCH_RECORDS_MAX {
            return Err(Undecodable::Anywhere(format!(
                "a batch of {} records, more than {BATCH_RECORDS_MAX}",
                self.count
            )));
        }
        let unpacked;
        let mut body = Bytes(match self.attributes & 7 {
            0 => self.body,
            1 => {
                unpacked = into.budget.unpack(gunzip(self.body))?;
                &unpacked
            }
            2 => {
                unpacked = into.budget.unpack(unsnap(self.body))?;
                &unpacked
            }
            3 | 4 => {
                return Err(Undecodable::Here(
                    "compressed with lz4 or zstd, which the kafka crate cannot read: use -kafka-client librdkafka, or set the topic's compression.type to \
                     producer, snappy or gzip, and use snappy, gzip or none in its producers"
                        .to_owned(),
                ));
            }
            _ => return Err(malformed()),
        });
        let mut allowed = self.base;
        for _ in 0..self.count {
            let (offset, value) = body.record(self.base).ok_or_else(malformed)?;
            if !(allowed..=self.last).contains(&offset) {
                return Err(malformed());
            }
            allowed = offset.saturating_add(1);
            if offset < into.cursor {
                continue;
            }
            if into.budget.decoded == 0 {
                break;
            }
            let record = Record::new(offset, value);
            let bytes = record.value.len() + RECORD_OVERHEAD_BYTES;
            into.budget.decoded = into.budget.decoded.saturating_sub(bytes);
            into.records.push(record);
        }
        Ok(())
    }
}

fn malformed() -> Undecodable {
    Undecodable::Anywhere("the batch is malformed".to_owned())
}

fn too_large() -> Undecodable {
    Undecodable::Anywhere(format!(
        "a compressed batch that expands to more than {} MiB",
        BATCH_BYTES_MAX / 1024 / 1024
    ))
}

fn gunzip(body: &[u8]) -> Result<Vec<u8>, Undecodable> {
    let mut unpacked = Vec::new();
    let limit = u64::try_from(BATCH_BYTES_MAX).unwrap_or(u64::MAX);
    let read = GzDecoder::new(body)
        .take(limit.saturating_add(1))
        .read_to_end(&mut unpacked);
    match read {
        Ok(bytes) if bytes > BATCH_BYTES_MAX => Err(too_large()),
        Ok(_) => Ok(unpacked),
        Err(_) => Err(malformed()),
    }
}

/// Both framings: snappy-java's chunks, each with its length, or snappy alone.
fn unsnap(body: &[u8]) -> Result<Vec<u8>, Undecodable> {
    let mut unpacked = Vec::new();
    if !body.starts_with(SNAPPY_JAVA_MAGIC) {
        unsnap_chunk(body, &mut unpacked)?;
        return Ok(unpacked);
    }
    let mut chunks = Bytes(body.get(SNAPPY_JAVA_HEADER_BYTES..).unwrap_or_default());
    while !chunks.0.is_empty() {
        let chunk = chunks
            .i32()
            .and_then(|length| chunks.take(usize::try_from(length).ok()?));
        unsnap_chunk(chunk.ok_or_else(malformed)?, &mut unpacked)?;
    }
    Ok(unpacked)
}

fn unsnap_chunk(chunk: &[u8], unpacked: &mut Vec<u8>) -> Result<(), Undecodable> {
    // What the chunk claims is checked before memory is reserved.
    let claimed = snap::raw::decompress_len(chunk).map_err(|_| malformed())?;
    if claimed > BATCH_BYTES_MAX - unpacked.len() {
        return Err(too_large());
    }
    let chunk = snap::raw::Decoder::new().decompress_vec(chunk);
    unpacked.extend(chunk.map_err(|_| malformed())?);
    Ok(())
}

/// Bytes that are read from the front. Each method returns none if there are too few.
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn i16(&mut self) -> Option<i16> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    /// A number of variable length in zigzag encoding.
    fn varint(&mut self) -> Option<i64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(((number >> 1) as i64) ^ -((number & 1) as i64));
            }
        }
        None
    }

    /// Bytes after their length; none if the length is negative, as for a record without a key.
    fn sized(&mut self) -> Option<Option<&'a [u8]>> {
        let length = self.varint()?;
        match usize::try_from(length) {
            Ok(length) => self.take(length).map(Some),
            Err(_) => Some(None),
        }
    }

    /// Offset and value of the next record of a batch whose first offset is `base`.
    fn record(&mut self, base: i64) -> Option<(i64, &'a [u8])> {
        let length = usize::try_from(self.varint()?).ok()?;
        let mut record = Bytes(self.take(length)?);
        let _attributes = record.take(1)?;
        let _timestamp = record.varint()?;
        let offset = base.checked_add(record.varint()?)?;
        let _key = record.sized()?;
        Some((offset, record.sized()?.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::{decode as decode_within, *};
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use std::io::Write;

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
    }

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    fn snappy(body: &[u8]) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(body).unwrap()
    }

    fn snappy_java(chunks: &[&[u8]]) -> Vec<u8> {
        let mut all = [SNAPPY_JAVA_MAGIC, &[0, 0, 0, 1, 0, 0, 0, 1]].concat();
        for chunk in chunks {
            let chunk = snappy(chunk);
            all.extend(i32::try_from(chunk.len()).unwrap().to_be_bytes());
            all.extend(chunk);
        }
        all
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
            batch(19, 0, 1, &body(&[b"c"])),
        ]
        .concat();
        let all: Vec<i64> = records(decode(&log, 11)).into_iter().map(|r| r.0).collect();
        assert_eq!(all, [11, 12, 13, 14, 15, 16, 17, 19]);
        // The answer ends in the middle of a batch.
        assert_eq!(
            records(decode(&log[..log.len() - 1], 17)),
            [(17, "b".to_owned())]
        );
        assert_eq!(decode(&log[..BATCH_HEADER_BYTES], 10), None);
        assert_eq!(
            decode(&batch(18, 0x30, 1, &[]), 18),
            Some(Fetched::Gap { next: 19 })
        );
    }

    #[test]
    fn a_bomb_is_refused_with_the_offset_after_it() {
        let zeros = vec![b'0'; BATCH_BYTES_MAX];
        let large = body(&[&zeros]);
        // A chunk of 5 bytes that claims 4 GiB.
        let claims = b"\xff\xff\xff\xff\x0f";
        for (codec, bomb) in [
            (1, gzip(&large)),
            (2, snappy(&large)),
            (2, snappy_java(&[&large[..1 << 24], &large[1 << 24..]])),
            (2, claims.to_vec()),
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
        let lz4 = batch(1, 3, 4, &[1, 2, 3]);
        let log = [batch(0, 0, 1, &body(&[b"x"])), lz4].concat();
        assert_eq!(records(decode(&log, 0)), [(0, "x".to_owned())]);
        match decode(&log, 1) {
            Some(Fetched::Unreadable { reason, next: 5 }) => assert!(reason.contains("lz4")),
            other => panic!("{other:?}"),
        }
        for bad in [
            batch(0, 0, 2, b""),
            batch(0, 1, 1, b"not gzip"),
            batch(0, 2, 1, b"\xffnot snappy"),
            batch(0, 6, 1, b""),
        ] {
            assert!(matches!(decode(&bad, 0), Some(Fetched::Refused { .. })));
        }
    }

    #[test]
    fn many_small_records_are_delivered_in_parts() {
        let count = DECODED_BYTES / RECORD_OVERHEAD_BYTES + 10;
        let packed = gzip(&body(&vec![&b""[..]; count]));
        let log = batch(0, 1, i32::try_from(count).unwrap(), &packed);
        let first = records(decode(&log, 0)).len();
        assert_eq!(first, DECODED_BYTES / RECORD_OVERHEAD_BYTES);
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
            // Refused before it is decompressed: its body is not gzip.
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
            let expected = Fetched::Refused {
                reason: reason.to_owned(),
                next: 6 + i64::from(last_delta.max(0)),
            };
            assert_eq!(decode(&log, 5), Some(expected), "{last_delta} {count}");
        }
        // Compaction has removed all records, or all but a few.
        let mut log = batch(5, 0, 1000, b"");
        log[57..61].copy_from_slice(&[0; 4]);
        assert_eq!(decode(&log, 5), Some(Fetched::Gap { next: 1005 }));
    }

    #[test]
    fn many_small_bombs_are_unpacked_in_parts() {
        // Only a limited part of a value is kept, so the records alone say little.
        let zeros = vec![b'0'; 10 << 20];
        for (codec, bomb) in [(1, gzip(&body(&[&zeros]))), (2, snappy(&body(&[&zeros])))] {
            let log: Vec<u8> = (0..20)
                .flat_map(|offset| batch(offset, codec, 1, &bomb))
                .collect();
            let mut budget = Budget::default();
            let Some(Fetched::Records(first)) = decode_within(&log, 0, &mut budget) else {
                panic!("{codec}");
            };
            assert_eq!(first.len(), 4, "40 MiB");
            // Of this fetch nothing is left for another partition, but the next one continues.
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
