//! Looks up the addresses of Kafka and Redis, which a server excludes from its scans (`model/default_exclusions.rs`).
//!
//! Known are the brokers of `-kafka` and those that Kafka names, the hosts of `-redis`, the server of Redis that answers, and its replicas. Brokers
//! and replicas that are added later are found with the next look-up.

use crate::claim_table::ClaimTable;
use crate::connection::Connection;
use crate::kafka;
use crate::model::backoff::CLIENT_WAIT;
use crate::model::default_exclusions::PeerAddresses;
use crate::model::text::one_line;
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};

/// Most servers of Kafka and of Redis that are looked up, each.
const PEERS_MAX: usize = 1000;

/// The addresses that were found.
#[derive(Debug, Default)]
pub struct FoundPeers {
    /// Each with what it is.
    pub addresses: PeerAddresses,
    /// What could not be looked up and why, one line each.
    pub problems: Vec<String>,
}

/// Looks up the addresses, one after the other. May take seconds for each of Kafka, Redis and the host names that does not answer.
pub fn find(connection: &Connection) -> FoundPeers {
    let mut found = FoundPeers::default();
    let mut brokers: BTreeSet<String> = connection
        .kafka
        .brokers()
        .addresses()
        .iter()
        .cloned()
        .collect();
    match kafka::broker_addresses(&connection.kafka, CLIENT_WAIT) {
        Ok(named) => brokers.extend(named),
        Err(error) => found.note("Kafka's brokers are not known", &error.to_string()),
    }
    found.look_up("Kafka", &brokers);
    let mut hosts: BTreeSet<String> = connection.redis.addresses().into_iter().collect();
    let mut table = ClaimTable::new(&connection.redis, connection.group.as_str());
    match table.addresses() {
        Ok(named) => hosts.extend(named),
        Err(error) => found.note("the servers of Redis are not known", &error.to_string()),
    }
    found.look_up("Redis", &hosts);
    found
}

impl FoundPeers {
    /// Looks up each `HOST:PORT`.
    fn look_up(&mut self, service: &str, hosts: &BTreeSet<String>) {
        if hosts.len() > PEERS_MAX {
            let why = format!("{} addresses, at most {PEERS_MAX}", hosts.len());
            self.note(&format!("not all servers of {service} are looked up"), &why);
        }
        for host in hosts.iter().take(PEERS_MAX) {
            match addresses_of(host) {
                Ok(addresses) => {
                    let name = format!("{service} {}", one_line(host));
                    for address in addresses {
                        self.addresses.add(address.into(), &name);
                    }
                }
                Err(error) => {
                    let what = format!("{service} {} cannot be looked up", one_line(host));
                    self.note(&what, &error.to_string());
                }
            }
        }
    }

    fn note(&mut self, what: &str, why: &str) {
        self.problems.push(format!(
            "{what}, so they may be scanned until a later look-up finds them: {}",
            one_line(why)
        ));
    }
}

/// The addresses of `HOST:PORT`; an IPv6 address may be without brackets, as a broker may name itself.
fn addresses_of(text: &str) -> io::Result<Vec<IpAddr>> {
    let (host, _port) = text.rsplit_once(':').unwrap_or((text, ""));
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let found = (host, 0).to_socket_addrs()?;
    Ok(found.map(|address| address.ip()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_become_addresses_and_others_a_problem() {
        let hosts = ["192.0.2.7:9092", "[2001:db8::7]:9092", "2001:db8::8:9092"];
        let mut found = FoundPeers::default();
        found.look_up("Kafka", &hosts.map(str::to_owned).into());
        assert_eq!(
            found.addresses.summary(),
            "192.0.2.7 (Kafka 192.0.2.7:9092), 2001:db8::7 (Kafka [2001:db8::7]:9092), 2001:db8::8 (Kafka 2001:db8::8:9092)"
        );
        assert_eq!(found.problems, Vec::<String>::new());
        found.look_up("Redis", &["no such host\n:6379".to_owned()].into());
        assert_eq!(found.problems.len(), 1);
        assert!(found.problems[0].starts_with("Redis no such host"));
        assert!(!found.problems[0].contains('\n'));
    }
}
