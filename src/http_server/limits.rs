//! The bounds of the server: sizes, numbers and times. Tests use smaller ones.

use rustix::process::{Resource, getrlimit};
use std::time::Duration;

/// Maximum length of the request line and the header fields of a request, in bytes.
const HTTP_HEAD_MAX_BYTES: usize = 16 << 10;
/// Maximum number of header fields of a request.
pub const HTTP_FIELDS_MAX: usize = 100;
/// Maximum length of the body of a request, in bytes.
const HTTP_BODY_MAX_BYTES: usize = 1 << 20;
/// Maximum number of open connections, not counting streams.
const HTTP_CONNECTIONS_MAX: usize = 1024;
/// The part of the process's file descriptors that connections may use, as a divisor.
const HTTP_DESCRIPTORS_DIVISOR: u64 = 2;
/// Maximum size of all requests that are being received and responses that are being sent, in bytes.
const HTTP_BUFFERS_MAX_BYTES: usize = 256 << 20;
/// Time for receiving a whole request, from its first byte.
const HTTP_RECEIVE_MAX: Duration = Duration::from_secs(10);
/// Time that a connection may be open without the first byte of a request.
const HTTP_IDLE_MAX: Duration = Duration::from_secs(30);
/// Time from a complete request until its response is ready. Longer than anything that a handler waits for.
const HTTP_HANDLE_MAX: Duration = Duration::from_secs(30);
/// Time for sending a whole response.
const HTTP_SEND_MAX: Duration = Duration::from_secs(30);
/// Time that the client has to close the connection after a last response.
const HTTP_CLOSE_WAIT: Duration = Duration::from_secs(2);
/// Threads that run the handler.
const HTTP_WORKERS: usize = 8;
/// Complete requests that wait for a worker.
const HTTP_QUEUE_MAX: usize = 64;
/// Streams of events at a time, each on a thread of its own.
const HTTP_EVENTS_MAX: usize = 64;
/// Streams of events at a time for the same client.
const HTTP_EVENTS_PER_CLIENT_MAX: usize = 12;
/// Downloads at a time, each on a thread of its own.
const HTTP_DOWNLOADS_MAX: usize = 16;
/// Downloads at a time for the same client.
const HTTP_DOWNLOADS_PER_CLIENT_MAX: usize = 4;
/// The client of a download accepts [`HTTP_DOWNLOAD_WINDOW_BYTES`] in each of these, not counting the time in which there is nothing to send.
const HTTP_DOWNLOAD_WINDOW: Duration = Duration::from_secs(30);
/// Bytes that the client of a download accepts in each [`HTTP_DOWNLOAD_WINDOW`].
const HTTP_DOWNLOAD_WINDOW_BYTES: u64 = 1 << 20;
/// Time that the client of a stream has to accept [`HTTP_STREAM_CHUNK_BYTES`].
const HTTP_STREAM_WRITE_MAX: Duration = Duration::from_secs(10);
/// Size of the largest chunk of a stream, in bytes: what is written is collected up to this size.
pub const HTTP_STREAM_CHUNK_BYTES: usize = 16 << 10;
/// Time for the threads to end when the server stops.
const HTTP_STOP_WAIT: Duration = Duration::from_secs(1);
/// The part of that time for requests that are being answered.
const HTTP_STOP_GRACE: Duration = Duration::from_millis(500);
/// Pause after the system refused to accept a connection, such as for lack of file descriptors.
const HTTP_ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections that wait in the kernel until they are accepted.
pub const HTTP_BACKLOG: i32 = 1024;
/// Connections that are accepted before others are served again.
pub const HTTP_ACCEPT_BATCH: usize = 64;
/// Log lines of the same kind are this far apart.
pub const HTTP_LOG_INTERVAL: Duration = Duration::from_secs(60);
/// `Retry-After` of a response with status 503, in seconds.
pub const HTTP_RETRY_AFTER_S: u64 = 2;

