//! The API, `/api/v1/…`. Each file has the addresses of one thing.

mod changes;
mod diff;
mod hosts;
mod servers;
mod services;
mod statistics;

use super::route::Route;
use crate::http_server::Response;
use http::StatusCode;
use serde::Serialize;

/// The routes of the API.
pub const ROUTES: &[&[Route]] = &[
    changes::ROUTES,
    services::ROUTES,
    hosts::ROUTES,
    diff::ROUTES,
    statistics::ROUTES,
    servers::ROUTES,
];

/// A response with a JSON document.
pub fn json(document: &impl Serialize) -> Response {
    match serde_json::to_vec(document) {
        Ok(body) => Response::new(StatusCode::OK, "application/json", body),
        Err(error) => Response::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "text/plain; charset=utf-8",
            format!("the answer cannot be written: {error}\n"),
        ),
    }
}
