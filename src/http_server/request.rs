//! A request as its handler sees it.

use http::{HeaderMap, Method};
use std::borrow::Cow;
use std::net::SocketAddr;

/// A complete request, with its body.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The path as it was sent, with `%` sequences; it begins with a slash.
    pub path: String,
    /// What follows the `?`, as it was sent; empty if nothing does.
    pub query: String,
    /// The header fields.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Vec<u8>,
    /// The other end of the connection: the client, or a reverse proxy.
    pub peer: SocketAddr,
}

impl Request {
    /// The fields of the query string, decoded, in order.
    pub fn query_fields(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        form_urlencoded::parse(self.query.as_bytes())
    }

    /// The fields of a body of the type `application/x-www-form-urlencoded`, decoded, in order.
    pub fn form_fields(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        form_urlencoded::parse(&self.body)
    }

    /// The value of a header field, if it has exactly one, in visible ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).into_iter();
        match (values.next(), values.next()) {
            (Some(value), None) => value.to_str().ok(),
            _ => None,
        }
    }
}
