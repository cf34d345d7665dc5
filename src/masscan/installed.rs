//! The masscan of this server as it is now: its version, whether it may send the shards of a job, and what makes it write each line by
//! itself. Scans nothing.
//!
//! The shards of a job are whole together only if each is sent in the same order, and that is a matter of masscan's version (the
//! rounds of its shuffle grew from 4 to 14 between 1.0 and 1.3; early ones added the seed to the place) and of `blackrock-rounds`
//! in its configuration file. So a server runs shards only where its masscan is of [`SHARD_SERIES`] and lists a shard as 1.3.2
//! does: then nothing has to be known about the other servers. The list alone would not do: it shows the shuffle, and not by how
//! much a rate turns the order (see `model/walk.rs`).
//!
//! A package manager may replace masscan under a running server, so its file is looked at each time, and asked anew where it is
//! another.

use super::output::StdoutMode;
use super::program::{ProgramError, answer, environment, find, version};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::time::Instant;

/// A masscan that did not say what it is, or may not send shards, is asked again after this long. Less than [`REFUSED_BY_ALL_WAIT`].
const MASSCAN_ASKED_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// The versions that are known to send in one order.
const SHARD_SERIES: &str = "1.3.";
/// What makes masscan list, without sending anything, the probes of a shard in their order. The addresses are of TEST-NET-1.
const LIST_A_SHARD: [&str; 10] = [
    "--offline",
    "-sL",
    "--range",
    "192.0.2.0/28",
    "-p",
    "1-4",
    "--seed",
    "5",
    "--shard",
    "2/3",
];

/// What masscan 1.3.2 says to [`LIST_A_SHARD`]. At a rate that is a multiple of the probes (64) it sends in this order too.
pub const SHARD_IN_ORDER: &str = "192.0.2.0:1 192.0.2.8:3 192.0.2.11:2 192.0.2.11:1 192.0.2.5:2 192.0.2.1:4 192.0.2.9:4 \
    192.0.2.11:3 192.0.2.6:2 192.0.2.14:1 192.0.2.14:3 192.0.2.10:2 192.0.2.7:1 192.0.2.12:4 192.0.2.6:1 192.0.2.1:1 \
    192.0.2.4:2 192.0.2.7:2 192.0.2.3:4 192.0.2.5:4 192.0.2.11:4";

/// What is known of a masscan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Its version, `1.3.2`.
    pub version: String,
    /// Whether it sends in the order that the shards of a job count on.
    sends_in_order: bool,
}

impl About {
    /// Asks `program`. It takes some milliseconds, and twice [`CLIENT_WAIT`](crate::model::backoff::CLIENT_WAIT) where it hangs.
    pub fn of(program: &Path) -> Result<About, ProgramError> {
        let version = version(program)?;
        Ok(About {
            sends_in_order: version.starts_with(SHARD_SERIES) && lists_in_order(program),
            version,
        })
    }

    /// Why it may not send the shards of a job; none where it may.
    pub fn unfit_for_shards(&self) -> Option<String> {
        (!self.sends_in_order).then(|| {
            format!(
                "masscan {} is not known to send in the order of 1.3.2, and shards in different orders are not whole together (install \
                 masscan 1.3, and remove from its configuration what changes what it scans: blackrock-rounds, exclusions)",
                self.version
            )
        })
    }
}

/// Why a masscan of which so much is known may not send the shards of a job; none where it may.
pub fn unfit_for_shards(about: &Result<About, String>) -> Option<String> {
    match about {
        Ok(about) => about.unfit_for_shards(),
        Err(error) => Some(error.clone()),
    }
}

/// False too where it doesn't answer, or not with a list alone.
fn lists_in_order(program: &Path) -> bool {
    let Ok(path) = find(program) else {
        return false;
    };
    // In the environment of a scan.
    let mut command = Command::new(path);
    command.args(LIST_A_SHARD).env_clear().envs(environment());
    answer(&mut command).is_ok_and(|answer| {
        let listed = answer.output.split_whitespace();
        listed.eq(SHARD_IN_ORDER.split(' '))
    })
}

/// The masscan that this server runs.
#[derive(Debug)]
pub struct MasscanBinary {
    program: PathBuf,
    /// Never locked while masscan is asked, which takes seconds where it hangs.
    seen: Mutex<Seen>,
}

/// What was seen of its file.
#[derive(Debug, Default)]
struct Seen {
    known: Option<Known>,
    printing: Option<(Option<FileMark>, StdoutMode)>,
}

#[derive(Debug)]
struct Known {
    file: Option<FileMark>,
    asked: Instant,
    /// What it is, or why that can't be said.
    about: Result<About, String>,
}

impl MasscanBinary {
    /// `program` is masscan's path, or its name to be found in PATH. It is not asked yet.
    pub fn new(program: &Path) -> MasscanBinary {
        MasscanBinary {
            program: program.to_owned(),
            seen: Mutex::default(),
        }
    }

