//! The list of servers, for the page and the API.

use super::list_export;
use super::lists::RECORD_FORMAT;
use super::live::Snapshot;
use super::problem::Problem;
use super::route::{Answer, Context};
use crate::flags::Flag;
use crate::scanpush::queries::writer::RecordFormat;
use std::sync::Arc;

/// The fields of a query.
pub const FIELDS: &[Flag] = &[RECORD_FORMAT];

/// A question for servers.
#[derive(Debug)]
pub struct ServerQuery {
    /// What Redis showed last.
    pub snapshot: Arc<Snapshot>,
    format: Option<RecordFormat>,
}

impl ServerQuery {
    /// Reads the query of a request.
    pub fn read(context: &Context<'_>) -> Result<ServerQuery, Problem> {
        let mut reader = context.query(FIELDS)?;
        let format = reader.optional(&RECORD_FORMAT, str::parse)?;
        reader.finish()?;
        let (snapshot, _) = context.site.live.latest();
        Ok(ServerQuery { snapshot, format })
    }

    /// The servers as a document, if a format is asked for. Errs with 503 if Redis has not been read yet.
    pub fn export(&self, context: &Context<'_>) -> Option<Answer> {
        let format = self.format?;
        let servers = self.snapshot.servers.clone();
        Some(match self.snapshot.at_ms {
            None => Err(Problem::unavailable("Redis has not been read yet")),
            Some(_) => list_export::records(context, "servers", format, servers),
        })
    }
}
