//! A small HTTP/1.1 server with a fixed number of threads: the web page and API of scanpush, metrics and health of both programs.
//!
//! A handler gets a complete [`Request`] and returns a [`Response`]. It runs on one of a few worker threads; a client that sends or
//! reads slowly never occupies one. Each streamed body has its own thread; their number is limited for each kind and each client.
//!
//! The thread `http-io` polls all connections. Bounded channels carry complete requests to the threads `http-N`, and responses back.
//! A streamed response is handed with its socket to a thread `http-stream-N`. If the queue of requests or the threads of streams are
//! full, or the handler takes too long, the answer is status 503. If there are too many connections, the one that has waited longest without a complete request is
//! closed in favour of the new one, so that a flood of connections does not lock others out.
//!
//! | file | what |
//! |---|---|
//! | `request.rs` | a request, checked and bounded |
//! | `response.rs` | a response; the writer of a streamed one |
//! | `limits.rs` | the bounds: sizes, numbers, times |
//! | `server.rs` | starts and stops the threads |
//! | `io_loop.rs` | the thread `http-io` |
//! | `workers.rs` | the threads that run the handler |
//! | `streams.rs`, `stream_socket.rs`, `chunks.rs` | the threads of streamed responses, their sockets and their framing |
//! | `connections.rs`, `connection.rs`, `state.rs` | the open connections; one; its states and deadlines |
//! | `inbound.rs`, `head.rs`, `refusal.rs` | received bytes; the strict parser; why a request is refused |
//! | `outbound.rs` | a response as bytes |
//! | `polling.rs`, `log_gate.rs` | poll(2) and the event that wakes it; bounded logging |

mod chunks;
mod connection;
mod connections;
mod head;
mod inbound;
mod io_loop;
mod limits;
mod log_gate;
mod outbound;
mod polling;
mod refusal;
mod request;
mod response;
mod server;
mod state;
mod stream_socket;
mod streams;
#[cfg(test)]
mod tests;
mod workers;

#[cfg(test)]
mod fuzzed;

pub use limits::Limits;
pub use log_gate::LogGate;
pub use request::Request;
pub use response::{Body, BodyStream, Response, StreamKind, StreamShare};
pub use server::HttpServer;
pub use workers::Handler;
