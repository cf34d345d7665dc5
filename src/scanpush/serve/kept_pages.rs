//! The last rendering of pages from the database, shown with its age while the database is away.

use super::html::escaped;
use crate::http_server::{Body, Response};
use crate::scanpush::tasks::{now_ms, span};
use crate::sync::lock;
use http::{HeaderValue, StatusCode, header};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

/// Pages that are kept.
const KEPT_PAGES_MAX: usize = 32;
/// Size of a page up to which it is kept.
const KEPT_PAGE_MAX_BYTES: usize = 512 * 1024;
/// Where the notice is put: the layout has this once.
const NOTICES: &str = "<div id=\"notices\" data-live>";

/// The pages, those that were rendered last at the end.
#[derive(Debug, Default)]
pub struct KeptPages(Mutex<VecDeque<KeptPage>>);

#[derive(Debug)]
struct KeptPage {
    /// The user, the path and the query.
    key: [String; 3],
    /// In unix milliseconds.
    rendered_ms: u64,
    html: String,
}

impl KeptPages {
    fn lock(&self) -> MutexGuard<'_, VecDeque<KeptPage>> {
        lock(&self.0)
    }

    /// Keeps a page. The key is the user, the path and the query.
    pub fn keep(&self, key: [String; 3], response: &Response) {
        let Body::Complete(body) = &response.body else {
            return;
        };
        if response.status != StatusCode::OK || body.len() > KEPT_PAGE_MAX_BYTES {
            return;
        }
        let Ok(html) = String::from_utf8(body.clone()) else {
            return;
        };
        let mut pages = self.lock();
        pages.retain(|page| page.key != key);
        if pages.len() == KEPT_PAGES_MAX {
            pages.pop_front();
        }
        pages.push_back(KeptPage {
            key,
            rendered_ms: now_ms(),
            html,
        });
    }

    /// The last rendering of the page, with its age and the reason why it cannot be rendered now.
    pub fn last(&self, key: &[String; 3], why: &str) -> Option<Response> {
        let pages = self.lock();
        let page = pages.iter().find(|page| page.key == *key)?;
        let age_s = now_ms().saturating_sub(page.rendered_ms) / 1000;
        let (before, after) = page.html.split_once(NOTICES)?;
        let html = format!(
            "{before}{NOTICES}<div class=\"notice\" role=\"status\"><strong>This page is {} old.</strong> <span>{}</span></div>{after}",
            span(age_s),
            escaped(why)
        );
        let response = Response::new(StatusCode::OK, "text/html; charset=utf-8", html);
        Some(response.with(header::AGE, HeaderValue::from(age_s)))
    }
}
