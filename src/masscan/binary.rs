//! The masscan of this server: its version, whether it can send the shards of a job, and how it is made to write each line at once. Sends
//! no packets.
//!
//! The shards of a job are complete together only if all are sent in the same probe order. The order depends on masscan's version (the number
//! of rounds of its shuffle grew from 4 to 14 between 1.0 and 1.3; early versions added the seed to the index) and on `blackrock-rounds` in
//! its configuration file. So a server runs shards only if its masscan is of [`SHARD_SERIES`] and lists a test shard as 1.3.2 does. It
//! does not need to know anything about the other servers. The list alone is not sufficient: it shows the shuffle, but not how far the rate rotates
//! the order (see `model/probe_order.rs`).
//!
//! A package manager may replace masscan while the server runs, so the file's identity is checked each time, and a new file is examined
//! again.

use super::output::StdoutMode;
use super::program::{ProgramError, answer, environment, find, version};
use super::user::{RunAs, UserName};
use crate::sync::lock;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// A masscan that could not be examined, or that cannot send shards, is examined again after this long. Shorter than [`REFUSED_BY_ALL_WAIT`].
const MASSCAN_EXAMINED_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// The series of versions that is known to use one probe order.
const SHARD_SERIES: &str = "1.3.";
/// Arguments with which masscan lists the probes of a shard in order without sending them. The addresses are TEST-NET-1.
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

/// What masscan 1.3.2 prints for [`LIST_A_SHARD`]. At a rate that is a multiple of the number of probes (64) it sends in this order too.
pub const SHARD_IN_ORDER: &str = "192.0.2.0:1 192.0.2.8:3 192.0.2.11:2 192.0.2.11:1 192.0.2.5:2 192.0.2.1:4 192.0.2.9:4 \
    192.0.2.11:3 192.0.2.6:2 192.0.2.14:1 192.0.2.14:3 192.0.2.10:2 192.0.2.7:1 192.0.2.12:4 192.0.2.6:1 192.0.2.1:1 \
    192.0.2.4:2 192.0.2.7:2 192.0.2.3:4 192.0.2.5:4 192.0.2.11:4";

/// What masscan reports about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasscanInfo {
    /// Its version, `1.3.2`.
    pub version: String,
    /// Whether its probe order supports shards.
    sends_in_order: bool,
}

impl MasscanInfo {
    /// Examines `program`. Takes some milliseconds, or twice [`PROGRAM_ANSWER_WAIT`] if it hangs.
    pub fn of(program: &Path) -> Result<MasscanInfo, ProgramError> {
        let version = version(program)?;
        Ok(MasscanInfo {
            sends_in_order: version.starts_with(SHARD_SERIES) && lists_in_order(program),
            version,
        })
    }

    /// Why it cannot send the shards of a job; none if it can.
    pub fn unfit_for_shards(&self) -> Option<String> {
        (!self.sends_in_order).then(|| {
            format!(
                "masscan {} is not known to use the probe order of 1.3.2, and shards in different orders do not cover all probes (install \
                 masscan 1.3, and remove from its configuration what changes what it scans: blackrock-rounds, exclusions)",
                self.version
            )
        })
    }
}

/// Why a masscan with this information cannot send the shards of a job; none if it can.
pub fn unfit_for_shards(info: &Result<MasscanInfo, String>) -> Option<String> {
    match info {
        Ok(info) => info.unfit_for_shards(),
        Err(error) => Some(error.clone()),
    }
}

/// Whether `program` lists the test shard as [`SHARD_IN_ORDER`]. False if it does not answer, or prints anything besides the list.
fn lists_in_order(program: &Path) -> bool {
    let Ok(path) = find(program) else {
        return false;
    };
    // In the same environment as a scan.
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
    /// As whom it is to run.
    user: Option<UserName>,
    /// Not locked while masscan is examined, which takes seconds if it hangs.
    seen: Mutex<Seen>,
}

/// What is known about its file.
#[derive(Debug, Default)]
struct Seen {
    known: Option<Known>,
    run_as: Option<KnownRunAs>,
    stdout_mode: Option<((Option<FileMark>, bool), StdoutMode)>,
}

#[derive(Debug)]
struct KnownRunAs {
    file: Option<FileMark>,
    examined_at: Instant,
    run_as: RunAs,
}

#[derive(Debug)]
struct Known {
    file: Option<FileMark>,
    examined_at: Instant,
    /// The information, or why there is none.
    info: Result<MasscanInfo, String>,
}

impl MasscanBinary {
    /// `program` is masscan's path, or its name in PATH. It is not examined yet.
    pub fn new(program: &Path) -> MasscanBinary {
        MasscanBinary {
            program: program.to_owned(),
            user: None,
            seen: Mutex::default(),
        }
    }

    /// The same, to be run as `user`; if there is none, as another user than root if possible.
    pub fn as_user(mut self, user: Option<UserName>) -> MasscanBinary {
        self.user = user;
        self
    }

    /// The path or name with which it is started.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The information, or an error for people. Examined again if the file has changed, and after [`MASSCAN_EXAMINED_AGAIN_AFTER`] if there was an
    /// error or it cannot send shards: its configuration may have been corrected.
    pub fn info(&self) -> Result<MasscanInfo, String> {
        let file = FileMark::of(&self.program);
        if let Some(known) = &self.seen().known
            && known.file == file
            && (unfit_for_shards(&known.info).is_none()
                || known.examined_at.elapsed() < MASSCAN_EXAMINED_AGAIN_AFTER)
        {
            return known.info.clone();
        }
        self.info_now()
    }

