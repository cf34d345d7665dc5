//! A response, complete or streamed.

use super::stream_socket::StreamSocket;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use std::fmt;
use std::io::{self, Write};
use std::thread;
use std::time::Duration;

/// Writes a streamed body. It errs if the client has gone, reads too slowly, or the server stops.
///
/// What is written is collected up to 16 KiB; `flush` sends it at once.
pub struct BodyStream<'a> {
    out: &'a mut dyn Write,
    client: Option<&'a StreamSocket>,
    has_failed: bool,
}

impl<'a> BodyStream<'a> {
    /// A stream that writes to `out`. It is open until `out` errs.
    pub fn new(out: &'a mut dyn Write) -> BodyStream<'a> {
        BodyStream {
            out,
            client: None,
            has_failed: false,
        }
    }

    /// A stream that writes to `out`, which sends to `client`.
    pub(super) fn to_client(out: &'a mut dyn Write, client: &'a StreamSocket) -> BodyStream<'a> {
        BodyStream {
            out,
            client: Some(client),
            has_failed: false,
        }
    }

    /// Whether the client is still connected and the server runs. To be asked from time to time while nothing is to be written.
    pub fn is_open(&self) -> bool {
        !self.has_failed && self.client.is_none_or(StreamSocket::is_open)
    }

    /// Sends what was written, and waits for `duration`, or less if the client disconnects or the server stops. Returns whether the
    /// stream is still open.
    pub fn pause(&mut self, duration: Duration) -> bool {
        if self.flush().is_err() {
            return false;
        }
        match self.client {
            Some(client) => client.wait(duration),
            None => {
                thread::sleep(duration);
                true
            }
        }
    }
}

impl Write for BodyStream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes);
        self.has_failed |= written.is_err();
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.out.flush();
        self.has_failed |= flushed.is_err();
        flushed
    }
}

/// What a stream is for; each kind has limits of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// It stays open, and something is sent now and then.
    Events,
    /// A document.
    Download,
}

/// What a stream counts for: each client may have a few of each kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamShare {
    /// The kind.
    pub kind: StreamKind,
    /// The client: a user, since clients behind the same reverse proxy have the same address.
    pub client: String,
}

/// What writes a streamed body. An error ends the connection, so that the client sees that the body is not complete.
pub type StreamWriter = Box<dyn FnOnce(&mut BodyStream<'_>) -> io::Result<()> + Send>;

/// The body of a response.
pub enum Body {
    /// All of it.
    Complete(Vec<u8>),
    /// Written bit by bit, on a thread of its own.
    Streamed(StreamShare, StreamWriter),
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Body::Complete(bytes) => write!(f, "{} bytes", bytes.len()),
            Body::Streamed(..) => f.write_str("a stream"),
        }
    }
}

/// A response. The server adds `Content-Length` or `Transfer-Encoding`, `Date` and `Connection`.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: Body,
}

impl Response {
    /// A response with a complete body.
    pub fn new(
        status: StatusCode,
        content_type: &'static str,
        body: impl Into<Vec<u8>>,
    ) -> Response {
        Response {
            status,
            headers: HeaderMap::new(),
            body: Body::Complete(body.into()),
        }
        .with(header::CONTENT_TYPE, HeaderValue::from_static(content_type))
    }

    /// A response whose body is written by `writer`.
    pub fn streamed(
        share: StreamShare,
        content_type: &'static str,
        writer: impl FnOnce(&mut BodyStream<'_>) -> io::Result<()> + Send + 'static,
    ) -> Response {
        Response {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: Body::Streamed(share, Box::new(writer)),
        }
        .with(header::CONTENT_TYPE, HeaderValue::from_static(content_type))
    }

    /// The same response as a download with this file name; without the name if that is not valid in a header field.
    pub fn as_file(self, name: &str) -> Response {
        match HeaderValue::try_from(format!("attachment; filename=\"{name}\"")) {
            Ok(value) => self.with(header::CONTENT_DISPOSITION, value),
            Err(_) => self,
        }
    }

    /// The same response with a header field.
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Response {
        self.headers.insert(name, value);
        self
    }
}
