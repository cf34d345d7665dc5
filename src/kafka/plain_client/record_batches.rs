//! Records from the bytes of an answer to Fetch: batches of format v2 (Kafka 0.11 and newer). Pure.
//!
//! A small compressed batch may expand to any size, so decompression ends at [`BATCH_BYTES_MAX`], and the batch is refused.

use crate::kafka::fetched::{Fetched, RECORD_OVERHEAD_BYTES, Record};
use flate2::read::GzDecoder;
use std::io::Read;

/// Size up to which a batch of records is decompressed, in bytes.
pub(super) const BATCH_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes of records after which decoding stops, [`RECORD_OVERHEAD_BYTES`] for each record included. The next fetch continues there.
const DECODED_BYTES: usize = 4 * 1024 * 1024;

/// Offset and length before each batch, in bytes. The length does not include them.
const BATCH_PREFIX_BYTES: usize = 12;
/// The header of a batch with its prefix, in bytes.
const BATCH_HEADER_BYTES: usize = 61;
/// How snappy-java, which Kafka uses, begins: a magic number, then two versions of 4 bytes each.
const SNAPPY_JAVA_MAGIC: &[u8] = b"\x82SNAPPY\0";
/// Length of the header of snappy-java.
const SNAPPY_JAVA_HEADER_BYTES: usize = 16;

/// The records at `cursor` in `bytes`, which begin with the batch that contains it. None if there is no complete batch.
///
/// Batches that cannot be decoded are a result of their own, with the offset after them.
pub(super) fn decode(bytes: &[u8], cursor: i64) -> Option<Fetched> {
    let (mut rest, mut next) = (bytes, None);
    let mut into = Decoded {
        cursor,
        records: Vec::new(),
        bytes: 0,
    };
    while let Some((batch, after)) = Batch::first(rest) {
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
        if into.bytes >= DECODED_BYTES {
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
struct Decoded {
    cursor: i64,
    records: Vec<Record>,
    bytes: usize,
}

/// A batch as it is stored.
struct Batch<'a> {
    base: i64,
    last: i64,
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
        let last = base.saturating_add(i64::from(fields.i32()?.max(0)));
        let count = Bytes(header.get(57..)?).i32()?;
        let batch = Batch {
            base,
            last,
            attributes,
            count,
            magic,
            body,
        };
        Some((batch, rest))
    }

    /// Adds the records at or after the cursor until [`DECODED_BYTES`] are reached.
    fn decode(&self, into: &mut Decoded) -> Result<(), Undecodable> {
        if self.magic != 2 {
            return Err(Undecodable::Here(
                "it has a message format that is older than Kafka 0.11".to_owned(),
            ));
        }
        // A transaction marker.
        if self.attributes & 0x20 != 0 {
            return Ok(());
        }
        let unpacked;
        let mut body = Bytes(match self.attributes & 7 {
            0 => self.body,
            1 => {
                unpacked = gunzip(self.body)?;
                &unpacked
            }
            2 => {
                unpacked = unsnap(self.body)?;
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
        for _ in 0..self.count.max(0) {
            let (offset, value) = body.record(self.base).ok_or_else(malformed)?;
            if offset < into.cursor {
                continue;
            }
            if into.bytes >= DECODED_BYTES {
                break;
            }
            let record = Record::new(offset, value);
            into.bytes += record.value.len() + RECORD_OVERHEAD_BYTES;
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
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;
    use std::io::Write;

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
        let records = (0..).zip(values).flat_map(|(delta, value)| {
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

    proptest! {
        #[test]
        fn any_bytes_are_decoded_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), codec in 0i16..8, count in -5i32..1000) {
            decode(&bytes, 0);
            decode(&batch(0, codec, count, &bytes), 0);
        }
    }
}
