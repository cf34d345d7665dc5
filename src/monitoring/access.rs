//! Who may read metrics and health: everybody who reaches the address, or who has the token of a file.

use crate::credentials::{CredentialFile, Password};
use crate::http_server::{LogGate, Request, Response};
use crate::model::Invalid;
use crate::sync::lock;
use http::{HeaderValue, StatusCode, header};
use log::warn;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use subtle::ConstantTimeEq;

/// The token that a reader needs, if any.
#[derive(Clone, Debug, Default)]
pub struct Access {
    token: Option<Password>,
    /// For lines about a token that cannot be read.
    unreadable: Arc<Mutex<LogGate>>,
}

impl Access {
    /// Every request needs this token, or none does.
    pub fn with(token: Option<Password>) -> Access {
        Access {
            token,
            unreadable: Arc::default(),
        }
    }

    /// Reads the token once, so that a file that cannot be read is found at the start. `address` is where metrics will be served: one that other
    /// machines reach needs a token. The error is about the flag or its address; `flag` names the flag of the token.
    pub fn check_start(&self, address: SocketAddr, flag: &str) -> Result<(), Invalid> {
        match &self.token {
            Some(token) => token.read().map(drop),
            None if address.ip().is_loopback() => Ok(()),
            None => Err(Invalid::new(
                &address.to_string(),
                format!(
                    "is reachable from other machines: give {flag} too, or listen on 127.0.0.1"
                ),
            )),
        }
    }

    /// Whether everybody who reaches the address may read.
    pub(super) fn is_open(&self) -> bool {
        self.token.is_none()
    }

    /// A warning if every user of this machine can read the file of the token.
    pub fn permission_warning(&self) -> Option<String> {
        self.token
            .as_ref()?
            .file()
            .and_then(CredentialFile::permission_warning)
    }

    /// The response to a request without the token; none if it may be answered. The file is read for each request, so a new token needs no restart.
    pub(super) fn refusal(&self, request: &Request) -> Option<Response> {
        let token = match self.token.as_ref()?.read() {
            Ok(token) => token,
            Err(error) => {
                let mut unreadable = lock(&self.unreadable);
                if let Some(suppressed) = unreadable.pass(Instant::now()) {
                    warn!(
                        "metrics and health are not served: {error} ({suppressed} more since the last such line)"
                    );
                }
                return Some(text(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the token cannot be read\n",
                ));
            }
        };
        let given = request.bearer_token();
        let expected = token.reveal().as_bytes();
        if given.is_some_and(|given| given.as_bytes().ct_eq(expected).into()) {
            return None;
        }
        let refusal = text(
            StatusCode::UNAUTHORIZED,
            "the header Authorization: Bearer TOKEN is missing or wrong\n",
        );
        Some(refusal.with(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"metrics\""),
        ))
    }
}

pub(super) fn text(status: StatusCode, text: &'static str) -> Response {
    Response::new(status, "text/plain; charset=utf-8", text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, Method};
    use std::fs;

    fn request(authorization: Option<&str>) -> Request {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        }
        Request {
            method: Method::GET,
            path: "/metrics".to_owned(),
            query: String::new(),
            headers,
            body: Vec::new(),
            peer: "127.0.0.1:1".parse().unwrap(),
        }
    }

    #[test]
    fn only_the_token_in_the_file_is_accepted_and_may_change() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "s3cret\n").unwrap();
        let flag_file = CredentialFile::new("-metrics-token-file", file.path().to_owned());
        let access = Access::with(Some(Password::File(flag_file)));
        let status = |value| {
            access
                .refusal(&request(value))
                .map(|refusal| refusal.status)
        };
        for wrong in [
            None,
            Some("s3cret"),
            Some("Bearer"),
            Some("Bearer "),
            Some("Bearer s3cre"),
            Some("Bearer s3crets"),
            Some("Basic s3cret"),
        ] {
            assert_eq!(status(wrong), Some(StatusCode::UNAUTHORIZED), "{wrong:?}");
        }
        assert_eq!(status(Some("Bearer s3cret")), None);
        assert_eq!(status(Some("bearer s3cret")), None);
        fs::write(file.path(), "other\n").unwrap();
        assert_eq!(status(Some("Bearer other")), None);
        fs::remove_file(file.path()).unwrap();
        assert_eq!(
            status(Some("Bearer other")),
            Some(StatusCode::SERVICE_UNAVAILABLE)
        );
        assert!(Access::default().refusal(&request(None)).is_none());
    }

    #[test]
    fn an_address_that_others_reach_needs_a_token() {
        let none = Access::default();
        for (address, is_allowed) in [
            ("127.0.0.1:9101", true),
            ("[::1]:9101", true),
            ("0.0.0.0:9101", false),
            ("[::]:9101", false),
            ("192.0.2.1:9101", false),
        ] {
            let address = address.parse().unwrap();
            let checked = none.check_start(address, "-metrics-token-file");
            assert_eq!(checked.is_ok(), is_allowed, "{address}");
        }
        let nowhere = CredentialFile::new("-metrics-token-file", "/nowhere/token".into());
        let access = Access::with(Some(Password::File(nowhere)));
        let address = "127.0.0.1:9101".parse().unwrap();
        assert!(access.check_start(address, "-metrics-token-file").is_err());
    }
}
