//! The accounts of a file that may change while the program runs.

use super::accounts::Accounts;
use crate::credentials::CredentialFile;
use crate::model::Invalid;
use crate::sync::lock;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How often the file is checked for a change, while requests come.
const AUTH_FILE_INTERVAL: Duration = Duration::from_secs(1);

/// A file of accounts, read again when it has changed.
#[derive(Debug)]
pub struct WatchedFile {
    file: CredentialFile,
    state: Mutex<WatchedState>,
}

#[derive(Debug)]
struct WatchedState {
    accounts: Arc<Accounts>,
    stamp: Option<Stamp>,
    checked_at: Instant,
}

/// What differs after a change: a new file has another number, a written one another time or size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    file_number: u64,
    size: u64,
    changed_s: i64,
    changed_ns: i64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Stamp> {
        let metadata = path.metadata().ok()?;
        Some(Stamp {
            file_number: metadata.ino(),
            size: metadata.size(),
            changed_s: metadata.mtime(),
            changed_ns: metadata.mtime_nsec(),
        })
    }
}

impl WatchedFile {
    /// Reads the file.
    pub fn open(file: CredentialFile) -> Result<WatchedFile, Invalid> {
        // Before it is read: a change in between is found by the next check.
        let stamp = Stamp::of(file.path());
        let accounts = Arc::new(Accounts::read(&file)?);
        let state = Mutex::new(WatchedState {
            accounts,
            stamp,
            checked_at: Instant::now(),
        });
        Ok(WatchedFile { file, state })
    }

    /// The accounts. A file that has become invalid is logged once for each change; the accounts before it stay valid.
    pub fn accounts(&self) -> Arc<Accounts> {
        self.accounts_at(Instant::now())
    }

    fn accounts_at(&self, now: Instant) -> Arc<Accounts> {
        let mut state = lock(&self.state);
        if now.saturating_duration_since(state.checked_at) >= AUTH_FILE_INTERVAL {
            state.checked_at = now;
            let stamp = Stamp::of(self.file.path());
            if stamp != state.stamp {
                state.stamp = stamp;
                match Accounts::read(&self.file) {
                    Ok(accounts) => {
                        log::info!(
                            "{} was read again: {} users, {} tokens",
                            self.file.path().display(),
                            accounts.users.len(),
                            accounts.tokens.len()
                        );
                        state.accounts = Arc::new(accounts);
                    }
                    Err(error) => {
                        log::error!("{error}; the users and tokens before this change stay valid");
                    }
                }
            }
        }
        Arc::clone(&state.accounts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_changed_file_is_read_again_and_an_invalid_one_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("auth");
        let digest = "0".repeat(64);
        let write = |text: &str| fs::write(&path, text).unwrap();
        write(&format!("token a {digest}\n"));
        let watched = WatchedFile::open(CredentialFile::new("-auth-file", path.clone())).unwrap();
        let start = Instant::now();
        let names = |after_ms: u64| {
            let accounts = watched.accounts_at(start + Duration::from_millis(after_ms));
            let names = accounts
                .tokens
                .iter()
                .map(|token| token.name.as_str().to_owned());
            names.collect::<Vec<_>>()
        };
        write(&format!("token a {digest}\ntoken b {digest}\n"));
        assert_eq!(names(500), ["a"], "too early");
        assert_eq!(names(2_000), ["a", "b"]);
        write("rubbish\n");
        assert_eq!(names(4_000), ["a", "b"]);
        fs::remove_file(&path).unwrap();
        assert_eq!(names(6_000), ["a", "b"]);
        write(&format!("token c {digest}\n"));
        assert_eq!(names(8_000), ["c"]);
    }
}
