//! The capabilities of Linux that matter here, and who has them. Asks the kernel.

use rustix::fs::getxattr;
use std::fs;
use std::path::Path;

/// A Linux capability (`capabilities(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Capability {
    /// CAP_KILL: sends signals to processes of other users.
    Kill = 5,
    /// CAP_NET_RAW: opens raw sockets.
    NetRaw = 13,
}

impl Capability {
    /// Its bit in a set.
    const fn bit(self) -> u64 {
        1 << self as u32
    }

    /// Whether this thread may use it.
    pub(super) fn is_effective(self) -> bool {
        self.is_in("CapEff", &status_of_thread())
    }

    /// Whether it is in a set, such as `CapEff`, of the text of /proc/PID/status. A set that is missing is empty.
    pub(super) fn is_in(self, set: &str, status: &str) -> bool {
        let mask = status
            .lines()
            .find_map(|line| line.strip_prefix(set)?.strip_prefix(':'));
        mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
            .is_some_and(|mask| mask & self.bit() != 0)
    }

    /// Whether the program's file gives it.
    pub(super) fn is_of_file(self, program: &Path) -> bool {
        // A header of 4 bytes, then the lower halves of the permitted and the inheritable set, then the upper halves.
        let mut value = [0u8; 24];
        getxattr(program, "security.capability", &mut value[..]).is_ok_and(|bytes| {
            let permitted = u32::from_le_bytes([value[4], value[5], value[6], value[7]]);
            bytes >= 8 && u64::from(permitted) & self.bit() != 0
        })
    }
}

/// The text of this thread's status; empty if it cannot be read.
pub(super) fn status_of_thread() -> String {
    fs::read_to_string("/proc/thread-self/status").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_the_capabilities_of_its_bits() {
        let status = "Name:\tscand\nCapInh:\tnonsense\nCapEff:\t0000000000002000\nCapBnd:\t0000000000002020\n";
        for (set, kill, net_raw) in [
            ("CapEff", false, true),
            ("CapBnd", true, true),
            ("CapInh", false, false),
            ("CapAmb", false, false),
            ("Cap", false, false),
        ] {
            assert_eq!(Capability::Kill.is_in(set, status), kill, "{set}");
            assert_eq!(Capability::NetRaw.is_in(set, status), net_raw, "{set}");
        }
    }

    #[test]
    fn a_file_without_capabilities_has_none() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for path in [file.path(), Path::new("/nowhere")] {
            assert!(!Capability::NetRaw.is_of_file(path));
        }
    }
}
