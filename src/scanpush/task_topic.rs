//! Connects to Kafka to write task records, for `scanpush`, `scanpush retry` and the web page.

use super::output::Output;
use crate::connection::Connection;
use crate::exit::Failure;
use crate::kafka::{KafkaError, Producer};
use std::time::Duration;

/// The same for a request to the web page, which has to answer soon.
const REQUEST_LEADER_WAIT: Duration = Duration::from_secs(3);
/// How long to wait for leaders of all partitions. After a broker has died, Kafka elects new ones within its session timeout (9 s by default).
const LEADER_WAIT: Duration = Duration::from_secs(20);

/// Connects a producer to the topic of tasks. If a partition has no leader, waits for one, up to [`LEADER_WAIT`]; the wait is announced if stderr
/// is a terminal. Fails if the topic is missing, no broker answers, or no partition has a leader in time.
pub(super) fn connect(
    connection: &Connection,
    output: &mut Output<'_>,
) -> Result<Producer, Failure> {
    let begin_to_wait = &mut |why: &str| {
        let seconds = LEADER_WAIT.as_secs();
        output.remark(&format!("waiting up to {seconds} s for a leader: {why}"));
    };
    connect_within(connection, LEADER_WAIT, begin_to_wait)
        .map_err(|error| Failure::Runtime(format!("Kafka: {error}")))
}

/// The same for a request: waits only shortly.
pub(super) fn connect_for_request(connection: &Connection) -> Result<Producer, KafkaError> {
    connect_within(connection, REQUEST_LEADER_WAIT, &mut |_| ())
}

fn connect_within(
    connection: &Connection,
    wait: Duration,
    begin_to_wait: &mut dyn FnMut(&str),
) -> Result<Producer, KafkaError> {
    let Connection { kafka, topic, .. } = connection;
    let mut producer = Producer::new(kafka, topic.as_str(), false);
    producer.wait_for_leaders(wait, begin_to_wait)?;
    Ok(producer)
}
