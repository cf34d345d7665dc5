//! A connection: receives requests, sends responses, and changes its state accordingly.

use super::inbound::{Inbound, Received};
use super::limits::Limits;
use super::outbound::{Framing, Outbound, busy, encode_text};
use super::refusal::Refusal;
use super::request::Request;
use super::state::State;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Instant, SystemTime};

/// The interim response to `Expect: 100-continue`.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What the loop has to do after a connection has changed.
#[derive(Debug)]
pub enum Step {
    /// Nothing.
    Stay,
    /// Hand a request to a worker. The connection waits for its response.
    Dispatch(Box<Request>, Framing),
    /// Close the connection.
    Close,
}

/// A connection, in non-blocking mode.
#[derive(Debug)]
pub struct Connection {
    socket: TcpStream,
    peer: SocketAddr,
    inbound: Inbound,
    state: State,
}

impl Connection {
    /// A new connection.
    pub fn new(socket: TcpStream, peer: SocketAddr, now: Instant) -> Connection {
        Connection {
            socket,
            peer,
            inbound: Inbound::default(),
            state: State::Idle { since: now },
        }
    }

    /// A connection on which everything was sent.
    pub fn closing(socket: TcpStream, peer: SocketAddr, now: Instant) -> Connection {
        // A failure shows up at the next read.
        let _ = socket.shutdown(Shutdown::Write);
        Connection {
            state: State::Closing { began: now },
            ..Connection::new(socket, peer, now)
        }
    }

    /// Its state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Its socket.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// The socket and the client's address, without the rest.
    pub fn into_socket(self) -> (TcpStream, SocketAddr) {
        (self.socket, self.peer)
    }

    /// The memory that it occupies for a request or a response, in bytes.
    pub fn buffered_bytes(&self) -> usize {
        let sending = match &self.state {
            State::Sending { outbound, .. } => outbound.len(),
            _ => 0,
        };
        self.inbound.len() + sending
    }

    /// Continues after the socket has become ready. `space` is for what is read.
    pub fn proceed(&mut self, space: &mut [u8], limits: &Limits, now: Instant) -> Step {
        match self.state {
            State::Handling { .. } => Step::Stay,
            State::Sending { .. } => self.send(limits, now),
            State::Idle { .. } | State::Receiving { .. } | State::Closing { .. } => {
                match self.socket.read(space) {
                    // Without a complete request, there is nothing to answer.
                    Ok(0) => Step::Close,
                    Ok(_) if matches!(self.state, State::Closing { .. }) => Step::Stay,
                    Ok(length) => {
                        self.inbound.push(&space[..length]);
                        self.receive(limits, now)
                    }
                    Err(error) if is_temporary(&error) => Step::Stay,
                    Err(_) => Step::Close,
                }
            }
        }
    }

    /// Sends a response.
    pub fn respond(&mut self, outbound: Outbound, limits: &Limits, now: Instant) -> Step {
        self.state = State::Sending {
            outbound,
            began: now,
        };
        self.send(limits, now)
    }

    /// Ends the state if its deadline has passed.
    pub fn expire(&mut self, limits: &Limits, now: Instant) -> Step {
        if self
            .state
            .deadline(limits)
            .is_none_or(|deadline| now < deadline)
        {
            return Step::Stay;
        }
        match &self.state {
            State::Handling { framing, .. } => {
                let framing = Framing {
                    keep_alive: false,
                    ..framing.clone()
                };
                let outbound = busy(&framing);
                self.respond(outbound, limits, now)
            }
            State::Receiving { .. } => self.refuse(Refusal::Timeout, limits, now),
            _ => Step::Close,
        }
    }

    /// Takes the next request of what was received.
    fn receive(&mut self, limits: &Limits, now: Instant) -> Step {
        match self.inbound.next(limits) {
            Ok(Received::Nothing) => Step::Stay,
            Ok(Received::Part) => {
                self.note_part(now);
                Step::Stay
            }
            Ok(Received::AwaitsContinue) => {
                self.note_part(now);
                match self.socket.write(CONTINUE) {
                    Ok(length) if length == CONTINUE.len() => Step::Stay,
                    // It has not read the response before. It does not have to wait for this one.
                    Err(error) if is_temporary(&error) => Step::Stay,
                    _ => Step::Close,
                }
            }
            Ok(Received::Request(request)) => {
                let (head, body) = *request;
                let framing = Framing::new(&head.method, head.is_http_1_0, head.keep_alive);
                self.state = State::Handling {
                    began: now,
                    framing: framing.clone(),
                };
                let request = Request {
                    method: head.method,
                    path: head.path,
                    query: head.query,
                    headers: head.headers,
                    body,
                    peer: self.peer,
                };
                Step::Dispatch(Box::new(request), framing)
            }
            Err(refusal) => self.refuse(refusal, limits, now),
        }
    }

    fn note_part(&mut self, now: Instant) {
        if let State::Idle { since } = self.state {
            self.state = State::Receiving { since, began: now };
        }
    }

    fn refuse(&mut self, refusal: Refusal, limits: &Limits, now: Instant) -> Step {
        self.inbound = Inbound::default();
        let framing = Framing::of_refusal();
        let (status, reason) = (refusal.status(), refusal.reason());
        let outbound = encode_text(status, reason, None, &framing, SystemTime::now());
        self.respond(outbound, limits, now)
    }

    fn send(&mut self, limits: &Limits, now: Instant) -> Step {
        let State::Sending { outbound, .. } = &mut self.state else {
            return Step::Stay;
        };
        match outbound.send(&mut self.socket) {
            Ok(false) => Step::Stay,
            Ok(true) if outbound.keep_alive => {
                self.state = State::Idle { since: now };
                self.receive(limits, now)
            }
            Ok(true) => {
                self.inbound = Inbound::default();
                self.state = State::Closing { began: now };
                match self.socket.shutdown(Shutdown::Write) {
                    Ok(()) => Step::Stay,
                    Err(_) => Step::Close,
                }
            }
            Err(_) => Step::Close,
        }
    }
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
