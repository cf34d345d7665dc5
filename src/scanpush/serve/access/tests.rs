//! Requests through the router: who may do what.

use super::sample::{request, with_body};
use crate::http_server::{Body, Request, Response};
use crate::scanpush::auth::{Right, StoredPassword, lines};
use crate::scanpush::serve::for_tests::site;
use crate::scanpush::serve::router;
use crate::scanpush::serve::site::Site;
use http::{HeaderValue, header};
use std::fs;
use std::sync::Arc;

const HOST: (&str, &str) = ("host", "scan.example:8080");
const ORIGIN: (&str, &str) = ("origin", "http://scan.example:8080");

/// A server with the users anna (may change) and rita (may read), and a token of each kind.
struct Server {
    site: Arc<Site>,
    _folder: tempfile::TempDir,
}

fn server(line: &[&str], with_users: bool) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("auth");
    let name = |name: &str| name.parse().unwrap();
    let password = StoredPassword::quick("correct horse");
    let text = [
        lines::user_line(&name("anna"), &password, Right::Change),
        lines::user_line(&name("rita"), &password, Right::Read),
        lines::token_line(&name("ci"), "token-ci", Right::Change),
        lines::token_line(&name("exporter"), "token-exporter", Right::Read),
    ];
    fs::write(&path, text.join("\n")).unwrap();
    let path = path.to_string_lossy().into_owned();
    let users = ["-auth-file", &path];
    // Nothing listens there.
    let away = ["-redis=redis://127.0.0.1:1", "-kafka=127.0.0.1:1"];
    let line = [line, if with_users { &users } else { &[] }, &away].concat();
    let site = site(&line);
    Server {
        site,
        _folder: folder,
    }
}

impl Server {
    fn answer(&self, request: &Request) -> Response {
        router::answer(&self.site, request)
    }

    fn status(&self, method: &str, target: &str, fields: &[(&str, &str)]) -> u16 {
        self.answer(&request(method, target, fields))
            .status
            .as_u16()
    }

    fn log_in(&self, name: &str, password: &str, fields: &[(&str, &str)]) -> Response {
        let body = format!(
            "name={name}&password={}&next=%2Ftasks",
            password.replace(' ', "+")
        );
        self.answer(&with_body(request("POST", "/login", fields), &body))
    }

    /// The cookies of a browser in which this user has logged in.
    fn session(&self, name: &str) -> String {
        let response = self.log_in(name, "correct horse", &[HOST, ORIGIN]);
        assert_eq!(response.status, 303);
        cookies_of(&response)
    }
}

fn cookies_of(response: &Response) -> String {
    let fields = response.headers.get_all(header::SET_COOKIE).iter();
    let pairs = fields.map(|field| field.to_str().unwrap().split(';').next().unwrap());
    pairs.collect::<Vec<_>>().join("; ")
}

fn text(response: Response) -> String {
    match response.body {
        Body::Complete(bytes) => String::from_utf8(bytes).unwrap(),
        Body::Streamed(..) => panic!("a stream"),
    }
}

#[test]
fn without_users_this_machine_may_do_everything_under_its_own_name() {
    let server = server(&[], false);
    for (method, fields, status) in [
        ("GET", &[("host", "localhost:8080")][..], 200),
        ("HEAD", &[("host", "127.0.0.1:8080")], 200),
        ("GET", &[("host", "evil.example")], 403),
        ("GET", &[], 403),
    ] {
        assert_eq!(
            server.status(method, "/servers", fields),
            status,
            "{fields:?}"
        );
        assert_eq!(server.status(method, "/assets/style.css", fields), status);
    }
    for (fields, status) in [
        (
            &[("host", "localhost"), ("origin", "http://localhost")][..],
            303,
        ),
        (
            &[("host", "localhost"), ("origin", "http://evil.example")],
            403,
        ),
        (&[("host", "localhost")], 403),
    ] {
        assert_eq!(
            server.status("POST", "/logout", fields),
            status,
            "{fields:?}"
        );
    }
    assert_eq!(
        server.status("GET", "/login", &[("host", "localhost")]),
        303
    );
}

