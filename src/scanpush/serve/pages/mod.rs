//! The pages. Each file has the pages of one thing, with their exports.

mod changes;
mod diff;
mod find;
mod hosts;
mod kept;
mod network;
mod plots;
pub mod problem;
mod rows;
mod servers;
mod services;
#[cfg(test)]
mod tests;

use super::route::{Answer, Context, Route};
use crate::http_server::Response;
use http::{HeaderValue, StatusCode, header};

/// The routes of every page.
pub const ROUTES: &[&[Route]] = &[
    &[Route::read("/", home)],
    changes::ROUTES,
    services::ROUTES,
    hosts::ROUTES,
    diff::ROUTES,
    find::ROUTES,
    network::ROUTES,
    servers::ROUTES,
];

/// The changes are what people look at most.
fn home(_: &Context<'_>) -> Answer {
    Ok(see_other(HeaderValue::from_static("/changes")))
}

/// Sends the browser to another page.
pub fn see_other(location: HeaderValue) -> Response {
    Response::new(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", "")
        .with(header::LOCATION, location)
}
