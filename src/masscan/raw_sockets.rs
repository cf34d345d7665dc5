//! Whether masscan may open raw sockets if this process starts it. Asks the kernel; opens nothing.

use super::capabilities::{Capability, status_of_thread};
use rustix::process::geteuid;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

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
    let status = status_of_thread();
    let root_owned = |file: fs::Metadata| file.uid() == 0 && file.mode() & SET_USER_ID != 0;
    let of_file =
        Capability::NetRaw.is_of_file(program) || program.metadata().is_ok_and(root_owned);
    rights_by_status(&status, geteuid().is_root(), of_file)
}

fn rights_by_status(status: &str, root: bool, of_file: bool) -> Rights {
    let has = |set: &str| Capability::NetRaw.is_in(set, status);
    match (has("CapBnd"), root, has("CapAmb"), of_file) {
        (false, ..) => Rights::Bounded,
        (_, true, ..) => Rights::Root,
        (_, _, true, _) => Rights::Ambient,
        (_, _, _, true) => Rights::File,
        _ => Rights::Missing,
    }
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
}
