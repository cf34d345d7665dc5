//! A client of the web page and the API.

use serde_json::Value;
use std::time::Duration;
use ureq::http::{Method, Request};

/// How long one request may take.
const REQUEST_MAX: Duration = Duration::from_secs(30);
/// How long a body may be, in bytes. The longest are screenshots.
const BODY_MAX_BYTES: u64 = 64 << 20;

/// A response with its whole body.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub text: String,
}

impl Reply {
    /// The value of a header field; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

/// Sends a request and returns the response; redirects are not followed. Errs without a response.
pub fn try_send(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<Reply, String> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(REQUEST_MAX))
        // The machine's proxy does not reach 127.0.0.1 of this machine.
        .proxy(None)
        .max_redirects(0)
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .build()
        .into();
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let mut request = Request::builder().method(method.clone()).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let has_body = method != Method::GET && method != Method::HEAD && method != Method::DELETE;
    let response = match has_body {
        true => agent.run(request.body(body.to_owned()).unwrap()),
        false => agent.run(request.body(()).unwrap()),
    };
    let mut response = response.map_err(|error| error.to_string())?;
    Ok(Reply {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        text: response
            .body_mut()
            .with_config()
            .limit(BODY_MAX_BYTES)
            .read_to_string()
            .map_err(|error| error.to_string())?,
    })
}

/// Gets a page.
pub fn get(url: &str) -> Reply {
    try_send("GET", url, &[], "").unwrap()
}

/// Posts JSON.
pub fn post_json(url: &str, document: &Value) -> Reply {
    let headers = [("content-type", "application/json")];
    try_send("POST", url, &headers, &document.to_string()).unwrap()
}

/// Posts a form from a page of the same origin, as a browser does.
pub fn post_form(url: &str, fields: &[(&str, &str)]) -> Reply {
    let body = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields)
        .finish();
    let origin: String = url.split('/').take(3).collect::<Vec<_>>().join("/");
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("origin", origin.as_str()),
    ];
    try_send("POST", url, &headers, &body).unwrap()
}
