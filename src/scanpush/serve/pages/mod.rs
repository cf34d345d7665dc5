//! The pages. Each file has the pages of one thing, with their exports.

pub mod problem;
mod servers;

pub use super::redirect::see_other;

use super::route::{Answer, Context, Route};
use http::HeaderValue;

/// The routes of every page.
pub const ROUTES: &[&[Route]] = &[&[Route::read("/", home)], servers::ROUTES];

/// The changes are what people look at most.
fn home(_: &Context<'_>) -> Answer {
    Ok(see_other(HeaderValue::from_static("/changes")))
}
