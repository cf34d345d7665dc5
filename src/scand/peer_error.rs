//! An error of Kafka or of Redis, for threads that use both.

use crate::claim_table::ClaimTableError;
use crate::kafka::{KafkaError, SendError};
use crate::scand::metrics::Peer;
use std::fmt;

/// Why a call failed, and which of the two is to blame.
pub(in crate::scand) trait Cause: fmt::Display {
    /// Kafka or Redis.
    fn peer(&self) -> Peer;

    /// Whether it means that the peer is not reachable, not that it answered with something that cannot be used.
    fn is_unreachable(&self) -> bool {
        true
    }
}

impl Cause for KafkaError {
    fn peer(&self) -> Peer {
        Peer::Kafka
    }
}

impl Cause for SendError {
    fn peer(&self) -> Peer {
        Peer::Kafka
    }
}

impl Cause for ClaimTableError {
    fn peer(&self) -> Peer {
        Peer::Redis
    }
}

impl Cause for PeerError {
    fn peer(&self) -> Peer {
        match self {
            PeerError::Kafka(_) => Peer::Kafka,
            PeerError::ClaimTable(_) => Peer::Redis,
        }
    }
}

/// Why a partition of Kafka cannot be read, as a text.
pub(in crate::scand) struct PartitionTrouble<'a> {
    pub reason: &'a dyn fmt::Display,
    /// Its broker does not answer, or it has none; else it has records that cannot be read.
    pub is_away: bool,
}

impl fmt::Display for PartitionTrouble<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl Cause for PartitionTrouble<'_> {
    fn peer(&self) -> Peer {
        Peer::Kafka
    }

    fn is_unreachable(&self) -> bool {
        self.is_away
    }
}

/// It ends what the thread was doing; the thread starts over after a pause.
pub(in crate::scand) enum PeerError {
    Kafka(KafkaError),
    ClaimTable(ClaimTableError),
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerError::Kafka(error) => error.fmt(f),
            PeerError::ClaimTable(error) => error.fmt(f),
        }
    }
}

impl From<KafkaError> for PeerError {
    fn from(error: KafkaError) -> PeerError {
        PeerError::Kafka(error)
    }
}

impl From<ClaimTableError> for PeerError {
    fn from(error: ClaimTableError) -> PeerError {
        PeerError::ClaimTable(error)
    }
}
