//! The name of a topic: what Kafka takes for one, and the command that makes it. Pure.

use super::brokers::Brokers;
use crate::model::Invalid;

/// Longest name that Kafka takes, in bytes (`org.apache.kafka.common.internals.Topic`).
const NAME_MAX_BYTES: usize = 249;

/// Fails where Kafka would refuse `name` (1 to 249 letters, digits, dots, underscores and dashes; neither `.` nor `..`), so
/// that the flag can be named before anything is sent.
pub fn check_topic_name(name: &str) -> Result<(), Invalid> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let taken = !name.is_empty() && name.len() <= NAME_MAX_BYTES && name.bytes().all(plain);
    if !taken || name == "." || name == ".." {
        return Err(Invalid::new(
            name,
            "is not a topic name: 1 to 249 letters, digits, dots, underscores and dashes",
        ));
    }
    Ok(())
}

/// The command with which an operator makes `topic` by hand.
pub(super) fn create_command(brokers: &Brokers, topic: &str) -> String {
    let first = &brokers.addresses()[0];
    format!(
        "kafka-topics.sh --bootstrap-server {first} --create --topic {topic} --partitions 1 --replication-factor 1"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_as_kafka_does() {
        for name in ["scan-tasks", "a", "A.b_c-9", &"x".repeat(249)] {
            assert!(check_topic_name(name).is_ok(), "{name}");
        }
        for name in ["", ".", "..", "a b", "a/b", "é", "a\n", &"x".repeat(250)] {
            assert!(check_topic_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn the_command_is_complete() {
        let brokers = "a:1,b:2".parse().unwrap();
        assert_eq!(
            create_command(&brokers, "t"),
            "kafka-topics.sh --bootstrap-server a:1 --create --topic t --partitions 1 --replication-factor 1"
        );
    }
}