#[test]
fn a_user_logs_in_with_a_password() {
    let server = server(&["-http", "0.0.0.0:0"], true);
    let redirect = server.answer(&request("GET", "/servers?x=%2F&y=1", &[HOST]));
    assert_eq!(redirect.status, 303);
    assert_eq!(
        redirect.headers["location"],
        "/login?next=/servers?x=%252F%26y=1"
    );
    let form = server.answer(&request(
        "GET",
        "/login?next=/servers?x=%252F%26y=1",
        &[HOST],
    ));
    let form = text(form);
    assert!(form.contains("value=\"/servers?x=%2F&#38;y=1\""), "{form}");
    for next in ["https://evil.example", "//evil.example", "%2F%5Cevil"] {
        let form = server.answer(&request("GET", &format!("/login?next={next}"), &[HOST]));
        assert!(text(form).contains("name=\"next\" value=\"/\""), "{next}");
    }

    let response = server.log_in("anna", "correct horse", &[HOST, ORIGIN]);
    assert_eq!(
        (response.status.as_u16(), &response.headers["location"]),
        (303, &HeaderValue::from_static("/tasks"))
    );
    let all: Vec<&str> = response
        .headers
        .get_all("set-cookie")
        .iter()
        .map(|one| one.to_str().unwrap())
        .collect();
    assert!(
        all.len() == 2
            && all
                .iter()
                .all(|one| one.contains("; HttpOnly; SameSite=Strict")),
        "{all:?}"
    );
    assert!(all.iter().all(|one| !one.contains("Secure")), "{all:?}");
    let cookies = cookies_of(&response);
    assert_eq!(
        server.status("GET", "/servers", &[HOST, ("cookie", &cookies)]),
        200
    );
    let page = text(server.answer(&request("GET", "/servers", &[HOST, ("cookie", &cookies)])));
    assert!(page.contains("anna <button>Log out</button>"), "{page}");
    assert_eq!(
        server.status("GET", "/login", &[HOST, ("cookie", &cookies)]),
        303
    );
    assert_eq!(
        server.status("GET", "/servers", &[HOST, ("cookie", "scanpush=rubbish")]),
        303
    );
    assert_eq!(
        server.status("POST", "/logout", &[HOST, ("cookie", &cookies)]),
        403,
        "no origin"
    );
    let sent = request("GET", "/events", &[HOST, ("cookie", &cookies)]);
    let user = server.site.guard.identify(&sent).unwrap();
    assert!(server.site.guard.is_still(&sent, &user));
    assert_eq!(
        server.status("POST", "/logout", &[HOST, ORIGIN, ("cookie", &cookies)]),
        303
    );
    assert!(!server.site.guard.is_still(&sent, &user));
    assert_eq!(
        server.status("GET", "/servers", &[HOST, ("cookie", &cookies)]),
        303
    );

    let encrypted = [("host", "scan.example"), ("origin", "https://scan.example")];
    let cookies = cookies_of(&server.log_in("anna", "correct horse", &encrypted));
    assert!(cookies.starts_with("__Host-scanpush="), "{cookies}");
    assert_eq!(
        server.status("GET", "/servers", &[HOST, ("cookie", &cookies)]),
        200
    );
}

#[test]
fn a_wrong_password_is_refused_and_too_many_are_too() {
    let server = server(&[], true);
    let cookies = server.session("anna");
    for (name, password) in [("anna", "wrong"), ("nobody", "correct horse"), ("", "")] {
        let response = server.log_in(name, password, &[HOST, ORIGIN]);
        assert_eq!(response.status, 401, "{name}");
        assert!(response.headers.get("set-cookie").is_none());
        assert!(text(response).contains("The name or the password is wrong."));
    }
    let other = [HOST, ("origin", "http://evil.example")];
    assert_eq!(
        server.log_in("anna", "correct horse", &other).status,
        403,
        "login CSRF"
    );
    let mut statuses = (0..20).map(|_| server.log_in("anna", "wrong", &[HOST, ORIGIN]).status);
    assert!(statuses.any(|status| status == 429));
    let refused = server.log_in("anna", "correct horse", &[HOST, ORIGIN]);
    assert!(refused.status == 429 && refused.headers.contains_key("retry-after"));
    let known = [HOST, ORIGIN, ("cookie", &cookies)];
    assert_eq!(
        server.log_in("anna", "correct horse", &known).status,
        303,
        "a known browser"
    );
    assert_eq!(
        server.log_in("rita", "correct horse", &known).status,
        303,
        "another name"
    );
}

#[test]
fn a_change_needs_the_right_to_change() {
    let (server, read_only) = (server(&[], true), server(&["-read-only"], true));
    // 503: Redis is away, which the handler says.
    let order = "/api/v1/tasks/a/cancel";
    for (token, status, of_read_only) in [
        ("token-ci", 503, 403),
        ("token-exporter", 403, 403),
        ("token", 401, 401),
    ] {
        let value = format!("Bearer {token}");
        let fields = [HOST, ("authorization", value.as_str())];
        assert_eq!(server.status("POST", order, &fields), status, "{token}");
        assert_eq!(
            read_only.status("POST", order, &fields),
            of_read_only,
            "{token}"
        );
    }
    for (name, status) in [("anna", 503), ("rita", 403)] {
        let cookies = server.session(name);
        let fields = [HOST, ORIGIN, ("cookie", cookies.as_str())];
        assert_eq!(server.status("POST", order, &fields), status, "{name}");
        let page = text(server.answer(&request("GET", "/servers", &fields[..3])));
        assert_eq!(page.contains("href=\"/push\""), name == "anna", "{name}");
        let other = [
            HOST,
            ("origin", "http://evil.example"),
            ("cookie", cookies.as_str()),
        ];
        assert_eq!(
            server.status("POST", order, &other),
            403,
            "{name} of another site"
        );
    }
}

