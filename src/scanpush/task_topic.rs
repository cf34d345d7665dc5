//! Connects to Kafka to write task records, for `scanpush` and `scanpush retry`.

use super::output::Output;
use crate::connection::Connection;
use crate::exit::Failure;
use crate::kafka::Producer;
use std::time::Duration;

/// How long to wait for leaders of all partitions. After a broker has died, Kafka elects new ones within its session timeout (9 s by default).
const LEADER_WAIT: Duration = Duration::from_secs(20);

/// Connects a producer to the topic of tasks. If a partition has no leader, waits for one, up to [`LEADER_WAIT`]; the wait is announced if stderr
/// is a terminal. Fails if the topic is missing, no broker answers, or no partition has a leader in time.
pub(super) fn connect(
    connection: &Connection,
    output: &mut Output<'_>,
) -> Result<Producer, Failure> {
    let Connection { kafka, topic, .. } = connection;
    let mut producer = Producer::new(kafka, topic.as_str(), false);
    let begin_to_wait = &mut |why: &str| {
        let seconds = LEADER_WAIT.as_secs();
        output.remark(&format!("waiting up to {seconds} s for a leader: {why}"));
    };
    producer
        .wait_for_leaders(LEADER_WAIT, begin_to_wait)
        .map_err(|error| Failure::Runtime(format!("Kafka: {error}")))?;
    Ok(producer)
}
