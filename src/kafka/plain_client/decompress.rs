//! Decompression of a batch of records up to a limit: a small batch may expand to any size. Pure.

use super::bytes::Bytes;
use flate2::read::GzDecoder;
use lz4_flex::frame::FrameDecoder;
use std::fmt;
use std::io::Read;
use zstd::zstd_safe::find_frame_compressed_size;

/// Largest decompressed size of a batch of records, in bytes.
pub(super) const BATCH_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Largest number of records that the header of a batch may announce. Checked before the batch is decompressed.
pub(super) const BATCH_RECORDS_MAX: i32 = 600_000;

/// How snappy-java, which Kafka uses, begins: a magic number, then two versions of 4 bytes each.
const SNAPPY_JAVA_MAGIC: &[u8] = b"\x82SNAPPY\0";
/// How a frame of zstd begins (RFC 8878).
const ZSTD_MAGIC: &[u8] = b"\x28\xb5\x2f\xfd";
/// Length of the header of snappy-java.
const SNAPPY_JAVA_HEADER_BYTES: usize = 16;

/// Why a batch is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It expands to more than [`BATCH_BYTES_MAX`].
    TooLarge,
    /// It announces this many records, more than [`BATCH_RECORDS_MAX`].
    TooManyRecords(i32),
    /// Its header or its compressed data is not valid.
    Malformed,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::TooLarge => write!(
                f,
                "a compressed batch that expands to more than {} MiB",
                BATCH_BYTES_MAX / 1024 / 1024
            ),
            Refusal::TooManyRecords(count) => {
                write!(
                    f,
                    "a batch of {count} records, more than {BATCH_RECORDS_MAX}"
                )
            }
            Refusal::Malformed => f.write_str("the batch is malformed"),
        }
    }
}

/// The records of a batch with the codec of these `attributes` (KIP-98; lz4 is KIP-57, zstd KIP-110), or none if they are not compressed. The memory
/// that this takes is at most about twice [`BATCH_BYTES_MAX`].
pub(super) fn decompress(attributes: i16, body: &[u8]) -> Option<Result<Vec<u8>, Refusal>> {
    Some(match attributes & 7 {
        0 => return None,
        1 => read_limited(GzDecoder::new(body)),
        2 => unsnap(body),
        3 => read_limited(FrameDecoder::new(body)),
        4 => unzstd(body),
        _ => Err(Refusal::Malformed),
    })
}

fn read_limited(decoder: impl Read) -> Result<Vec<u8>, Refusal> {
    let mut unpacked = Vec::new();
    let limit = u64::try_from(BATCH_BYTES_MAX).unwrap_or(u64::MAX);
    match (decoder.take(limit.saturating_add(1))).read_to_end(&mut unpacked) {
        Ok(bytes) if bytes > BATCH_BYTES_MAX => Err(Refusal::TooLarge),
        Ok(_) => Ok(unpacked),
        Err(_) => Err(Refusal::Malformed),
    }
}

/// Both framings: snappy-java's chunks, each with its length, or snappy alone.
fn unsnap(body: &[u8]) -> Result<Vec<u8>, Refusal> {
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
        unsnap_chunk(chunk.ok_or(Refusal::Malformed)?, &mut unpacked)?;
    }
    Ok(unpacked)
}

fn unsnap_chunk(chunk: &[u8], unpacked: &mut Vec<u8>) -> Result<(), Refusal> {
    // What the chunk claims is checked before memory is reserved.
    let claimed = snap::raw::decompress_len(chunk).map_err(|_| Refusal::Malformed)?;
    if claimed > BATCH_BYTES_MAX - unpacked.len() {
        return Err(Refusal::TooLarge);
    }
    let chunk = snap::raw::Decoder::new().decompress_vec(chunk);
    unpacked.extend(chunk.map_err(|_| Refusal::Malformed)?);
    Ok(())
}

/// Decompresses in one call: a stream would allocate the window that a frame declares. Accepts only frames of RFC 8878. zstd would also accept frames of its
/// versions before 0.8, and frames to skip.
fn unzstd(body: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut frames = body;
    while !frames.is_empty() {
        let length = find_frame_compressed_size(frames).map_err(|_| Refusal::Malformed)?;
        let (frame, rest) = (frames.split_at_checked(length)).ok_or(Refusal::Malformed)?;
        if !frame.starts_with(ZSTD_MAGIC) {
            return Err(Refusal::Malformed);
        }
        frames = rest;
    }
    zstd::bulk::decompress(body, BATCH_BYTES_MAX).map_err(|error| {
        // The name of zstd's error; the crate passes nothing else on.
        match error
            .to_string()
            .contains("Destination buffer is too small")
        {
            true => Refusal::TooLarge,
            false => Refusal::Malformed,
        }
    })
}

