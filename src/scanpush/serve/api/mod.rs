//! The API, `/api/v1/…`. Each file has the addresses of one thing.

mod changes;
mod description;
mod diff;
mod hosts;
mod jobs;
mod network;
mod servers;
mod services;
mod statistics;
mod tasks;

use super::problem::Problem;
use super::route::{Context, Route};
use crate::http_server::Response;
use crate::model::task::Priority;
use http::StatusCode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The routes of the API.
pub const ROUTES: &[&[Route]] = &[
    description::ROUTES,
    changes::ROUTES,
    services::ROUTES,
    hosts::ROUTES,
    network::ROUTES,
    diff::ROUTES,
    tasks::ROUTES,
    jobs::ROUTES,
    statistics::ROUTES,
    servers::ROUTES,
];

/// The body of a request, which has to be JSON. Errs with 415 or 400 if it is not what is asked for.
fn body<T: DeserializeOwned>(context: &Context<'_>) -> Result<T, Problem> {
    let content_type = context.request.header("content-type").unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body has to be application/json",
        ));
    }
    serde_json::from_slice(&context.request.body)
        .map_err(|error| Problem::bad_request(format!("the body is not what is expected: {error}")))
}

/// The priority in the body of an order.
fn priority(context: &Context<'_>) -> Result<Priority, Problem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        priority: u64,
    }
    let asked: Asked = body(context)?;
    Ok(Priority::try_from(asked.priority).map_err(|error| error.of("priority"))?)
}

/// A response with a JSON document.
pub fn json(document: &impl Serialize) -> Response {
    json_with(StatusCode::OK, document)
}

/// A response with this status and a JSON document.
pub fn json_with(status: StatusCode, document: &impl Serialize) -> Response {
    match serde_json::to_vec(document) {
        Ok(body) => Response::new(status, "application/json", body),
        Err(error) => Response::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "text/plain; charset=utf-8",
            format!("the answer cannot be written: {error}\n"),
        ),
    }
}
