//! Why a request is refused before a handler sees it.

use http::StatusCode;

/// A request that is answered with an error, after which its connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The request line is not `METHOD TARGET HTTP/1.x`.
    RequestLine,
    /// A line does not end with CR and LF, or a byte is not allowed where it is.
    LineEnd,
    /// The target is not a path, or contains bytes that are not allowed in one.
    Target,
    /// A header field has an invalid name or value, or continues on a second line.
    Field,
    /// The version is neither 1.0 nor 1.1.
    Version,
    /// `Host` is missing, given more than once, or not a host.
    Host,
    /// `Content-Length` is given more than once or not a number.
    ContentLength,
    /// `Transfer-Encoding` and `Content-Length` contradict each other, or the version has no `Transfer-Encoding`.
    Framing,
    /// `Transfer-Encoding`: bodies must have a `Content-Length`.
    TransferEncoding,
    /// An expectation other than `100-continue`.
    Expectation,
    /// The request line and the header fields are too long or too many.
    HeadTooLarge,
    /// The body is too long.
    BodyTooLarge,
    /// The request was not complete in time.
    Timeout,
}

impl Refusal {
    /// The status that answers it.
    pub fn status(self) -> StatusCode {
        match self {
            Refusal::RequestLine
            | Refusal::LineEnd
            | Refusal::Target
            | Refusal::Field
            | Refusal::Host
            | Refusal::ContentLength
            | Refusal::Framing => StatusCode::BAD_REQUEST,
            Refusal::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Refusal::TransferEncoding => StatusCode::NOT_IMPLEMENTED,
            Refusal::Expectation => StatusCode::EXPECTATION_FAILED,
            Refusal::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Refusal::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::Timeout => StatusCode::REQUEST_TIMEOUT,
        }
    }

    /// The reason in words, for the body of the response.
    pub fn reason(self) -> &'static str {
        match self {
            Refusal::RequestLine => "invalid request line",
            Refusal::LineEnd => "lines must end with CR and LF, and contain no control characters",
            Refusal::Target => "the request target must be a path",
            Refusal::Field => "invalid header field",
            Refusal::Version => "only HTTP/1.1 and HTTP/1.0 are supported",
            Refusal::Host => "exactly one valid Host is required",
            Refusal::ContentLength => "invalid Content-Length",
            Refusal::Framing => "contradictory Transfer-Encoding",
            Refusal::TransferEncoding => {
                "Transfer-Encoding is not supported: send a Content-Length"
            }
            Refusal::Expectation => "unsupported expectation",
            Refusal::HeadTooLarge => "the header fields are too large",
            Refusal::BodyTooLarge => "the body is too large",
            Refusal::Timeout => "the request was not complete in time",
        }
    }
}
