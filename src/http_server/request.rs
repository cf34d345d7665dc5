//! A request as its handler sees it.

use http::{HeaderMap, Method};
use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

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

    /// The token of the header field `Authorization: Bearer TOKEN` (RFC 6750).
    pub fn bearer_token(&self) -> Option<&str> {
        let (scheme, token) = self.header("authorization")?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }

    /// Whether a browser on this machine reached the server at `address` under a name of this machine. Another name may be that of a web site which
    /// resolves to this machine, to read what only this machine may read (DNS rebinding).
    pub fn has_local_host(&self, address: SocketAddr) -> bool {
        let host = self.header("host").unwrap_or_default();
        let name = without_port(host);
        let bare = name
            .strip_prefix('[')
            .and_then(|name| name.strip_suffix(']'))
            .unwrap_or(name);
        let is_address = bare.parse::<IpAddr>().is_ok_and(|ip| {
            ip.to_canonical().is_loopback() || ip.to_canonical() == address.ip().to_canonical()
        });
        is_address || name.eq_ignore_ascii_case("localhost")
    }
}

/// `[::1]` of `[::1]:8080`.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|c| c.is_ascii_digit()) && !name.is_empty() => {
            // An IPv6 address needs brackets before a port: without them its last group is not a port.
            match name.contains(':') && !name.ends_with(']') {
                true => host,
                false => name,
            }
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue, header};

    fn request(path: &str, fields: &[(HeaderName, &str)]) -> Request {
        Request {
            method: Method::GET,
            path: path.to_owned(),
            query: "a=1&b=%20x+y".to_owned(),
            headers: fields
                .iter()
                .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()))
                .collect(),
            body: b"c=2".to_vec(),
            peer: SocketAddr::from(([127, 0, 0, 1], 1)),
        }
    }

    #[test]
    fn a_field_that_is_given_twice_has_no_value() {
        let fields = [
            (header::ORIGIN, "a"),
            (header::ORIGIN, "b"),
            (header::ACCEPT, "c"),
        ];
        let request = request("/", &fields);
        assert_eq!(request.header("origin"), None);
        assert_eq!(request.header("Accept"), Some("c"));
        let query: Vec<_> = request.query_fields().collect();
        assert_eq!(query[1], ("b".into(), " x y".into()));
        assert_eq!(request.form_fields().count(), 1);
    }
}