#[test]
fn a_program_sends_a_token() {
    let server = server(&[], true);
    for (value, status) in [
        ("Bearer token-ci", 200),
        ("bearer  token-exporter", 200),
        ("Bearer token", 401),
        ("Bearer ", 401),
        ("Basic token-ci", 401),
        ("token-ci", 401),
    ] {
        let fields = [HOST, ("authorization", value)];
        assert_eq!(
            server.status("GET", "/api/v1/servers", &fields),
            status,
            "{value}"
        );
    }
    let refused = server.answer(&request("GET", "/api/v1/servers", &[HOST]));
    assert_eq!(refused.status, 401);
    assert_eq!(
        refused.headers["www-authenticate"],
        "Bearer realm=\"scanpush\""
    );
    assert_eq!(refused.headers["content-type"], "application/problem+json");
    let cookies = server.session("anna");
    let both = [
        HOST,
        ("cookie", cookies.as_str()),
        ("authorization", "Bearer wrong"),
    ];
    assert_eq!(
        server.status("GET", "/api/v1/servers", &both),
        401,
        "a wrong token is not replaced by a session"
    );
}

#[test]
fn a_link_on_another_site_keeps_the_session() {
    let server = server(&[], true);
    let fields = [HOST, ("sec-fetch-site", "cross-site")];
    let response = server.answer(&request("GET", "/servers?a=\"><b>", &fields));
    assert_eq!(response.status, 200);
    let page = text(response);
    assert!(
        page.contains("content=\"0;url=/login?next=/servers?a=%22%3E%3Cb%3E\""),
        "{page}"
    );
}

#[test]
fn a_proxy_sends_the_name_and_others_do_not() {
    let from = |peer: &str, fields: &[(&str, &str)]| {
        let mut request = request("GET", "/api/v1/servers", fields);
        request.peer = peer.parse().unwrap();
        request
    };
    let trust = [
        "-trust-header",
        "X-User",
        "-trust-proxy",
        "10.0.0.5",
        "-http",
        "0.0.0.0:0",
    ];
    let (proxied, both) = (server(&trust, false), server(&trust, true));
    for (peer, fields, only_proxy, with_users) in [
        ("10.0.0.5:1", &[("x-user", "anna")][..], 200, 200),
        ("[::ffff:10.0.0.5]:1", &[("x-user", "anna")], 200, 200),
        ("10.0.0.5:1", &[], 401, 401),
        ("10.0.0.5:1", &[("x-user", "")], 401, 401),
        (
            "10.0.0.5:1",
            &[("x-user", "anna"), ("x-user", "bert")],
            401,
            401,
        ),
        ("10.0.0.6:1", &[("x-user", "anna")], 403, 401),
        ("127.0.0.1:1", &[("x-user", "anna")], 403, 401),
        (
            "127.0.0.1:1",
            &[("authorization", "Bearer token-ci")],
            403,
            200,
        ),
        (
            "10.0.0.5:1",
            &[("authorization", "Bearer token-ci")],
            401,
            200,
        ),
    ] {
        let request = from(peer, fields);
        assert_eq!(
            proxied.answer(&request).status,
            only_proxy,
            "{peer} {fields:?}"
        );
        assert_eq!(
            both.answer(&request).status,
            with_users,
            "{peer} {fields:?}"
        );
    }
    for (fields, client) in [
        (&[][..], "10.0.0.5"),
        (&[("x-forwarded-for", "192.0.2.1")], "192.0.2.1"),
        (&[("x-forwarded-for", "1.1.1.1, 192.0.2.1")], "192.0.2.1"),
        (
            &[
                ("x-forwarded-for", "1.1.1.1"),
                ("x-forwarded-for", "192.0.2.1"),
            ],
            "192.0.2.1",
        ),
        (&[("x-forwarded-for", "rubbish")], "10.0.0.5"),
    ] {
        let client_of = |peer| proxied.site.guard.client(&from(peer, fields)).to_string();
        assert_eq!(client_of("10.0.0.5:1"), client);
        assert_eq!(client_of("10.0.0.6:1"), "10.0.0.6", "not a proxy");
    }
}

#[test]
fn a_removed_user_and_a_changed_password_end_sessions() {
    let server = server(&[], true);
    let cookies = server.session("rita");
    let fields = [HOST, ("cookie", cookies.as_str())];
    assert_eq!(server.status("GET", "/servers", &fields), 200);
    let password = StoredPassword::quick("another one");
    let line = lines::user_line(&"rita".parse().unwrap(), &password, Right::Read);
    let path = server.site.options.access.auth_file.clone().unwrap();
    fs::write(path.path(), line).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(server.status("GET", "/servers", &fields), 303);
}
