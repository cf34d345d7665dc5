//! The last watermark that a server has seen, shared by the connections of its threads. It shows that Redis has lost an answered call of this
//! server (see scripts/prelude.lua).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A server that calls the claim table.
#[derive(Clone, Debug)]
pub struct CallingServer {
    server: String,
    seen: Arc<AtomicU64>,
}

impl CallingServer {
    /// The server with this name. All its connections must have clones of the same caller.
    pub fn new(server: &str) -> CallingServer {
        CallingServer {
            server: server.to_owned(),
            seen: Arc::default(),
        }
    }

    /// The server's name.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    /// The last watermark that an answer has brought; 0 if none has.
    pub(super) fn seen(&self) -> u64 {
        self.seen.load(Ordering::SeqCst)
    }

    /// Records a watermark from an answer. Keeps the highest, because answers on several connections arrive in any order.
    pub(super) fn note(&self, watermark: u64) {
        self.seen.fetch_max(watermark, Ordering::SeqCst);
    }
}
