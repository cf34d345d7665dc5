//! A TCP proxy on localhost in front of one Kafka or Redis, which cuts connections when a test asks for it. It does not change what it forwards.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// The API key of a produce request. It follows the four bytes of the request's length.
const PRODUCE: [u8; 2] = [0, 0];

/// Its threads end with the test program.
pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    target_port: AtomicU16,
    /// Answers to produce requests that are still to be dropped, each with its connection.
    answers_to_drop: AtomicU32,
    /// Bytes that clients may still send. When they are used up, connections are closed.
    bytes_left: AtomicI64,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Starts to listen. Connections are closed until [`Proxy::set_target`] is called.
    pub fn start() -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            target_port: AtomicU16::new(0),
            answers_to_drop: AtomicU32::new(0),
            bytes_left: AtomicI64::new(i64::MAX),
            open: Mutex::new(Vec::new()),
        });
        let accepting = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // If nothing listens on the target port, the connection is closed.
                let _ = accepting.connect(client);
            }
        });
        Proxy { port, shared }
    }

    /// The broker setting with which Kafka tells clients to connect through this proxy.
    pub fn as_advertised_listener(&self) -> String {
        format!("advertised.listeners=BROKER://127.0.0.1:{}", self.port)
    }

    pub fn set_target(&self, port: u16) {
        self.shared.target_port.store(port, Ordering::SeqCst);
    }

    /// Forwards the next `count` produce requests, but closes the connection instead of forwarding Kafka's answer.
    pub fn drop_answers(&self, count: u32) {
        self.shared.answers_to_drop.store(count, Ordering::SeqCst);
    }

    /// How many answers of [`Proxy::drop_answers`] have not been dropped yet.
    pub fn answers_to_drop(&self) -> u32 {
        self.shared.answers_to_drop.load(Ordering::SeqCst)
    }

    /// Forwards this many more bytes of clients, then closes every connection, also new ones, until the next call.
    pub fn close_after(&self, bytes: i64) {
        self.shared.bytes_left.store(bytes, Ordering::SeqCst);
    }

    /// Closes every connection that is open now.
    pub fn cut(&self) {
        for stream in self.shared.open.lock().unwrap().drain(..) {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn connect(self: &Arc<Shared>, client: TcpStream) -> std::io::Result<()> {
        let server = TcpStream::connect(("127.0.0.1", self.target_port.load(Ordering::SeqCst)))?;
        let mut open = self.open.lock().unwrap();
        open.extend([client.try_clone()?, server.try_clone()?]);
        drop(open);
        // A Kafka client waits for the answer before it sends the next request.
        let request_begins = Arc::new(AtomicBool::new(true));
        let is_produce = Arc::new(AtomicBool::new(false));
        let (from, to) = (client.try_clone()?, server.try_clone()?);
        let (shared, begins, produce) = (self.clone(), request_begins.clone(), is_produce.clone());
        thread::spawn(move || {
            forward(from, to, |bytes| {
                if begins.swap(false, Ordering::SeqCst) {
                    produce.store(bytes.get(4..6) == Some(&PRODUCE), Ordering::SeqCst);
                }
                let count = bytes.len() as i64;
                shared.bytes_left.fetch_sub(count, Ordering::SeqCst) >= count
            });
        });
        let shared = self.clone();
        thread::spawn(move || {
            forward(server, client, |_| {
                request_begins.store(true, Ordering::SeqCst);
                !(is_produce.load(Ordering::SeqCst) && shared.drops_answer())
            });
        });
        Ok(())
    }

    /// Whether the next answer to a produce request is to be dropped; counts it.
    fn drops_answer(&self) -> bool {
        let one_less = |left: u32| left.checked_sub(1);
        self.answers_to_drop
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
            .is_ok()
    }
}

/// Forwards bytes until either side closes or `may_pass` returns false, then closes both sides.
fn forward(mut from: TcpStream, mut to: TcpStream, mut may_pass: impl FnMut(&[u8]) -> bool) {
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
