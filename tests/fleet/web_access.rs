//! Who may use `scanpush serve`: logins, tokens, other web sites, and a reverse proxy; and how it ends.

use crate::support::{FindingsDb, Fleet, Reply, SOON, Serve, try_send, wait_for};
use crate::{Needs, Test};
use rustix::process::Signal;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

pub const TESTS: &[Test] = &[
    (
        "a_user_logs_in_and_other_web_sites_cannot_use_the_session",
        Needs::KafkaAndRedis,
        users,
    ),
    (
        "a_user_is_the_one_that_the_reverse_proxy_names",
        Needs::KafkaAndRedis,
        proxy,
    ),
    (
        "a_page_ends_with_its_store_and_within_two_seconds_of_a_signal",
        Needs::KafkaAndRedis,
        ends,
    ),
];

/// A signal has to end a page within this time; the rest is for a busy machine.
const STOP_WITHIN: Duration = Duration::from_millis(2500);
const PASSWORD: &str = "correct horse battery";

/// Makes an account with `scanpush auth`. Returns the line for the file, and the token if there is one.
fn account(fleet: &Fleet, words: &[&str]) -> (String, String) {
    let mut child = fleet
        .scanpush_command(&[&["auth"], words].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A token needs no password, and closes its end.
    let _ = writeln!(stdin, "{PASSWORD}");
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (line, err) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{err}");
    let token = err.split_whitespace().last().unwrap_or_default();
    (line, token.to_owned())
}

fn send(serve: &Serve, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    try_send(method, &serve.url(path), headers, body).unwrap()
}

fn users() {
    let fleet = Fleet::new("web-users");
    let (anna, _) = account(&fleet, &["user", "anna"]);
    let (ci, token) = account(&fleet, &["token", "ci"]);
    let (exporter, reader) = account(&fleet, &["token", "exporter", "-right", "read"]);
    let path = fleet.folder.join("users");
    fs::write(&path, [anna, ci, exporter].concat()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let flags = ["-auth-file", path.to_str().unwrap()];
    let serve = fleet.start_serve("serve", &FindingsDb::file(&fleet, "web"), &flags);

    let page = serve.get("/servers");
    assert_eq!(
        (page.status, page.header("location")),
        (303, "/login?next=/servers")
    );
    assert_eq!(serve.get("/api/v1/servers").status, 401);
    let origin = [("origin", serve.origin.as_str())];
    let form = |password: &str| {
        format!(
            "name=anna&password={}&next=/servers",
            password.replace(' ', "+")
        )
    };
    assert_eq!(
        send(&serve, "POST", "/login", &origin, &form("wrong")).status,
        401
    );
    assert_eq!(
        send(&serve, "POST", "/login", &[], &form(PASSWORD)).status,
        403
    );
    let login = send(&serve, "POST", "/login", &origin, &form(PASSWORD));
    assert_eq!((login.status, login.header("location")), (303, "/servers"));
    let cookie = login
        .header("set-cookie")
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let session = ("cookie", cookie.as_str());
    assert_eq!(send(&serve, "GET", "/servers", &[session], "").status, 200);

    let cancel = "/tasks/unknown/cancel";
    let bearer = |token: &str| format!("Bearer {token}");
    let (may, may_not) = (bearer(&token), bearer(&reader));
    for (headers, status) in [
        (&[session, ("origin", serve.origin.as_str())][..], 404),
        (&[session, ("origin", "https://evil.example")], 403),
        (&[session, ("sec-fetch-site", "cross-site")], 403),
        (&[session], 403),
        (&[("authorization", &may)], 404),
        (&[("authorization", &may_not)], 403),
        (&[("authorization", "Bearer wrong")], 303),
    ] {
        assert_eq!(
            send(&serve, "POST", cancel, headers, "").status,
            status,
            "{headers:?}"
        );
    }
    assert_eq!(
        send(&serve, "POST", "/logout", &[session, origin[0]], "").status,
        303
    );
    assert_eq!(send(&serve, "GET", "/servers", &[session], "").status, 303);

    let log = serve.process.log();
    for line in [
        "anna logged in at 127.0.0.1",
        "anna logged out at 127.0.0.1",
        "wrong password for anna at 127.0.0.1",
        "refused an unknown token at 127.0.0.1",
        "refused POST /tasks/unknown/cancel of exporter at 127.0.0.1: exporter may only read",
    ] {
        assert!(log.contains(line), "{line}\n{log}");
    }
    for secret in [PASSWORD, &token, &reader, &cookie] {
        assert!(!log.contains(secret), "{log}");
    }
}

fn proxy() {
    let fleet = Fleet::new("web-proxy");
    let db = FindingsDb::file(&fleet, "web");
    let trusted = ["-trust-header", "X-User", "-trust-proxy", "127.0.0.1"];
    let serve = fleet.start_serve("trusted", &db, &trusted);
    let user = [("x-user", "anna")];
    assert_eq!(serve.get("/servers").status, 401);
    assert_eq!(send(&serve, "GET", "/servers", &user, "").status, 200);
    let elsewhere = ["-trust-header", "X-User", "-trust-proxy", "192.0.2.1"];
    let serve = fleet.start_serve("elsewhere", &db, &elsewhere);
    assert_eq!(send(&serve, "GET", "/servers", &user, "").status, 403);
    let serve = fleet.start_serve("local", &db, &[]);
    assert_eq!(serve.get("/servers").status, 200);
    let rebound = [("host", "evil.example")];
    assert_eq!(send(&serve, "GET", "/servers", &rebound, "").status, 403);
}

fn ends() {
    let fleet = Fleet::new("web-ends");
    let mut serve = fleet.start_serve("serve", &FindingsDb::file(&fleet, "web"), &[]);
    wait_for("a page that is ready", SOON, || {
        (serve.get("/readyz").status == 200).then_some(())
    });
    let began = Instant::now();
    serve.process.signal(Signal::TERM);
    let status = serve.process.wait(SOON);
    assert!(
        status.success() && began.elapsed() < STOP_WITHIN,
        "{status} {:?}",
        began.elapsed()
    );
    assert!(
        !serve.process.log().contains('\x1b'),
        "{}",
        serve.process.log()
    );

    let file = fleet.folder.join("text.db");
    fs::write(
        &file,
        "not a database, but a text that is longer than its header. ".repeat(9),
    )
    .unwrap();
    let db = ["-db".to_owned(), format!("sqlite:{}", file.display())];
    let output = fleet.serve_command(&db, &[]).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(1) && err.contains("not an SQLite database"),
        "{err}"
    );
}
