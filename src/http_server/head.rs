//! Parses the head of a request: the request line and the header fields. Stricter than the standard requires: what two servers could
//! understand differently is refused, so that a reverse proxy and this server always agree where a request ends.

use super::limits::HTTP_FIELDS_MAX;
use super::refusal::Refusal;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

/// The end of a head.
const HEAD_END: &[u8] = b"\r\n\r\n";

/// The head of a request.
#[derive(Clone, Debug)]
pub struct Head {
    /// The method.
    pub method: Method,
    /// The path; it begins with a slash.
    pub path: String,
    /// What follows the `?`.
    pub query: String,
    /// The header fields.
    pub headers: HeaderMap,
    /// HTTP/1.0 instead of HTTP/1.1.
    pub is_http_1_0: bool,
    /// Length of the body, in bytes.
    pub body_bytes: u64,
    /// The client sends the body after `100 Continue`.
    pub expects_continue: bool,
    /// The client wants to send further requests on the connection.
    pub keep_alive: bool,
}

/// What a buffer that begins with a head contains.
#[derive(Debug, PartialEq, Eq)]
pub enum Scan {
    /// A part of a head.
    Incomplete,
    /// A whole head of this length in bytes.
    Complete(usize),
}

/// Looks for the end of a head in `bytes`, of which the first `scanned` were looked at before. Each LF must follow a CR, and each CR must
/// precede an LF.
pub fn scan(bytes: &[u8], scanned: usize) -> Result<Scan, Refusal> {
    for at in scanned..bytes.len() {
        let is_after_cr = at > 0 && bytes[at - 1] == b'\r';
        if (bytes[at] == b'\n') != is_after_cr || bytes[at] == 0 {
            return Err(Refusal::LineEnd);
        }
        if bytes[at] == b'\n' && bytes[..=at].ends_with(HEAD_END) {
            return Ok(Scan::Complete(at + 1));
        }
    }
    Ok(Scan::Incomplete)
}

/// Parses a whole head that [`scan`] has accepted.
pub fn parse(bytes: &[u8]) -> Result<Head, Refusal> {
    // httparse ignores empty lines before the request line.
    if !bytes.first().is_some_and(u8::is_ascii_alphabetic) {
        return Err(Refusal::RequestLine);
    }
    let mut fields = [httparse::EMPTY_HEADER; HTTP_FIELDS_MAX];
    let mut parsed = httparse::Request::new(&mut fields);
    match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
        Ok(_) => return Err(Refusal::LineEnd),
        Err(error) => return Err(refusal_of(error)),
    }
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(Refusal::RequestLine);
    };
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| Refusal::RequestLine)?;
    let (path, query) = parse_target(target).ok_or(Refusal::Target)?;
    let mut headers = HeaderMap::with_capacity(parsed.headers.len());
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Refusal::Field)?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| Refusal::Field)?;
        headers
            .try_append(name, value)
            .map_err(|_| Refusal::HeadTooLarge)?;
    }
    let is_http_1_0 = version == 0;
    check_host(&headers, is_http_1_0)?;
    Ok(Head {
        body_bytes: body_bytes(&headers, is_http_1_0)?,
        expects_continue: expects_continue(&headers, is_http_1_0)?,
        keep_alive: keep_alive(&headers, is_http_1_0),
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        is_http_1_0,
    })
}

fn refusal_of(error: httparse::Error) -> Refusal {
    match error {
        httparse::Error::Version => Refusal::Version,
        httparse::Error::TooManyHeaders => Refusal::HeadTooLarge,
        httparse::Error::HeaderName | httparse::Error::HeaderValue => Refusal::Field,
        httparse::Error::NewLine => Refusal::LineEnd,
        httparse::Error::Token | httparse::Error::Status => Refusal::RequestLine,
    }
}

/// The path and the query of a target in origin form. Browsers send some characters without `%` that the standard forbids in a query.
fn parse_target(target: &str) -> Option<(&str, &str)> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let is_allowed =
        |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'#' | b'<' | b'>');
    let is_valid = path.starts_with('/')
        && path.bytes().all(|byte| is_allowed(byte) && byte != b'\\')
        && query.bytes().all(is_allowed)
        && has_whole_escapes(path);
    is_valid.then_some((path, query))
}

