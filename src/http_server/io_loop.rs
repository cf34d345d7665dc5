//! The thread `http-io`: accepts connections, receives requests and sends complete responses, for all connections at once.

use super::connection::{Connection, Step};
use super::connections::{ConnectionId, Connections};
use super::limits::{HTTP_ACCEPT_BATCH, Limits};
use super::log_gate::LogGate;
use super::outbound::{Encoded, Framing, Outbound, busy};
use super::polling::{Wake, poll_all};
use super::state::State;
use super::streams::{Stream, Streams};
use super::workers::{Job, Report};
use crossbeam_channel::{Receiver, Sender, TrySendError};
use rustix::event::{PollFd, PollFlags};
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

/// Size of the space for one read, in bytes.
const READ_BYTES: usize = 64 << 10;

/// The sockets and channels that the loop uses.
pub struct Links {
    /// Accepts connections, in non-blocking mode.
    pub listener: TcpListener,
    /// Raised by other threads after they have reported or asked the server to stop.
    pub wake: Arc<Wake>,
    /// Set when the server is to stop.
    pub is_stopping: Arc<AtomicBool>,
    /// Requests for the workers.
    pub jobs: Sender<Job>,
    /// The other end of `jobs`, to withdraw requests that no worker has begun.
    pub waiting_jobs: Receiver<Job>,
    /// What the workers and streams report.
    pub reports: Receiver<Report>,
}

/// What was ready when the loop woke up.
struct Ready {
    accepts: bool,
    connections: Vec<ConnectionId>,
}

/// The state of the thread.
pub struct IoLoop {
    links: Links,
    limits: Limits,
    streams: Streams,
    connections: Connections,
    space: Vec<u8>,
    /// After an error of accepting, no connection is accepted before this time.
    accept_after: Option<Instant>,
    /// When the server began to stop.
    stop_began: Option<Instant>,
    io_errors: LogGate,
    closed_early: LogGate,
}

impl IoLoop {
    /// A loop without connections.
    pub fn new(links: Links, limits: Limits, streams: Streams) -> IoLoop {
        IoLoop {
            links,
            limits,
            streams,
            connections: Connections::default(),
            space: vec![0; READ_BYTES],
            accept_after: None,
            stop_began: None,
            io_errors: LogGate::default(),
            closed_early: LogGate::default(),
        }
    }

    /// Serves until the server stops; then until all requests are answered, at most for the time that the limits allow.
    pub fn run(mut self) {
        loop {
            if self.links.is_stopping.load(Ordering::Relaxed) && self.stop_is_complete() {
                break;
            }
            let ready = self.wait();
            self.take_reports();
            // First the open connections: accepting a new one may close one of them.
            for id in ready.connections {
                self.proceed(id);
            }
            if ready.accepts {
                self.accept();
            }
            self.expire();
            let closed = self.connections.free_memory(self.limits.buffers_bytes);
            for _ in 0..closed {
                self.note_closed_early("too much memory was used");
            }
        }
        self.streams.abort();
        self.links.waiting_jobs.try_iter().for_each(drop);
    }

    fn stop_is_complete(&mut self) -> bool {
        let now = Instant::now();
        let began = *self.stop_began.get_or_insert(now);
        self.streams.abort();
        !self.connections.retain_answering() || now >= began + self.limits.stop_grace
    }

    /// Waits until a socket is ready, another thread has raised `wake`, or a deadline has passed.
    fn wait(&mut self) -> Ready {
        let now = Instant::now();
        if self.accept_after.is_some_and(|after| after <= now) {
            self.accept_after = None;
        }
        let accepts = self.accept_after.is_none() && self.stop_began.is_none();
        let stop_deadline = self.stop_began.map(|began| began + self.limits.stop_grace);
        let deadlines = [
            self.connections.next_deadline(&self.limits),
            self.accept_after,
            stop_deadline,
        ];
        let deadline = deadlines.into_iter().flatten().min();
        let timeout = deadline.map(|deadline| deadline.saturating_duration_since(now));
        let polled_connections: Vec<_> = self
            .connections
            .iter()
            .filter_map(|(id, one)| Some((id, one.socket(), one.state().interest()?)))
            .collect();
        let mut polled = vec![PollFd::new(&self.links.wake, PollFlags::IN)];
        polled.extend(
            polled_connections
                .iter()
                .map(|(_, socket, interest)| PollFd::new(*socket, *interest)),
        );
        if accepts {
            polled.push(PollFd::new(&self.links.listener, PollFlags::IN));
        }
        if poll_all(&mut polled, timeout).is_err() {
            // poll(2) fails only if memory is short. The pause keeps the loop from spinning.
            thread::sleep(self.limits.accept_pause);
            return Ready {
                accepts: false,
                connections: Vec::new(),
            };
        }
        let is_ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        if is_ready(&polled[0]) {
            self.links.wake.clear();
        }
        Ready {
            accepts: accepts && polled.last().is_some_and(is_ready),
            connections: polled_connections
                .iter()
                .zip(&polled[1..])
                .filter(|(_, fd)| is_ready(fd))
                .map(|((id, _, _), _)| *id)
                .collect(),
        }
    }

