//! Flags that every command of scanpush takes.

use crate::claim_table::RedisUrl;
use crate::flags::shared::{GROUP, KAFKA, REDIS, TOPIC};
use crate::flags::{Flag, Reader};
use crate::kafka::Brokers;
use crate::model::{GroupName, Invalid, TopicName};

/// The flag for machine-readable output.
pub const JSON: Flag = Flag::switch("--json", "print each task as one line of JSON");

/// Where Kafka and Redis are. A command that needs only one of them accepts and checks the other flags too, because a shell alias may
/// contain them.
#[derive(Debug)]
pub struct Connection {
    /// The brokers to connect to first.
    pub kafka: Brokers,
    /// Redis, with its password.
    pub redis: RedisUrl,
    /// Topic of tasks.
    pub topic: TopicName,
    /// The servers' group.
    pub group: GroupName,
}

impl Connection {
    /// Takes the flags of [`CONNECTION`](crate::flags::shared::CONNECTION).
    pub fn read(reader: &mut Reader) -> Result<Connection, Invalid> {
        Ok(Connection {
            kafka: reader.value(&KAFKA, str::parse)?,
            redis: reader.value(&REDIS, str::parse)?,
            topic: reader.value(&TOPIC, str::parse)?,
            group: reader.value(&GROUP, str::parse)?,
        })
    }
}