/// Each `%` is followed by two hexadecimal digits.
fn has_whole_escapes(path: &str) -> bool {
    path.split('%').skip(1).all(|part| {
        let digits = part.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

fn check_host(headers: &HeaderMap, is_http_1_0: bool) -> Result<(), Refusal> {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if is_http_1_0 => Ok(()),
        (Some(host), None) if host.as_bytes().iter().all(|byte| is_host_byte(*byte)) => Ok(()),
        _ => Err(Refusal::Host),
    }
}

/// The characters of names, addresses and ports.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte)
}

fn body_bytes(headers: &HeaderMap, is_http_1_0: bool) -> Result<u64, Refusal> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let length = match (lengths.next(), lengths.next()) {
        (None, _) => None,
        (Some(length), None) => Some(parse_length(length.as_bytes())?),
        (Some(_), Some(_)) => return Err(Refusal::ContentLength),
    };
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(match length.is_some() || is_http_1_0 {
            true => Refusal::Framing,
            false => Refusal::TransferEncoding,
        });
    }
    Ok(length.unwrap_or(0))
}

fn parse_length(digits: &[u8]) -> Result<u64, Refusal> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::ContentLength);
    }
    let add =
        |length: u64, digit: &u8| length.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
    digits.iter().try_fold(0, add).ok_or(Refusal::BodyTooLarge)
}

fn expects_continue(headers: &HeaderMap, is_http_1_0: bool) -> Result<bool, Refusal> {
    let mut all = headers.get_all(header::EXPECT).iter().peekable();
    if all.peek().is_none() || is_http_1_0 {
        return Ok(false);
    }
    match all.all(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        true => Ok(true),
        false => Err(Refusal::Expectation),
    }
}

