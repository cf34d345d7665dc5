//! `/api/v1/services`: services as objects of `scanpush services -json`.

use super::json;
use crate::scanpush::queries::rows::ServiceLine;
use crate::scanpush::serve::completeness::Completeness;
use crate::scanpush::serve::list_export::look;
use crate::scanpush::serve::lists::ServiceQuery;
use crate::scanpush::serve::route::{Answer, Context, Route};
use serde::Serialize;

/// The routes.
pub const ROUTES: &[Route] = &[Route::read("/api/v1/services", services)];

#[derive(Serialize)]
struct Document<'a> {
    services: Vec<ServiceLine<'a>>,
    /// The value of `after` for the next ones; null after the last.
    next: Option<String>,
    completeness: Completeness,
}

fn services(context: &Context<'_>) -> Answer {
    let query = ServiceQuery::read(context)?;
    if let Some(answer) = query.export(context) {
        return answer;
    }
    let found = query.rows(context)?;
    let look = look(context.site);
    let line = |service| ServiceLine::new(service, &look);
    Ok(json(&Document {
        services: found.rows.iter().map(line).collect(),
        next: found.next.clone(),
        completeness: Completeness::read(context, query.scope())?,
    }))
}
