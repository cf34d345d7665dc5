//! SIGINT, SIGTERM and SIGHUP as values on channels.

use super::logging;
use crossbeam_channel::{Receiver, bounded};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;
use std::thread;

/// Signals that may wait to be handled: only the first two matter.
const SIGNALS_MAX: usize = 2;

/// The channels on which signals arrive.
pub struct Inbox {
    /// The name of each SIGINT and SIGTERM.
    pub ends: Receiver<&'static str>,
    /// A message for each SIGHUP, or for several at once.
    pub reloads: Receiver<()>,
}

/// Starts the thread `signals`. Errs if the system refuses.
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
                    logging::reopen_file();
                    // If the channel is full, a reload is already pending.
                    let _ = reload.try_send(());
                    continue;
                }
                let name = if signal == SIGINT {
                    "SIGINT"
                } else {
                    "SIGTERM"
                };
                // If the channel is full, two signals are pending, which is enough.
                let _ = sender.try_send(name);
            }
        })?;
    Ok(Inbox { ends, reloads })
}
