//! What a completed scan covered: its targets less its exclusions and those of its server, and its ports. Pure.
//!
//! A shard alone covers nothing that could be named: which probes are its own depends on masscan's probe order. All shards of a job cover together
//! what one task with the same parameters would have covered.

use super::ports::{Ports, Proto};
use super::service::ServiceKey;
use super::targets::Targets;
use super::task::Shard;
use super::text::Invalid;
use std::collections::BTreeSet;
use std::str::FromStr;

/// What a completed scan probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// The addresses.
    pub targets: Targets,
    /// The ports of each address.
    pub ports: Ports,
}

impl Coverage {
    /// Whether the scan probed this service.
    pub fn contains(&self, key: &ServiceKey) -> bool {
        self.has_port(key.proto, key.port) && self.targets.contains(key.ip)
    }

    /// Whether the scan probed this port.
    pub fn has_port(&self, proto: Proto, port: u16) -> bool {
        self.ports.contains(proto, port)
    }
}

/// What a completed task proves, as the column `proof` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// The services that it covered and did not find were missed.
    Covered,
    /// It is a shard, and others of its job have not completed.
    WaitsForShards,
    /// Nothing: what it scanned is unknown, because Kafka had removed its record before it was read.
    UnknownRecord,
    /// Nothing: its `completed` record does not say that all findings are there, or not when the scan began.
    Inconclusive,
    /// Nothing: Kafka had removed findings from its time before they were read.
    FindingsLost,
    /// Nothing: it is a shard without a job.
    ShardWithoutJob,
}

impl Proof {
    /// All of them.
    const ALL: [Proof; 6] = [
        Proof::Covered,
        Proof::WaitsForShards,
        Proof::UnknownRecord,
        Proof::Inconclusive,
        Proof::FindingsLost,
        Proof::ShardWithoutJob,
    ];

    /// The text in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Proof::Covered => "covered",
            Proof::WaitsForShards => "waits for shards",
            Proof::UnknownRecord => "nothing: record unknown",
            Proof::Inconclusive => "nothing: answers may be missing",
            Proof::FindingsLost => "nothing: findings lost",
            Proof::ShardWithoutJob => "nothing: shard without job",
        }
    }
}

impl FromStr for Proof {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Proof, Invalid> {
        Proof::ALL
            .into_iter()
            .find(|proof| proof.as_str() == text)
            .ok_or_else(|| Invalid::new(text, "is not a proof of a scan"))
    }
}

/// What decides which probes a scan sends, as text. Shards of a job belong together if all of it is equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanParameters {
    /// The task's targets.
    pub ip_range: String,
    /// The task's ports.
    pub ports: String,
    /// The task's exclusions.
    pub exclude: Option<String>,
    /// The addresses that the server left out.
    pub server_exclude: Option<String>,
    /// The seed of the probe order.
    pub seed: i64,
}

impl ScanParameters {
    /// What a scan with these parameters covers. Errs if a text is not what a task has.
    pub fn coverage(&self) -> Result<Coverage, Invalid> {
        let mut targets: Targets = self.ip_range.parse()?;
        for excluded in [&self.exclude, &self.server_exclude].into_iter().flatten() {
            targets = targets.without(&list(excluded)?);
        }
        Ok(Coverage {
            targets,
            ports: self.ports.parse()?,
        })
    }
}

/// The addresses of a list that this program wrote. Unlike those of a task it may have more than 4096 entries.
fn list(text: &str) -> Result<Targets, Invalid> {
    let ranges: Result<Vec<_>, Invalid> = text
        .split(',')
        .filter(|item| !item.is_empty())
        .map(str::parse)
        .collect();
    Ok(Targets::from_ranges(ranges?))
}

/// Whether `shards` are all shards of a division into `count`.
pub fn are_complete(count: u32, shards: impl IntoIterator<Item = Shard>) -> bool {
    let indices: BTreeSet<u32> = shards
        .into_iter()
        .filter(|shard| shard.count == count)
        .map(|shard| shard.index)
        .collect();
    indices.len() == count as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(exclude: Option<&str>, server_exclude: Option<&str>) -> ScanParameters {
        ScanParameters {
            ip_range: "192.0.2.0/24".into(),
            ports: "80,U:53".into(),
            exclude: exclude.map(str::to_owned),
            server_exclude: server_exclude.map(str::to_owned),
            seed: 1,
        }
    }

    fn key(ip: &str, port: u16, proto: Proto) -> ServiceKey {
        ServiceKey {
            ip: ip.parse().unwrap(),
            port,
            proto,
        }
    }

    #[test]
    fn exclusions_of_task_and_server_are_not_covered() {
        let coverage = parameters(Some("192.0.2.1"), Some("192.0.2.128/25"))
            .coverage()
            .unwrap();
        for (key, is_covered) in [
            (key("192.0.2.2", 80, Proto::Tcp), true),
            (key("192.0.2.2", 53, Proto::Udp), true),
            (key("192.0.2.2", 53, Proto::Tcp), false),
            (key("192.0.2.1", 80, Proto::Tcp), false),
            (key("192.0.2.200", 80, Proto::Tcp), false),
            (key("198.51.100.1", 80, Proto::Tcp), false),
        ] {
            assert_eq!(coverage.contains(&key), is_covered, "{key}");
        }
        // A server that leaves out everything covers nothing.
        let nothing = parameters(None, Some("192.0.2.0/24")).coverage().unwrap();
        assert!(nothing.targets.is_empty());
        assert!(parameters(Some("x"), None).coverage().is_err());
    }

    #[test]
    fn a_server_may_leave_out_more_ranges_than_a_task_may_have() {
        let many: Vec<String> = (0..5000u32)
            .map(|n| std::net::Ipv4Addr::from(n * 2).to_string())
            .collect();
        assert!(parameters(None, Some(&many.join(","))).coverage().is_ok());
    }

    #[test]
    fn proofs_parse_back() {
        for proof in Proof::ALL {
            assert_eq!(proof.as_str().parse(), Ok(proof));
        }
        assert!("nothing".parse::<Proof>().is_err());
    }

    #[test]
    fn shards_are_complete_when_each_index_is_there() {
        let shard = |text: &str| text.parse::<Shard>().unwrap();
        for (shards, complete) in [
            (&["1/3", "2/3", "3/3"][..], true),
            (&["1/3", "3/3", "3/3"], false),
            (&["1/3", "2/3", "3/4"], false),
            (&[], false),
        ] {
            let shards = shards.iter().map(|text| shard(text));
            assert_eq!(are_complete(3, shards), complete);
        }
    }
}
