//! The page of the changes: what opened, closed and reopened, by day, newest first.

use super::kept::or_last;
use super::plots::Plots;
use super::rows::{Day, Pager, by_day, suggested};
use crate::http_server::Response;
use crate::scanpush::serve::completeness::Completeness;
use crate::scanpush::serve::layout::{Layout, page};
use crate::scanpush::serve::links::{Values, changed};
use crate::scanpush::serve::lists::ChangeQuery;
use crate::scanpush::serve::problem::Problem;
use crate::scanpush::serve::route::{Answer, Context, Route};
use crate::scanpush::tasks::now_ms;
use askama::Template;
use http::StatusCode;

/// `/changes`
pub const ROUTES: &[Route] = &[Route::read("/changes", |context| or_last(context, changes))];

/// The spans that can be chosen with one click; the first one is the default of `since`.
const SPANS: [&str; 4] = ["24h", "7d", "30d", "90d"];

#[derive(Template)]
#[template(path = "changes.html", config = "src/scanpush/serve/askama.toml")]
struct ChangesPage<'a> {
    layout: Layout,
    values: Values,
    /// What is wrong with the fields.
    error: Option<String>,
    spans: Vec<Span>,
    has_tags: bool,
    suggested_tags: Vec<&'a str>,
    days: Vec<Day<'a>>,
    pager: Pager,
    completeness: Option<Completeness>,
    plots: Option<Plots>,
}

/// A choice of `since`.
struct Span {
    name: &'static str,
    href: String,
    is_chosen: bool,
}

fn changes(context: &Context<'_>) -> Answer {
    match ChangeQuery::read(context) {
        Ok(query) => match query.export(context) {
            Some(answer) => answer,
            None => {
                let found = query.rows(context)?;
                let tags = context.site.options.tags.as_ref();
                let days = by_day(&found.rows, tags, now_ms() / 1000);
                let pager =
                    Pager::of_addresses(context.request, found.rows.len(), found.next.as_deref());
                let completeness = Completeness::read(context, query.scope())?;
                Ok(show(context, days, pager, Ok(completeness)))
            }
        },
        Err(problem) if problem.status == StatusCode::BAD_REQUEST => {
            let pager = Pager::of_addresses(context.request, 0, None);
            Ok(show(context, Vec::new(), pager, Err(problem)))
        }
        Err(problem) => Err(problem),
    }
}

fn show(
    context: &Context<'_>,
    days: Vec<Day<'_>>,
    pager: Pager,
    completeness: Result<Completeness, Problem>,
) -> Response {
    let tags = context.site.options.tags.as_ref();
    let (completeness, problem) = match completeness {
        Ok(completeness) => (Some(completeness), None),
        Err(problem) => (None, Some(problem)),
    };
    let status = problem.as_ref().map(|problem| problem.status);
    let values = Values::of(context.request);
    let chosen = match values.get("since") {
        "" => SPANS[0],
        since => since,
    };
    let mut response = page(&ChangesPage {
        layout: Layout::new(context, "Changes", "/changes"),
        error: problem.map(|problem| problem.detail),
        spans: SPANS
            .into_iter()
            .map(|name| Span {
                name,
                href: changed(context.request, &[("since", name), ("after", "")]),
                is_chosen: name == chosen,
            })
            .collect(),
        values,
        has_tags: tags.is_some(),
        suggested_tags: suggested(tags),
        days,
        pager,
        completeness,
        plots: Plots::latest(context),
    });
    response.status = status.unwrap_or(response.status);
    response
}
