//! Errors of requests, in the API as RFC 9457 problems.

use crate::http_server::Response;
use crate::model::Invalid;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

/// `Retry-After` of problems with status 503, in seconds.
const UNAVAILABLE_RETRY_AFTER_S: u64 = 2;

/// Why a request cannot be answered.
#[derive(Debug, Clone)]
pub struct Problem {
    /// The status.
    pub status: StatusCode,
    /// One line for people: what is wrong, and what would be right.
    pub detail: String,
    /// A header field of the response.
    field: Option<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem with this status.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem {
            status,
            detail: detail.into(),
            field: None,
        }
    }

    /// 400: the request is wrong.
    pub fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 401: nobody knows who sent the request.
    pub fn unauthorized(detail: impl Into<String>) -> Problem {
        let scheme = HeaderValue::from_static("Bearer realm=\"scanpush\"");
        Problem {
            field: Some((header::WWW_AUTHENTICATE, scheme)),
            ..Problem::new(StatusCode::UNAUTHORIZED, detail)
        }
    }

    /// 403: this user may not do this.
    pub fn forbidden(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, detail)
    }

    /// 404: it does not exist.
    pub fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, detail)
    }

    /// 405: the address has other methods.
    pub fn method_not_allowed(allowed: &[&str]) -> Problem {
        let allow = allowed.join(", ");
        Problem {
            field: allow.parse().ok().map(|allow| (header::ALLOW, allow)),
            ..Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                format!("this address accepts {allow}"),
            )
        }
    }

    /// 409: the state of the thing does not allow it.
    pub fn conflict(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT, detail)
    }

    /// 503: Kafka, Redis or the database is away.
    pub fn unavailable(detail: impl Into<String>) -> Problem {
        let retry_after = HeaderValue::from(UNAVAILABLE_RETRY_AFTER_S);
        Problem {
            field: Some((header::RETRY_AFTER, retry_after)),
            ..Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        }
    }

    /// The name of the status.
    pub fn title(&self) -> &'static str {
        self.status.canonical_reason().unwrap_or("Error")
    }

    /// The response of the API.
    pub fn as_json(&self) -> Response {
        #[derive(Serialize)]
        struct Document<'a> {
            r#type: &'a str,
            title: &'a str,
            status: u16,
            detail: &'a str,
        }
        let document = Document {
            // The status says it all.
            r#type: "about:blank",
            title: self.title(),
            status: self.status.as_u16(),
            detail: &self.detail,
        };
        let body = serde_json::to_vec(&document).unwrap_or_default();
        self.headed(Response::new(self.status, "application/problem+json", body))
    }

    /// The response with the header fields that belong to the problem.
    pub fn headed(&self, response: Response) -> Response {
        match &self.field {
            Some((name, value)) => response.with(name.clone(), value.clone()),
            None => response,
        }
    }
}

impl From<Invalid> for Problem {
    /// Names the field as it is called in queries and forms: without the dash of the flag.
    fn from(error: Invalid) -> Problem {
        let text = error.to_string();
        Problem::bad_request(text.strip_prefix('-').unwrap_or(&text))
    }
}
