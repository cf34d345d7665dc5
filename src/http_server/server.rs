//! Starts and stops the server's threads.

use super::io_loop::{IoLoop, Links};
use super::limits::{HTTP_BACKLOG, Limits};
use super::polling::Wake;
use super::streams::Streams;
use super::workers::{Handler, Reports, work};
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A running server. Dropping it stops it and joins its threads.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    pub(super) is_stopping: Arc<AtomicBool>,
    wake: Arc<Wake>,
    threads: Vec<JoinHandle<()>>,
    /// Disconnected as soon as all threads have ended, those of streams too.
    alive: Receiver<Infallible>,
    stop_wait: Duration,
}

impl HttpServer {
    /// Listens on `address` and starts the threads. Errs if the address cannot be used.
    pub fn start(address: SocketAddr, handler: Handler) -> io::Result<HttpServer> {
        HttpServer::start_with(address, handler, Limits::default())
    }

    /// The same with other limits.
    pub fn start_with(
        address: SocketAddr,
        handler: Handler,
        limits: Limits,
    ) -> io::Result<HttpServer> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        // A longer queue than the standard library asks for.
        rustix::net::listen(&listener, HTTP_BACKLOG)?;
        let (is_alive, alive) = bounded(0);
        let mut server = HttpServer {
            address: listener.local_addr()?,
            is_stopping: Arc::new(AtomicBool::new(false)),
            wake: Arc::new(Wake::new()?),
            threads: Vec::new(),
            alive,
            stop_wait: limits.stop_wait,
        };
        let (jobs, waiting_jobs) = bounded(limits.queue);
        // Each worker, each waiting request and each stream reports once.
        let (sender, receiver) =
            bounded(limits.workers + limits.queue + limits.events.all + limits.downloads.all);
        let reports = Reports {
            sender,
            wake: Arc::clone(&server.wake),
        };
        for number in 1..=limits.workers {
            let (jobs, reports) = (waiting_jobs.clone(), reports.clone());
            let (handler, is_alive) = (Arc::clone(&handler), is_alive.clone());
            server.spawn(format!("http-{number}"), move || {
                let _is_alive = is_alive;
                work(&jobs, &reports, &handler);
            })?;
        }
        let links = Links {
            listener,
            wake: Arc::clone(&server.wake),
            is_stopping: Arc::clone(&server.is_stopping),
            jobs,
            waiting_jobs,
            reports: receiver,
        };
        let is_stopping = Arc::clone(&server.is_stopping);
        let streams = Streams::new(&limits, is_stopping, reports, is_alive);
        let io_loop = IoLoop::new(links, limits, streams);
        server.spawn("http-io".to_owned(), move || io_loop.run())?;
        Ok(server)
    }

    fn spawn(&mut self, name: String, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let thread = thread::Builder::new().name(name).spawn(run)?;
        self.threads.push(thread);
        Ok(())
    }

    /// Where it listens; with the port that the system chose if port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops the server: requests that are being answered have half a second, streams are ended at once. Waits up to a second for the
    /// threads; one whose handler takes longer is left to end by itself.
    pub fn stop(&mut self) {
        if self.threads.is_empty() {
            return;
        }
        self.is_stopping.store(true, Ordering::Relaxed);
        self.wake.raise();
        let is_late = self.alive.recv_timeout(self.stop_wait) == Err(RecvTimeoutError::Timeout);
        if is_late {
            log::warn!("an HTTP request is still being answered: its thread is abandoned");
        }
        for thread in self.threads.drain(..) {
            if !is_late || thread.is_finished() {
                // A panic was logged where it happened.
                let _ = thread.join();
            }
        }
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stop();
    }
}
