//! Addresses of pages, with percent-encoding: any text may be a part of them.

use crate::http_server::Request;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::net::IpAddr;

/// What is encoded in a segment of a path: all but RFC 3986's unreserved characters and the colon of IPv6 addresses.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':');

/// A text as a segment of a path.
fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// The page of an address.
pub fn host(ip: IpAddr) -> String {
    format!("/hosts/{}", segment(&ip.to_string()))
}

/// The page of a task.
pub fn task(task_id: &str) -> String {
    format!("/tasks/{}", segment(task_id))
}

/// The page of a job.
pub fn job(job_id: &str) -> String {
    format!("/jobs/{}", segment(job_id))
}

/// A path with fields; those without a value are left out.
pub fn query<'a>(path: &str, fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
        query.append_pair(name, value);
    }
    match query.finish() {
        query if query.is_empty() => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}

/// The address of a request with some fields changed; an empty value removes one.
pub fn changed(request: &Request, changes: &[(&str, &str)]) -> String {
    let fields: Vec<_> = request.query_fields().collect();
    let kept = fields
        .iter()
        .filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name))
        .map(|(name, value)| (name.as_ref(), value.as_ref()));
    query(&request.path, kept.chain(changes.iter().copied()))
}

/// The fields of a request, as a form shows them again.
#[derive(Debug)]
pub struct Values(Vec<(String, String)>);

impl Values {
    /// The fields of the query.
    pub fn of(request: &Request) -> Values {
        let fields = request.query_fields();
        Values(
            fields
                .map(|(name, value)| (name.into_owned(), value.into_owned()))
                .collect(),
        )
    }

    /// The value of a field; empty if it is not given.
    pub fn get(&self, name: &str) -> &str {
        let mut fields = self.0.iter();
        let found = fields.find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    }

    /// Whether a field other than the position in the list is given.
    pub fn any(&self) -> bool {
        self.0
            .iter()
            .any(|(name, value)| name != "after" && !value.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scanpush::serve::for_tests::request;

    #[test]
    fn any_text_can_be_part_of_an_address() {
        assert_eq!(task("a/b?c#d\"e"), "/tasks/a%2Fb%3Fc%23d%22e");
        assert_eq!(host("fd00::7".parse().unwrap()), "/hosts/fd00::7");
        assert_eq!(job(".."), "/jobs/..");
        assert_eq!(
            query("/x", [("a", "1&2=3"), ("b", ""), ("c", "é\"<")]),
            "/x?a=1%262%3D3&c=%C3%A9%22%3C"
        );
        assert_eq!(query("/x", []), "/x");
        let request = request("/services?net=10.0.0.0%2F8&after=x&port=80");
        assert_eq!(
            changed(&request, &[("after", "y"), ("format", "csv")]),
            "/services?net=10.0.0.0%2F8&port=80&after=y&format=csv"
        );
        assert_eq!(
            changed(&request, &[("after", ""), ("net", ""), ("port", "")]),
            "/services"
        );
    }
}
