//! masscan's working folder: masscan writes `paused.conf` there, and scand writes what is too long for the command line.
//!
//! It is removed when the scan ends, however it ends. Only a killed scand cannot remove it. Each scand holds a lock on its folders, which the
//! kernel releases with the process, so the next scand that starts on this machine knows which folders are left over.

use rustix::fs::{FlockOperation, flock};
use rustix::process::geteuid;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, fchown};
use std::path::Path;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

const PREFIX: &str = "scand-";
/// Mode of a folder that only its owner may enter.
const PRIVATE_FOLDER_MODE: u32 = 0o700;
/// Mode of a folder that is shared with masscan's user: its group may write, but not remove files of others.
const SHARED_FOLDER_MODE: u32 = 0o1770;
/// Mode of a file in it: its group may read.
const SHARED_FILE_MODE: u32 = 0o640;
/// A folder younger than this is never swept: its owner may not have locked it yet.
const SWEPT_AFTER: Duration = Duration::from_secs(60);

/// The working folder of one scan. Removed on drop.
#[derive(Debug)]
pub(super) struct Folder {
    folder: TempDir,
    _lock: File,
}

impl Folder {
    /// Creates a folder that only this process's user may enter, in the system's folder for temporary files. Errs if the disk is full or permission is
    /// missing.
    pub(super) fn create() -> io::Result<Folder> {
        Folder::create_in(&std::env::temp_dir())
    }

    /// Writes a new file, which `group` may read, if one is given. Errs if the disk is full, permission is missing, or the file exists.
    pub(super) fn write(&self, name: &str, text: &[u8], group: Option<u32>) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(self.path().join(name))?;
        file.write_all(text)?;
        if let Some(group) = group {
            fchown(&file, None, Some(group))?;
            file.set_permissions(Permissions::from_mode(SHARED_FILE_MODE))?;
        }
        Ok(())
    }

    /// Lets `group`, the group of masscan's user, write to the folder, but not replace this process's files in it. This process must not write there
    /// afterwards: the other user may have planted a link. Errs if permission is missing.
    pub(super) fn share(&self, group: u32) -> io::Result<()> {
        chown(self.path(), None, Some(group))?;
        fs::set_permissions(self.path(), Permissions::from_mode(SHARED_FOLDER_MODE))
    }

    fn create_in(parent: &Path) -> io::Result<Folder> {
        let folder = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(Permissions::from_mode(PRIVATE_FOLDER_MODE))
            .tempdir_in(parent)?;
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

/// Removes the folders that killed servers of this user left behind. Returns how many were removed.
pub fn sweep() -> usize {
    sweep_in(&std::env::temp_dir(), SystemTime::now())
}

fn sweep_in(parent: &Path, now: SystemTime) -> usize {
    let Ok(entries) = fs::read_dir(parent) else {
        return 0;
    };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
        .filter(|entry| is_left_over(&entry.path(), now))
        .filter(|entry| fs::remove_dir_all(entry.path()).is_ok())
        .count()
}

fn is_left_over(path: &Path, now: SystemTime) -> bool {
    let Ok(found) = path.symlink_metadata() else {
        return false;
    };
    let old = found
        .modified()
        .ok()
        .and_then(|at| now.duration_since(at).ok())
        .is_some_and(|age| age >= SWEPT_AFTER);
    let ours = found.is_dir() && found.uid() == geteuid().as_raw();
    old && ours
        && File::open(path)
            .is_ok_and(|folder| flock(folder, FlockOperation::NonBlockingLockExclusive).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_new_and_nobody_else_was_in_its_folder_before() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::create_in(parent.path()).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(folder.path()), PRIVATE_FOLDER_MODE);
        let target = parent.path().join("target");
        fs::write(&target, "kept").unwrap();
        std::os::unix::fs::symlink(&target, folder.path().join("planted")).unwrap();
        assert!(folder.write("planted", b"x", None).is_err());
        assert_eq!(fs::read_to_string(&target).unwrap(), "kept");
        let group = rustix::process::getegid().as_raw();
        folder.write("exclude.txt", b"x", Some(group)).unwrap();
        assert_eq!(mode(&folder.path().join("exclude.txt")), SHARED_FILE_MODE);
        folder.share(group).unwrap();
        assert_eq!(mode(folder.path()), SHARED_FOLDER_MODE);
    }

    #[test]
    fn a_folder_is_removed_with_its_scan_or_by_the_next_server() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::create_in(parent.path()).unwrap();
        let path = folder.path().to_owned();
        fs::write(path.join("paused.conf"), "x").unwrap();
        let later = SystemTime::now() + 2 * SWEPT_AFTER;
        assert_eq!(sweep_in(parent.path(), later), 0, "it is in use");
        drop(folder);
        assert!(!path.exists());

        let killed = parent.path().join("scand-killed");
        fs::create_dir(&killed).unwrap();
        fs::write(killed.join("paused.conf"), "x").unwrap();
        fs::create_dir(parent.path().join("other")).unwrap();
        fs::write(parent.path().join("scand-file"), "x").unwrap();
        assert_eq!(
            sweep_in(parent.path(), SystemTime::now()),
            0,
            "it is too young"
        );
        assert_eq!(sweep_in(parent.path(), later), 1);
        assert!(!killed.exists() && parent.path().join("scand-file").exists());
    }
}
