//! A service: a port of an address that answered, and its state as scans found it or did not find it. Pure.
//!
//! ```text
//!            seen                 missed by N scans in a row
//! (unknown) ──────▶ open ─────────────────────────────────────▶ closed
//!                    ▲               seen again                    │
//!                    └─────────────────────────────────────────────┘
//! ```
//!
//! A scan misses a service if it completed, covered its address and port, began after the service was last seen, and did not find it. All times
//! are unix seconds: those of sightings by the clock of the server that scanned, the beginning of a scan by that of Redis.

use super::finding::{Finding, Word};
use super::ports::Proto;
use super::task::TaskId;
use super::text::Invalid;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// Difference between the clocks of servers and Redis, in seconds, up to which a scan does not miss a service that it found itself.
const CLOCK_SKEW_MAX_S: u64 = 24 * 3600;

/// What identifies a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    /// The address; never an IPv4-mapped IPv6 address.
    pub ip: IpAddr,
    /// The port, from 1.
    pub port: u16,
    /// The transport protocol.
    pub proto: Proto,
}

impl ServiceKey {
    /// The service that a finding is about.
    pub fn of(finding: &Finding) -> ServiceKey {
        ServiceKey {
            ip: finding.ip.to_canonical(),
            port: finding.port,
            proto: finding.proto,
        }
    }
}

impl fmt::Display for ServiceKey {
    /// `192.0.2.1 443/tcp`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.ip, self.port, self.proto.as_str())
    }
}

/// An address as 16 bytes whose order is that of the addresses, IPv4 as IPv4-mapped IPv6 (RFC 4291), so that a network is a range of bytes.
pub fn ordered_bytes(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// The address of [`ordered_bytes`].
pub fn address_of(bytes: [u8; 16]) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
}

/// One observation of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The service.
    pub key: ServiceKey,
    /// When it answered, in unix seconds.
    pub at: u64,
    /// The task that found it.
    pub task_id: TaskId,
    /// masscan's reason.
    pub reason: Word,
    /// Time to live of the answer, in hops.
    pub ttl: u8,
}

/// Whether a service is open, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServiceState {
    /// It answered, and too few scans have missed it since.
    Open,
    /// Enough scans in a row have missed it.
    Closed,
}

impl ServiceState {
    /// The name in the database and in output.
    pub fn as_str(self) -> &'static str {
        match self {
            ServiceState::Open => "open",
            ServiceState::Closed => "closed",
        }
    }
}

impl FromStr for ServiceState {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<ServiceState, Invalid> {
        [ServiceState::Open, ServiceState::Closed]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| Invalid::new(text, "is not a state of a service: open or closed"))
    }
}

/// How often scans in a row have missed a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Misses {
    /// The number of scans.
    pub count: u32,
    /// The beginning of the first of them if the service is open, of the last if it is closed. A sighting from then on refutes them.
    pub since: u64,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// What identifies it.
    pub key: ServiceKey,
    /// The earliest sighting.
    pub first_seen: u64,
    /// The latest sighting.
    pub last_seen: u64,
    /// The task of the latest sighting.
    pub last_task: TaskId,
    /// The reason of the latest sighting.
    pub reason: Word,
    /// Time to live of the latest sighting, in hops.
    pub ttl: u8,
    /// Open or closed.
    pub state: ServiceState,
    /// Since when it is in this state: the sighting that opened it, or the end of the scan that closed it.
    pub state_since: u64,
    /// Scans that missed it since it was last seen.
    pub misses: Misses,
}

/// The kinds of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// It was seen for the first time.
    Opened,
    /// Enough scans in a row have missed it.
    Closed,
    /// It was seen again after it had closed.
    Reopened,
}

impl ChangeKind {
    /// All kinds.
    pub const ALL: [ChangeKind; 3] = [ChangeKind::Opened, ChangeKind::Closed, ChangeKind::Reopened];

    /// The name in the database and in output.
    pub fn as_str(self) -> &'static str {
        match self {
            ChangeKind::Opened => "opened",
            ChangeKind::Closed => "closed",
            ChangeKind::Reopened => "reopened",
        }
    }
}

impl FromStr for ChangeKind {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<ChangeKind, Invalid> {
        ChangeKind::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| Invalid::new(text, "is not a change: opened, closed or reopened"))
    }
}

/// A change of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The service.
    pub key: ServiceKey,
    /// What changed.
    pub kind: ChangeKind,
    /// When: the sighting, or the end of the scan that missed it last.
    pub at: u64,
    /// The task that showed it.
    pub task_id: TaskId,
}

/// What a sighting adds to the list of changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing.
    Known,
    /// A new change.
    Changed(Change),
    /// An earlier sighting was read late: the service had opened at this change instead of at a later one.
    OpenedEarlier(Change),
}

/// A completed scan that covered a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoveringScan {
    /// The task; of a sharded job, the shard that completed last.
    pub task_id: TaskId,
    /// The other shards of a sharded job.
    pub other_shards: Vec<TaskId>,
    /// When it began.
    pub begun: u64,
    /// When it ended.
    pub ended: u64,
}

