//! Splits messages into produce requests. Pure.
//!
//! A broker checks the size of what it stores: it packs all messages of a request for a partition into one batch of format v2, compressed or
//! not, and refuses a batch above `max.message.bytes`. The compression ratio is unknown beforehand, so the size here is that of the
//! uncompressed messages.

use crate::kafka::messages::Message;

/// Overhead of a message besides key and value, in bytes: 26 in the request (format v0), up to 21 in the stored batch.
const MESSAGE_OVERHEAD_BYTES: usize = 26;

/// What `message` adds to a request, in bytes.
pub(in crate::kafka) fn weight(message: Message<'_>) -> usize {
    message.key.len() + message.value.len() + MESSAGE_OVERHEAD_BYTES
}

/// Splits `0..weights.len()` into ranges of at most `limit` bytes each. A message that is larger forms a range of its own, for the broker to
/// decide.
pub(in crate::kafka) fn batches(weights: &[usize], limit: usize) -> Vec<Vec<usize>> {
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut sum = 0;
    for (index, &weight) in weights.iter().enumerate() {
        match batches.last_mut() {
            Some(batch) if sum + weight <= limit => {
                batch.push(index);
                sum += weight;
            }
            _ => {
                batches.push(vec![index]);
                sum = weight;
            }
        }
    }
    batches
}

/// A batch in two halves; `None` for a single message.
pub(in crate::kafka) fn halves(batch: &[usize]) -> Option<(Vec<usize>, Vec<usize>)> {
    let (first, second) = batch.split_at(batch.len() / 2);
    (!first.is_empty()).then(|| (first.to_vec(), second.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn batches_stay_within_the_limit() {
        for (weights, expected) in [
            (&[][..], vec![]),
            (&[5], vec![vec![0]]),
            (&[5, 5], vec![vec![0, 1]]),
            (&[5, 6], vec![vec![0], vec![1]]),
            (&[1, 99, 1, 1], vec![vec![0], vec![1], vec![2, 3]]),
        ] {
            assert_eq!(batches(weights, 10), expected, "{weights:?}");
        }
    }

    #[test]
    fn a_single_message_has_no_halves() {
        assert_eq!(halves(&[7]), None);
        assert_eq!(halves(&[1, 2, 3]), Some((vec![1], vec![2, 3])));
    }

    proptest! {
        #[test]
        fn each_message_is_in_one_batch(weights in prop::collection::vec(1usize..2000, 0..200)) {
            let split = batches(&weights, 1000);
            let all: Vec<usize> = split.iter().flatten().copied().collect();
            prop_assert_eq!(all, (0..weights.len()).collect::<Vec<_>>());
            for batch in split {
                let sum: usize = batch.iter().map(|&index| weights[index]).sum();
                prop_assert!(sum <= 1000 || batch.len() == 1);
            }
        }
    }
}
