//! `/api/v1/servers`: the servers, from Redis.

use super::json;
use crate::claim_table::LiveServer;
use crate::scanpush::serve::route::{Answer, Context, Route};
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
    let (snapshot, _) = context.site.live.latest();
    Ok(json(&Document {
        at_ms: snapshot.at_ms,
        servers: &snapshot.servers,
    }))
}
