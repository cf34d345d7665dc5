//! The offsets of a consumer group, as Kafka stores them and its tools show them (`kafka-consumer-groups.sh`).
//!
//! Only the group's storage is used, not its membership: the crate has no membership, and Kafka accepts such commits as long as the group
//! has no members.

use super::connection::Client;
use crate::kafka::brokers::Brokers;
use crate::kafka::client::OffsetsClient;
use crate::kafka::error::KafkaError;
use kafka::client::{CommitOffset, GroupOffsetStorage, KafkaClient};
use kafka::error::Error;
use std::collections::BTreeMap;
use std::time::Duration;

/// Attempts to find a group's coordinator in one request. The first use of a new Kafka creates its offsets topic.
const COORDINATOR_TRIES: u32 = 30;
/// Pause between two such attempts.
const COORDINATOR_PAUSE: Duration = Duration::from_millis(100);

/// Reads and commits the offsets of one group on one topic.
#[derive(Debug)]
pub(in crate::kafka) struct GroupOffsets {
    client: Client,
    group: String,
}

impl GroupOffsets {
    /// For `group` on `topic`. Connects with the first call.
    pub(in crate::kafka) fn new(brokers: &Brokers, group: &str, topic: &str) -> GroupOffsets {
        GroupOffsets {
            client: Client::new(brokers, topic, |kafka| {
                kafka.set_group_offset_storage(Some(GroupOffsetStorage::Kafka));
                kafka.set_retry_backoff_time(COORDINATOR_PAUSE);
            }),
            group: group.to_owned(),
        }
    }
}

impl OffsetsClient for GroupOffsets {
    fn partitions(&mut self) -> Result<Vec<i32>, KafkaError> {
        self.client.refresh()?;
        Ok((0..).take(self.client.leaders().len()).collect())
    }

    fn committed(&mut self) -> Result<BTreeMap<i32, i64>, KafkaError> {
        let (group, topic) = (self.group.clone(), self.client.topic().to_owned());
        let doing = format!("read the offsets of group {group}");
        self.client.call(&doing, Duration::ZERO, move |kafka| {
            committed(kafka, &group, &topic)
        })
    }

    fn commit(&mut self, offsets: &BTreeMap<i32, i64>) -> Result<(), KafkaError> {
        let (group, topic) = (self.group.clone(), self.client.topic().to_owned());
        let doing = format!("commit the offsets of group {group}");
        let offsets = offsets.clone();
        self.client.call(&doing, Duration::ZERO, move |kafka| {
            // While the coordinator is still loading the group, `commit_offsets` repeats without end, and without a pause after its number of
            // tries. Reading first returns an error instead, and finds the coordinator.
            committed(kafka, &group, &topic)?;
            kafka.set_retry_max_attempts(u32::MAX);
            let commits = offsets
                .iter()
                .map(|(&partition, &offset)| CommitOffset::new(&topic, partition, offset));
            kafka.commit_offsets(&group, commits)
        })
    }
}

fn committed(
    kafka: &mut KafkaClient,
    group: &str,
    topic: &str,
) -> Result<BTreeMap<i32, i64>, Error> {
    kafka.set_retry_max_attempts(COORDINATOR_TRIES);
    let offsets = kafka.fetch_group_topic_offset(group, topic)?;
    // -1: there is none.
    let known = offsets.iter().filter(|known| known.offset >= 0);
    Ok(known.map(|known| (known.partition, known.offset)).collect())
}
