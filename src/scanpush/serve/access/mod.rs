//! Who may do what.
//!
//! - Without `-auth-file` and `-trust-header` the page can only be reached from this machine, under its own name, and everybody there may use it.
//! - With `-auth-file` a user logs in on a page and gets a session, and a program sends a token.
//! - With `-trust-header` a reverse proxy sends the user's name.
//!
//! **Invariant:** whatever a browser adds to a request by itself (a session's cookie, what a reverse proxy knows it by, this machine's address) counts
//! for a change only if the request comes from our own page.
//!
//! | file | what |
//! |---|---|
//! | `options.rs` | the flags |
//! | `guard.rs` | what is known about users; who sent a request |
//! | `user.rs` | a user |
//! | `origin.rs` | from which page a request comes |
//! | `sessions.rs`, `cookies.rs` | who is logged in; the cookies |
//! | `attempts.rs` | limits of logins |
//! | `failure_log.rs` | log lines about refusals |
//! | `login.rs` | the pages to log in and out |

mod attempts;
mod cookies;
mod failure_log;
mod guard;
mod login;
mod options;
mod origin;
#[cfg(test)]
pub mod sample;
mod sessions;
#[cfg(test)]
mod tests;
mod user;

pub use guard::Guard;
pub use login::{ROUTES, challenge};
pub use options::{AUTH_FILE, AccessOptions, TRUST_HEADER, TRUST_PROXY, permission_warnings, read};
pub use user::{By, User};

use super::problem::Problem;
use super::route::{Access, Route};
use super::site::Site;
use crate::http_server::Request;

/// The user of a request. Errs with 401 or 403 if this user may not use the route.
pub fn check(site: &Site, request: &Request, route: &Route) -> Result<User, Problem> {
    let guard = &site.guard;
    guard.check_host(request)?;
    let user = match route.access {
        Access::Open => User::nobody(),
        Access::Read | Access::Change => guard.identify(request)?,
    };
    may_use(site, request, route, &user).map_err(|reason| {
        guard.note_failure(&format!(
            "refused {} {} of {} at {}: {reason}",
            request.method,
            request.path,
            if user.name.is_empty() {
                "somebody"
            } else {
                &user.name
            },
            guard.client(request)
        ));
        Problem::forbidden(reason)
    })?;
    Ok(user)
}

fn may_use(site: &Site, request: &Request, route: &Route, user: &User) -> Result<(), String> {
    // A browser does not send a token by itself.
    if !origin::is_safe(&request.method) && user.by != By::Token {
        origin::check_same_origin(request)?;
    }
    if route.access == Access::Change && site.options.read_only {
        return Err("this server was started with -read-only".to_owned());
    }
    if route.access == Access::Change && !user.may_change {
        return Err(format!("{} may only read", user.name));
    }
    Ok(())
}
