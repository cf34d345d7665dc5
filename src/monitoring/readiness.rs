//! Which parts of a program are ready to work, for `/readyz`. Pure.

use crate::http_server::Response;
use http::StatusCode;

/// A part that a program needs, such as Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name: the value of a label too.
    pub name: &'static str,
    /// Why it is not ready; none if it is.
    pub fault: Option<String>,
}

/// One line for each part; 503 if one is not ready.
pub(super) fn response(parts: &[Part]) -> Response {
    let is_ready = parts.iter().all(|part| part.fault.is_none());
    let mut text = String::new();
    for part in parts {
        match &part.fault {
            None => text += &format!("ok    {}\n", part.name),
            Some(fault) => text += &format!("FAIL  {}: {fault}\n", part.name),
        }
    }
    let status = match is_ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    Response::new(status, "text/plain; charset=utf-8", text)
}
