//! A Kafka of three brokers, each of which is a controller too, so that any one of them can be killed.

use super::fleet::Fleet;
use super::kafka::kcat_command;
use super::peer::{OwnPeer, Peer, free_port};
use super::wait::{SOON, wait_until};
use serde_json::Value;
use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

/// Number of brokers, and replicas of each partition.
const BROKERS: u32 = 3;
/// How long the controller waits for a broker that does not answer before it elects new leaders. Kafka's default is 9 s.
pub const SESSION_WAIT: Duration = Duration::from_secs(6);

/// Three brokers. Killed on drop.
pub struct Rack(Vec<OwnPeer>);

impl Fleet {
    /// Starts a Kafka of three brokers for this fleet alone, and uses it. Its topics have three partitions and three replicas, two of which must have
    /// a record before it is acknowledged.
    pub fn start_rack(&mut self, settings: &[&str]) -> Rack {
        let session = format!("broker.session.timeout.ms={}", SESSION_WAIT.as_millis());
        let mut all = vec![
            "default.replication.factor=3",
            "min.insync.replicas=2",
            "num.partitions=3",
            "offsets.topic.replication.factor=3",
            &session,
        ];
        all.extend(settings);
        let voters: Vec<String> = (1..=BROKERS)
            .map(|number| format!("{number}@127.0.0.1:{}", free_port()))
            .collect();
        let brokers = (1..=BROKERS)
            .map(|number| OwnPeer(Peer::of_rack(&self.folder, number, &voters.join(","), &all)))
            .collect();
        let rack = Rack(brokers);
        // None is ready before a majority is.
        thread::scope(|scope| {
            for broker in &rack.0 {
                scope.spawn(|| broker.0.restart().unwrap());
            }
        });
        let addresses: Vec<String> = rack.0.iter().map(|broker| broker.0.address()).collect();
        self.kafka = addresses.join(",");
        rack
    }

    /// Creates the topics of this fleet, which otherwise the first client of each does.
    pub fn create_topics(&self, rack: &Rack) {
        thread::scope(|scope| {
            for kind in ["tasks", "results", "status"] {
                scope.spawn(move || {
                    let words = ["--create", "--topic", &self.topic(kind)];
                    rack.0[0].0.tool("topic", &words).unwrap();
                });
            }
        });
    }
}

impl Rack {
    /// The numbers of the brokers.
    pub fn numbers() -> std::ops::RangeInclusive<u32> {
        1..=BROKERS
    }

    /// The broker with this number.
    pub fn broker(&self, number: u32) -> &Peer {
        &self.0[number as usize - 1].0
    }

    /// Deletes everything that the broker, which has been killed, has stored.
    pub fn empty_disk(&self, number: u32) {
        fs::remove_dir_all(self.broker(number).folder.join("data")).unwrap();
    }

    /// Waits until each partition has a leader and all of its replicas are in sync.
    pub fn wait_in_sync(&self) {
        wait_until("all replicas to be in sync", SOON, || {
            let partitions = self.partitions();
            let in_sync = |partition: &Value| {
                partition["isrs"].as_array().map(Vec::len) == Some(BROKERS as usize)
            };
            !partitions.is_empty() && partitions.iter().all(|(_, partition)| in_sync(partition))
        });
    }

    /// The number of the broker that leads this partition; none during an election.
    pub fn leader(&self, topic: &str, partition: u64) -> Option<u32> {
        let partitions = self.partitions();
        let found = partitions
            .iter()
            .find(|(name, known)| name == topic && known["partition"] == partition)?;
        let leader = u32::try_from(found.1["leader"].as_u64()?).ok()?;
        Some(leader).filter(|leader| Rack::numbers().contains(leader))
    }

    /// Each partition with its topic, as kcat shows them; nothing if no broker answers.
    fn partitions(&self) -> Vec<(String, Value)> {
        let addresses: Vec<String> = self.0.iter().map(|broker| broker.0.address()).collect();
        let output = kcat_command()
            .args(["-L", "-J", "-b", &addresses.join(",")])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let shown: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let topics = shown["topics"].as_array().cloned().unwrap_or_default();
        topics
            .iter()
            .flat_map(|topic| {
                let name = topic["topic"].as_str().unwrap_or_default();
                let partitions = topic["partitions"].as_array().cloned().unwrap_or_default();
                partitions
                    .into_iter()
                    .map(|partition| (name.to_owned(), partition))
            })
            .collect()
    }
}
