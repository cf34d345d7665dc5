//! poll(2) for one file descriptor, and the event that wakes a thread out of it.

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// Waits up to `timeout` until one of `events`, an error or a hang-up, and returns what happened. A signal may shorten it.
pub fn wait_for(fd: impl AsFd, events: PollFlags, timeout: Duration) -> io::Result<PollFlags> {
    let mut polled = [PollFd::new(&fd, events)];
    poll_all(&mut polled, Some(timeout))?;
    Ok(polled[0].revents())
}

/// Waits until something happens to one of `polled`, up to `timeout` if there is one. A signal may shorten it.
pub fn poll_all(polled: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<()> {
    // A timeout that the system cannot represent is as good as none.
    let timespec = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    match poll(polled, timespec.as_ref()) {
        Ok(_) => Ok(()),
        Err(Errno::INTR) => {
            polled.iter_mut().for_each(PollFd::clear_revents);
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// An event that other threads raise: a file descriptor that can be polled.
#[derive(Debug)]
pub struct Wake {
    event: OwnedFd,
}

impl Wake {
    /// An event that was not raised.
    pub fn new() -> io::Result<Wake> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Wake { event })
    }

    /// Raises it.
    pub fn raise(&self) {
        // It only errs if it was raised 2^64 times already.
        let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
    }

    /// Takes it back.
    pub fn clear(&self) {
        // It only errs if it was not raised.
        let _ = rustix::io::read(&self.event, &mut [0; 8]);
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.event.as_fd()
    }
}
