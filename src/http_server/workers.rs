//! The threads that run the handler.

use super::connections::ConnectionId;
use super::outbound::{Encoded, Framing, encode};
use super::polling::Wake;
use super::request::Request;
use super::response::Response;
use crate::model::text::one_line;
use crossbeam_channel::{Receiver, Sender};
use http::StatusCode;
use std::any::Any;
use std::net::{SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

/// Longest path in a log line, in characters.
const LOGGED_PATH_MAX_CHARS: usize = 200;

/// Answers requests. It is called on several threads at a time.
pub type Handler = Arc<dyn Fn(Request) -> Response + Send + Sync>;

/// A request for a worker.
#[derive(Debug)]
pub struct Job {
    /// The connection that waits for the response.
    pub id: ConnectionId,
    /// The request.
    pub request: Box<Request>,
    /// How the response is sent.
    pub framing: Framing,
    /// When the connection is answered without it.
    pub deadline: Instant,
}

/// What other threads report to the I/O thread.
pub enum Report {
    /// A response is ready to be sent.
    Answered {
        /// The connection that waits for it.
        id: ConnectionId,
        /// How it is sent.
        framing: Framing,
        /// The response.
        encoded: Encoded,
    },
    /// A stream was sent completely.
    StreamEnded(TcpStream, SocketAddr),
}

/// The way to the I/O thread.
#[derive(Clone)]
pub struct Reports {
    /// Holds as many reports as there can be.
    pub sender: Sender<Report>,
    /// Wakes the I/O thread.
    pub wake: Arc<Wake>,
}

impl Reports {
    /// Hands over a report. If the I/O thread has ended, nobody needs it.
    pub fn send(&self, report: Report) {
        if self.sender.send(report).is_ok() {
            self.wake.raise();
        }
    }
}

/// Runs `handler` for each job until the I/O thread has ended.
pub fn work(jobs: &Receiver<Job>, reports: &Reports, handler: &Handler) {
    for job in jobs {
        let Job {
            id,
            request,
            framing,
            deadline,
        } = job;
        if Instant::now() >= deadline {
            continue;
        }
        let response = answer(handler, *request);
        let encoded = encode(response, &framing, SystemTime::now());
        reports.send(Report::Answered {
            id,
            framing,
            encoded,
        });
    }
}

/// The handler's response. A handler that panics has answered with an error.
fn answer(handler: &Handler, request: Request) -> Response {
    let method = request.method.clone();
    let path: String = request.path.chars().take(LOGGED_PATH_MAX_CHARS).collect();
    catch_unwind(AssertUnwindSafe(|| handler(request))).unwrap_or_else(|panic| {
        log::error!(
            "the answer to {method} {path} failed: {}",
            one_line(words_of(&*panic))
        );
        Response::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "text/plain; charset=utf-8",
            "internal error\n",
        )
    })
}

/// The message of a panic.
pub fn words_of(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(words), _) => words,
        (_, Some(words)) => words,
        _ => "panic",
    }
}
