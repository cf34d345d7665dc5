//! The two cookies: the session's, and that of a browser that somebody has logged in with.

use super::sessions::SESSION_AGE_MAX;
use crate::http_server::Request;
use http::HeaderValue;
use std::time::Duration;

/// The session. Behind TLS with a prefix, with which browsers accept it only from this server itself, and encrypted.
const SESSION: &str = "scanpush";
const SECURE_SESSION: &str = "__Host-scanpush";
/// The browser.
const BROWSER: &str = "scanpush-browser";
/// How long a browser keeps its own cookie.
const BROWSER_COOKIE_MAX: Duration = Duration::from_secs(365 * 86400);

/// The session of a request. If the request came over TLS, only the cookie with the prefix `__Host-` counts: the other one can be set by another
/// server of the same domain, or by an attacker on a connection without TLS.
pub fn session(request: &Request, is_encrypted: bool) -> Option<&str> {
    match is_encrypted {
        true => value(request, SECURE_SESSION),
        false => value(request, SECURE_SESSION).or_else(|| value(request, SESSION)),
    }
}

/// The browser of a request.
pub fn browser(request: &Request) -> Option<&str> {
    value(request, BROWSER)
}

fn value<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let fields = request.headers.get_all("cookie").into_iter();
    fields
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(own, _)| *own == name)
        .map(|(_, value)| value)
}

/// The field that sets the session's cookie.
pub fn set_session(value: &str, is_encrypted: bool) -> Option<HeaderValue> {
    let name = if is_encrypted {
        SECURE_SESSION
    } else {
        SESSION
    };
    set(name, value, "/", SESSION_AGE_MAX, is_encrypted)
}

/// The field that sets the browser's cookie.
pub fn set_browser(value: &str, is_encrypted: bool) -> Option<HeaderValue> {
    set(BROWSER, value, "/login", BROWSER_COOKIE_MAX, is_encrypted)
}

/// The fields that remove the session's cookie.
pub fn remove_session() -> impl Iterator<Item = HeaderValue> {
    let encrypted = set(SECURE_SESSION, "", "/", Duration::ZERO, true);
    let plain = set(SESSION, "", "/", Duration::ZERO, false);
    encrypted.into_iter().chain(plain)
}

fn set(
    name: &str,
    value: &str,
    path: &str,
    age: Duration,
    is_encrypted: bool,
) -> Option<HeaderValue> {
    let secure = if is_encrypted { "; Secure" } else { "" };
    let text = format!(
        "{name}={value}; Path={path}; Max-Age={}; HttpOnly; SameSite=Strict{secure}",
        age.as_secs()
    );
    // Its parts are our own, in ASCII.
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::sample::request;
    use super::*;

    #[test]
    fn cookies_are_found_among_others() {
        for (fields, expected) in [
            (&[("cookie", "scanpush=a")][..], Some("a")),
            (&[("cookie", "x=y; scanpush=a ;z")], Some("a")),
            (&[("cookie", "scanpush=a; __Host-scanpush=b")], Some("b")),
            (&[("cookie", "x=y"), ("cookie", "scanpush=a")], Some("a")),
            (&[("cookie", "xscanpush=a; scanpush-browser=b")], None),
            (&[], None),
        ] {
            let request = request("GET", "/", fields);
            assert_eq!(session(&request, false), expected, "{fields:?}");
        }
        for (cookies, expected) in [
            ("scanpush=a", None),
            ("scanpush=a; __Host-scanpush=b", Some("b")),
        ] {
            let request = request("GET", "/", &[("cookie", cookies)]);
            assert_eq!(session(&request, true), expected, "{cookies}");
        }
    }

    #[test]
    fn a_session_is_not_for_scripts_and_other_sites() {
        let plain = set_session("v", false).unwrap();
        let expected = "scanpush=v; Path=/; Max-Age=604800; HttpOnly; SameSite=Strict";
        assert_eq!(plain, expected);
        let encrypted = set_session("v", true).unwrap();
        assert_eq!(encrypted, format!("__Host-{expected}; Secure").as_str());
        assert_eq!(remove_session().count(), 2);
    }
}
