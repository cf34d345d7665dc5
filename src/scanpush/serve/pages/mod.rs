//! The pages. Each file has the pages of one thing, with their exports.

mod changes;
mod diff;
mod find;
mod hosts;
mod jobs;
mod kept;
mod network;
mod overview;
mod plots;
pub mod problem;
mod push;
mod rows;
mod servers;
mod services;
mod shared;
mod tasks;
#[cfg(test)]
mod tests;

pub use super::redirect::see_other;

use super::events;
use super::route::{Answer, Context, Route};
use http::HeaderValue;
use shared::{Action, Fact, Message, StateCount, TaskTable, priority, sent_or};

/// The routes of every page.
pub const ROUTES: &[&[Route]] = &[
    &[Route::read("/", home)],
    servers::ROUTES,
    events::ROUTES,
    overview::ROUTES,
    tasks::ROUTES,
    jobs::ROUTES,
    push::ROUTES,
    changes::ROUTES,
    services::ROUTES,
    hosts::ROUTES,
    diff::ROUTES,
    find::ROUTES,
    network::ROUTES,
];

/// The changes are what people look at most.
fn home(_: &Context<'_>) -> Answer {
    Ok(see_other(HeaderValue::from_static("/changes")))
}
