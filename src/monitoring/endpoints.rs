//! The endpoints `/metrics`, `/healthz` and `/readyz`.

use super::access::{Access, text};
use super::exposition::CONTENT_TYPE;
use super::readiness::{self, Part};
use super::registry::Registry;
use crate::http_server::{Handler, Request, Response};
use http::{HeaderValue, Method, StatusCode, header};
use log::error;
use std::net::SocketAddr;
use std::sync::Arc;

/// Returns the state of each part of the program, for `/readyz`.
type Readiness = Box<dyn Fn() -> Vec<Part> + Send + Sync>;

/// Answers `/metrics`, `/healthz` and `/readyz`.
pub struct Endpoints {
    registry: Registry,
    readiness: Readiness,
    access: Access,
}

impl Endpoints {
    /// Endpoints with these metrics and parts.
    pub fn new(
        registry: Registry,
        readiness: impl Fn() -> Vec<Part> + Send + Sync + 'static,
        access: Access,
    ) -> Endpoints {
        Endpoints {
            registry,
            readiness: Box::new(readiness),
            access,
        }
    }

    /// The response to a request for one of the three addresses; none for any other.
    pub fn answer(&self, request: &Request) -> Option<Response> {
        let answer = match request.path.as_str() {
            "/metrics" => Endpoints::metrics,
            "/healthz" => Endpoints::health,
            "/readyz" => Endpoints::ready,
            _ => return None,
        };
        if !matches!(request.method, Method::GET | Method::HEAD) {
            let refusal = text(
                StatusCode::METHOD_NOT_ALLOWED,
                "this address accepts GET and HEAD\n",
            );
            return Some(refusal.with(header::ALLOW, HeaderValue::from_static("GET, HEAD")));
        }
        let response = self.access.refusal(request).unwrap_or_else(|| answer(self));
        Some(response.with(header::CACHE_CONTROL, HeaderValue::from_static("no-store")))
    }

    /// A handler for a server at `address` that has no other addresses. Without a token, the header `Host` must name this machine, so that a
    /// web site in a browser of this machine cannot read the metrics (DNS rebinding).
    pub fn handler(self, address: SocketAddr) -> Handler {
        Arc::new(move |request| {
            if self.access.is_open() && !request.has_local_host(address) {
                return text(
                    StatusCode::FORBIDDEN,
                    "the header Host does not name this machine\n",
                );
            }
            self.answer(&request).unwrap_or_else(|| {
                text(
                    StatusCode::NOT_FOUND,
                    "there are only /metrics, /healthz and /readyz\n",
                )
            })
        })
    }

    /// All metrics as text.
    pub fn scrape(&self) -> Result<String, std::fmt::Error> {
        self.registry.encode()
    }

    fn metrics(&self) -> Response {
        match self.scrape() {
            Ok(body) => Response::new(StatusCode::OK, CONTENT_TYPE, body),
            Err(_) => {
                error!("the metrics cannot be written as text");
                text(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the metrics cannot be written as text\n",
                )
            }
        }
    }

    fn health(&self) -> Response {
        text(StatusCode::OK, "ok\n")
    }

    fn ready(&self) -> Response {
        readiness::response(&(self.readiness)())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http_server::Body;
    use http::HeaderMap;

    fn answer(method: Method, path: &str, fault: Option<&str>) -> (u16, String) {
        answer_to("127.0.0.1:9101", method, path, fault)
    }

    fn answer_to(host: &str, method: Method, path: &str, fault: Option<&str>) -> (u16, String) {
        let fault = fault.map(str::to_owned);
        let parts = move || {
            let part = |name, fault| Part { name, fault };
            vec![part("kafka", None), part("redis", fault.clone())]
        };
        let endpoints = Endpoints::new(Registry::default(), parts, Access::default());
        let request = Request {
            method,
            path: path.to_owned(),
            query: String::new(),
            headers: HeaderMap::from_iter([(header::HOST, host.parse().unwrap())]),
            body: Vec::new(),
            peer: "127.0.0.1:1".parse().unwrap(),
        };
        let response = endpoints.handler("127.0.0.1:9101".parse().unwrap())(request);
        let Body::Complete(body) = response.body else {
            panic!("the response is streamed");
        };
        (response.status.as_u16(), String::from_utf8(body).unwrap())
    }

    #[test]
    fn health_is_alive_and_ready_names_what_is_missing() {
        let get = |path, fault| answer(Method::GET, path, fault);
        assert_eq!(get("/healthz", Some("away")), (200, "ok\n".to_owned()));
        let ready = "ok    kafka\nok    redis\n".to_owned();
        assert_eq!(get("/readyz", None), (200, ready));
        let not_ready = "ok    kafka\nFAIL  redis: away\n".to_owned();
        assert_eq!(get("/readyz", Some("away")), (503, not_ready));
        assert_eq!(get("/metrics", None).0, 200);
        assert_eq!(get("/", None).0, 404);
        for host in ["localhost:9101", "[::1]:9101", "127.0.0.1"] {
            let (status, _) = answer_to(host, Method::GET, "/metrics", None);
            assert_eq!(status, 200, "{host}");
        }
        let (status, _) = answer_to("evil.example", Method::GET, "/metrics", None);
        assert_eq!(status, 403);
        assert_eq!(answer(Method::POST, "/metrics", None).0, 405);
    }
}
