//! masscan's working folder: masscan writes `paused.conf` there, and scand writes what is too long for the command line.
//!
//! It is removed when the scan ends, however it ends. Only a killed scand cannot remove it. Each scand holds a lock on its folders, which the
//! kernel releases with the process, so the next scand that starts on this machine knows which folders are left over.

use rustix::fs::{FlockOperation, flock};
use rustix::process::geteuid;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

const PREFIX: &str = "scand-";
/// A folder younger than this is not touched: its owner may not have locked it yet.
const SWEPT_AFTER: Duration = Duration::from_secs(60);

/// Whose a file or folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user's id.
    pub uid: u32,
    /// The id of the user's group.
    pub gid: u32,
}

impl Owner {
    /// Becomes the owner of `path`.
    pub(super) fn take(self, path: &Path) -> io::Result<()> {
        chown(path, Some(self.uid), Some(self.gid))
    }
}

/// The working folder of one scan. Removed on drop.
#[derive(Debug)]
pub(super) struct Folder {
    folder: TempDir,
    _lock: File,
}

impl Folder {
    /// Creates one in the system's folder for temporary files, for `owner` if that is another user than this process's. Errs if that is full or
    /// not writable.
    pub(super) fn create(owner: Option<Owner>) -> io::Result<Folder> {
        let folder = Folder::create_in(&std::env::temp_dir())?;
        if let Some(owner) = owner {
            owner.take(folder.path())?;
        }
        Ok(folder)
    }

    fn create_in(parent: &Path) -> io::Result<Folder> {
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
        let lock = File::open(folder.path())?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Folder {
            folder,
            _lock: lock,
        })
    }

    /// Its path.
    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes the folders that killed servers of this user have left, for themselves or for a masscan of `owner`; returns their number.
pub fn sweep(owner: Option<Owner>) -> usize {
    let mut owners = vec![geteuid().as_raw()];
    owners.extend(owner.map(|owner| owner.uid));
    sweep_in(&std::env::temp_dir(), &owners, SystemTime::now())
}

fn sweep_in(parent: &Path, owners: &[u32], now: SystemTime) -> usize {
    let Ok(entries) = fs::read_dir(parent) else {
        return 0;
    };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
        .filter(|entry| is_left_over(&entry.path(), owners, now))
        .filter(|entry| fs::remove_dir_all(entry.path()).is_ok())
        .count()
}

fn is_left_over(path: &Path, owners: &[u32], now: SystemTime) -> bool {
    let Ok(found) = path.symlink_metadata() else {
        return false;
    };
    let old = found
        .modified()
        .ok()
        .and_then(|at| now.duration_since(at).ok())
        .is_some_and(|age| age >= SWEPT_AFTER);
    let ours = found.is_dir() && owners.contains(&found.uid());
    old && ours
        && File::open(path)
            .is_ok_and(|folder| flock(folder, FlockOperation::NonBlockingLockExclusive).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_removed_with_its_scan_or_by_the_next_server() {
        let parent = tempfile::tempdir().unwrap();
        let ours = [geteuid().as_raw()];
        let folder = Folder::create_in(parent.path()).unwrap();
        let path = folder.path().to_owned();
        fs::write(path.join("paused.conf"), "x").unwrap();
        let later = SystemTime::now() + 2 * SWEPT_AFTER;
        assert_eq!(sweep_in(parent.path(), &ours, later), 0, "it is in use");
        drop(folder);
        assert!(!path.exists());

        let killed = parent.path().join("scand-killed");
        fs::create_dir(&killed).unwrap();
        fs::write(killed.join("paused.conf"), "x").unwrap();
        fs::create_dir(parent.path().join("other")).unwrap();
        fs::write(parent.path().join("scand-file"), "x").unwrap();
        assert_eq!(
            sweep_in(parent.path(), &ours, SystemTime::now()),
            0,
            "it is too young"
        );
        let of_another = [geteuid().as_raw() + 1];
        assert_eq!(sweep_in(parent.path(), &of_another, later), 0);
        assert_eq!(sweep_in(parent.path(), &ours, later), 1);
        assert!(!killed.exists() && parent.path().join("scand-file").exists());
    }
}
