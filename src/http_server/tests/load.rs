//! Many clients: slow ones, more than there is room for, more than the memory allows.

use super::*;
use rustix::process::{Resource, getrlimit, setrlimit};

/// The descriptors of both ends of all connections, and of other tests that run at the same time.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

#[test]
fn slow_senders_do_not_delay_others() {
    raise_descriptor_limit();
    let limits = Limits {
        connections: 600,
        receive: Duration::from_secs(2),
        workers: 2,
        ..Limits::default()
    };
    let site = Site::start(limits);
    let mut slow: Vec<Client> = (0..500).map(|_| site.client()).collect();
    let mut other = site.client();
    let mut longest = Duration::ZERO;
    for byte in "GET / HTTP".chars() {
        // An error: it has already been refused for its slowness.
        let byte = byte.to_string();
        for client in &mut slow {
            let _ = client.socket.write_all(byte.as_bytes());
        }
        let began = Instant::now();
        assert_eq!(other.ask("/").0, 200);
        assert_eq!(site.get("/").0, 200);
        longest = longest.max(began.elapsed());
    }
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    for client in &mut slow {
        assert_eq!(status_of(&client.head()), 408);
    }
}

#[test]
fn a_flood_of_connections_does_not_lock_others_out() {
    let limits = Limits {
        connections: 8,
        ..Limits::default()
    };
    let site = Site::start(limits);
    let mut clients: Vec<Client> = (0..8).map(|_| site.client()).collect();
    clients[0].send("GET / HT");
    // All are open: each has an answer but the first.
    for client in &mut clients[1..] {
        assert_eq!(client.ask("/").0, 200);
    }
    assert_eq!(site.get("/").0, 200);
    clients[0].expect_closed();
    let flood: Vec<Client> = (0..100).map(|_| site.client()).collect();
    assert_eq!(site.get("/").0, 200);
    for client in &mut clients[1..] {
        client.expect_closed();
    }
    drop(flood);
}

#[test]
fn a_flood_of_slow_readers_does_not_lock_others_out() {
    let limits = Limits {
        connections: 4,
        ..Limits::default()
    };
    let site = Site::start(limits);
    let mut readers: Vec<Client> = (0..4).map(|_| site.client()).collect();
    for reader in &mut readers {
        reader.send_get("/large");
        assert!(reader.receive());
    }
    assert_eq!(site.get("/").0, 200);
    assert!(readers[0].rest().len() < LARGE_BYTES);
    assert!(readers[3].response().1.len() == LARGE_BYTES);
}

#[test]
fn the_memory_for_requests_is_bounded() {
    let limits = Limits {
        buffers_bytes: 100_000,
        ..Limits::default()
    };
    let site = Site::start(limits);
    let part = format!(
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n{}",
        "x".repeat(59_999)
    );
    let mut idle = site.client();
    assert_eq!(idle.ask("/").0, 200);
    let mut first = site.client();
    first.send(&part);
    let mut second = site.client();
    second.send(&part);
    first.expect_closed();
    second.send("x");
    assert_eq!(second.response().1.len(), 60_000);
    assert_eq!(idle.ask("/").0, 200);
}

#[test]
fn requests_beyond_the_queue_are_told_to_come_back() {
    let limits = Limits {
        workers: 1,
        queue: 1,
        ..Limits::default()
    };
    let site = Site::start(limits);
    let mut running = site.client();
    running.send_get("/wait");
    site.expect_event("waiting");
    let mut queued = site.client();
    queued.send_get("/");
    let mut refused = site.client();
    // Until the queued one has arrived, these take its place.
    let mut waiting = Vec::new();
    loop {
        refused
            .socket
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        refused.send_get("/");
        let mut byte = [0];
        if refused.socket.peek(&mut byte).is_ok() {
            break;
        }
        waiting.push(std::mem::replace(&mut refused, site.client()));
        assert!(waiting.len() < 3, "nothing is refused");
    }
    let (head, _) = refused.response();
    assert_eq!(status_of(&head), 503);
    assert!(field(&head, "retry-after").is_some(), "{head}");
    site.gate.send_timeout((), TEST_WAIT).unwrap();
    assert_eq!(running.response().1, "waited");
    // The connection can be used further.
    refused.socket.set_read_timeout(Some(TEST_WAIT)).unwrap();
    until("it is answered again", || refused.ask("/").0 == 200);
    drop(queued);
}

#[test]
fn a_request_whose_handler_takes_too_long_is_answered_without_it() {
    let limits = Limits {
        workers: 1,
        handle: Duration::from_millis(200),
        ..Limits::default()
    };
    let site = Site::start(limits);
    let mut running = site.client();
    running.send_get("/wait");
    site.expect_event("waiting");
    let mut queued = site.client();
    queued.send_get("/wait");
    for late in [&mut running, &mut queued] {
        let (head, body) = late.response();
        assert_eq!(status_of(&head), 503);
        assert_eq!(field(&head, "connection"), Some("close"));
        assert_eq!(body, "the server is busy\n");
    }
    site.gate.send_timeout((), TEST_WAIT).unwrap();
    running.expect_closed();
    // The queued one was not handled at all.
    until("others are answered", || site.get("/").0 == 200);
    assert!(site.events.is_empty());
}