    /// The path or name with which it is started.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// What it is, or why that can't be said, for people. It is asked again where its file is another, and after
    /// [`MASSCAN_ASKED_AGAIN_AFTER`] where it is of less use than it could be: its configuration may have been mended.
    pub fn about(&self) -> Result<About, String> {
        let file = FileMark::of(&self.program);
        if let Some(known) = &self.seen().known
            && known.file == file
            && (unfit_for_shards(&known.about).is_none()
                || known.asked.elapsed() < MASSCAN_ASKED_AGAIN_AFTER)
        {
            return known.about.clone();
        }
        self.ask()
    }

    /// The same, asked now: also what its configuration says may have changed.
    pub fn ask(&self) -> Result<About, String> {
        let file = FileMark::of(&self.program);
        let about = About::of(&self.program).map_err(|error| error.to_string());
        self.seen().known = Some(Known {
            file,
            asked: Instant::now(),
            about: about.clone(),
        });
        about
    }

    /// What makes a run of it write each line by itself. Decided anew where its file is another or has other rights: with those of a
    /// file what did before may do nothing, and a kill would lose findings without a word.
    pub fn printing(&self) -> StdoutMode {
        let file = FileMark::of(&self.program);
        if let Some((known, printing)) = &self.seen().printing
            && *known == file
        {
            return printing.clone();
        }
        let printing = StdoutMode::of(&self.program);
        self.seen().printing = Some((file, printing.clone()));
        printing
    }

    /// A run of it greeted with `version`. Where it was thought to be another one it is asked again, by whoever wants to know next.
    pub fn greeted_with(&self, version: &str) {
        let known = &mut self.seen().known;
        let thought = known.as_ref().and_then(|known| known.about.as_ref().ok());
        if thought.is_some_and(|about| about.version != version) {
            *known = None;
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells one file from another that took its place.
#[derive(Debug, PartialEq, Eq)]
struct FileMark {
    device: u64,
    inode: u64,
    size: u64,
    /// When it was last written, or its rights changed: seconds and nanoseconds.
    changed: (i64, i64),
}

impl FileMark {
    /// None where there is no such program.
    fn of(program: &Path) -> Option<FileMark> {
        let file = find(program).ok()?.metadata().ok()?;
        Some(FileMark {
            device: file.dev(),
            inode: file.ino(),
            size: file.size(),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Makes `path` a program that says that it is masscan `version`, and lists `order`.
    fn install(path: &Path, version: &str, order: &str) {
        let lines = order.replace(' ', "\n");
        write_script(
            path,
            &format!(
                "case $1 in --version) echo 'Masscan version {version} (' ;; --offline) echo '{lines}' ;; esac"
            ),
        );
    }

    /// By a process of its own: a file that this one has open for writing, and so its children for a moment, can't be run.
    fn write_script(path: &Path, commands: &str) {
        let text = path.with_extension("text");
        fs::write(&text, format!("#!/bin/sh\n{commands}\n")).unwrap();
        let mut install = Command::new("install");
        install.args(["-m", "755", "-T"]).args([&text, path]);
        assert!(install.status().unwrap().success());
    }

    #[test]
    fn a_replaced_masscan_is_asked_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("masscan");
        let installed = MasscanBinary::new(&path);
        let error = installed.about().unwrap_err();
        assert!(error.contains("not found: install masscan"), "{error}");

        install(&path, "1.3.2", SHARD_IN_ORDER);
        let about = installed.about().unwrap();
        assert_eq!(about.version, "1.3.2");
        assert_eq!(about.unfit_for_shards(), None);

        install(&path, "1.0.5", SHARD_IN_ORDER);
        let why = installed.about().unwrap().unfit_for_shards().unwrap();
        assert!(why.starts_with("masscan 1.0.5 is not known"), "{why}");
    }

    #[test]
    fn one_whose_shuffle_was_configured_is_unfit_for_shards() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("masscan");
        install(&path, "1.3.2", "192.0.2.0:1 192.0.2.8:3");
        assert!(About::of(&path).unwrap().unfit_for_shards().is_some());
    }

    #[test]
    fn one_that_greets_as_another_is_asked_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (path, installed) = (folder.path().join("masscan"), folder.path().join("inner"));
        install(&installed, "1.3.2", SHARD_IN_ORDER);
        // The file stays the same, and what it runs doesn't.
        write_script(&path, &format!("exec {} \"$@\"", installed.display()));
        let wrapped = MasscanBinary::new(&path);
        assert_eq!(wrapped.about().unwrap().version, "1.3.2");
        install(&installed, "1.3.9", SHARD_IN_ORDER);
        assert_eq!(wrapped.about().unwrap().version, "1.3.2");
        wrapped.greeted_with("1.3.9");
        assert_eq!(wrapped.about().unwrap().version, "1.3.9");
    }

    #[test]
    fn what_says_nothing_has_no_order() {
        assert!(About::of(Path::new("true")).is_err());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("masscan");
        install(&path, "1.3.2", "");
        assert_eq!(
            About::of(&path).unwrap(),
            About {
                version: "1.3.2".to_owned(),
                sends_in_order: false
            }
        );
    }
}
