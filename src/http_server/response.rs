//! A response, complete or streamed.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use std::fmt;
use std::io::{self, Write};

/// Writes a streamed body. It errs if the client has gone, reads too slowly, or the server stops.
pub struct BodyStream<'a> {
    out: &'a mut dyn Write,
}

impl<'a> BodyStream<'a> {
    /// A stream that writes to `out`.
    pub fn new(out: &'a mut dyn Write) -> BodyStream<'a> {
        BodyStream { out }
    }
}

impl Write for BodyStream<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// What writes a streamed body. An error ends the connection, so that the client sees that the body is not complete.
pub type StreamWriter = Box<dyn FnOnce(&mut BodyStream<'_>) -> io::Result<()> + Send>;

/// The body of a response.
pub enum Body {
    /// All of it.
    Complete(Vec<u8>),
    /// Written bit by bit, on a thread of its own.
    Streamed(StreamWriter),
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Body::Complete(bytes) => write!(f, "{} bytes", bytes.len()),
            Body::Streamed(_) => f.write_str("a stream"),
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
        content_type: &'static str,
        writer: impl FnOnce(&mut BodyStream<'_>) -> io::Result<()> + Send + 'static,
    ) -> Response {
        Response {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: Body::Streamed(Box::new(writer)),
        }
        .with(header::CONTENT_TYPE, HeaderValue::from_static(content_type))
    }

    /// The same response with a header field.
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Response {
        self.headers.insert(name, value);
        self
    }
}
