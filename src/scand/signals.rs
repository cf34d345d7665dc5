//! SIGINT and SIGTERM as values on a channel.

use crossbeam_channel::{Receiver, bounded};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;
use std::thread;

/// Signals that wait to be handled: the second one matters, more don't.
const SIGNALS_MAX: usize = 2;

/// Starts the thread `signals`; the channel gives the name of each signal that comes. Errs where the system refuses.
pub fn listen() -> io::Result<Receiver<&'static str>> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let (sender, receiver) = bounded(SIGNALS_MAX);
    // Never joined: it sleeps in the kernel until the process ends.
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in signals.forever() {
                let name = if signal == SIGINT {
                    "SIGINT"
                } else {
                    "SIGTERM"
                };
                // A full channel: two are enough.
                let _ = sender.try_send(name);
            }
        })?;
    Ok(receiver)
}
