//! `/api/v1/servers`: the servers, from Redis.

use super::json;
use crate::claim_table::LiveServer;
use crate::scanpush::serve::route::{Answer, Context, Route};
use crate::scanpush::serve::server_list::ServerQuery;
use serde::Serialize;

/// The routes.
pub const ROUTES: &[Route] = &[Route::read("/api/v1/servers", servers)];

#[derive(Serialize)]
struct Document<'a> {
    /// When Redis was read, in unix milliseconds; 0: never.
    at_ms: u64,
    servers: &'a [LiveServer],
}

fn servers(context: &Context<'_>) -> Answer {
    let query = ServerQuery::read(context)?;
    if let Some(answer) = query.export(context) {
        return answer;
    }
    Ok(json(&Document {
        at_ms: query.snapshot.at_ms.unwrap_or(0),
        servers: &query.snapshot.servers,
    }))
}
