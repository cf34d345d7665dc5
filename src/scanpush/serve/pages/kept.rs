//! Shows pages as they were last while the database is away.

use crate::scanpush::serve::route::{Answer, Context};
use http::StatusCode;

/// What `render` answers, or, if it answers 503, the page as it was last, if it is kept.
pub fn or_last(context: &Context<'_>, render: fn(&Context<'_>) -> Answer) -> Answer {
    let pages = &context.site.kept_pages;
    let key = [
        context.user.name.clone(),
        context.request.path.clone(),
        context.request.query.clone(),
    ];
    match render(context) {
        Ok(response) => {
            pages.keep(key, &response);
            Ok(response)
        }
        Err(problem) if problem.status == StatusCode::SERVICE_UNAVAILABLE => {
            pages.last(&key, &problem.detail).ok_or(problem)
        }
        Err(problem) => Err(problem),
    }
}
