//! What a query asks for.

use crate::model::service::{Change, ChangeKind, Service, ServiceKey, ServiceState};
use crate::model::{Ports, Targets};

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
    /// Only those that were first seen at or after this time, in unix seconds.
    pub new_since: Option<u64>,
}

/// Which changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeFilter {
    /// Only these addresses.
    pub networks: Option<Targets>,
    /// Only these ports.
    pub ports: Option<Ports>,
    /// Only these kinds; empty: all.
    pub kinds: Vec<ChangeKind>,
    /// Only at or after this time, in unix seconds.
    pub since: Option<u64>,
    /// Only before this time, in unix seconds.
    pub until: Option<u64>,
}

impl ServiceFilter {
    /// Whether this service is asked for.
    pub fn matches(&self, service: &Service) -> bool {
        has(&self.networks, &self.ports, &service.key)
            && self.state.is_none_or(|state| service.state == state)
            && self.since.is_none_or(|since| {
                let has_closed = service.state == ServiceState::Closed;
                service.last_seen >= since || (has_closed && service.state_since >= since)
            })
            && self
                .new_since
                .is_none_or(|since| service.first_seen >= since)
    }
}

impl ChangeFilter {
    /// Whether this change is asked for.
    pub fn matches(&self, change: &Change) -> bool {
        has(&self.networks, &self.ports, &change.key)
            && (self.kinds.is_empty() || self.kinds.contains(&change.kind))
            && self.since.is_none_or(|since| change.at >= since)
            && self.until.is_none_or(|until| change.at < until)
    }
}

fn has(networks: &Option<Targets>, ports: &Option<Ports>, key: &ServiceKey) -> bool {
    ports
        .as_ref()
        .is_none_or(|ports| ports.contains(key.proto, key.port))
        && networks
            .as_ref()
            .is_none_or(|networks| networks.contains(key.ip))
}
