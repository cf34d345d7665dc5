//! A request as its handler sees it.

use http::{HeaderMap, Method, header};
use percent_encoding::percent_decode_str;
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

    /// The value of a cookie. If several have this name, the first one counts.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let fields = self.headers.get_all(header::COOKIE).iter();
        fields
            .filter_map(|field| field.to_str().ok())
            .flat_map(|field| field.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='))
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value)
    }

    /// The parts of the path between its slashes, decoded: none for `/`, `["a", ""]` for `/a/`. `None` if a part is not UTF-8 or
    /// contains NUL. A decoded part may contain a slash, and may be `..`.
    pub fn path_segments(&self) -> Option<Vec<String>> {
        let path = self.path.strip_prefix('/')?;
        if path.is_empty() {
            return Some(Vec::new());
        }
        path.split('/')
            .map(|part| {
                let decoded = percent_decode_str(part).decode_utf8().ok()?;
                (!decoded.contains('\0')).then(|| decoded.into_owned())
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

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
    fn paths_are_split_before_they_are_decoded() {
        let table: [(&str, Option<&[&str]>); 7] = [
            ("/", Some(&[])),
            ("/a/b%2Fc", Some(&["a", "b/c"])),
            ("/a/", Some(&["a", ""])),
            ("//a", Some(&["", "a"])),
            ("/%c3%a9+", Some(&["é+"])),
            ("/%ff", None),
            ("/a%00", None),
        ];
        for (path, expected) in table {
            let segments = request(path, &[]).path_segments();
            let expected: Option<Vec<String>> =
                expected.map(|parts| parts.iter().map(|part| (*part).to_owned()).collect());
            assert_eq!(segments, expected, "{path}");
        }
    }

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        let cookies = [
            (header::COOKIE, "a=1; session=x=y; aa=2"),
            (header::COOKIE, "b=3; a=4"),
        ];
        let request = request("/", &cookies);
        assert_eq!(request.cookie("a"), Some("1"));
        assert_eq!(request.cookie("session"), Some("x=y"));
        assert_eq!(request.cookie("b"), Some("3"));
        assert_eq!(request.cookie("ession"), None);
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
