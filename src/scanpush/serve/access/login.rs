//! The pages to log in and out.

use super::cookies;
use super::guard::LoginRefused;
use super::origin::is_local_path;
use crate::http_server::{Request, Response};
use crate::scanpush::serve::layout::{Layout, page};
use crate::scanpush::serve::problem::Problem;
use crate::scanpush::serve::redirect::see_other;
use crate::scanpush::serve::route::{Access, Answer, Context, Route};
use crate::scanpush::serve::site::Site;
use askama::Template;
use http::{HeaderValue, Method, StatusCode, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use std::borrow::Cow;

/// `/login` and `/logout`.
pub const ROUTES: &[&[Route]] = &[&[
    open(Method::GET, "/login", login_page),
    open(Method::POST, "/login", log_in),
    open(Method::POST, "/logout", log_out),
]];

/// Longest address that a user is sent to after login, in bytes.
const NEXT_MAX_BYTES: usize = 2_000;
/// What cannot be part of a value in a query.
const IN_QUERY: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'&')
    .add(b'+')
    .add(b'<')
    .add(b'>')
    .add(b'\\');

const fn open(method: Method, pattern: &'static str, answer: fn(&Context<'_>) -> Answer) -> Route {
    Route {
        method,
        pattern,
        access: Access::Open,
        answer,
    }
}

#[derive(Template)]
#[template(path = "login.html", config = "src/scanpush/serve/askama.toml")]
struct LoginPage {
    layout: Layout,
    next: String,
    name: String,
    error: Option<String>,
}

#[derive(Template)]
#[template(path = "to_login.html", config = "src/scanpush/serve/askama.toml")]
struct ToLoginPage {
    login: String,
}

/// The redirect of a browser without a session to the login page. None if the problem is another one, or this server has no login page.
pub fn challenge(site: &Site, request: &Request, problem: &Problem) -> Option<Response> {
    if problem.status != StatusCode::UNAUTHORIZED || !site.guard.has_login() {
        return None;
    }
    let next = match (&request.method, request.query.as_str()) {
        (&Method::GET | &Method::HEAD, "") => request.path.clone(),
        (&Method::GET | &Method::HEAD, query) => format!("{}?{query}", request.path),
        _ => "/".to_owned(),
    };
    let next = checked_next(&next);
    let login = match next {
        "/" => "/login".to_owned(),
        next => format!("/login?next={}", utf8_percent_encode(next, IN_QUERY)),
    };
    // Browsers do not send the session's cookie if the user has followed a link on another site. A page of our own brings it back.
    if request.header("sec-fetch-site") == Some("cross-site") {
        return Some(page(&ToLoginPage { login }));
    }
    Some(see_other(login.parse().ok()?))
}

fn checked_next(next: &str) -> &str {
    match is_local_path(next) && next.len() <= NEXT_MAX_BYTES {
        true => next,
        false => "/",
    }
}

fn field<'a>(
    mut fields: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
    name: &str,
) -> Cow<'a, str> {
    let found = fields.find(|(own, _)| own == name);
    found.map(|(_, value)| value).unwrap_or_default()
}

fn login_page(context: &Context<'_>) -> Answer {
    let next = field(context.request.query_fields(), "next");
    let next = checked_next(&next);
    if context.site.guard.identify(context.request).is_ok() {
        return Ok(see_other(location(next)));
    }
    form(context, next, "", None)
}

fn form(context: &Context<'_>, next: &str, name: &str, error: Option<String>) -> Answer {
    if !context.site.guard.has_login() {
        let wrong = "this server was started without -auth-file: nobody has to log in";
        return Err(Problem::not_found(wrong));
    }
    Ok(page(&LoginPage {
        layout: Layout::of_problem(context.site, "Log in"),
        next: next.to_owned(),
        name: name.to_owned(),
        error,
    }))
}

fn log_in(context: &Context<'_>) -> Answer {
    let request = context.request;
    let guard = &context.site.guard;
    let name = field(request.form_fields(), "name");
    let password = field(request.form_fields(), "password");
    let next = field(request.form_fields(), "next");
    let next = checked_next(&next);
    let refused = match guard.log_in(request, name.trim(), &password) {
        Ok(login) => {
            let is_encrypted = guard.is_encrypted(request);
            let mut response = see_other(location(next));
            for cookie in [
                cookies::set_session(&login.session, is_encrypted),
                cookies::set_browser(&login.browser, is_encrypted),
            ] {
                response
                    .headers
                    .extend(cookie.map(|cookie| (header::SET_COOKIE, cookie)));
            }
            return Ok(response);
        }
        Err(refused) => refused,
    };
    let (status, wait, error) = match refused {
        LoginRefused::Wrong => (
            StatusCode::UNAUTHORIZED,
            None,
            "The name or the password is wrong.".to_owned(),
        ),
        LoginRefused::TooMany(wait) => {
            let seconds = wait.as_secs() + 1;
            let error = format!("There were too many attempts. Try again in {seconds} s.");
            (StatusCode::TOO_MANY_REQUESTS, Some(seconds), error)
        }
        LoginRefused::Busy => (
            StatusCode::SERVICE_UNAVAILABLE,
            Some(1),
            "Too many people are logging in. Try again.".to_owned(),
        ),
    };
    let mut response = form(context, next, &name, Some(error))?;
    response.status = status;
    if status == StatusCode::UNAUTHORIZED {
        response = Problem::unauthorized("").headed(response);
    }
    Ok(match wait {
        Some(seconds) => response.with(header::RETRY_AFTER, seconds.into()),
        None => response,
    })
}

fn log_out(context: &Context<'_>) -> Answer {
    context.site.guard.log_out(context.request);
    let mut response = see_other(HeaderValue::from_static("/login"));
    for cookie in cookies::remove_session() {
        response.headers.append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

fn location(next: &str) -> HeaderValue {
    // A path with other characters than ASCII is sent in percent form.
    let encoded = utf8_percent_encode(next, CONTROLS).to_string();
    encoded.parse().unwrap_or(HeaderValue::from_static("/"))
}
