//! `/api/v1/diff`: what opened and closed from one task or job to another.

use super::json;
use crate::scanpush::diff::Side;
use crate::scanpush::serve::comparison::{DiffLine, DiffQuery};
use crate::scanpush::serve::problem::Problem;
use crate::scanpush::serve::route::{Answer, Context, Route};
use serde::Serialize;

/// The routes.
pub const ROUTES: &[Route] = &[Route::read("/api/v1/diff", diff)];

#[derive(Serialize)]
struct Document {
    before: Compared,
    after: Compared,
    opened: usize,
    closed: usize,
    same: usize,
    /// Services that only the first found, where the second did not cover.
    only_before: usize,
    /// Services that only the second found, where the first did not cover.
    only_after: usize,
    changes: Vec<DiffLine>,
    /// The value of `after` for the next ones; null after the last.
    next: Option<String>,
}

/// One of the two.
#[derive(Serialize)]
struct Compared {
    /// `task a` or `job a`.
    name: String,
    /// Whether all of its tasks have completed and it covered something.
    complete: bool,
    /// Its findings, as its tasks have reported.
    found: u64,
    /// Its findings in the database.
    kept: u64,
    /// Its state and what it covered, in words.
    detail: String,
}

impl Compared {
    fn new(side: &Side) -> Compared {
        Compared {
            name: side.name(),
            complete: side.is_complete(),
            found: side.found(),
            kept: side.kept(),
            detail: side.line(),
        }
    }
}

fn diff(context: &Context<'_>) -> Answer {
    let query = DiffQuery::read(context)?;
    let report = query
        .report(context)?
        .ok_or_else(|| Problem::bad_request("give two ids of tasks or jobs: a and b"))?;
    if let Some(answer) = query.export(context, &report.value) {
        return answer;
    }
    let report = report.value;
    let (opened, closed) = report.counts();
    let found = query.rows(&report);
    Ok(json(&Document {
        before: Compared::new(&report.before),
        after: Compared::new(&report.after),
        opened,
        closed,
        same: report.comparison.same,
        only_before: report.comparison.only_before,
        only_after: report.comparison.only_after,
        changes: found.rows,
        next: found.next,
    }))
}
