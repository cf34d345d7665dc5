//! Tests of the whole server over real sockets. This file has what they share: a handler, and a client that reads responses.

mod load;
mod requests;
mod stop;
mod streams;

use super::limits::StreamLimits;
use super::{Handler, HttpServer, Limits, Request, Response, StreamKind, StreamShare};
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use http::StatusCode;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Something that a test waits for happens within this time.
const TEST_WAIT: Duration = Duration::from_secs(20);
/// More than the kernel keeps for a connection.
const LARGE_BYTES: usize = 32 << 20;

/// A server whose handler answers `/` with `hello`, `/echo` with the request's body, and so on: see `answer`.
struct Site {
    server: HttpServer,
    /// What the handler and the streams report.
    events: Receiver<&'static str>,
    /// A message lets one `/wait` go on.
    gate: Sender<()>,
}

impl Site {
    fn start(limits: Limits) -> Site {
        let (event, events) = unbounded();
        let (gate, opened) = bounded(0);
        let handler: Handler = Arc::new(move |request| answer(&request, &event, &opened));
        let server = HttpServer::start_with(([127, 0, 0, 1], 0).into(), handler, limits).unwrap();
        Site {
            server,
            events,
            gate,
        }
    }

    fn client(&self) -> Client {
        let socket = TcpStream::connect(self.server.address()).unwrap();
        socket.set_read_timeout(Some(TEST_WAIT)).unwrap();
        socket.set_write_timeout(Some(TEST_WAIT)).unwrap();
        Client {
            socket,
            received: Vec::new(),
        }
    }

    /// The status of `GET path` on a connection of its own, and its body.
    fn get(&self, path: &str) -> (u16, String) {
        self.client().ask(path)
    }

    fn expect_event(&self, expected: &str) {
        assert_eq!(self.events.recv_timeout(TEST_WAIT), Ok(expected));
    }
}

/// The query names the client.
fn share(request: &Request, kind: StreamKind) -> StreamShare {
    StreamShare {
        kind,
        client: request.query.clone(),
    }
}

fn answer(request: &Request, event: &Sender<&'static str>, gate: &Receiver<()>) -> Response {
    let event = event.clone();
    let text = |body: Vec<u8>| Response::new(StatusCode::OK, "text/plain", body);
    match request.path.as_str() {
        "/" => text(b"hello".to_vec()),
        "/echo" => text(request.body.clone()),
        "/large" => text(vec![b'x'; LARGE_BYTES]),
        "/panic" => panic!("on request"),
        "/wait" => {
            event.send("waiting").unwrap();
            // An error: the test has ended.
            let _ = gate.recv();
            text(b"waited".to_vec())
        }
        "/numbers" => Response::streamed(
            share(request, StreamKind::Download),
            "text/plain",
            |stream| (0..20_000).try_for_each(|number| writeln!(stream, "{number}")),
        ),
        "/failing" => Response::streamed(
            share(request, StreamKind::Download),
            "text/plain",
            |stream| {
                stream.write_all(b"begun")?;
                Err(io::Error::other("on request"))
            },
        ),
        "/idle-stream" => Response::streamed(
            share(request, StreamKind::Events),
            "text/event-stream",
            move |stream| {
                stream.write_all(b"begun")?;
                stream.flush()?;
                event.send("streaming").unwrap();
                while stream.pause(TEST_WAIT) {}
                assert!(!stream.is_open());
                event.send("closed").unwrap();
                Ok(())
            },
        ),
        "/endless-stream" => Response::streamed(
            share(request, StreamKind::Download),
            "text/plain",
            move |stream| {
                event.send("streaming").unwrap();
                while stream.write_all(&[b'x'; 1000]).is_ok() {}
                event.send("closed").unwrap();
                Err(io::ErrorKind::BrokenPipe.into())
            },
        ),
        _ => Response::new(StatusCode::NOT_FOUND, "text/plain", ""),
    }
}

/// A connection to the server.
struct Client {
    socket: TcpStream,
    received: Vec<u8>,
}

impl Client {
    fn send(&mut self, text: &str) {
        self.socket.write_all(text.as_bytes()).unwrap();
    }

    fn send_get(&mut self, path: &str) {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    }

    fn ask(&mut self, path: &str) -> (u16, String) {
        self.send_get(path);
        let (head, body) = self.response();
        (status_of(&head), body)
    }

    /// Receives more. Returns whether the connection is still open.
    fn receive(&mut self) -> bool {
        let mut space = [0; 64 << 10];
        match self.socket.read(&mut space) {
            Ok(0) => false,
            Ok(length) => {
                self.received.extend_from_slice(&space[..length]);
                true
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// The next head.
    fn head(&mut self) -> String {
        loop {
            let end = self
                .received
                .windows(4)
                .position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                let head: Vec<u8> = self.received.drain(..end + 4).collect();
                return String::from_utf8(head).unwrap();
            }
            assert!(self.receive(), "closed before a whole head");
        }
    }

    /// The next response, whose length is given.
    fn response(&mut self) -> (String, String) {
        let head = self.head();
        let length = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        while self.received.len() < length {
            assert!(self.receive(), "closed before a whole body");
        }
        let body = self.received.drain(..length).collect();
        (head, String::from_utf8(body).unwrap())
    }

    /// Everything until the connection is closed.
    fn rest(&mut self) -> String {
        while self.receive() {}
        String::from_utf8(std::mem::take(&mut self.received)).unwrap()
    }

    fn expect_closed(&mut self) {
        assert_eq!(self.rest(), "");
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value)
}

fn status_of(head: &str) -> u16 {
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Repeats `attempt` until it is true.
fn until(what: &str, mut attempt: impl FnMut() -> bool) {
    let deadline = Instant::now() + TEST_WAIT;
    while !attempt() {
        assert!(Instant::now() < deadline, "{what}");
        thread::yield_now();
    }
}
