//! The socket of a stream: writes wait for the client for a bounded time, and err after the server was stopped.

use super::polling::wait_for;
use rustix::event::PollFlags;
use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The socket of a stream, in non-blocking mode.
#[derive(Debug)]
pub struct StreamSocket {
    socket: TcpStream,
    is_stopping: Arc<AtomicBool>,
    write_max: Duration,
}

impl StreamSocket {
    /// Each write to it may take `write_max`. `is_stopping` is set when the server stops.
    pub fn new(socket: TcpStream, is_stopping: Arc<AtomicBool>, write_max: Duration) -> Self {
        StreamSocket {
            socket,
            is_stopping,
            write_max,
        }
    }

    /// Whether the client is still connected and the server runs.
    pub fn is_open(&self) -> bool {
        self.wait(Duration::ZERO)
    }

    /// Waits for `duration`, or less if the client disconnects or the server stops. Returns whether the stream is still open.
    pub fn wait(&self, duration: Duration) -> bool {
        let deadline = Instant::now() + duration;
        loop {
            if self.is_stopping.load(Ordering::Relaxed) {
                return false;
            }
            let remaining = deadline.saturating_duration_since(Instant::now());
            // HUP and ERR are always reported.
            match wait_for(&self.socket, PollFlags::RDHUP, remaining) {
                Ok(events) if !events.is_empty() => return false,
                Ok(_) if remaining.is_zero() => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }

    /// Wakes the thread that waits or writes: the connection is closed.
    pub fn abort(&self) {
        // It errs if the client has closed the connection, which is as good.
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// The socket itself.
    pub fn into_inner(self) -> TcpStream {
        self.socket
    }

    /// The client sees that the connection was not closed properly.
    pub fn reset_on_close(&self) {
        let _ = rustix::net::sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO));
    }

    fn send(&self, mut bytes: &[u8]) -> io::Result<()> {
        let deadline = Instant::now() + self.write_max;
        while !bytes.is_empty() {
            if self.is_stopping.load(Ordering::Relaxed) {
                return Err(io::Error::other("the server stops"));
            }
            match (&self.socket).write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => bytes = &bytes[sent..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let remaining = deadline.saturating_duration_since(Instant::now());
                    if remaining.is_zero() {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                    wait_for(&self.socket, PollFlags::OUT, remaining)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Writes all bytes or errs: after an error nothing more should be written.
impl Write for &StreamSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
