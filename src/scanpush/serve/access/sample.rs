//! Requests for tests.

use crate::http_server::Request;
use http::{HeaderMap, HeaderName, Method};

/// A request with these header fields, from 127.0.0.1.
pub fn request(method: &str, target: &str, fields: &[(&str, &str)]) -> Request {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, value.parse().unwrap());
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Request {
        method: Method::from_bytes(method.as_bytes()).unwrap(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        body: Vec::new(),
        peer: "127.0.0.1:1".parse().unwrap(),
    }
}

/// The same with a body.
pub fn with_body(request: Request, body: &str) -> Request {
    Request {
        body: body.as_bytes().to_vec(),
        ..request
    }
}