/// What a scan that did not find a service means for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missed {
    /// Nothing: it is closed already, the scan found it, or the scan began before it was last seen.
    Unchanged,
    /// One more scan has missed it.
    Counted,
    /// It counts as closed now.
    Closed(Change),
}

impl Service {
    /// A service at its first sighting, and the change.
    pub fn new(sighting: &Sighting) -> (Service, Change) {
        let service = Service {
            key: sighting.key,
            first_seen: sighting.at,
            last_seen: sighting.at,
            last_task: sighting.task_id.clone(),
            reason: sighting.reason.clone(),
            ttl: sighting.ttl,
            state: ServiceState::Open,
            state_since: sighting.at,
            misses: Misses::default(),
        };
        (service, change(sighting, ChangeKind::Opened))
    }

    /// Takes a further sighting, in any order of time.
    pub fn see(&mut self, sighting: &Sighting) -> Seen {
        let mut seen = Seen::Known;
        if sighting.at < self.first_seen {
            if self.state == ServiceState::Open && self.state_since == self.first_seen {
                self.state_since = sighting.at;
            }
            self.first_seen = sighting.at;
            seen = Seen::OpenedEarlier(change(sighting, ChangeKind::Opened));
        }
        if sighting.at >= self.last_seen {
            self.last_seen = sighting.at;
            self.last_task = sighting.task_id.clone();
            self.reason = sighting.reason.clone();
            self.ttl = sighting.ttl;
        }
        let refutes_misses = self.misses.count > 0 && sighting.at >= self.misses.since;
        if refutes_misses {
            self.misses = Misses::default();
            if self.state == ServiceState::Closed {
                self.state = ServiceState::Open;
                self.state_since = sighting.at;
                return Seen::Changed(change(sighting, ChangeKind::Reopened));
            }
        }
        seen
    }

    /// Takes a completed scan that covered the service, after all of its findings. The service closes with the scan number `closed_after`, from
    /// 1, that missed it in a row.
    pub fn miss(&mut self, scan: &CoveringScan, closed_after: u32) -> Missed {
        // A server whose clock is behind may have found it before the scan began. An id may have been used for an earlier scan too.
        let is_own = self.last_task == scan.task_id || scan.other_shards.contains(&self.last_task);
        let was_found = self.last_seen >= scan.begun
            || (is_own && self.last_seen + CLOCK_SKEW_MAX_S >= scan.begun);
        if self.state == ServiceState::Closed || was_found {
            return Missed::Unchanged;
        }
        self.misses = match self.misses.count {
            0 => Misses {
                count: 1,
                since: scan.begun,
            },
            count => Misses {
                count: count.saturating_add(1),
                since: self.misses.since.min(scan.begun),
            },
        };
        if self.misses.count < closed_after {
            return Missed::Counted;
        }
        self.state = ServiceState::Closed;
        self.state_since = scan.ended;
        self.misses.since = scan.begun;
        Missed::Closed(Change {
            key: self.key,
            kind: ChangeKind::Closed,
            at: scan.ended,
            task_id: scan.task_id.clone(),
        })
    }
}

