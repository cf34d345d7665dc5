//! The page that compares two tasks or jobs.

use super::kept::or_last;
use super::rows::Pager;
use crate::http_server::Response;
use crate::scanpush::diff::{Report, Side};
use crate::scanpush::serve::comparison::{DiffLine, DiffQuery};
use crate::scanpush::serve::layout::{Layout, page};
use crate::scanpush::serve::links::{self, Values};
use crate::scanpush::serve::memo::Remembered;
use crate::scanpush::serve::problem::Problem;
use crate::scanpush::serve::route::{Answer, Context, Route};
use askama::Template;
use http::StatusCode;

/// `/diff`
pub const ROUTES: &[Route] = &[Route::read("/diff", |context| or_last(context, diff))];

#[derive(Template)]
#[template(path = "diff.html", config = "src/scanpush/serve/askama.toml")]
struct DiffPage {
    layout: Layout,
    values: Values,
    error: Option<String>,
    result: Option<Comparison>,
    pager: Pager,
}

struct Comparison {
    sides: [ShownSide; 2],
    /// How long ago they were compared, if not just now.
    age: Option<String>,
    opened: usize,
    closed: usize,
    same: usize,
    not_comparable: usize,
    /// Why some are not comparable, a line each.
    why: Vec<String>,
    rows: Vec<(DiffLine, String)>,
}

struct ShownSide {
    is_complete: bool,
    /// Its state and what it covered.
    line: String,
}

impl ShownSide {
    fn new(side: &Side) -> ShownSide {
        ShownSide {
            is_complete: side.is_complete() && side.kept() >= side.found(),
            line: side.line(),
        }
    }
}

fn diff(context: &Context<'_>) -> Answer {
    let read = || {
        let query = DiffQuery::read(context)?;
        let report = query.report(context)?;
        Ok::<_, Problem>((query, report))
    };
    match read() {
        Ok((query, Some(report))) => match query.export(context, &report.value) {
            Some(answer) => answer,
            None => {
                let found = query.rows(&report.value);
                let pager =
                    Pager::of_addresses(context.request, found.rows.len(), found.next.as_deref());
                Ok(show(context, Some(shown(&report, found.rows)), pager, None))
            }
        },
        Ok((_, None)) => Ok(show(
            context,
            None,
            Pager::of_addresses(context.request, 0, None),
            None,
        )),
        Err(problem) if problem.status == StatusCode::SERVICE_UNAVAILABLE => Err(problem),
        Err(problem) => {
            let pager = Pager::of_addresses(context.request, 0, None);
            Ok(show(context, None, pager, Some(problem)))
        }
    }
}

fn shown(remembered: &Remembered<Report>, rows: Vec<DiffLine>) -> Comparison {
    let report = &remembered.value;
    let (opened, closed) = report.counts();
    let comparison = &report.comparison;
    Comparison {
        sides: [&report.before, &report.after].map(ShownSide::new),
        age: remembered.age(),
        opened,
        closed,
        same: comparison.same,
        not_comparable: comparison.only_before + comparison.only_after,
        why: report.summary().into_iter().skip(1).collect(),
        rows: rows
            .into_iter()
            .map(|row| {
                let host = links::host(row.ip);
                (row, host)
            })
            .collect(),
    }
}

fn show(
    context: &Context<'_>,
    result: Option<Comparison>,
    pager: Pager,
    problem: Option<Problem>,
) -> Response {
    let status = problem.as_ref().map(|problem| problem.status);
    let mut response = page(&DiffPage {
        layout: Layout::new(context, "Diff", "/diff"),
        values: Values::of(context.request),
        error: problem.map(|problem| problem.detail),
        result,
        pager,
    });
    response.status = status.unwrap_or(response.status);
    response
}
