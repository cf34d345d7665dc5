//! From a request to its response: finds the route, checks who may use it, adds the header fields that protect a browser.

use super::layout::Layout;
use super::problem::Problem;
use super::route::{Context, Route};
use super::site::Site;
use super::{access, api, assets, pages};
use crate::http_server::{Request, Response};
use http::{HeaderName, HeaderValue, Method, header};
use std::sync::Arc;
use std::time::Instant;

/// Only our own style sheet and script, forms only to this server, no frame around the page.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The label `route` of metrics for addresses that do not exist, and for metrics and health.
const NO_ROUTE: &str = "none";
const MONITORING: &str = "/metrics";

/// Answers a request.
pub fn answer(site: &Arc<Site>, request: &Request) -> Response {
    let began = Instant::now();
    let (pattern, mut response) = match metrics(site, request) {
        Some(response) => (MONITORING, response),
        None => page_or_document(site, request),
    };
    let code = response.status;
    site.metrics.note_request(pattern, code, began.elapsed());
    protect(&mut response);
    response
}

/// The response to a request for metrics or health.
fn metrics(site: &Site, request: &Request) -> Option<Response> {
    let response = site.metrics.answer(request)?;
    let refused = site.guard.check_host(request).err();
    Some(refused.map_or(response, |problem| problem.as_json()))
}

/// The response to any other request, and the pattern of its route.
fn page_or_document(site: &Arc<Site>, request: &Request) -> (&'static str, Response) {
    let (route, parameters) = match find(request) {
        Ok(found) => found,
        Err(problem) => {
            let is_api = request.path.starts_with("/api/");
            return (NO_ROUTE, refused(site, request, &problem, is_api));
        }
    };
    let response = match access::check(site, request, route) {
        Ok(user) => {
            let context = Context {
                site,
                request,
                user,
                parameters,
            };
            (route.answer)(&context).unwrap_or_else(|problem| match route.is_api() {
                true => problem.as_json(),
                false => {
                    pages::problem::answer(Layout::new(&context, problem.title(), ""), &problem)
                }
            })
        }
        Err(problem) => refused(site, request, &problem, route.is_api()),
    };
    (route.pattern, response)
}

/// The response to somebody who is not known.
fn refused(site: &Site, request: &Request, problem: &Problem, is_api: bool) -> Response {
    match is_api {
        true => problem.as_json(),
        false => access::challenge(site, request, problem).unwrap_or_else(|| {
            pages::problem::answer(Layout::of_problem(site, problem.title()), problem)
        }),
    }
}

/// Adds the header fields that protect a browser.
fn protect(response: &mut Response) {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        let entry = response.headers.entry(name);
        entry.or_insert(HeaderValue::from_static(value));
    }
}

/// Every route.
fn routes() -> impl Iterator<Item = &'static Route> {
    [assets::ROUTES, access::ROUTES, pages::ROUTES, api::ROUTES]
        .into_iter()
        .flatten()
        .flat_map(|routes| routes.iter())
}

/// The route of a request, with the parameters of its path.
fn find(request: &Request) -> Result<(&'static Route, Vec<String>), Problem> {
    let method = match request.method {
        Method::HEAD => Method::GET,
        ref other => other.clone(),
    };
    let mut allowed = Vec::new();
    for route in routes() {
        let Some(parameters) = parameters(route.pattern, &request.path) else {
            continue;
        };
        if route.method == method {
            return Ok((route, parameters));
        }
        allowed.push(route.method.as_str());
    }
    match allowed.is_empty() {
        true => Err(Problem::not_found("there is nothing at this address")),
        false => Err(Problem::method_not_allowed(&allowed)),
    }
}

/// The parameters of `path` if it matches the pattern. A parameter is never empty.
fn parameters(pattern: &str, path: &str) -> Option<Vec<String>> {
    let mut parameters = Vec::new();
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return Some(parameters),
            (Some(name), Some(segment)) if name.starts_with('{') => {
                let decoded = percent_encoding::percent_decode_str(segment).decode_utf8();
                let decoded = decoded.ok().filter(|text| !text.is_empty())?;
                parameters.push(decoded.into_owned());
            }
            (Some(name), Some(segment)) if name == segment => {}
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_segments() {
        for (pattern, path, expected) in [
            ("/", "/", Some(vec![])),
            ("/tasks", "/tasks", Some(vec![])),
            ("/tasks", "/tasks/", None),
            ("/tasks/{task_id}", "/tasks/", None),
            ("/tasks/{task_id}", "/tasks/a", Some(vec!["a"])),
            ("/tasks/{task_id}", "/tasks/a%2Fb", Some(vec!["a/b"])),
            ("/tasks/{task_id}", "/tasks/%ff", None),
            (
                "/tasks/{task_id}/cancel",
                "/tasks/a/cancel",
                Some(vec!["a"]),
            ),
            ("/tasks/{task_id}/cancel", "/tasks/a/b", None),
        ] {
            let expected: Option<Vec<String>> =
                expected.map(|all| all.into_iter().map(str::to_owned).collect());
            assert_eq!(parameters(pattern, path), expected, "{pattern} {path}");
        }
    }
}
