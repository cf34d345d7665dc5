//! The page of the services: a search whose fields are the flags of `scanpush services`.

use super::kept::or_last;
use super::plots::Plots;
use super::rows::{Pager, ServiceRow, suggested};
use crate::http_server::Response;
use crate::scanpush::serve::completeness::Completeness;
use crate::scanpush::serve::layout::{Layout, page};
use crate::scanpush::serve::links::Values;
use crate::scanpush::serve::lists::ServiceQuery;
use crate::scanpush::serve::problem::Problem;
use crate::scanpush::serve::route::{Answer, Context, Route};
use crate::scanpush::tasks::now_ms;
use askama::Template;
use http::StatusCode;

/// `/services`
pub const ROUTES: &[Route] = &[Route::read("/services", |context| {
    or_last(context, services)
})];

#[derive(Template)]
#[template(path = "services.html", config = "src/scanpush/serve/askama.toml")]
struct ServicesPage<'a> {
    layout: Layout,
    values: Values,
    /// What is wrong with the fields.
    error: Option<String>,
    has_tags: bool,
    suggested_tags: Vec<&'a str>,
    rows: Vec<ServiceRow<'a>>,
    pager: Pager,
    completeness: Option<Completeness>,
    plots: Option<Plots>,
}

fn services(context: &Context<'_>) -> Answer {
    match ServiceQuery::read(context) {
        Ok(query) => match query.export(context) {
            Some(answer) => answer,
            None => {
                let found = query.rows(context)?;
                let tags = context.site.options.tags.as_ref();
                let now_s = now_ms() / 1000;
                let row = |service| ServiceRow::new(service, tags, now_s);
                let rows = found.rows.iter().map(row).collect();
                let completeness = Completeness::read(context, query.scope())?;
                let next = found.next.as_deref();
                Ok(show(context, rows, next, Ok(completeness)))
            }
        },
        Err(problem) if problem.status == StatusCode::BAD_REQUEST => {
            Ok(show(context, Vec::new(), None, Err(problem)))
        }
        Err(problem) => Err(problem),
    }
}

fn show(
    context: &Context<'_>,
    rows: Vec<ServiceRow<'_>>,
    next: Option<&str>,
    completeness: Result<Completeness, Problem>,
) -> Response {
    let tags = context.site.options.tags.as_ref();
    let (completeness, problem) = match completeness {
        Ok(completeness) => (Some(completeness), None),
        Err(problem) => (None, Some(problem)),
    };
    let status = problem.as_ref().map(|problem| problem.status);
    let mut response = page(&ServicesPage {
        layout: Layout::new(context, "Services", "/services"),
        values: Values::of(context.request),
        error: problem.map(|problem| problem.detail),
        has_tags: tags.is_some(),
        suggested_tags: suggested(tags),
        pager: Pager::of_addresses(context.request, rows.len(), next),
        rows,
        completeness,
        plots: Plots::latest(context),
    });
    response.status = status.unwrap_or(response.status);
    response
}
