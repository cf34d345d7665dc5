//! One client at a time: framing, pipelining, refusals.

use super::*;
use std::net::Shutdown;

#[test]
fn requests_on_a_connection_are_answered_in_order() {
    let site = Site::start(Limits::default());
    let mut client = site.client();
    let post = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\nGET / HTTP/1";
    let head = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    client.send(&[post, head, get, post, get].concat().repeat(50));
    for _ in 0..50 {
        assert_eq!(client.response().1, "GET / HTTP/1");
        let head = client.head();
        assert_eq!(field(&head, "content-length"), Some("5"));
        assert_eq!(client.response().1, "hello");
        assert_eq!(client.response().1, "GET / HTTP/1");
        let (head, body) = client.response();
        assert_eq!((status_of(&head), body.as_str()), (200, "hello"));
        assert!(field(&head, "date").is_some(), "{head}");
        assert_eq!(field(&head, "connection"), None);
    }
}

#[test]
fn a_refused_request_ends_the_connection() {
    let site = Site::start(Limits::default());
    let smuggled = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let long = "x".repeat(20 << 10);
    let table = [
        (
            400,
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n".to_owned(),
        ),
        (400, "Content-Length: 5\r\nContent-Length: 0\r\n".to_owned()),
        (400, "Content-Length: 0, 5\r\n".to_owned()),
        (501, "Transfer-Encoding: chunked\r\n".to_owned()),
        (400, "Transfer-Encoding : chunked\r\n".to_owned()),
        (400, "X: a\r\n Content-Length: 5\r\n".to_owned()),
        (400, "X: a\nContent-Length: 5\r\n".to_owned()),
        (413, "Content-Length: 2000000\r\n".to_owned()),
        (
            413,
            "Expect: 100-continue\r\nContent-Length: 2000000\r\n".to_owned(),
        ),
        (417, "Expect: x\r\n".to_owned()),
        (431, format!("X: {long}\r\n")),
    ];
    for (status, fields) in table {
        let mut client = site.client();
        client.send(&format!(
            "POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{smuggled}"
        ));
        let (head, _) = client.response();
        assert_eq!(status_of(&head), status, "{fields:.80}");
        assert_eq!(field(&head, "connection"), Some("close"), "{head}");
        client.expect_closed();
    }
    for (status, line) in [(505, "GET / HTTP/2.0"), (400, "GET http://a/ HTTP/1.1")] {
        let mut client = site.client();
        client.send(&format!("{line}\r\nHost: a\r\n\r\n{smuggled}"));
        assert_eq!(status_of(&client.response().0), status, "{line}");
        client.expect_closed();
    }
}

#[test]
fn a_client_that_asks_first_is_told_to_continue() {
    let site = Site::start(Limits::default());
    let mut client = site.client();
    client.send(
        "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n",
    );
    assert_eq!(client.head(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("body");
    assert_eq!(client.response().1, "body");
    assert_eq!(client.ask("/"), (200, "hello".to_owned()));
}

#[test]
fn a_client_may_close_its_half_of_the_connection() {
    let site = Site::start(Limits::default());
    let mut client = site.client();
    client.send_get("/");
    client.socket.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.response().1, "hello");
    client.expect_closed();
    // Before the request is complete, there is nothing to answer.
    let mut client = site.client();
    client.send("GET / HT");
    client.socket.shutdown(Shutdown::Write).unwrap();
    client.expect_closed();
}

#[test]
fn old_clients_are_served() {
    let site = Site::start(Limits::default());
    let mut client = site.client();
    client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let (head, body) = client.response();
    assert_eq!(field(&head, "connection"), Some("keep-alive"));
    assert_eq!(body, "hello");
    client.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(field(&client.response().0, "connection"), Some("close"));
    client.expect_closed();
}

#[test]
fn a_panic_in_the_handler_is_an_error_of_this_request_only() {
    let limits = Limits {
        workers: 2,
        ..Limits::default()
    };
    let site = Site::start(limits);
    let mut client = site.client();
    for _ in 0..5 {
        assert_eq!(client.ask("/panic").0, 500);
    }
    assert_eq!(client.ask("/"), (200, "hello".to_owned()));
}

#[test]
fn times_are_bounded() {
    let limits = Limits {
        receive: Duration::from_millis(100),
        idle: Duration::from_millis(100),
        send: Duration::from_millis(100),
        close_wait: Duration::from_millis(100),
        ..Limits::default()
    };
    let site = Site::start(limits);
    let mut silent = site.client();
    silent.expect_closed();
    let mut partial = site.client();
    partial.send("GET / HTTP/1.1\r\n");
    assert_eq!(status_of(&partial.response().0), 408);
    partial.expect_closed();
    let mut kept = site.client();
    assert_eq!(kept.ask("/").0, 200);
    kept.expect_closed();
    // A client that reads too slowly is cut off.
    let mut slow = site.client();
    slow.send_get("/large");
    assert!(slow.receive());
    let mut other = site.client();
    assert_eq!(other.ask("/").0, 200);
    other.expect_closed();
    assert!(slow.rest().len() < LARGE_BYTES);
    // A last response is followed by the end, even if the client goes on sending.
    let mut talkative = site.client();
    talkative.send("GET / HTTP/3.0\r\n\r\n");
    assert_eq!(status_of(&talkative.response().0), 505);
    talkative.expect_closed();
    until("the server closes its half too", || {
        talkative.socket.write_all(b"more").is_err()
    });
}