/// How many streams of a kind there may be at a time.
#[derive(Clone, Copy, Debug)]
pub struct StreamLimits {
    /// For all clients together.
    pub all: usize,
    /// For each client.
    pub per_client: usize,
}

/// The bounds of a server.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Length of the request line and the header fields, in bytes.
    pub head_bytes: usize,
    /// Length of a request's body, in bytes.
    pub body_bytes: usize,
    /// Open connections, not counting streams.
    pub connections: usize,
    /// Size of all requests that are being received and responses that are being sent, in bytes.
    pub buffers_bytes: usize,
    /// Time for receiving a whole request, from its first byte.
    pub receive: Duration,
    /// Time that a connection may be open without the first byte of a request.
    pub idle: Duration,
    /// Time from a complete request until its response is ready.
    pub handle: Duration,
    /// Time for sending a whole response.
    pub send: Duration,
    /// Time that the client has to close the connection after a last response.
    pub close_wait: Duration,
    /// Threads that run the handler.
    pub workers: usize,
    /// Complete requests that wait for a worker.
    pub queue: usize,
    /// Streams of events at a time.
    pub events: StreamLimits,
    /// Downloads at a time.
    pub downloads: StreamLimits,
    /// The client of a download accepts `download_window_bytes` in each of these, not counting the time in which there is nothing to send.
    pub download_window: Duration,
    /// Bytes that the client of a download accepts in each `download_window`.
    pub download_window_bytes: u64,
    /// Time that the client of a stream has to accept a chunk.
    pub stream_write: Duration,
    /// Time for the threads to end when the server stops.
    pub stop_wait: Duration,
    /// The part of that time for requests that are being answered.
    pub stop_grace: Duration,
    /// Pause after the system refused to accept a connection.
    pub accept_pause: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head_bytes: HTTP_HEAD_MAX_BYTES,
            body_bytes: HTTP_BODY_MAX_BYTES,
            connections: connections_for(getrlimit(Resource::Nofile).current),
            buffers_bytes: HTTP_BUFFERS_MAX_BYTES,
            receive: HTTP_RECEIVE_MAX,
            idle: HTTP_IDLE_MAX,
            handle: HTTP_HANDLE_MAX,
            send: HTTP_SEND_MAX,
            close_wait: HTTP_CLOSE_WAIT,
            workers: HTTP_WORKERS,
            queue: HTTP_QUEUE_MAX,
            events: StreamLimits {
                all: HTTP_EVENTS_MAX,
                per_client: HTTP_EVENTS_PER_CLIENT_MAX,
            },
            downloads: StreamLimits {
                all: HTTP_DOWNLOADS_MAX,
                per_client: HTTP_DOWNLOADS_PER_CLIENT_MAX,
            },
            download_window: HTTP_DOWNLOAD_WINDOW,
            download_window_bytes: HTTP_DOWNLOAD_WINDOW_BYTES,
            stream_write: HTTP_STREAM_WRITE_MAX,
            stop_wait: HTTP_STOP_WAIT,
            stop_grace: HTTP_STOP_GRACE,
            accept_pause: HTTP_ACCEPT_PAUSE,
        }
    }
}

/// How many connections a process may open that may have `descriptors` file descriptors (`None`: any number).
fn connections_for(descriptors: Option<u64>) -> usize {
    descriptors
        .and_then(|all| usize::try_from(all / HTTP_DESCRIPTORS_DIVISOR).ok())
        .map_or(HTTP_CONNECTIONS_MAX, |share| {
            share.clamp(1, HTTP_CONNECTIONS_MAX)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_file_descriptors_for_the_rest_of_the_process() {
        let table = [
            (None, HTTP_CONNECTIONS_MAX),
            (Some(1 << 20), HTTP_CONNECTIONS_MAX),
            (Some(1024), 512),
            (Some(0), 1),
        ];
        for (descriptors, connections) in table {
            assert_eq!(connections_for(descriptors), connections, "{descriptors:?}");
        }
    }
}
