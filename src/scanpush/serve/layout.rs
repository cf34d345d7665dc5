//! What all pages have in common: title, navigation, and what is old or away.

use super::live::Away;
use super::route::Context;
use super::site::Site;
use crate::http_server::Response;
use crate::scanpush::tasks::{now_ms, span};
use askama::Template;
use http::StatusCode;

/// An entry of the navigation.
#[derive(Debug)]
pub struct Entry {
    /// Its address.
    pub href: &'static str,
    /// Its name.
    pub name: &'static str,
}

const NAVIGATION: &[Entry] = &[
    Entry {
        href: "/changes",
        name: "Changes",
    },
    Entry {
        href: "/services",
        name: "Services",
    },
    Entry {
        href: "/overview",
        name: "Overview",
    },
    Entry {
        href: "/tasks",
        name: "Tasks",
    },
    Entry {
        href: "/jobs",
        name: "Jobs",
    },
    Entry {
        href: "/diff",
        name: "Diff",
    },
    Entry {
        href: "/servers",
        name: "Servers",
    },
];

/// A line at the top of a page about something that is away.
#[derive(Debug)]
pub struct Notice {
    /// What is away and since when, and what that means for the page.
    pub text: String,
    /// The cause.
    pub cause: String,
}

/// The frame of a page.
#[derive(Debug)]
pub struct Layout {
    /// The title of the page.
    pub title: String,
    /// The address of the entry of the navigation that the page belongs to.
    pub current: &'static str,
    /// What is away.
    pub notices: Vec<Notice>,
    /// This user can change nothing.
    pub read_only: bool,
    /// The group whose tasks are shown.
    pub group: String,
    /// The name of the user.
    pub user: String,
    /// The user has logged in here.
    pub may_log_out: bool,
}

impl Layout {
    /// The frame of a page. `current` is the address of its entry in the navigation.
    pub fn new(context: &Context<'_>, title: impl Into<String>, current: &'static str) -> Layout {
        Layout {
            title: title.into(),
            current,
            notices: notices(context.site),
            read_only: context.site.options.read_only || !context.user.may_change,
            user: context.user.name.clone(),
            may_log_out: context.user.may_log_out(),
            ..Layout::of_problem(context.site, "")
        }
    }

    /// The frame of an error, which may be shown to somebody who is not known.
    pub fn of_problem(site: &Site, title: &str) -> Layout {
        Layout {
            title: title.to_owned(),
            current: "",
            notices: Vec::new(),
            read_only: site.options.read_only,
            group: site.connection().group.to_string(),
            user: String::new(),
            may_log_out: false,
        }
    }

    /// The entries of the navigation.
    pub fn navigation(&self) -> &'static [Entry] {
        NAVIGATION
    }

    /// What distinguishes this version's style sheet and script from those that a browser kept.
    pub fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }
}

fn notices(site: &Site) -> Vec<Notice> {
    let (snapshot, redis) = site.live.latest();
    let now_ms = now_ms();
    let since = |away: &Away| span(now_ms.saturating_sub(away.since_ms) / 1000);
    let redis = redis.map(|away| Notice {
        text: match snapshot.at_ms {
            None => "Redis cannot be read: live progress and servers are not shown.".to_owned(),
            Some(at_ms) => format!(
                "Redis has been away for {}: live progress and servers are {} old.",
                since(&away),
                span(now_ms.saturating_sub(at_ms) / 1000)
            ),
        },
        cause: away.cause,
    });
    let kafka = site.store.kafka_away().map(|away| Notice {
        text: format!(
            "Kafka has been away for {}: findings, changes and ends of tasks since then are missing.",
            since(&away)
        ),
        cause: away.cause,
    });
    let unread = site.readers.away().map(|away| Notice {
        text: format!(
            "The database has been away for {}: only pages that were shown before are there.",
            since(&away)
        ),
        cause: away.cause,
    });
    let unwritten = site.store.database_away().map(|away| Notice {
        text: format!(
            "The database has not been written for {}: findings, changes and ends of tasks since then are missing.",
            since(&away)
        ),
        cause: away.cause,
    });
    // If it can't be read, it can't be written.
    let database = unread.or(unwritten);
    [database, kafka, redis].into_iter().flatten().collect()
}

/// The response with a page.
pub fn page(template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => Response::new(StatusCode::OK, "text/html; charset=utf-8", html),
        // Templates err only if formatting one of their values does.
        Err(error) => Response::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "text/plain; charset=utf-8",
            format!("the page cannot be written: {error}\n"),
        ),
    }
}
