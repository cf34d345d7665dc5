//! What a query asks for.

use crate::model::ports::Proto;
use crate::model::service::{Change, ChangeKind, Service, ServiceKey, ServiceState};
use crate::model::{Ports, State, Targets, TaskId};

/// Which services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceFilter {
    /// Only these addresses.
    pub networks: Option<Targets>,
    /// Only these ports.
    pub ports: Option<Ports>,
    /// Only in this state.
    pub state: Option<ServiceState>,
    /// Only those that were seen, or that closed, at or after this time, in unix seconds.
    pub since: Option<u64>,
    /// Only this protocol.
    pub proto: Option<Proto>,
    /// Only those that were first seen at or after this time, in unix seconds.
    pub new_since: Option<u64>,
    /// Only those that were first seen before this time, in unix seconds.
    pub new_until: Option<u64>,
    /// Only those that were last seen at or after this time, in unix seconds.
    pub seen_since: Option<u64>,
    /// Only those that were last seen before this time, in unix seconds.
    pub seen_until: Option<u64>,
}

/// Which changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeFilter {
    /// Only these addresses.
    pub networks: Option<Targets>,
    /// Only these ports.
    pub ports: Option<Ports>,
    /// Only this protocol.
    pub proto: Option<Proto>,
    /// Only these kinds; empty: all.
    pub kinds: Vec<ChangeKind>,
    /// Only at or after this time, in unix seconds.
    pub since: Option<u64>,
    /// Only before this time, in unix seconds.
    pub until: Option<u64>,
}

/// Which tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// Only in these states; empty: all.
    pub states: Vec<State>,
    /// Only those whose state this server reported.
    pub server: Option<String>,
    /// Only those of this job.
    pub job_id: Option<TaskId>,
    /// Only those with this text in their id, job, targets or error; ASCII letters match in both cases.
    pub text: Option<String>,
}

impl ServiceFilter {
    /// Whether this service is asked for.
    pub fn matches(&self, service: &Service) -> bool {
        has(&self.networks, &self.ports, &service.key)
            && self.proto.is_none_or(|proto| service.key.proto == proto)
            && self.state.is_none_or(|state| service.state == state)
            && self.since.is_none_or(|since| {
                let has_closed = service.state == ServiceState::Closed;
                service.last_seen >= since || (has_closed && service.state_since >= since)
            })
            && is_between(service.first_seen, self.new_since, self.new_until)
            && is_between(service.last_seen, self.seen_since, self.seen_until)
    }
}

impl ChangeFilter {
    /// Whether this change is asked for.
    pub fn matches(&self, change: &Change) -> bool {
        has(&self.networks, &self.ports, &change.key)
            && (self.kinds.is_empty() || self.kinds.contains(&change.kind))
            && self.proto.is_none_or(|proto| change.key.proto == proto)
            && is_between(change.at, self.since, self.until)
    }
}

fn is_between(at: u64, since: Option<u64>, until: Option<u64>) -> bool {
    since.is_none_or(|since| at >= since) && until.is_none_or(|until| at < until)
}

fn has(networks: &Option<Targets>, ports: &Option<Ports>, key: &ServiceKey) -> bool {
    ports
        .as_ref()
        .is_none_or(|ports| ports.contains(key.proto, key.port))
        && networks
            .as_ref()
            .is_none_or(|networks| networks.contains(key.ip))
}