fn change(sighting: &Sighting, kind: ChangeKind) -> Change {
    Change {
        key: sighting.key,
        kind,
        at: sighting.at,
        task_id: sighting.task_id.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(text: &str) -> TaskId {
        text.parse().unwrap()
    }

    fn sighting(task: &str, at: u64) -> Sighting {
        Sighting {
            key: ServiceKey {
                ip: "192.0.2.1".parse().unwrap(),
                port: 443,
                proto: Proto::Tcp,
            },
            at,
            task_id: id(task),
            reason: "syn-ack".parse().unwrap(),
            ttl: 64,
        }
    }

    fn scan(task: &str, begun: u64, ended: u64) -> CoveringScan {
        CoveringScan {
            task_id: id(task),
            other_shards: vec![id("shard-1")],
            begun,
            ended,
        }
    }

    /// What happens to a service, as one letter each: `s TASK TIME` seen, `m TASK BEGUN ENDED` missed.
    fn history(events: &[&str], closed_after: u32) -> (Service, Vec<String>) {
        let mut service: Option<Service> = None;
        let mut changes = Vec::new();
        for event in events {
            let words: Vec<&str> = event.split(' ').collect();
            let number = |n: usize| words[n].parse::<u64>().unwrap();
            let change = match (words[0], &mut service) {
                ("s", None) => {
                    let (new, change) = Service::new(&sighting(words[1], number(2)));
                    service = Some(new);
                    Some(change)
                }
                ("s", Some(service)) => match service.see(&sighting(words[1], number(2))) {
                    Seen::Known => None,
                    Seen::Changed(change) | Seen::OpenedEarlier(change) => Some(change),
                },
                (_, Some(service)) => {
                    match service.miss(&scan(words[1], number(2), number(3)), closed_after) {
                        Missed::Closed(change) => Some(change),
                        Missed::Counted | Missed::Unchanged => None,
                    }
                }
                (_, None) => None,
            };
            changes.extend(change.map(|change| {
                format!("{} {} {}", change.kind.as_str(), change.task_id, change.at)
            }));
        }
        (service.unwrap(), changes)
    }

    #[test]
    fn a_service_closes_after_n_scans_in_a_row_that_missed_it() {
        for (events, changes) in [
            (&["s a 10"][..], &["opened a 10"][..]),
            (&["s a 10", "s b 20"], &["opened a 10"]),
            (&["s a 10", "m b 20 29"], &["opened a 10"]),
            (
                &["s a 10", "m b 20 29", "m c 30 39"],
                &["opened a 10", "closed c 39"],
            ),
            // Seen in between.
            (
                &["s a 10", "m b 20 29", "s c 30", "m d 40 49"],
                &["opened a 10"],
            ),
            // A closed service does not close again.
            (
                &["s a 10", "m b 20 29", "m c 30 39", "m d 40 49"],
                &["opened a 10", "closed c 39"],
            ),
            (
                &["s a 10", "m b 20 29", "m c 30 39", "s d 45", "m e 50 59"],
                &["opened a 10", "closed c 39", "reopened d 45"],
            ),
            // The scan began before the service was last seen, or in the same second.
            (
                &["s a 10", "m b 9 29", "m c 10 39", "m d 11 40"],
                &["opened a 10"],
            ),
            // It found the service, but with an earlier time by the clock of another server.
            (&["s a 10", "m a 20 29", "m a 20 29"], &["opened a 10"]),
            (
                &["s shard-1 10", "m b 20 29", "m b 20 29"],
                &["opened shard-1 10"],
            ),
            // The same id was used for an earlier scan.
            (
                &["s a 10", "m a 600000 600009", "m a 700000 700009"],
                &["opened a 10", "closed a 700009"],
            ),
        ] {
            assert_eq!(history(events, 2).1, changes, "{events:?}");
        }
        let (service, changes) = history(&["s a 10", "m b 20 29"], 1);
        assert_eq!(changes, ["opened a 10", "closed b 29"]);
        assert_eq!(
            (service.state, service.state_since, service.last_seen),
            (ServiceState::Closed, 29, 10)
        );
    }

    #[test]
    fn a_late_sighting_refutes_only_scans_that_began_before_it() {
        // After the first miss had begun: it does not count any more.
        let (service, changes) = history(&["s a 10", "m b 20 29", "s x 25", "m c 30 39"], 2);
        assert_eq!(changes, ["opened a 10"]);
        assert_eq!(
            service.misses,
            Misses {
                count: 1,
                since: 30
            }
        );
        // Before it: the miss still counts.
        let (_, changes) = history(&["s a 10", "m b 20 29", "s x 15", "m c 30 39"], 2);
        assert_eq!(changes, ["opened a 10", "closed c 39"]);
        // A closed service stays closed if the scan that closed it began later.
        let (service, changes) = history(&["s a 10", "m b 20 29", "m c 30 39", "s x 25"], 2);
        assert_eq!(changes, ["opened a 10", "closed c 39"]);
        assert_eq!(
            (service.state, service.last_seen),
            (ServiceState::Closed, 25)
        );
    }

    #[test]
    fn the_latest_sighting_describes_the_service_and_the_earliest_opens_it() {
        let (service, changes) = history(&["s b 20", "s c 30", "s a 10"], 2);
        assert_eq!(changes, ["opened b 20", "opened a 10"]);
        assert_eq!(
            (service.first_seen, service.last_seen, service.state_since),
            (10, 30, 10)
        );
        assert_eq!(service.last_task, id("c"));
    }

    proptest! {
        #[test]
        fn the_order_of_sightings_does_not_matter(times in prop::collection::vec(0u64..100, 1..8)) {
            let run = |times: &[u64]| {
                let (mut service, _) = Service::new(&sighting("a", times[0]));
                for at in &times[1..] {
                    service.see(&sighting("a", *at));
                }
                service
            };
            let mut sorted = times.clone();
            sorted.sort_unstable();
            prop_assert_eq!(run(&times), run(&sorted));
        }

        #[test]
        fn bytes_of_addresses_are_ordered_and_read_back(a in any::<[u8; 16]>(), b in any::<[u8; 4]>()) {
            let (six, four) = (IpAddr::from(a).to_canonical(), IpAddr::from(b));
            prop_assert_eq!(address_of(ordered_bytes(six)), six);
            prop_assert_eq!(address_of(ordered_bytes(four)), four);
            let next = IpAddr::from(u32::from_be_bytes(b).saturating_add(1).to_be_bytes());
            prop_assert!(ordered_bytes(four) <= ordered_bytes(next));
        }
    }

    #[test]
    fn names_parse_back() {
        for kind in ChangeKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        assert!("opend".parse::<ChangeKind>().is_err());
        assert_eq!("closed".parse(), Ok(ServiceState::Closed));
        assert!("shut".parse::<ServiceState>().is_err());
    }
}
