//! The capabilities of Linux that matter here, and who has them. Asks the kernel.

use rustix::fs::getxattr;
use std::fs;
use std::path::Path;

/// Size of the largest value of the attribute with a file's capabilities, in bytes.
const FILE_CAPABILITIES_MAX_BYTES: usize = 24;
/// In its header: the permitted capabilities are effective too (`VFS_CAP_FLAGS_EFFECTIVE`).
const FILE_EFFECTIVE: u32 = 1;

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

    /// Whether a process that executes the program's file may use it without asking for it, as masscan has to.
    pub(super) fn is_of_file(self, program: &Path) -> bool {
        let mut value = [0u8; FILE_CAPABILITIES_MAX_BYTES];
        getxattr(program, "security.capability", &mut value[..])
            .is_ok_and(|bytes| self.is_in_value(&value[..bytes]))
    }

    /// The same of the value of the file's attribute: a header with the flag of effective capabilities, then the lower halves of the permitted and
    /// the inheritable set, then the upper halves (`struct vfs_cap_data` of Linux).
    fn is_in_value(self, value: &[u8]) -> bool {
        let word = |n: usize| {
            value
                .get(4 * n..4 * n + 4)?
                .try_into()
                .ok()
                .map(u32::from_le_bytes)
        };
        let (Some(header), Some(permitted)) = (word(0), word(1)) else {
            return false;
        };
        header & FILE_EFFECTIVE != 0 && u64::from(permitted) & self.bit() != 0
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
    fn a_file_gives_what_is_permitted_and_effective() {
        let value = |header: u32, permitted: u32| {
            [header, permitted, 0, 0, 0].map(u32::to_le_bytes).concat()
        };
        for (value, gives) in [
            // `setcap cap_net_raw+ep`, `+p`, `cap_kill+ep`.
            (value(0x0200_0001, 1 << 13), true),
            (value(0x0200_0000, 1 << 13), false),
            (value(0x0200_0001, 1 << 5), false),
            (value(0x0200_0001, 1 << 13)[..7].to_vec(), false),
            (Vec::new(), false),
        ] {
            assert_eq!(Capability::NetRaw.is_in_value(&value), gives, "{value:?}");
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
