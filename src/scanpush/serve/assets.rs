//! The style sheet, the script and the icon, which are part of the program.

use super::route::{Access, Answer, Context, Route};
use crate::http_server::Response;
use http::{HeaderValue, Method, StatusCode, header};

/// Style sheet, script and icon.
pub const ROUTES: &[&[Route]] = &[&[
    asset("/assets/style.css", |_| Ok(style())),
    asset("/assets/page.js", |_| Ok(script())),
    asset("/assets/icon.svg", |_| Ok(icon())),
]];

const fn asset(pattern: &'static str, answer: fn(&Context<'_>) -> Answer) -> Route {
    Route {
        method: Method::GET,
        pattern,
        access: Access::Open,
        answer,
    }
}

fn style() -> Response {
    kept("text/css; charset=utf-8", include_str!("assets/style.css"))
}

fn script() -> Response {
    kept(
        "text/javascript; charset=utf-8",
        include_str!("assets/page.js"),
    )
}

fn icon() -> Response {
    kept("image/svg+xml", include_str!("assets/icon.svg"))
}

/// Their addresses on a page have the program's version, so a browser may keep them for an hour.
fn kept(content_type: &'static str, text: &'static str) -> Response {
    Response::new(StatusCode::OK, content_type, text).with(
        header::CACHE_CONTROL,
        HeaderValue::from_static("max-age=3600"),
    )
}
