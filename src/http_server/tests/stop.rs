//! The end of the server.

use super::*;
use std::sync::atomic::Ordering;

/// Stops the server, which takes at most this long.
fn stop_within(site: &mut Site, longest: Duration) {
    let began = Instant::now();
    site.server.stop();
    let took = began.elapsed();
    assert!(took < longest, "{took:?}");
}

#[test]
fn it_ends_idle_connections_and_streams_at_once() {
    let limits = Limits {
        stop_wait: TEST_WAIT,
        stop_grace: TEST_WAIT,
        ..Limits::default()
    };
    let mut site = Site::start(limits);
    let mut idle = site.client();
    assert_eq!(idle.ask("/").0, 200);
    let mut partial = site.client();
    partial.send("GET / HT");
    let mut streaming = site.client();
    streaming.send_get("/idle-stream");
    site.expect_event("streaming");
    // Its client does not read.
    let mut blocked = site.client();
    blocked.send_get("/endless-stream");
    site.expect_event("streaming");
    stop_within(&mut site, TEST_WAIT / 4);
    site.expect_event("closed");
    site.expect_event("closed");
    idle.expect_closed();
    partial.expect_closed();
    assert!(!streaming.rest().ends_with("0\r\n\r\n"));
    assert!(TcpStream::connect(site.server.address()).is_err());
    site.server.stop();
}

#[test]
fn requests_that_are_being_answered_are_finished() {
    let mut site = Site::start(Limits {
        stop_wait: TEST_WAIT,
        stop_grace: TEST_WAIT,
        ..Limits::default()
    });
    let mut client = site.client();
    client.send_get("/wait");
    site.expect_event("waiting");
    let gate = site.gate.clone();
    let is_stopping = Arc::clone(&site.server.is_stopping);
    let opener = thread::spawn(move || {
        until("the server stops", || is_stopping.load(Ordering::Relaxed));
        gate.send_timeout((), TEST_WAIT).unwrap();
    });
    stop_within(&mut site, TEST_WAIT / 2);
    opener.join().unwrap();
    assert_eq!(client.response().1, "waited");
    client.expect_closed();
}

#[test]
fn a_handler_that_does_not_return_is_not_waited_for() {
    let mut site = Site::start(Limits {
        stop_wait: Duration::from_millis(200),
        stop_grace: Duration::from_millis(100),
        ..Limits::default()
    });
    let mut client = site.client();
    client.send_get("/wait");
    site.expect_event("waiting");
    stop_within(&mut site, TEST_WAIT / 4);
    client.expect_closed();
}
