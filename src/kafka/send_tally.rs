//! What is known about the messages of one send. Pure.

use super::error::{KafkaError, SendError};
use super::messages::Messages;

/// The messages of one send whose outcome is known, by index.
#[derive(Debug, Default)]
pub(super) struct SendTally {
    /// Kafka has them.
    pub(super) acknowledged: Vec<usize>,
    /// They are too large for `topic`.
    pub(super) refused: Vec<usize>,
}

impl SendTally {
    /// The result of the send, which ended with `outcome`.
    pub(super) fn finish(
        mut self,
        outcome: Result<(), KafkaError>,
        topic: &str,
        messages: &Messages,
    ) -> Result<(), SendError> {
        let error = match (outcome, self.refused.first()) {
            (Ok(()), None) => return Ok(()),
            (Err(error), _) => error,
            (Ok(()), Some(&index)) => KafkaError::TooLarge {
                topic: topic.to_owned(),
                bytes: messages.at(index).value.len(),
            },
        };
        self.acknowledged.sort_unstable();
        self.refused.sort_unstable();
        Err(SendError {
            acknowledged: self.acknowledged,
            refused: self.refused,
            error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_names_what_is_known() {
        let mut messages = Messages::default();
        for size in [1, 20, 3] {
            messages.push(b"key", |value| value.extend(vec![b'x'; size]));
        }
        let tally = |acknowledged: &[usize], refused: &[usize]| SendTally {
            acknowledged: acknowledged.to_vec(),
            refused: refused.to_vec(),
        };
        assert_eq!(
            tally(&[2, 0, 1], &[]).finish(Ok(()), "t", &messages),
            Ok(())
        );
        let too_large = tally(&[2, 0], &[1]).finish(Ok(()), "t", &messages);
        let too_large = too_large.unwrap_err();
        assert_eq!(
            (too_large.acknowledged, too_large.refused),
            (vec![0, 2], vec![1])
        );
        let topic = "t".to_owned();
        assert_eq!(too_large.error, KafkaError::TooLarge { topic, bytes: 20 });
        let stopped = tally(&[], &[1]).finish(Err(KafkaError::Stopped), "t", &messages);
        assert_eq!(stopped.unwrap_err().error, KafkaError::Stopped);
    }
}
