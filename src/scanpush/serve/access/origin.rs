//! From which page of a browser a request comes: other web sites can make a browser send requests to this server, with its cookies.

use crate::http_server::Request;
use crate::model::text::quoted;
use http::Method;
use std::net::SocketAddr;

/// Whether the request cannot change anything by its method.
pub fn is_safe(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS].contains(method)
}

/// Checks that a request which may change something was sent by one of our own pages. Errs with the reason.
///
/// Browsers send `Sec-Fetch-Site` to `https` and to this machine, `Origin` with every POST, and `Referer` unless told otherwise. A page cannot set or
/// remove them.
pub fn check_same_origin(request: &Request) -> Result<(), String> {
    let host = request.header("host").unwrap_or_default();
    if let Some(site) = request.header("sec-fetch-site") {
        return match site {
            // none: the user's own doing, such as a bookmark.
            "same-origin" | "none" => Ok(()),
            site => Err(format!(
                "this request comes from another web site (Sec-Fetch-Site: {})",
                quoted(site)
            )),
        };
    }
    let sent = ["origin", "referer"].map(|name| request.headers.contains_key(name));
    let name = match sent {
        [true, _] => "origin",
        [_, true] => "referer",
        _ if cannot_be_a_form(request) => return Ok(()),
        _ => {
            return Err(format!(
                "this request has no Origin header field: in the API use Content-Type: application/json or no body, else Origin: http://{host}"
            ));
        }
    };
    let origin = request.header(name).unwrap_or_default();
    match is_at(origin, host) {
        true => Ok(()),
        false => Err(format!(
            "this request comes from {}, which is not this server ({}): a reverse proxy must pass the header field Host on as it is",
            quoted(origin),
            quoted(host)
        )),
    }
}

/// Whether no form and no script of another web site can have sent a request without `Origin`: for JSON, and for methods other than POST, browsers ask
/// the server first, which does not allow it. Forms have a type, and scripts that send nothing at all have always had an origin.
fn cannot_be_a_form(request: &Request) -> bool {
    let content_type = request.header("content-type").unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    let is_order = request.path.starts_with("/api/")
        && request.body.is_empty()
        && !request.headers.contains_key("content-type");
    is_order
        || request.method != Method::POST
        || media_type.eq_ignore_ascii_case("application/json")
}

/// Whether the request was sent by a page of this server that the browser got over TLS. A page of another server says nothing about this one.
pub fn is_own_https_page(request: &Request) -> bool {
    let host = request.header("host").unwrap_or_default();
    ["origin", "referer"].into_iter().any(|name| {
        let page = request.header(name).unwrap_or_default();
        page.starts_with("https:") && is_at(page, host)
    })
}

/// Whether the address of a page is at the host and port of the header field `Host`.
fn is_at(page: &str, host: &str) -> bool {
    authority(page).is_some_and(|own| !host.is_empty() && own.eq_ignore_ascii_case(host))
}

