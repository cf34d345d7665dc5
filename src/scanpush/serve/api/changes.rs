//! `/api/v1/changes`: changes as objects of `scanpush changes -json`, newest first.

use super::json;
use crate::scanpush::queries::rows::ChangeLine;
use crate::scanpush::serve::completeness::Completeness;
use crate::scanpush::serve::list_export::look;
use crate::scanpush::serve::lists::ChangeQuery;
use crate::scanpush::serve::route::{Answer, Context, Route};
use serde::Serialize;

/// The routes.
pub const ROUTES: &[Route] = &[Route::read("/api/v1/changes", changes)];

#[derive(Serialize)]
struct Document<'a> {
    changes: Vec<ChangeLine<'a>>,
    /// The value of `after` for the next ones; null after the last.
    next: Option<String>,
    completeness: Completeness,
}

fn changes(context: &Context<'_>) -> Answer {
    let query = ChangeQuery::read(context)?;
    if let Some(answer) = query.export(context) {
        return answer;
    }
    let found = query.rows(context)?;
    let look = look(context.site);
    let changes = found.rows.iter();
    Ok(json(&Document {
        changes: changes
            .map(|found| ChangeLine::new(&found.change, &look))
            .collect(),
        next: found.next.clone(),
        completeness: Completeness::read(context, query.scope())?,
    }))
}
