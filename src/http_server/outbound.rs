//! A response as bytes: the head with what the server adds, and how far it was sent.

use super::limits::HTTP_RETRY_AFTER_S;
use super::response::{Body, Response, StreamShare, StreamWriter};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use std::io::{self, IoSlice, Write};
use std::time::SystemTime;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// The date of RFC 9110: `Sun, 06 Nov 1994 08:49:37 GMT`.
const HTTP_DATE: &[BorrowedFormatItem<'_>] = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
);

/// The properties of a request that decide how its response is sent.
#[derive(Clone, Debug)]
pub struct Framing {
    /// `HEAD`: the response has no body.
    pub is_head: bool,
    /// HTTP/1.0: no chunks.
    pub is_http_1_0: bool,
    /// The connection stays open for the next request.
    pub keep_alive: bool,
}

impl Framing {
    /// For a request with this method.
    pub fn new(method: &Method, is_http_1_0: bool, keep_alive: bool) -> Framing {
        Framing {
            is_head: method == Method::HEAD,
            is_http_1_0,
            keep_alive,
        }
    }

    /// For the answer to a request that could not be understood.
    pub fn of_refusal() -> Framing {
        Framing {
            is_head: false,
            is_http_1_0: false,
            keep_alive: false,
        }
    }
}

/// A response that is ready to be sent.
pub enum Encoded {
    /// All of it.
    Complete(Outbound),
    /// The head, and what writes the body.
    Streamed {
        /// The limit that it counts against: kind and client.
        share: StreamShare,
        /// The head.
        head: Vec<u8>,
        /// Writes the body.
        writer: StreamWriter,
        /// Whether the body is sent in chunks. If not, the end of the connection is its end.
        is_chunked: bool,
    },
}

/// Encodes `response`. After a streamed body the connection is closed.
pub fn encode(response: Response, framing: &Framing, now: SystemTime) -> Encoded {
    let Response {
        mut status,
        mut headers,
        body,
    } = response;
    if status.is_informational() {
        // Not a final response: the client would wait for another.
        status = StatusCode::INTERNAL_SERVER_ERROR;
    }
    let has_body = !framing.is_head && allows_body(status);
    let wants_close = headers
        .get(header::CONNECTION)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"));
    for name in [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::TE,
        header::TRAILER,
        header::UPGRADE,
    ] {
        headers.remove(name);
    }
    headers.insert(header::DATE, http_date(now));
    let keep_alive = framing.keep_alive && !wants_close;
    match body {
        Body::Streamed(share, writer) if has_body => {
            let is_chunked = !framing.is_http_1_0;
            if is_chunked {
                let chunked = HeaderValue::from_static("chunked");
                headers.insert(header::TRANSFER_ENCODING, chunked);
            }
            set_connection(&mut headers, framing, false);
            Encoded::Streamed {
                share,
                head: encode_head(status, &headers),
                writer,
                is_chunked,
            }
        }
        Body::Streamed(..) => {
            set_connection(&mut headers, framing, keep_alive);
            let head = encode_head(status, &headers);
            Encoded::Complete(Outbound::new(head, Vec::new(), keep_alive))
        }
        Body::Complete(bytes) => {
            if allows_body(status) {
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
            }
            set_connection(&mut headers, framing, keep_alive);
            let body = if has_body { bytes } else { Vec::new() };
            Encoded::Complete(Outbound::new(
                encode_head(status, &headers),
                body,
                keep_alive,
            ))
        }
    }
}

