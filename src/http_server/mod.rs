//! A small HTTP/1.1 server with a fixed number of threads: the web page and API of scanpush, metrics and health of both programs.
//!
//! A handler gets a complete [`Request`] and returns a [`Response`]. It runs on one of a few worker threads; a client that sends or
//! reads slowly never occupies one.
//!
//! | file | what |
//! |---|---|
//! | `request.rs` | a request, checked and bounded |
//! | `response.rs` | a response; the writer of a streamed one |
//! | `server.rs` | the threads and connections |

mod request;
mod response;
mod server;

pub use request::Request;
pub use response::{Body, BodyStream, Response};
pub use server::{Handler, HttpServer};