/// The host and port of an address like `https://scan.example.org/tasks`, without the port that the scheme has by default.
fn authority(address: &str) -> Option<&str> {
    let (rest, default_port) = match address.split_once("://")? {
        ("http", rest) => (rest, ":80"),
        ("https", rest) => (rest, ":443"),
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#']).next()?;
    Some(authority.strip_suffix(default_port).unwrap_or(authority))
}

/// Checks the name under which a browser reached a server that anybody on this machine may use. A web site whose name resolves to 127.0.0.1 would be
/// of the same origin (DNS rebinding). `address` is where the page is. Errs with the reason.
pub fn check_local_host(request: &Request, address: SocketAddr) -> Result<(), String> {
    match request.has_local_host(address) {
        true => Ok(()),
        false => Err(format!(
            "the host {} is not this machine: use http://{address}/, or start scanpush serve with -auth-file or -trust-header",
            quoted(request.header("host").unwrap_or_default())
        )),
    }
}

/// Whether an address that a user is sent to after login is on this server: a path, which browsers cannot take for another host.
pub fn is_local_path(next: &str) -> bool {
    let is_plain = |c: char| !c.is_control() && c != '\\' && !c.is_whitespace();
    next.starts_with('/') && !next.starts_with("//") && next.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::super::sample::request;
    use super::*;

    #[test]
    fn a_change_comes_from_our_own_page() {
        let cases: [(&[(&str, &str)], bool); 21] = [
            (&[("host", "a:8080"), ("origin", "http://a:8080")], true),
            (&[("host", "a"), ("origin", "https://a")], true),
            (&[("host", "A"), ("origin", "https://a:443")], true),
            (
                &[("host", "[::1]:8080"), ("origin", "http://[::1]:8080")],
                true,
            ),
            (&[("host", "a"), ("referer", "https://a/tasks?x=1")], true),
            (&[("host", "a"), ("sec-fetch-site", "same-origin")], true),
            (&[("host", "a"), ("sec-fetch-site", "none")], true),
            (
                &[
                    ("host", "a"),
                    ("content-type", "application/json; charset=utf-8"),
                ],
                true,
            ),
            (
                &[
                    ("host", "a"),
                    ("content-type", "application/json"),
                    ("origin", "https://b"),
                ],
                false,
            ),
            (&[("host", "a"), ("content-type", "text/plain")], false),
            (&[("host", "a")], false),
            (&[("host", "a:8080"), ("origin", "http://a:8081")], false),
            (&[("host", "a"), ("origin", "null")], false),
            (
                &[
                    ("host", "a"),
                    ("origin", "https://evil"),
                    ("referer", "https://a/"),
                ],
                false,
            ),
            (&[("host", "a"), ("origin", "https://a.evil")], false),
            (
                &[("host", "a"), ("referer", "https://evil/?https://a")],
                false,
            ),
            (
                &[
                    ("host", "a"),
                    ("origin", "https://a"),
                    ("sec-fetch-site", "cross-site"),
                ],
                false,
            ),
            (
                &[
                    ("host", "a"),
                    ("origin", "https://a"),
                    ("sec-fetch-site", "same-site"),
                ],
                false,
            ),
            (
                &[
                    ("host", "a"),
                    ("origin", "https://a"),
                    ("origin", "https://b"),
                ],
                false,
            ),
            (&[("host", ""), ("origin", "https://")], false),
            (&[("host", "a"), ("origin", "file://a")], false),
        ];
        for (fields, is_own) in cases {
            let request = request("POST", "/tasks", fields);
            let checked = check_same_origin(&request);
            assert_eq!(checked.is_ok(), is_own, "{fields:?}: {checked:?}");
        }
        let host = ("host", "a");
        for (path, fields, is_own) in [
            ("/api/v1/tasks/a/cancel", &[host][..], true),
            ("/api/v1/tasks/a/cancel", &[host, ("origin", "null")], false),
            (
                "/api/v1/tasks/a/cancel",
                &[host, ("content-type", "text/plain")],
                false,
            ),
            ("/tasks/a/cancel", &[host], false),
        ] {
            let request = request("POST", path, fields);
            assert_eq!(
                check_same_origin(&request).is_ok(),
                is_own,
                "{path} {fields:?}"
            );
        }
    }

    #[test]
    fn only_an_own_page_shows_that_the_server_was_reached_over_tls() {
        for (fields, is_https) in [
            (&[("host", "a"), ("origin", "https://a")][..], true),
            (&[("host", "a"), ("referer", "https://a/tasks")], true),
            (&[("host", "a"), ("origin", "http://a")], false),
            (&[("host", "a"), ("origin", "https://evil")], false),
            (
                &[("host", "a"), ("referer", "https://evil/https://a")],
                false,
            ),
            (&[("host", "a")], false),
        ] {
            let request = request("POST", "/tasks", fields);
            assert_eq!(is_own_https_page(&request), is_https, "{fields:?}");
        }
    }

    #[test]
    fn without_users_only_names_of_this_machine_are_answered() {
        let address = "127.0.0.1:8080".parse().unwrap();
        for (host, is_local) in [
            ("127.0.0.1:8080", true),
            ("127.0.0.1", true),
            ("127.7.7.7:1", true),
            ("localhost:8080", true),
            ("LOCALHOST", true),
            ("[::1]:8080", true),
            ("[::ffff:127.0.0.1]", true),
            ("", false),
            ("localhost.evil.example", false),
            ("evil.example:8080", false),
            ("127.0.0.1.nip.example", false),
            ("192.0.2.1:8080", false),
            ("0.0.0.0:8080", false),
        ] {
            let request = request("GET", "/", &[("host", host)]);
            assert_eq!(
                check_local_host(&request, address).is_ok(),
                is_local,
                "{host}"
            );
        }
        assert!(check_local_host(&request("GET", "/", &[]), address).is_err());
    }

    #[test]
    fn only_paths_of_this_server_follow_a_login() {
        for (next, is_local) in [
            ("/", true),
            ("/tasks?state=failed&q=%2F%2F", true),
            ("", false),
            ("tasks", false),
            ("//evil.example", false),
            ("/\\evil.example", false),
            ("/\t/evil.example", false),
            ("/\n/evil.example", false),
            ("https://evil.example", false),
        ] {
            assert_eq!(is_local_path(next), is_local, "{next:?}");
        }
    }
}
