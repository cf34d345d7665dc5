//! `/api/v1/statistics`: what the database has, as it was counted last.

use super::json;
use crate::scanpush::serve::problem::Problem;
use crate::scanpush::serve::route::{Answer, Context, Route};
use crate::store::Statistics;
use serde::Serialize;

/// The routes.
pub const ROUTES: &[Route] = &[Route::read("/api/v1/statistics", statistics)];

#[derive(Serialize)]
struct Document<'a> {
    /// When it was counted, in unix milliseconds.
    at_ms: u64,
    #[serde(flatten)]
    statistics: &'a Statistics,
}

fn statistics(context: &Context<'_>) -> Answer {
    context.query(&[])?;
    let counted = context.site.statistics.latest().ok_or_else(|| {
        Problem::unavailable("nothing was counted yet: the first count is made after the start")
    })?;
    Ok(json(&Document {
        at_ms: counted.at_ms,
        statistics: &counted.statistics,
    }))
}
