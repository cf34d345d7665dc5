//! `/events`: server-sent events, by which an open page learns that something may have changed.

use super::access::User;
use super::route::{Answer, Context, Route};
use crate::http_server::{BodyStream, Request, Response, StreamKind};
use crate::scanpush::serve::site::Site;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// At most one event in this time.
const EVENT_INTERVAL: Duration = Duration::from_secs(1);
/// How often it is checked that the user may still read.
const USER_INTERVAL: Duration = Duration::from_secs(5);
/// Without an event, a comment shows this often that the connection is open.
const COMMENT_INTERVAL: Duration = Duration::from_secs(15);

/// `/events`
pub const ROUTES: &[Route] = &[Route::read("/events", events)];

fn events(context: &Context<'_>) -> Answer {
    let site = Arc::clone(context.site);
    let (request, user) = (context.request.clone(), context.user.clone());
    let share = context.share(StreamKind::Events);
    Ok(Response::streamed(
        share,
        "text/event-stream",
        move |stream| send(&site, &request, &user, stream),
    ))
}

/// Writes an event whenever something has changed, until the client or this process ends, or the user may not read any more.
fn send(
    site: &Site,
    request: &Request,
    user: &User,
    stream: &mut BodyStream<'_>,
) -> io::Result<()> {
    // A browser that reconnects may have missed something: the first event is for that.
    let mut sent = None;
    let (mut written_at, mut checked_at) = (Instant::now(), Instant::now());
    while let Some(version) = site.live.version() {
        if sent != Some(version) {
            write!(stream, "event: changed\nid: {version}\ndata: {version}\n\n")?;
            (sent, written_at) = (Some(version), Instant::now());
        } else if written_at.elapsed() >= COMMENT_INTERVAL {
            stream.write_all(b": nothing has changed\n\n")?;
            written_at = Instant::now();
        }
        if !stream.pause(EVENT_INTERVAL) {
            break;
        }
        if checked_at.elapsed() >= USER_INTERVAL {
            if !site.guard.is_still(request, user) {
                break;
            }
            checked_at = Instant::now();
        }
    }
    Ok(())
}
