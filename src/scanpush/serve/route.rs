//! An address with its handler, and what a handler gets.

use super::access::User;
use super::fields;
use super::problem::Problem;
use super::site::Site;
use crate::flags::{Flag, Reader};
use crate::http_server::{Request, Response, StreamKind, StreamShare};
use http::Method;
use std::sync::Arc;

/// What a handler returns.
pub type Answer = Result<Response, Problem>;

/// Who may use an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everybody: style sheet, script, the page to log in.
    Open,
    /// Every user.
    Read,
    /// Every user, if the server was not started with `-read-only`.
    Change,
}

/// An address with its handler.
pub struct Route {
    /// The method; GET stands for HEAD too.
    pub method: Method,
    /// The path, like `/tasks/{task_id}`: a segment in braces is a parameter.
    pub pattern: &'static str,
    /// Who may use it.
    pub access: Access,
    /// The handler.
    pub answer: fn(&Context<'_>) -> Answer,
}

impl Route {
    /// A route that only reads.
    pub const fn read(pattern: &'static str, answer: fn(&Context<'_>) -> Answer) -> Route {
        Route {
            method: Method::GET,
            pattern,
            access: Access::Read,
            answer,
        }
    }

    /// A route that changes something.
    pub const fn change(pattern: &'static str, answer: fn(&Context<'_>) -> Answer) -> Route {
        Route {
            method: Method::POST,
            pattern,
            access: Access::Change,
            answer,
        }
    }

    /// Whether it belongs to the API.
    pub fn is_api(&self) -> bool {
        self.pattern.starts_with("/api/")
    }
}

/// A request with what belongs to it.
pub struct Context<'a> {
    /// What all requests share.
    pub site: &'a Arc<Site>,
    /// The request.
    pub request: &'a Request,
    /// Who sent it.
    pub user: User,
    /// The parameters of the path, in order.
    pub parameters: Vec<String>,
}

impl Context<'_> {
    /// The fields of the query as flags of `table`. Errs with 400 on an unknown, repeated or empty one.
    pub fn query(&self, table: &[Flag]) -> Result<Reader, Problem> {
        fields::reader(self.request.query_fields(), table)
    }

    /// The same for the fields of a form.
    pub fn form(&self, table: &[Flag]) -> Result<Reader, Problem> {
        fields::reader(self.request.form_fields(), table)
    }

    /// What a stream for this user counts for.
    pub fn share(&self, kind: StreamKind) -> StreamShare {
        StreamShare {
            kind,
            client: self.user.name.clone(),
        }
    }
}
