//! A TCP proxy on localhost that cuts connections at chosen moments. It passes bytes on as they are and keeps none.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// Kafka's number for a produce request, which stands behind the four bytes of the request's length.
const PRODUCE: [u8; 2] = [0, 0];

/// In front of one Kafka; its threads end with the test program.
pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    target: AtomicU16,
    /// Answers to produce requests that are still to be swallowed, with their connections.
    to_swallow: AtomicU32,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Listens; [`Proxy::lead_to`] says where it leads.
    pub fn start() -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let accepting = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // If nothing listens behind it, the connection just closes.
                let _ = accepting.connect(client);
            }
        });
        Proxy { port, shared }
    }

    pub fn lead_to(&self, port: u16) {
        self.shared.target.store(port, Ordering::SeqCst);
    }

    /// Takes the next `count` produce requests to Kafka, and cuts the connection when the answer comes.
    pub fn swallow_answers(&self, count: u32) {
        self.shared.to_swallow.store(count, Ordering::SeqCst);
    }

    /// Of those, how many are still to come.
    pub fn left_to_swallow(&self) -> u32 {
        self.shared.to_swallow.load(Ordering::SeqCst)
    }

    /// Cuts every connection that is open now.
    pub fn cut(&self) {
        for stream in self.shared.open.lock().unwrap().drain(..) {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn connect(self: &Arc<Shared>, client: TcpStream) -> std::io::Result<()> {
        let server = TcpStream::connect(("127.0.0.1", self.target.load(Ordering::SeqCst)))?;
        let mut open = self.open.lock().unwrap();
        open.extend([client.try_clone()?, server.try_clone()?]);
        drop(open);
        // A client of Kafka waits for the answer before it sends the next request.
        let (begins, produces) = (
            Arc::new(AtomicBool::new(true)),
            Arc::new(AtomicBool::new(false)),
        );
        let (from, to) = (client.try_clone()?, server.try_clone()?);
        let flags = (begins.clone(), produces.clone());
        thread::spawn(move || {
            pass_on(from, to, |bytes| {
                if flags.0.swap(false, Ordering::SeqCst) {
                    flags
                        .1
                        .store(bytes.get(4..6) == Some(&PRODUCE), Ordering::SeqCst);
                }
                true
            });
        });
        let shared = self.clone();
        thread::spawn(move || {
            pass_on(server, client, |_| {
                begins.store(true, Ordering::SeqCst);
                !(produces.load(Ordering::SeqCst) && shared.takes_one())
            });
        });
        Ok(())
    }

    fn takes_one(&self) -> bool {
        let less = |left: u32| left.checked_sub(1);
        self.to_swallow
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
            .is_ok()
    }
}

/// Until either side closes, or `may_pass` says no; then both sides are closed.
fn pass_on(mut from: TcpStream, mut to: TcpStream, mut may_pass: impl FnMut(&[u8]) -> bool) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count) = from.read(&mut bytes) {
        if count == 0 || !may_pass(&bytes[..count]) || to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    for stream in [&from, &to] {
        // It may be closed already.
        let _ = stream.shutdown(Shutdown::Both);
    }
}