/// A short response as text, such as an error of the server itself. The connection is closed unless `framing` keeps it.
pub fn encode_text(
    status: StatusCode,
    text: &str,
    retry_after_s: Option<u64>,
    framing: &Framing,
    now: SystemTime,
) -> Outbound {
    let mut response = Response::new(status, "text/plain; charset=utf-8", format!("{text}\n"));
    if let Some(seconds) = retry_after_s {
        response = response.with(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    match encode(response, framing, now) {
        Encoded::Complete(outbound) => outbound,
        Encoded::Streamed { head, .. } => Outbound::new(head, Vec::new(), false),
    }
}

/// The response with 503: the queue of requests or the threads of streams are full, or the handler has exceeded its deadline.
pub fn busy(framing: &Framing) -> Outbound {
    let (status, text) = (StatusCode::SERVICE_UNAVAILABLE, "the server is busy");
    let retry_after_s = Some(HTTP_RETRY_AFTER_S);
    encode_text(status, text, retry_after_s, framing, SystemTime::now())
}

fn allows_body(status: StatusCode) -> bool {
    status != StatusCode::NO_CONTENT && status != StatusCode::NOT_MODIFIED
}

/// Sets `Connection: close` if the connection will be closed, and `keep-alive` if one of HTTP/1.0 stays open.
fn set_connection(headers: &mut HeaderMap, framing: &Framing, keep_alive: bool) {
    let option = match (keep_alive, framing.is_http_1_0) {
        (false, _) => "close",
        (true, true) => "keep-alive",
        (true, false) => return,
    };
    headers.insert(header::CONNECTION, HeaderValue::from_static(option));
}

fn encode_head(status: StatusCode, headers: &HeaderMap) -> Vec<u8> {
    let reason = status.canonical_reason().unwrap_or_default();
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).into_bytes();
    for (name, value) in headers {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

fn http_date(now: SystemTime) -> HeaderValue {
    OffsetDateTime::from(now)
        .format(HTTP_DATE)
        .ok()
        .and_then(|date| HeaderValue::try_from(date).ok())
        .unwrap_or_else(|| HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"))
}

/// A complete response, and how much of it was sent.
#[derive(Debug)]
pub struct Outbound {
    head: Vec<u8>,
    body: Vec<u8>,
    sent: usize,
    /// The connection stays open after it.
    pub keep_alive: bool,
}

impl Outbound {
    fn new(head: Vec<u8>, body: Vec<u8>, keep_alive: bool) -> Outbound {
        Outbound {
            head,
            body,
            sent: 0,
            keep_alive,
        }
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// Writes as much as `out` accepts at once. Returns whether everything was sent.
    pub fn send(&mut self, out: &mut impl Write) -> io::Result<bool> {
        while self.sent < self.len() {
            let head = &self.head[self.sent.min(self.head.len())..];
            let body = &self.body[self.sent.saturating_sub(self.head.len())..];
            match out.write_vectored(&[IoSlice::new(head), IoSlice::new(body)]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => self.sent += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::super::response::StreamKind;
    use super::*;
    use std::time::Duration;

    const NOW: Duration = Duration::from_secs(784_111_777);

    /// Accepts up to `step` bytes, then nothing once, and so on.
    struct Slow {
        accepted: Vec<u8>,
        step: usize,
        is_full: bool,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.is_full = !self.is_full;
            if !self.is_full {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let length = bytes.len().min(self.step);
            self.accepted.extend_from_slice(&bytes[..length]);
            Ok(length)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// All that is sent for `response`; of a stream only the head.
    fn sent(response: Response, framing: &Framing) -> (String, bool) {
        match encode(response, framing, SystemTime::UNIX_EPOCH + NOW) {
            Encoded::Complete(mut outbound) => {
                let mut out = Slow {
                    accepted: Vec::new(),
                    step: 7,
                    is_full: false,
                };
                while !outbound.send(&mut out).unwrap() {}
                (
                    String::from_utf8(out.accepted).unwrap(),
                    outbound.keep_alive,
                )
            }
            Encoded::Streamed { head, .. } => (String::from_utf8(head).unwrap(), false),
        }
    }

    fn share() -> StreamShare {
        StreamShare {
            kind: StreamKind::Download,
            client: String::new(),
        }
    }

    fn framing(method: &Method, is_http_1_0: bool, keep_alive: bool) -> Framing {
        Framing::new(method, is_http_1_0, keep_alive)
    }

    #[test]
    fn a_response_has_its_length_and_date() {
        let response = Response::new(StatusCode::OK, "text/plain", "hello");
        let (text, keep_alive) = sent(response, &framing(&Method::GET, false, true));
        let expected = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\ncontent-length: 5\r\n\r\nhello";
        assert_eq!((text.as_str(), keep_alive), (expected, true));
    }

    #[test]
    fn responses_without_a_body() {
        let get = framing(&Method::GET, false, true);
        let head = framing(&Method::HEAD, false, true);
        let table = [
            (StatusCode::OK, &head, true),
            (StatusCode::NO_CONTENT, &get, false),
            (StatusCode::NOT_MODIFIED, &get, false),
        ];
        for (status, framing, has_length) in table {
            let (text, _) = sent(Response::new(status, "text/plain", "hello"), framing);
            assert!(text.ends_with("\r\n\r\n"), "{text}");
            assert_eq!(text.contains("content-length: 5"), has_length, "{text}");
        }
        let stream = Response::streamed(share(), "text/plain", |_| Ok(()));
        assert!(
            sent(stream, &head).1,
            "a stream's head does not end the connection"
        );
    }

    #[test]
    fn the_connection_option_fits_the_version() {
        let table = [
            (false, true, None),
            (false, false, Some("connection: close\r\n")),
            (true, true, Some("connection: keep-alive\r\n")),
            (true, false, Some("connection: close\r\n")),
        ];
        for (is_http_1_0, keep_alive, expected) in table {
            let response = Response::new(StatusCode::OK, "text/plain", "");
            let (text, kept) = sent(response, &framing(&Method::GET, is_http_1_0, keep_alive));
            assert_eq!(kept, keep_alive);
            match expected {
                Some(option) => assert!(text.contains(option), "{text}"),
                None => assert!(!text.contains("connection"), "{text}"),
            }
        }
    }

    #[test]
    fn a_handler_cannot_contradict_the_framing() {
        let response = Response::new(StatusCode::OK, "text/plain", "hello")
            .with(header::CONTENT_LENGTH, HeaderValue::from_static("3"))
            .with(
                header::TRANSFER_ENCODING,
                HeaderValue::from_static("chunked"),
            )
            .with(header::CONNECTION, HeaderValue::from_static("close"));
        let (text, keep_alive) = sent(response, &framing(&Method::GET, false, true));
        assert!(text.contains("content-length: 5\r\n") && !text.contains("chunked"));
        assert!(text.contains("connection: close\r\n") && !keep_alive);
    }

    #[test]
    fn streams_are_chunked_if_the_version_allows() {
        for (is_http_1_0, expected) in [(false, true), (true, false)] {
            let stream = Response::streamed(share(), "text/plain", |_| Ok(()));
            let (text, _) = sent(stream, &framing(&Method::GET, is_http_1_0, true));
            assert_eq!(text.contains("transfer-encoding: chunked"), expected);
            assert!(text.contains("connection: close"), "{text}");
        }
    }
}
