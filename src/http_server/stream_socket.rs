//! The socket of a stream: writes wait for the client for a bounded time, a client that is too slow for a download is disconnected, and writes err
//! after the server was stopped.

use super::limits::Limits;
use super::polling::wait_for;
use crate::sync::lock;
use rustix::event::PollFlags;
use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How fast the client of a download reads. Only the time in which the server waits for it counts.
#[derive(Debug)]
pub struct Pace {
    window: Duration,
    window_bytes: u64,
    /// Of the present window.
    waited: Duration,
    sent: u64,
}

impl Pace {
    /// The client has to keep to these limits.
    pub fn new(limits: &Limits) -> Pace {
        Pace {
            window: limits.download_window,
            window_bytes: limits.download_window_bytes,
            waited: Duration::ZERO,
            sent: 0,
        }
    }

    /// The client has accepted `sent` bytes, for which the server has waited. Errs if it is too slow.
    fn note(&mut self, sent: u64, waited: Duration) -> io::Result<()> {
        self.sent += sent;
        self.waited += waited;
        if self.waited < self.window {
            return Ok(());
        }
        let is_too_slow = self.sent < self.window_bytes;
        (self.sent, self.waited) = (0, Duration::ZERO);
        match is_too_slow {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => Ok(()),
        }
    }
}

/// The socket of a stream, in non-blocking mode.
#[derive(Debug)]
pub struct StreamSocket {
    socket: TcpStream,
    is_stopping: Arc<AtomicBool>,
    write_max: Duration,
    /// Of a download. Only the thread of the stream locks it.
    pace: Option<Mutex<Pace>>,
}

impl StreamSocket {
    /// Each write to it may take `write_max`. `is_stopping` is set when the server stops.
    pub fn new(
        socket: TcpStream,
        is_stopping: Arc<AtomicBool>,
        write_max: Duration,
        pace: Option<Pace>,
    ) -> Self {
        StreamSocket {
            socket,
            is_stopping,
            write_max,
            pace: pace.map(Mutex::new),
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

    fn note(&self, sent: u64, waited: Duration) -> io::Result<()> {
        match &self.pace {
            Some(pace) => lock(pace).note(sent, waited),
            None => Ok(()),
        }
    }

    fn send(&self, mut bytes: &[u8]) -> io::Result<()> {
        let deadline = Instant::now() + self.write_max;
        while !bytes.is_empty() {
            if self.is_stopping.load(Ordering::Relaxed) {
                return Err(io::Error::other("the server stops"));
            }
            match (&self.socket).write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => {
                    bytes = &bytes[sent..];
                    self.note(sent as u64, Duration::ZERO)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let remaining = deadline.saturating_duration_since(Instant::now());
                    if remaining.is_zero() {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                    let began = Instant::now();
                    wait_for(&self.socket, PollFlags::OUT, remaining)?;
                    self.note(0, began.elapsed())?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_download_has_a_minimum_rate_but_may_wait_for_its_own_data() {
        let limits = Limits {
            download_window: Duration::from_secs(10),
            download_window_bytes: 1000,
            ..Limits::default()
        };
        let (mut pace, second) = (Pace::new(&limits), Duration::from_secs(1));
        for _ in 0..100 {
            pace.note(100, second).unwrap();
        }
        // What was sent before does not count later.
        pace.note(1 << 30, second).unwrap();
        let mut rest = (0..100).map(|_| pace.note(99, second));
        assert!(rest.any(|noted| noted.is_err()));
        assert!((0..100).all(|_| Pace::new(&limits).note(0, Duration::ZERO).is_ok()));
    }
}
