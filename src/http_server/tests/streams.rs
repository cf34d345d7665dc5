//! Streamed responses.

use super::*;

/// The chunks in `text`, joined, and whether the last one is there.
fn joined(mut text: &str) -> (String, bool) {
    let mut body = String::new();
    while let Some((length, rest)) = text.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        if length == 0 {
            return (body, rest == "\r\n");
        }
        let Some((chunk, rest)) = rest.split_at_checked(length) else {
            return (body, false);
        };
        body.push_str(chunk);
        text = rest.strip_prefix("\r\n").unwrap_or_default();
    }
    (body, false)
}

fn numbers() -> String {
    (0..20_000).map(|number| format!("{number}\n")).collect()
}

#[test]
fn a_stream_is_sent_in_chunks() {
    let site = Site::start(Limits::default());
    let mut client = site.client();
    // A request that follows is not answered, and does not destroy the response.
    client.send_get("/numbers");
    client.send_get("/");
    let head = client.head();
    assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
    assert_eq!(field(&head, "connection"), Some("close"));
    assert_eq!(joined(&client.rest()), (numbers(), true));
}

#[test]
fn an_old_client_reads_a_stream_to_the_end_of_the_connection() {
    let site = Site::start(Limits::default());
    let mut client = site.client();
    client.send("GET /numbers HTTP/1.0\r\n\r\n");
    assert_eq!(field(&client.head(), "transfer-encoding"), None);
    assert_eq!(client.rest(), numbers());
}

#[test]
fn a_failed_stream_has_no_last_chunk() {
    let site = Site::start(Limits::default());
    let mut client = site.client();
    client.send_get("/failing");
    client.head();
    let (_, is_complete) = joined(&client.rest());
    assert!(!is_complete);
}

#[test]
fn streams_are_bounded_and_do_not_hold_up_requests() {
    let limits = Limits {
        workers: 1,
        events: StreamLimits {
            all: 2,
            per_client: 2,
        },
        ..Limits::default()
    };
    let site = Site::start(limits);
    let mut streaming: Vec<Client> = (0..2).map(|_| site.client()).collect();
    for client in &mut streaming {
        client.send_get("/idle-stream");
        client.head();
        site.expect_event("streaming");
    }
    let mut refused = site.client();
    refused.send_get("/idle-stream");
    let (head, _) = refused.response();
    assert_eq!(status_of(&head), 503);
    assert!(field(&head, "retry-after").is_some(), "{head}");
    assert_eq!(refused.ask("/").0, 200);
    // Its writer notices that a client has gone although it writes nothing.
    drop(streaming.pop());
    site.expect_event("closed");
    until("there is room again", || {
        refused.send_get("/idle-stream");
        let head = refused.head();
        let length = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        while refused.received.len() < length {
            assert!(refused.receive());
        }
        refused.received.drain(..length);
        status_of(&head) == 200
    });
    site.expect_event("streaming");
}

#[test]
fn a_client_has_a_share_of_each_kind() {
    let events = StreamLimits {
        all: 2,
        per_client: 1,
    };
    let site = Site::start(Limits {
        events,
        ..Limits::default()
    });
    let status = |target: &str| {
        let mut client = site.client();
        client.send_get(target);
        let head = client.head();
        (status_of(&head), client)
    };
    let (first, _anna) = status("/idle-stream?anna");
    let (again, _) = status("/idle-stream?anna");
    let (other, _rita) = status("/idle-stream?rita");
    let (third, _) = status("/idle-stream?carl");
    let (download, _) = status("/numbers?anna");
    assert_eq!(
        (first, again, other, third, download),
        (200, 503, 200, 503, 200)
    );
}

#[test]
fn a_slow_reader_of_a_stream_is_disconnected() {
    let limits = Limits {
        stream_write: Duration::from_millis(200),
        ..Limits::default()
    };
    let site = Site::start(limits);
    let mut client = site.client();
    client.send_get("/endless-stream");
    client.head();
    site.expect_event("streaming");
    site.expect_event("closed");
    let (_, is_complete) = joined(&client.rest());
    assert!(!is_complete);
}
