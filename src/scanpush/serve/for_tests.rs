//! For tests: the handler of the server over a sample database, without Kafka and Redis.

use super::options;
use super::router;
use super::site::Site;
use crate::flags;
use crate::http_server::{Body, BodyStream, Request};
use crate::scanpush::interrupt::Interrupt;
use http::{HeaderMap, HeaderValue, Method, header};
use std::sync::Arc;

/// What a client gets.
pub struct Got {
    /// The status.
    pub status: u16,
    /// The header fields.
    pub headers: HeaderMap,
    /// The complete body, of a stream too.
    pub body: String,
}

impl Got {
    /// A header field; empty without it.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// A request for this address.
pub fn request(target: &str) -> Request {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Request {
        method: Method::GET,
        path: path.to_owned(),
        query: query.to_owned(),
        headers: HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("localhost"))]),
        body: Vec::new(),
        peer: "127.0.0.1:9".parse().unwrap(),
    }
}

/// A site with the flags of a command line.
pub fn site(line: &[&str]) -> Arc<Site> {
    let options = flags::read_line(line, options::FLAGS, options::read).unwrap();
    Site::new(options, Interrupt::default()).unwrap()
}

/// The answer to a GET request.
pub fn get(site: &Arc<Site>, target: &str) -> Got {
    let response = router::answer(site, &request(target));
    let body = match response.body {
        Body::Complete(bytes) => bytes,
        Body::Streamed(_, write) => {
            let mut bytes = Vec::new();
            write(&mut BodyStream::new(&mut bytes)).unwrap();
            bytes
        }
    };
    Got {
        status: response.status.as_u16(),
        headers: response.headers,
        body: String::from_utf8(body).unwrap(),
    }
}
