//! The threads that write streamed responses, one each.

use super::chunks::Chunks;
use super::limits::Limits;
use super::response::{BodyStream, StreamKind, StreamShare, StreamWriter};
use super::stream_socket::{Pace, StreamSocket};
use super::workers::{Report, Reports, words_of};
use crate::model::text::one_line;
use crossbeam_channel::Sender;
use std::convert::Infallible;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};

/// A streamed response that is ready to be sent.
pub struct Stream {
    /// What it counts for.
    pub share: StreamShare,
    /// The head.
    pub head: Vec<u8>,
    /// Writes the body.
    pub writer: StreamWriter,
    /// The body is sent in chunks.
    pub is_chunked: bool,
}

/// A stream that was started.
struct Started {
    share: StreamShare,
    thread: JoinHandle<()>,
    socket: Weak<StreamSocket>,
}

/// The places for streams. The threads are named `http-stream-N`.
pub struct Streams {
    places: Vec<Option<Started>>,
    limits: Limits,
    is_stopping: Arc<AtomicBool>,
    reports: Reports,
    /// Each thread holds a clone: the server knows that all have ended when there is none left.
    alive: Sender<Infallible>,
}

impl Streams {
    /// No streams, and room for as many as `limits` allows.
    pub fn new(
        limits: &Limits,
        is_stopping: Arc<AtomicBool>,
        reports: Reports,
        alive: Sender<Infallible>,
    ) -> Streams {
        Streams {
            places: (0..limits.events.all + limits.downloads.all)
                .map(|_| None)
                .collect(),
            limits: limits.clone(),
            is_stopping,
            reports,
            alive,
        }
    }

    /// Whether one more that counts for `share` can be started.
    pub fn has_room(&self, share: &StreamShare) -> bool {
        let limits = match share.kind {
            StreamKind::Events => self.limits.events,
            StreamKind::Download => self.limits.downloads,
        };
        let running = self.places.iter().flatten();
        let running = running.filter(|started| !started.thread.is_finished());
        let (mut all, mut of_client) = (0, 0);
        for other in running.filter(|started| started.share.kind == share.kind) {
            all += 1;
            of_client += usize::from(other.share.client == share.client);
        }
        all < limits.all
            && of_client < limits.per_client
            && !self.is_stopping.load(Ordering::Relaxed)
    }

    fn free_place(&self) -> Option<usize> {
        let is_free = |place: &Option<Started>| {
            place
                .as_ref()
                .is_none_or(|started| started.thread.is_finished())
        };
        self.places.iter().position(is_free)
    }

    /// Starts a thread that sends `stream` on `socket`. Errs if all threads of its kind or client are busy, or none can be started; the socket is closed then.
    pub fn start(&mut self, socket: TcpStream, peer: SocketAddr, stream: Stream) -> io::Result<()> {
        let Some(number) = self.free_place() else {
            return Err(io::Error::other("too many streams"));
        };
        let share = stream.share.clone();
        let is_stopping = Arc::clone(&self.is_stopping);
        let pace = match share.kind {
            StreamKind::Events => None,
            StreamKind::Download => Some(Pace::new(&self.limits)),
        };
        let write_max = self.limits.stream_write;
        let socket = Arc::new(StreamSocket::new(socket, is_stopping, write_max, pace));
        let weak = Arc::downgrade(&socket);
        let (reports, alive) = (self.reports.clone(), self.alive.clone());
        let thread = thread::Builder::new()
            .name(format!("http-stream-{}", number + 1))
            .spawn(move || {
                let _alive = alive;
                run(socket, peer, stream, &reports);
            })?;
        let started = Started {
            share,
            thread,
            socket: weak,
        };
        if let Some(ended) = self.places[number].replace(started) {
            // It has finished.
            let _ = ended.thread.join();
        }
        Ok(())
    }

    /// Closes the connections of all streams: whatever their threads write from now on errs.
    pub fn abort(&self) {
        self.places
            .iter()
            .flatten()
            .filter_map(|started| started.socket.upgrade())
            .for_each(|socket| socket.abort());
    }
}

/// Sends `stream`. If its writer errs, the connection is closed without the end of the body.
fn run(socket: Arc<StreamSocket>, peer: SocketAddr, stream: Stream, reports: &Reports) {
    let is_chunked = stream.is_chunked;
    let sent = catch_unwind(AssertUnwindSafe(|| send(&socket, stream)));
    let is_complete = match sent {
        Ok(sent) => sent.is_ok(),
        Err(panic) => {
            log::error!(
                "a streamed response failed: {}",
                one_line(words_of(&*panic))
            );
            false
        }
    };
    if !is_complete && !is_chunked {
        socket.reset_on_close();
    }
    // Else the server is stopping and closes it.
    if let Some(socket) = Arc::into_inner(socket).filter(|_| is_complete) {
        reports.send(Report::StreamEnded(socket.into_inner(), peer));
    }
}

fn send(socket: &StreamSocket, stream: Stream) -> io::Result<()> {
    let mut out = socket;
    out.write_all(&stream.head)?;
    let mut chunks = Chunks::new(out, stream.is_chunked);
    (stream.writer)(&mut BodyStream::to_client(&mut chunks, socket))?;
    chunks.finish()
}
