//! SIGINT, SIGTERM and SIGHUP as values on channels.

use crossbeam_channel::{Receiver, bounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;
use std::thread;

/// Signals that wait to be handled: the second one matters, more don't.
const SIGNALS_MAX: usize = 2;

/// Where signals come out.
pub struct Inbox {
    /// The name of each SIGINT and SIGTERM: end.
    pub ends: Receiver<&'static str>,
    /// Something for each SIGHUP, or for several at once: read the files again.
    pub reloads: Receiver<()>,
}

/// Starts the thread `signals`. Errs where the system refuses.
pub fn listen() -> io::Result<Inbox> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let (sender, ends) = bounded(SIGNALS_MAX);
    let (reload, reloads) = bounded(1);
    // Never joined: it sleeps in the kernel until the process ends.
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in signals.forever() {
                if signal == SIGHUP {
                    // One that waits already says the same.
                    let _ = reload.try_send(());
                    continue;
                }
                let name = if signal == SIGINT {
                    "SIGINT"
                } else {
                    "SIGTERM"
                };
                // A full channel: two are enough.
                let _ = sender.try_send(name);
            }
        })?;
    Ok(Inbox { ends, reloads })
}