#[cfg(test)]
pub(super) mod packed {
    //! Compressed bodies for tests.

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    pub(in super::super) fn gzip(body: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    pub(in super::super) fn snappy(body: &[u8]) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(body).unwrap()
    }

    pub(in super::super) fn snappy_java(chunks: &[&[u8]]) -> Vec<u8> {
        let mut all = [super::SNAPPY_JAVA_MAGIC, &[0, 0, 0, 1, 0, 0, 0, 1]].concat();
        for chunk in chunks {
            let chunk = snappy(chunk);
            all.extend(i32::try_from(chunk.len()).unwrap().to_be_bytes());
            all.extend(chunk);
        }
        all
    }

    pub(in super::super) fn lz4(body: &[u8]) -> Vec<u8> {
        let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    pub(in super::super) fn zstd(body: &[u8]) -> Vec<u8> {
        zstd::bulk::compress(body, 3).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::packed::{gzip, lz4, snappy, snappy_java, zstd};
    use super::*;
    use proptest::prelude::*;

    type Pack = fn(&[u8]) -> Vec<u8>;

    const CODECS: [(i16, Pack); 5] = [
        (1, gzip),
        (2, snappy),
        (2, |body| snappy_java(&[body])),
        (3, lz4),
        (4, zstd),
    ];

    #[test]
    fn each_codec_is_decompressed_up_to_the_limit() {
        assert_eq!(decompress(0, b"x"), None);
        for (codec, pack) in CODECS {
            for length in [0, 1, 100_000, BATCH_BYTES_MAX] {
                let body = vec![b'0'; length];
                let unpacked = decompress(codec, &pack(&body));
                assert_eq!(
                    unpacked.map(|u| u.map(|u| u == body)),
                    Some(Ok(true)),
                    "{codec} {length}"
                );
            }
            let too_large = pack(&vec![b'0'; BATCH_BYTES_MAX + 1]);
            assert_eq!(
                decompress(codec, &too_large),
                Some(Err(Refusal::TooLarge)),
                "{codec}"
            );
            let mut cut = pack(b"some records, some records, some records");
            cut.truncate(cut.len() / 2);
            assert_eq!(
                decompress(codec, &cut),
                Some(Err(Refusal::Malformed)),
                "{codec}"
            );
        }
        assert_eq!(decompress(5, b""), Some(Err(Refusal::Malformed)));
    }

    #[test]
    fn what_a_body_claims_is_not_believed() {
        // A chunk of 5 bytes that claims 4 GiB; chunks that are too large only together.
        assert_eq!(
            decompress(2, b"\xff\xff\xff\xff\x0f"),
            Some(Err(Refusal::TooLarge))
        );
        let half = vec![b'0'; BATCH_BYTES_MAX / 2 + 1];
        assert_eq!(
            decompress(2, &snappy_java(&[&half, &half])),
            Some(Err(Refusal::TooLarge))
        );
    }

    #[test]
    fn zstd_has_frames_of_the_standard_only() {
        // One raw block of one byte, in a frame that claims a window of 2 GiB.
        let window = [ZSTD_MAGIC, b"\x00\xa8\x09\x00\x00x"].concat();
        assert_eq!(decompress(4, &window), Some(Ok(b"x".to_vec())));
        let two = [zstd(b"a"), zstd(b"b")].concat();
        assert_eq!(decompress(4, &two), Some(Ok(b"ab".to_vec())));
        // Formats 0.5 to 0.7, and a frame to skip.
        for magic in [
            b"\x25\xb5\x2f\xfd",
            b"\x26\xb5\x2f\xfd",
            b"\x27\xb5\x2f\xfd",
            b"\x50\x2a\x4d\x18",
        ] {
            let old = [&magic[..], b"\x00\x00\x00\x00\x00\x00"].concat();
            for body in [old.clone(), [zstd(b"a"), old].concat()] {
                assert_eq!(
                    decompress(4, &body),
                    Some(Err(Refusal::Malformed)),
                    "{magic:?}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn any_body_is_decompressed_without_a_panic(body in prop::collection::vec(any::<u8>(), 0..200), codec in 0i16..8) {
            decompress(codec, &body);
            for (codec, pack) in CODECS {
                let mut packed = pack(&body);
                prop_assert_eq!(decompress(codec, &packed), Some(Ok(body.clone())));
                let at = body.len() % packed.len();
                packed[at] ^= 0x10;
                decompress(codec, &packed);
            }
        }
    }
}