    fn take_reports(&mut self) {
        while let Ok(report) = self.links.reports.try_recv() {
            match report {
                Report::Answered {
                    id,
                    framing,
                    encoded,
                } => self.take_response(id, &framing, encoded),
                Report::StreamEnded(socket, peer) => {
                    if self.make_room() {
                        let connection = Connection::closing(socket, peer, Instant::now());
                        self.connections.add(connection);
                    }
                }
            }
        }
    }

    /// Sends a response. Drops it if the connection is closed, or no longer waits for it because the deadline has passed and it was answered with 503.
    fn take_response(&mut self, id: ConnectionId, framing: &Framing, encoded: Encoded) {
        let state = self.connections.get_mut(id).map(|one| one.state());
        if !matches!(state, Some(State::Handling { .. })) {
            return;
        }
        match encoded {
            Encoded::Complete(outbound) => self.respond(id, outbound),
            Encoded::Streamed { share, .. } if !self.streams.has_room(&share) => {
                self.respond(id, busy(framing));
            }
            Encoded::Streamed {
                share,
                head,
                writer,
                is_chunked,
            } => {
                let Some(connection) = self.connections.remove(id) else {
                    return;
                };
                let (socket, peer) = connection.into_socket();
                let stream = Stream {
                    share,
                    head,
                    writer,
                    is_chunked,
                };
                if let Err(error) = self.streams.start(socket, peer, stream) {
                    self.note_error("a stream cannot be started", &error);
                }
            }
        }
    }

    fn respond(&mut self, id: ConnectionId, outbound: Outbound) {
        if let Some(connection) = self.connections.get_mut(id) {
            let step = connection.respond(outbound, &self.limits, Instant::now());
            self.carry_out(id, step);
        }
    }

    fn proceed(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id) {
            let step = connection.proceed(&mut self.space, &self.limits, Instant::now());
            self.carry_out(id, step);
        }
    }

    fn expire(&mut self) {
        let now = Instant::now();
        for id in self.connections.expired(&self.limits, now) {
            if let Some(connection) = self.connections.get_mut(id) {
                let step = connection.expire(&self.limits, now);
                self.carry_out(id, step);
            }
        }
    }

    /// Carries out `step`. If the queue is full, the request is answered with 503, and the next request of the connection may be ready: hence the loop.
    fn carry_out(&mut self, id: ConnectionId, mut step: Step) {
        loop {
            let (request, framing) = match step {
                Step::Stay => return,
                Step::Close => {
                    self.connections.remove(id);
                    return;
                }
                Step::Dispatch(request, framing) => (request, framing),
            };
            let job = Job {
                id,
                request,
                framing,
                deadline: Instant::now() + self.limits.handle,
            };
            let refused = match self.links.jobs.try_send(job) {
                Ok(()) => return,
                Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) => job,
            };
            let Some(connection) = self.connections.get_mut(id) else {
                return;
            };
            step = connection.respond(busy(&refused.framing), &self.limits, Instant::now());
        }
    }

    fn accept(&mut self) {
        for _ in 0..HTTP_ACCEPT_BATCH {
            match self.links.listener.accept() {
                Ok((socket, peer)) => {
                    // Only an optimisation: without TCP_NODELAY the connection works, but more slowly.
                    let _ = socket.set_nodelay(true);
                    if socket.set_nonblocking(true).is_err() || !self.make_room() {
                        continue;
                    }
                    let connection = Connection::new(socket, peer, Instant::now());
                    self.connections.add(connection);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return,
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                    _ => {
                        // Mostly for lack of file descriptors. Without a pause, poll would report the listener again at once.
                        self.note_error("a connection cannot be accepted", &error);
                        self.connections.close_one();
                        self.accept_after = Some(Instant::now() + self.limits.accept_pause);
                        return;
                    }
                },
            }
        }
    }

    /// Closes a connection if there are as many as allowed. Returns whether there is room for one more.
    fn make_room(&mut self) -> bool {
        if self.connections.len() < self.limits.connections {
            return true;
        }
        self.note_closed_early("there were too many connections");
        self.connections.close_one()
    }

    fn note_error(&mut self, what: &str, error: &io::Error) {
        if let Some(suppressed) = self.io_errors.pass(Instant::now()) {
            log::warn!("{what}: {error} ({suppressed} more since the last such line)");
        }
    }

    fn note_closed_early(&mut self, why: &str) {
        if let Some(suppressed) = self.closed_early.pass(Instant::now()) {
            log::warn!(
                "an HTTP connection was closed since {why} ({suppressed} more since the last such line)"
            );
        }
    }
}
