//! Whether masscan may open raw sockets if this process starts it. Asks the kernel; opens nothing.

use rustix::fs::getxattr;
use rustix::process::geteuid;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// CAP_NET_RAW.
const NET_RAW: u64 = 1 << 13;
const SET_USER_ID: u32 = 0o4000;

/// How masscan gets the right to open raw sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// It runs as root.
    Root,
    /// This process passes CAP_NET_RAW on to its children.
    Ambient,
    /// Its file has the capability, or belongs to root with the set-user-ID bit.
    File,
    /// It does not get the right.
    Missing,
    /// It cannot get the right: CAP_NET_RAW was removed from the whole container.
    Bounded,
}

/// The rights that `program` will have.
pub fn rights(program: &Path) -> Rights {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let root_owned = |file: fs::Metadata| file.uid() == 0 && file.mode() & SET_USER_ID != 0;
    let of_file = has_file_capability(program) || program.metadata().is_ok_and(root_owned);
    rights_by_status(&status, geteuid().is_root(), of_file)
}

/// Whether this thread may use `capability`, a bit of the sets in /proc/PID/status.
pub(super) fn has_effective(capability: u64) -> bool {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    set_in(&status, "CapEff") & capability != 0
}

/// A set of capabilities in the text of /proc/PID/status; empty if it is missing.
fn set_in(status: &str, name: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

fn rights_by_status(status: &str, root: bool, of_file: bool) -> Rights {
    let has = |set: &str| set_in(status, set) & NET_RAW != 0;
    match (has("CapBnd"), root, has("CapAmb"), of_file) {
        (false, ..) => Rights::Bounded,
        (_, true, ..) => Rights::Root,
        (_, _, true, _) => Rights::Ambient,
        (_, _, _, true) => Rights::File,
        _ => Rights::Missing,
    }
}

/// Whether the program's file gives it CAP_NET_RAW.
pub(super) fn has_file_capability(program: &Path) -> bool {
    // A header of 4 bytes, then the lower halves of the permitted and the inheritable set, then the upper halves.
    let mut value = [0u8; 24];
    getxattr(program, "security.capability", &mut value[..]).is_ok_and(|bytes| {
        let permitted = u32::from_le_bytes([value[4], value[5], value[6], value[7]]);
        bytes >= 8 && u64::from(permitted) & NET_RAW != 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_come_from_root_ambient_capabilities_or_the_file() {
        let status = |bounding: &str, ambient: &str| {
            format!(
                "Name:\tscand\nCapEff:\t0000000000000000\nCapBnd:\t{bounding}\nCapAmb:\t{ambient}\n"
            )
        };
        let (all, none, raw) = ("000001ffffffffff", "0000000000000000", "0000000000002000");
        for (bounding, ambient, root, of_file, rights) in [
            (all, none, true, false, Rights::Root),
            (all, none, false, false, Rights::Missing),
            (all, none, false, true, Rights::File),
            (all, raw, false, false, Rights::Ambient),
            (none, none, true, true, Rights::Bounded),
            (raw, none, true, false, Rights::Root),
        ] {
            assert_eq!(
                rights_by_status(&status(bounding, ambient), root, of_file),
                rights
            );
        }
        assert_eq!(
            rights_by_status("", true, true),
            Rights::Bounded,
            "an empty status"
        );
    }

    #[test]
    fn a_file_without_capabilities_has_none() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(!has_file_capability(file.path()));
        assert!(!has_file_capability(Path::new("/nowhere")));
    }
}
