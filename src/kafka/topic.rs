//! The command that makes a topic, for those who have to make it by hand. Pure.

use super::brokers::Brokers;

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
    fn the_command_is_complete() {
        let brokers = "a:1,b:2".parse().unwrap();
        assert_eq!(
            create_command(&brokers, "t"),
            "kafka-topics.sh --bootstrap-server a:1 --create --topic t --partitions 1 --replication-factor 1"
        );
    }
}