fn keep_alive(headers: &HeaderMap, is_http_1_0: bool) -> bool {
    let has = |option: &str| {
        let values = headers.get_all(header::CONNECTION).iter();
        values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .any(|token| token.trim().eq_ignore_ascii_case(option))
    };
    !has("close") && (!is_http_1_0 || has("keep-alive"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scans and parses `text`, which is a whole head or an invalid one.
    fn head(text: &str) -> Result<Head, Refusal> {
        match scan(text.as_bytes(), 0)? {
            Scan::Complete(length) => parse(&text.as_bytes()[..length]),
            Scan::Incomplete => panic!("{text:?} is not complete"),
        }
    }

    fn refusal(text: &str) -> Option<Refusal> {
        head(text).err()
    }

    #[test]
    fn a_head_is_parsed() {
        let text = "POST /a%20b/c?x=1&y=|^ HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length: 12\r\nExpect: 100-Continue\r\n\r\n";
        let head = head(text).unwrap();
        assert_eq!(head.method, Method::POST);
        assert_eq!(
            (head.path.as_str(), head.query.as_str()),
            ("/a%20b/c", "x=1&y=|^")
        );
        assert_eq!(head.body_bytes, 12);
        assert!(head.expects_continue && head.keep_alive && !head.is_http_1_0);
        assert_eq!(head.headers.len(), 3);
    }

    #[test]
    fn request_lines_that_are_refused() {
        let table = [
            ("GET  / HTTP/1.1", Refusal::Target),
            ("GET /  HTTP/1.1", Refusal::Version),
            ("GET /", Refusal::RequestLine),
            ("GET / HTTP/1.2", Refusal::Version),
            ("GET / HTTP/2.0", Refusal::Version),
            ("GET / HTTP/0.9", Refusal::Version),
            ("GET / http/1.1", Refusal::Version),
            (" GET / HTTP/1.1", Refusal::RequestLine),
            ("G\"T / HTTP/1.1", Refusal::RequestLine),
            ("GET\t/ HTTP/1.1", Refusal::RequestLine),
            ("\u{16}\u{3}\u{1} TLS", Refusal::RequestLine),
            ("GET http://other/ HTTP/1.1", Refusal::Target),
            ("OPTIONS * HTTP/1.1", Refusal::Target),
            ("CONNECT host:443 HTTP/1.1", Refusal::Target),
            ("GET index HTTP/1.1", Refusal::Target),
            ("GET /#fragment HTTP/1.1", Refusal::Target),
            ("GET /a\\b HTTP/1.1", Refusal::Target),
            ("GET /<a> HTTP/1.1", Refusal::Target),
            ("GET /?<a> HTTP/1.1", Refusal::Target),
            ("GET /é HTTP/1.1", Refusal::Target),
            ("GET /% HTTP/1.1", Refusal::Target),
            ("GET /%2 HTTP/1.1", Refusal::Target),
            ("GET /%2g HTTP/1.1", Refusal::Target),
        ];
        for (line, expected) in table {
            let refused = refusal(&format!("{line}\r\nHost: a\r\n\r\n"));
            // httparse itself refuses some targets, as part of the request line.
            let is_expected = refused == Some(expected)
                || (expected == Refusal::Target && refused == Some(Refusal::RequestLine));
            assert!(is_expected, "{line}: {refused:?}");
        }
    }

    #[test]
    fn fields_that_could_be_understood_differently_are_refused() {
        let table = [
            (
                "Content-Length: 5\r\nContent-Length: 5",
                Refusal::ContentLength,
            ),
            (
                "Content-Length: 5\r\nContent-Length: 6",
                Refusal::ContentLength,
            ),
            ("Content-Length: 5, 5", Refusal::ContentLength),
            ("Content-Length: +5", Refusal::ContentLength),
            ("Content-Length: -5", Refusal::ContentLength),
            ("Content-Length: 0x5", Refusal::ContentLength),
            ("Content-Length: 5 5", Refusal::ContentLength),
            ("Content-Length:", Refusal::ContentLength),
            (
                "Content-Length: 18446744073709551616",
                Refusal::BodyTooLarge,
            ),
            (
                "Content-Length: 5\r\nTransfer-Encoding: chunked",
                Refusal::Framing,
            ),
            (
                "Transfer-Encoding: chunked\r\nContent-Length: 5",
                Refusal::Framing,
            ),
            ("Transfer-Encoding: chunked", Refusal::TransferEncoding),
            ("Transfer-Encoding: identity", Refusal::TransferEncoding),
            ("transfer-encoding:\tx", Refusal::TransferEncoding),
            ("Transfer-Encoding : chunked", Refusal::Field),
            (" Transfer-Encoding: chunked", Refusal::Field),
            ("Content-Length : 5", Refusal::Field),
            ("X: a\r\n folded: b", Refusal::Field),
            ("X: a\r\n\tfolded", Refusal::Field),
            ("Content-Length", Refusal::Field),
            (": x", Refusal::Field),
            ("X\u{b}: a", Refusal::Field),
            ("X: a\u{1}b", Refusal::Field),
            ("X: a\nTransfer-Encoding: chunked", Refusal::LineEnd),
            ("X: a\rTransfer-Encoding: chunked", Refusal::LineEnd),
            ("X: a\r\r\nY: b", Refusal::LineEnd),
            ("X: a\n\r\nY: b", Refusal::LineEnd),
            ("X: a\0b", Refusal::LineEnd),
            ("Host: b", Refusal::Host),
            ("Expect: miracles", Refusal::Expectation),
        ];
        for (fields, expected) in table {
            let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
            assert_eq!(refusal(&text), Some(expected), "{fields:?}");
        }
        let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(refusal(old), Some(Refusal::Framing));
    }

    #[test]
    fn hosts_and_the_number_of_fields() {
        let with_host = |host: &str| refusal(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        for host in ["a", "a.example:80", "127.0.0.1", "[::1]:8080", ""] {
            assert_eq!(with_host(host), None, "{host}");
        }
        for host in ["a b", "user@a", "a/b", "http://a", "a?b", "é"] {
            assert_eq!(with_host(host), Some(Refusal::Host), "{host}");
        }
        assert_eq!(refusal("GET / HTTP/1.1\r\n\r\n"), Some(Refusal::Host));
        assert_eq!(refusal("GET / HTTP/1.0\r\n\r\n"), None);
        let fields = |number: usize| {
            let fields: String = (1..number).map(|n| format!("X-{n}: a\r\n")).collect();
            refusal(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
        };
        assert_eq!(fields(HTTP_FIELDS_MAX), None);
        assert_eq!(fields(HTTP_FIELDS_MAX + 1), Some(Refusal::HeadTooLarge));
    }

    #[test]
    fn connections_persist_by_version_and_option() {
        let table = [
            ("1.1", "", true),
            ("1.1", "Connection: close\r\n", false),
            ("1.1", "Connection: x, CLOSE\r\n", false),
            ("1.1", "Connection: x\r\nConnection: close\r\n", false),
            ("1.0", "", false),
            ("1.0", "Connection: Keep-Alive\r\n", true),
            ("1.0", "Connection: keep-alive, close\r\n", false),
        ];
        for (version, fields, expected) in table {
            let head = head(&format!("GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n")).unwrap();
            assert_eq!(head.keep_alive, expected, "{version} {fields:?}");
        }
    }

    #[test]
    fn the_scan_finds_the_end_wherever_the_parts_are_split() {
        let text = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET";
        let end = text.len() - 3;
        for split in 0..=text.len() {
            let first = scan(&text[..split], 0).unwrap();
            if split < end {
                assert_eq!(first, Scan::Incomplete, "{split}");
                assert_eq!(scan(text, split), Ok(Scan::Complete(end)), "{split}");
            } else {
                assert_eq!(first, Scan::Complete(end), "{split}");
            }
        }
        assert_eq!(scan(b"GET / HTTP/1.1\n", 0), Err(Refusal::LineEnd));
        assert_eq!(scan(b"a\r", 0), Ok(Scan::Incomplete));
        assert_eq!(scan(b"a\rb", 2), Err(Refusal::LineEnd));
    }
}
