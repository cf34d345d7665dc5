//! Whether Kafka and Redis answer: what this server cannot do with them now. Pure.

use super::labels::{Operation, Peer};
use crate::sync::lock;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

/// The purpose of the first connection to Kafka.
pub const REACH_KAFKA: &str = "reach Kafka";
/// The purpose of the first connection to Redis.
pub const REACH_REDIS: &str = "reach Redis";

/// What could not be done, by its purpose in the log, with the peer that is to blame and the error.
#[derive(Debug)]
pub(super) struct Peers(Mutex<BTreeMap<String, (Peer, String)>>);

impl Peers {
    /// Before the first connection.
    pub(super) fn new() -> Peers {
        let not_yet = |peer, purpose: &str| {
            let error = "no answer since this server started".to_owned();
            (purpose.to_owned(), (peer, error))
        };
        Peers(Mutex::new(BTreeMap::from([
            not_yet(Peer::Kafka, REACH_KAFKA),
            not_yet(Peer::Redis, REACH_REDIS),
        ])))
    }

    /// `purpose` failed. Only what is repeated until it succeeds is remembered.
    pub(super) fn failed(&self, purpose: &str, operation: Operation, peer: Peer, error: &str) {
        if operation.is_repeated() {
            let error = error.to_owned();
            self.lock().insert(purpose.to_owned(), (peer, error));
        }
    }

    /// `purpose` succeeded.
    pub(super) fn succeeded(&self, purpose: &str) {
        self.lock().remove(purpose);
    }

    /// Why a peer is not reachable; none if it is.
    pub(super) fn fault(&self, peer: Peer) -> Option<String> {
        let all = self.lock();
        all.iter()
            .find(|(_, (to_blame, _))| *to_blame == peer)
            .map(|(purpose, (_, error))| format!("cannot {purpose}: {error}"))
    }

    /// A panic elsewhere leaves the list complete.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, (Peer, String)>> {
        lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_reachable_once_everything_that_failed_has_succeeded() {
        let peers = Peers::new();
        assert!(peers.fault(Peer::Kafka).is_some() && peers.fault(Peer::Redis).is_some());
        peers.succeeded("reach Kafka");
        peers.succeeded("reach Redis");
        assert_eq!(peers.fault(Peer::Kafka), None);
        peers.failed("read tasks", Operation::ReadTasks, Peer::Kafka, "refused");
        peers.failed("claim tasks", Operation::Claim, Peer::Redis, "refused");
        peers.failed("write progress", Operation::WriteProgress, Peer::Redis, "x");
        let fault = "cannot read tasks: refused".to_owned();
        assert_eq!(peers.fault(Peer::Kafka), Some(fault));
        peers.succeeded("read tasks");
        peers.succeeded("claim tasks");
        assert_eq!(peers.fault(Peer::Kafka), None);
        assert_eq!(peers.fault(Peer::Redis), None, "progress is not repeated");
    }
}
