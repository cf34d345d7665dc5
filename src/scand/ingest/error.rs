//! The errors of ingestion.

use crate::claim_table::ClaimTableError;
use crate::kafka::KafkaError;
use std::fmt;

/// An error that ends the round; the next round starts over.
pub(super) enum IngestError {
    Kafka(KafkaError),
    ClaimTable(ClaimTableError),
}

impl fmt::Display for IngestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IngestError::Kafka(error) => error.fmt(f),
            IngestError::ClaimTable(error) => error.fmt(f),
        }
    }
}

impl From<KafkaError> for IngestError {
    fn from(error: KafkaError) -> IngestError {
        IngestError::Kafka(error)
    }
}

impl From<ClaimTableError> for IngestError {
    fn from(error: ClaimTableError) -> IngestError {
        IngestError::ClaimTable(error)
    }
}