    /// The same, examined now, because the configuration may have changed too.
    pub fn info_now(&self) -> Result<MasscanInfo, String> {
        let file = FileMark::of(&self.program);
        let info = MasscanInfo::of(&self.program).map_err(|error| error.to_string());
        self.seen().known = Some(Known {
            file,
            examined_at: Instant::now(),
            info: info.clone(),
        });
        info
    }

    /// As whom a scan runs it, or why the wanted user cannot run it. Examined again if the file has changed, after an error, and if no other user
    /// than root could run it, after [`MASSCAN_EXAMINED_AGAIN_AFTER`].
    pub fn run_as(&self) -> Result<RunAs, String> {
        let file = FileMark::of(&self.program);
        if let Some(known) = &self.seen().run_as
            && known.file == file
            && (!matches!(known.run_as, RunAs::RootBecause(_))
                || known.examined_at.elapsed() < MASSCAN_EXAMINED_AGAIN_AFTER)
        {
            return Ok(known.run_as.clone());
        }
        let run_as = RunAs::of(&self.program, self.user.as_ref())?;
        self.seen().run_as = Some(KnownRunAs {
            file,
            examined_at: Instant::now(),
            run_as: run_as.clone(),
        });
        Ok(run_as)
    }

    /// How a run of it is made to write each line at once. Decided again if the file, its permissions or the user have changed: with file capabilities the
    /// preloaded library does nothing, and a kill would lose findings silently.
    pub fn stdout_mode(&self) -> StdoutMode {
        let is_other_user = self.run_as().is_ok_and(|run_as| run_as.group().is_some());
        let decided_by = (FileMark::of(&self.program), is_other_user);
        if let Some((known, mode)) = &self.seen().stdout_mode
            && *known == decided_by
        {
            return mode.clone();
        }
        let mode = StdoutMode::of(&self.program, is_other_user);
        self.seen().stdout_mode = Some((decided_by, mode.clone()));
        mode
    }

    /// Takes the version that a run reported. If it differs from the known one, masscan is examined again with the next call.
    pub fn note_version(&self, version: &str) {
        let known = &mut self.seen().known;
        let expected = known.as_ref().and_then(|known| known.info.as_ref().ok());
        if expected.is_some_and(|info| info.version != version) {
            *known = None;
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }
}

/// Distinguishes a file from one that has replaced it.
#[derive(Debug, PartialEq, Eq)]
struct FileMark {
    device: u64,
    inode: u64,
    size: u64,
    /// When it or its permissions were last changed: seconds and nanoseconds.
    changed: (i64, i64),
}

impl FileMark {
    /// None if the program does not exist.
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
    use super::super::script::install_script;
    use super::*;

    /// Writes a program to `path` that reports to be masscan `version` and lists `order`.
    fn install(path: &Path, version: &str, order: &str) {
        let lines = order.replace(' ', "\n");
        install_script(
            path,
            &format!(
                "case $1 in --version) echo 'Masscan version {version} (' ;; --offline) echo '{lines}' ;; esac"
            ),
        );
    }

    #[test]
    fn a_replaced_masscan_is_examined_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("masscan");
        let installed = MasscanBinary::new(&path);
        let error = installed.info().unwrap_err();
        assert!(error.contains("not found: install masscan"), "{error}");

        install(&path, "1.3.2", SHARD_IN_ORDER);
        let info = installed.info().unwrap();
        assert_eq!(info.version, "1.3.2");
        assert_eq!(info.unfit_for_shards(), None);

        install(&path, "1.0.5", SHARD_IN_ORDER);
        let why = installed.info().unwrap().unfit_for_shards().unwrap();
        assert!(why.starts_with("masscan 1.0.5 is not known"), "{why}");
    }

    #[test]
    fn a_masscan_with_another_shuffle_is_unfit_for_shards() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("masscan");
        install(&path, "1.3.2", "192.0.2.0:1 192.0.2.8:3");
        assert!(MasscanInfo::of(&path).unwrap().unfit_for_shards().is_some());
    }

    #[test]
    fn a_run_that_reports_another_version_causes_a_new_examination() {
        let folder = tempfile::tempdir().unwrap();
        let (path, installed) = (folder.path().join("masscan"), folder.path().join("inner"));
        install(&installed, "1.3.2", SHARD_IN_ORDER);
        // The file does not change, but the program that it starts does.
        install_script(&path, &format!("exec {} \"$@\"", installed.display()));
        let wrapped = MasscanBinary::new(&path);
        assert_eq!(wrapped.info().unwrap().version, "1.3.2");
        install(&installed, "1.3.9", SHARD_IN_ORDER);
        assert_eq!(wrapped.info().unwrap().version, "1.3.2");
        wrapped.note_version("1.3.9");
        assert_eq!(wrapped.info().unwrap().version, "1.3.9");
    }

    #[test]
    fn a_program_that_prints_no_list_cannot_send_shards() {
        assert!(MasscanInfo::of(Path::new("true")).is_err());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("masscan");
        install(&path, "1.3.2", "");
        assert_eq!(
            MasscanInfo::of(&path).unwrap(),
            MasscanInfo {
                version: "1.3.2".to_owned(),
                sends_in_order: false
            }
        );
    }
}
