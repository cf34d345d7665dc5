//! Sends a browser to another page.

use crate::http_server::Response;
use http::{HeaderValue, StatusCode, header};

/// Sends the browser to another page.
pub fn see_other(location: HeaderValue) -> Response {
    Response::new(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", "")
        .with(header::LOCATION, location)
}
