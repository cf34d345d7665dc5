//! Who may do what.

use super::problem::Problem;
use super::route::{Access, Route, User};
use super::site::Site;
use crate::http_server::Request;

/// The user of a request. Errs with 401 or 403 if this user may not use the route.
pub fn check(site: &Site, _request: &Request, route: &Route) -> Result<User, Problem> {
    if route.access == Access::Change && site.options.read_only {
        return Err(Problem::forbidden(
            "this server was started with -read-only",
        ));
    }
    Ok(User {
        name: "local".to_owned(),
    })
}
