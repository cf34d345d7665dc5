//! `/api/v1/network`: the map of an IPv4 network.

use super::json;
use crate::scanpush::serve::completeness::Completeness;
use crate::scanpush::serve::list_records::PartRecord;
use crate::scanpush::serve::network_map::MapQuery;
use crate::scanpush::serve::problem::Problem;
use crate::scanpush::serve::route::{Answer, Context, Route};
use serde::Serialize;

/// The routes.
pub const ROUTES: &[Route] = &[Route::read("/api/v1/network", network)];

#[derive(Serialize)]
struct Document {
    network: String,
    open: u64,
    /// The parts with open services, by address.
    parts: Vec<PartRecord>,
    completeness: Completeness,
}

fn network(context: &Context<'_>) -> Answer {
    let query = MapQuery::read(context)?;
    let Some(map) = query.map(context)? else {
        return Err(Problem::bad_request(
            "give an IPv4 network: net=10.1.0.0/16",
        ));
    };
    if let Some(answer) = query.export(context, &map) {
        return answer;
    }
    Ok(json(&Document {
        network: map.network.to_string(),
        open: map.open(),
        parts: map.parts(),
        completeness: Completeness::read(context, (Some(&map.targets()), None))?,
    }))
}
