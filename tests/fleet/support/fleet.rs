//! A consumer group with its own topics, folder and networks, one for each test.

use super::environment::{environment, next_fleet_number};
use super::networks::network_of_fleet;
use std::fs;
use std::path::PathBuf;

/// A group with its topics, networks and folder; its servers are started by the test.
pub struct Fleet {
    pub group: String,
    pub kafka: String,
    pub redis: String,
    /// The flags of every program of this fleet about Redis; empty for `-redis` with [`Fleet::redis`], which is also how the test itself connects.
    pub redis_flags: Vec<String>,
    /// The same about Kafka: empty for `-kafka` with [`Fleet::kafka`], which is also how the test itself connects.
    pub kafka_flags: Vec<String>,
    pub folder: PathBuf,
    pub masscan: PathBuf,
    /// The flags of every scand of this fleet about the interface and router of masscan.
    pub source: &'static [&'static str],
    pub number: u32,
    /// The `-lease` of every scand of this fleet, in seconds.
    pub lease_s: u32,
}

impl Fleet {
    /// A fleet on the shared Kafka and Redis, with the real masscan in the lab.
    pub fn new(name: &str) -> Fleet {
        let environment = environment();
        let number = next_fleet_number();
        let group = format!("{name}-{number}");
        let folder = environment.folder.path().join(&group);
        fs::create_dir_all(&folder).unwrap();
        Fleet {
            group,
            kafka: environment.kafka.address(),
            redis: format!("redis://{}", environment.redis.address()),
            redis_flags: Vec::new(),
            kafka_flags: Vec::new(),
            masscan: environment.folder.path().join("lab/masscan"),
            source: &[],
            folder,
            number,
            lease_s: 3,
        }
    }

    /// The same fleet for another thread.
    pub fn clone_for_thread(&self) -> Fleet {
        Fleet {
            group: self.group.clone(),
            ..self.with_group("")
        }
    }

    /// The same Kafka and Redis for another group. It shares this fleet's folder and networks.
    pub fn with_group(&self, name: &str) -> Fleet {
        Fleet {
            group: format!("{}-{name}", self.group),
            kafka: self.kafka.clone(),
            redis: self.redis.clone(),
            redis_flags: self.redis_flags.clone(),
            kafka_flags: self.kafka_flags.clone(),
            folder: self.folder.clone(),
            masscan: self.masscan.clone(),
            ..*self
        }
    }

    /// The flags of a program about Kafka and Redis.
    pub fn connection_flags(&self) -> Vec<String> {
        let environment = environment();
        let secure = environment.secure.as_ref();
        let flags =
            |own: &[String], shared: Option<&[String]>, flag: &str, value: &str| match shared {
                _ if !own.is_empty() => own.to_vec(),
                Some(shared) => shared.to_vec(),
                None => vec![flag.to_owned(), value.to_owned()],
            };
        // Only the shared ones have secure ports.
        let kafka = secure
            .filter(|_| self.kafka == environment.kafka.address())
            .map(|secure| secure.kafka.as_slice());
        let redis = secure
            .filter(|_| self.redis == format!("redis://{}", environment.redis.address()))
            .map(|secure| secure.redis.as_slice());
        [
            flags(&self.kafka_flags, kafka, "-kafka", &self.kafka),
            flags(&self.redis_flags, redis, "-redis", &self.redis),
        ]
        .concat()
    }

    pub fn topic(&self, kind: &str) -> String {
        format!("{}-{kind}", self.group)
    }

    /// The `n`-th /24 of this fleet. No other test has it.
    pub fn network(&self, n: u32) -> String {
        network_of_fleet(self.number, n)
    }
}
