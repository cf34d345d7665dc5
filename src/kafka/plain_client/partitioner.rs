//! The partition of a key. Pure. It is the same as with Kafka's Java client, `kcat -X partitioner=murmur2` and other clients that follow Kafka's
//! default.

/// The partition of `key` in a topic of `partitions` partitions (at least one): Kafka's own rule,
/// `toPositive(murmur2(key)) % partitions` (`org.apache.kafka.clients.producer.internals.BuiltInPartitioner`).
pub(in crate::kafka) fn partition_for(key: &[u8], partitions: usize) -> i32 {
    let positive = murmur2(key) & 0x7fff_ffff;
    let chosen = positive as usize % partitions.max(1);
    i32::try_from(chosen).expect("the value is masked to 31 bits")
}

/// Murmur2 with Kafka's seed, 32 bits (`org.apache.kafka.common.utils.Utils.murmur2`).
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    // Java's length is an i32; keys are much shorter.
    let mut hash = SEED ^ data.len() as u32;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        let mixed = (word ^ (word >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ mixed;
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        let rest = rest
            .iter()
            .rev()
            .fold(0, |sum, &byte| sum << 8 | u32::from(byte));
        hash = (hash ^ rest).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `UtilsTest.testMurmur2` of Apache Kafka.
    #[test]
    fn hashes_agree_with_java() {
        for (key, hash) in [
            ("21", -973932308),
            ("foobar", -790332482),
            ("a-little-bit-long-string", -985981536),
            ("a-little-bit-longer-string", -1486304829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58897971,
            ),
            ("abc", 479470107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }

    /// From `test_murmur2_java_compatibility` of kafka-python.
    #[test]
    fn partitions_agree_with_other_clients() {
        for (key, partition) in [
            (&b""[..], 681),
            (b"a", 524),
            (b"ab", 434),
            (b"abc", 107),
            (b"123456789", 566),
            (b"\x00 ", 742),
        ] {
            assert_eq!(partition_for(key, 1000), partition, "{key:?}");
        }
        assert_eq!(partition_for(b"any", 1), 0);
    }
}
