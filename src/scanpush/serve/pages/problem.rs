//! The page of an error.

use crate::http_server::Response;
use crate::scanpush::serve::layout::{Layout, page};
use crate::scanpush::serve::problem::Problem;
use askama::Template;

#[derive(Template)]
#[template(path = "problem.html", config = "src/scanpush/serve/askama.toml")]
struct ProblemPage<'a> {
    layout: Layout,
    problem: &'a Problem,
}

/// The problem for a person.
pub fn answer(layout: Layout, problem: &Problem) -> Response {
    let mut response = page(&ProblemPage { layout, problem });
    response.status = problem.status;
    problem.headed(response)
}
