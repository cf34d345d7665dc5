//! What a query asks for.

use crate::model::service::{ChangeKind, ServiceState};
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
    /// Only this kind.
    pub kind: Option<ChangeKind>,
    /// Only at or after this time, in unix seconds.
    pub since: Option<u64>,
    /// Only before this time, in unix seconds.
    pub until: Option<u64>,
}
