//! An error of Kafka or of Redis, for threads that use both.

use crate::claim_table::ClaimTableError;
use crate::kafka::KafkaError;
use std::fmt;

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
