//! What this server may scan: flags, files and the addresses of Kafka and Redis become one [`Scope`], and one scope is in force.
//!
//! **Invariant:** a file that cannot be read or contains a bad line changes nothing: at the start the server does not start, later the old
//! scope stays in force. A file of exclusions that has become empty was probably truncated: it changes nothing either.
use super::peers::FoundPeers;
use crate::files::read_regular;
use crate::model::default_exclusions::{DefaultExclusions, PeerAddresses};
use crate::model::scope::Scope;
use crate::model::target_file::{self, BAD_LINES_MAX};
use crate::model::targets::{AddressRange, Entries};
use crate::model::text::without_byte_order_mark;
use crate::model::{Invalid, Targets};
use crate::sync::lock;
use log::{error, info, warn};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Largest scope file, in bytes.
const SCOPE_FILE_MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The flags about the scope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeOptions {
    /// Addresses that are never scanned.
    pub exclude: Option<Targets>,
    /// A file with more of them.
    pub exclude_file: Option<PathBuf>,
    /// The only addresses that may be scanned, as they were written.
    pub allow: Option<Entries>,
    /// A file with more of them.
    pub allow_file: Option<PathBuf>,
}

impl ScopeOptions {
    /// Reads the files. Errs with one line that names the flag, the file and the line.
    pub fn read(&self) -> Result<ScopeLists, Invalid> {
        let mut excluded = match &self.exclude_file {
            Some(file) => read(file).map_err(|error| error.of("-excludefile"))?,
            None => Vec::new(),
        };
        let is_exclude_file_empty = self.exclude_file.is_some() && excluded.is_empty();
        let mut allowed = match &self.allow_file {
            Some(file) => read(file)
                .and_then(|ranges| not_empty(file, ranges))
                .map_err(|error| error.of("-allowfile"))?,
            None => Vec::new(),
        };
        excluded.extend(self.exclude.iter().flat_map(Targets::ranges));
        allowed.extend(self.allow.iter().flat_map(Entries::ranges));
        let limited = self.allow.is_some() || self.allow_file.is_some();
        Ok(ScopeLists {
            excluded: Targets::from_ranges(excluded),
            is_exclude_file_empty,
            allowed: limited.then_some(allowed),
        })
    }

    /// A warning if the file of exclusions had no entry when `lists` were read. None if it had one, or if no file is given.
    pub fn empty_file_warning(&self, lists: &ScopeLists) -> Option<String> {
        let file = self.exclude_file.as_ref()?;
        lists
            .is_exclude_file_empty
            .then(|| format!("-excludefile: {} has no entry", file.display()))
    }
}

/// What the flags and files say: addresses that are never scanned, and the only ones that may be, as they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeLists {
    excluded: Targets,
    is_exclude_file_empty: bool,
    allowed: Option<Vec<AddressRange>>,
}

impl ScopeLists {
    /// The scope of these lists on a server with these `peers`.
    pub fn scope(&self, peers: &PeerAddresses) -> Scope {
        let entries = self.allowed.as_deref().unwrap_or_default();
        let allowed = self.allowed.clone().map(Targets::from_ranges);
        Scope::new(self.excluded.clone(), allowed)
            .excluding_by_default(DefaultExclusions::new(peers, entries))
    }
}

fn read(path: &Path) -> Result<Vec<AddressRange>, Invalid> {
    let shown = path.display();
    let bytes = read_regular(path, SCOPE_FILE_MAX_BYTES)
        .map_err(|error| Invalid::about(format!("{shown} {error}")))?;
    let bytes = without_byte_order_mark(&bytes)
        .map_err(|error| Invalid::about(format!("{shown} {error}")))?;
    // Bytes that are not UTF-8 are not a valid entry; in a comment they are accepted.
    target_file::parse(&String::from_utf8_lossy(bytes)).map_err(|bad| {
        let more = match bad.len() {
            1 => String::new(),
            2 => " (and 1 more bad line)".to_owned(),
            BAD_LINES_MAX => format!(" (and at least {} more bad lines)", BAD_LINES_MAX - 1),
            lines => format!(" (and {} more bad lines)", lines - 1),
        };
        Invalid::about(format!("{shown}:{}{more}", bad[0]))
    })
}

/// An empty list of allowed addresses is a mistake, for instance a file that is being written.
fn not_empty(path: &Path, ranges: Vec<AddressRange>) -> Result<Vec<AddressRange>, Invalid> {
    match ranges.is_empty() {
        true => Err(Invalid::about(format!(
            "{} has no entry, so nothing would be allowed",
            path.display()
        ))),
        false => Ok(ranges),
    }
}

/// The scope that is in force, shared by the threads.
#[derive(Debug, Default)]
pub struct ScopeInForce {
    scope: RwLock<Arc<Scope>>,
    changes: AtomicU64,
    sources: Mutex<Sources>,
}

/// What the scope in force was made from.
#[derive(Debug, Default)]
struct Sources {
    lists: ScopeLists,
    peers: PeerAddresses,
    /// Problems of the last look-up, already logged.
    problems: Vec<String>,
}

impl ScopeInForce {
    /// Puts the first scope in force. The addresses of Kafka and Redis are not known yet.
    pub fn new(lists: ScopeLists) -> ScopeInForce {
        ScopeInForce {
            scope: RwLock::new(Arc::new(lists.scope(&PeerAddresses::default()))),
            sources: Mutex::new(Sources {
                lists,
                ..Sources::default()
            }),
            ..ScopeInForce::default()
        }
    }

    /// The scope now.
    pub fn now(&self) -> Arc<Scope> {
        self.scope
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Increases with every change; cheap to read.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Excludes the servers of Kafka and Redis in `found`, and logs new addresses and new problems. If a look-up failed, the servers known so far stay
    /// excluded. Returns whether all were found.
    pub fn exclude_peers(&self, found: FoundPeers) -> bool {
        let mut sources = lock(&self.sources);
        let mut peers = found.addresses;
        let all_found = found.problems.is_empty();
        if found.problems != sources.problems {
            for problem in &found.problems {
                warn!("{problem}");
            }
        }
        sources.problems = found.problems;
        if !all_found {
            peers.add_all(&sources.peers);
        }
        if peers != sources.peers {
            info!(
                "Kafka and Redis, not scanned unless an entry of -allow names them: {}",
                peers.summary()
            );
        }
        sources.peers = peers;
        self.put_in_force(&sources);
        all_found
    }

    /// Reads the files again and puts their content in force, or logs why not and changes nothing.
    pub fn reload(&self, options: &ScopeOptions) {
        match options.read() {
            Ok(lists) => {
                let mut sources = lock(&self.sources);
                if !sources.lists.is_exclude_file_empty
                    && let Some(warning) = options.empty_file_warning(&lists)
                {
                    warn!(
                        "SIGHUP: the old scope stays in force: {warning}, but had entries before (to drop them, restart scand)"
                    );
                    return;
                }
                sources.lists = lists;
                match self.put_in_force(&sources) {
                    true => info!("SIGHUP: new scope: {}", self.now().summary()),
                    false => info!("SIGHUP: the addresses in the files have not changed"),
                }
            }
            Err(error) => error!("SIGHUP: the old scope stays in force: {error}"),
        }
    }

    /// Returns whether that changes anything.
    fn put_in_force(&self, sources: &Sources) -> bool {
        let scope = sources.lists.scope(&sources.peers);
        let is_new = scope != *self.now();
        if is_new {
            *self.scope.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(scope);
            self.changes.fetch_add(1, Ordering::Release);
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn targets(text: &str) -> Targets {
        text.parse().unwrap()
    }

    #[test]
    fn flags_and_files_add_up() {
        let folder = tempfile::tempdir().unwrap();
        let (exclude, allow) = (folder.path().join("exclude"), folder.path().join("allow"));
        fs::write(&exclude, b"10.0.0.9 # caf\xe9\n").unwrap();
        fs::write(&allow, "10.0.0.0/25\n").unwrap();
        let options = ScopeOptions {
            exclude: Some(targets("10.0.0.1")),
            exclude_file: Some(exclude),
            allow: Some("10.0.0.128/26".parse().unwrap()),
            allow_file: Some(allow),
        };
        let scope = options.read().unwrap().scope(&PeerAddresses::default());
        let denied = scope.denied(&targets("10.0.0.0/24"));
        assert_eq!(denied.to_string(), "10.0.0.1,10.0.0.9,10.0.0.192/26");
        assert_eq!(ScopeOptions::default().read(), Ok(ScopeLists::default()));
    }

    fn found(addresses: &[&str], problems: &[&str]) -> FoundPeers {
        let mut found = FoundPeers::default();
        for address in addresses {
            found
                .addresses
                .add(address.parse().unwrap(), "Kafka k:9092");
        }
        found.problems = problems.iter().map(|&text| text.to_owned()).collect();
        found
    }

    #[test]
    fn kafka_and_redis_stay_excluded_while_they_cannot_be_looked_up() {
        let options = ScopeOptions {
            allow: Some("10.0.0.0/24,127.0.0.8".parse().unwrap()),
            ..ScopeOptions::default()
        };
        let in_force = ScopeInForce::new(options.read().unwrap());
        let denied = |asked: &str| in_force.now().denied(&targets(asked)).to_string();
        assert_eq!(denied("10.0.0.6-10.0.0.9"), "");
        assert_eq!(denied("127.0.0.7-127.0.0.9"), "127.0.0.7,127.0.0.9");
        in_force.exclude_peers(found(&["10.0.0.7"], &[]));
        assert_eq!(
            (denied("10.0.0.6-10.0.0.9").as_str(), in_force.changes()),
            ("10.0.0.7", 1)
        );
        in_force.exclude_peers(found(&["10.0.0.8"], &["k2:9092 cannot be looked up"]));
        assert_eq!(denied("10.0.0.6-10.0.0.9"), "10.0.0.7-10.0.0.8");
        in_force.exclude_peers(found(&["10.0.0.8"], &[]));
        assert_eq!(denied("10.0.0.6-10.0.0.9"), "10.0.0.8");
        in_force.exclude_peers(found(&["10.0.0.8"], &[]));
        assert_eq!(in_force.changes(), 3, "nothing has changed");
        in_force.reload(&options);
        assert_eq!(in_force.changes(), 3, "the files have not changed");
        assert_eq!(denied("10.0.0.6-10.0.0.9"), "10.0.0.8");
    }

    #[test]
    fn a_bad_file_is_named_with_its_line_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("list");
        let options = ScopeOptions {
            exclude_file: Some(file.clone()),
            ..ScopeOptions::default()
        };
        let error = options.read().unwrap_err().to_string();
        assert!(error.starts_with("-excludefile: ") && error.contains("cannot be read"));
        fs::write(&file, "10.0.0.1\n").unwrap();
        let in_force = ScopeInForce::new(options.read().unwrap());
        fs::write(&file, "10.0.0.2\n10.0.0/8\nx\n").unwrap();
        in_force.reload(&options);
        assert_eq!(in_force.changes(), 0);
        let denied = in_force.now().denied(&targets("10.0.0.0/30"));
        assert_eq!(denied.to_string(), "10.0.0.1");
        let error = options.read().unwrap_err().to_string();
        assert!(error.contains("list:2: \"10.0.0/8\" is not"), "{error}");
        assert!(error.ends_with("(and 1 more bad line)"), "{error}");
        fs::write(&file, "x\n".repeat(BAD_LINES_MAX + 1)).unwrap();
        let error = options.read().unwrap_err().to_string();
        assert!(
            error.ends_with("(and at least 999 more bad lines)"),
            "{error}"
        );
        fs::write(&file, "10.0.0.2\n").unwrap();
        in_force.reload(&options);
        in_force.reload(&options);
        assert_eq!(in_force.changes(), 1);

        let options = ScopeOptions {
            allow_file: Some(file.clone()),
            ..ScopeOptions::default()
        };
        fs::write(&file, "# nothing\n").unwrap();
        let error = options.read().unwrap_err().to_string();
        assert!(error.contains("has no entry"), "{error}");
    }

    #[test]
    fn an_exclusion_file_that_has_become_empty_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("list");
        let options = ScopeOptions {
            exclude: Some(targets("10.0.0.9")),
            exclude_file: Some(file.clone()),
            ..ScopeOptions::default()
        };
        fs::write(&file, "10.0.0.1\n").unwrap();
        let in_force = ScopeInForce::new(options.read().unwrap());
        let denied = || in_force.now().denied(&targets("10.0.0.0/28")).to_string();
        for _ in 0..2 {
            fs::write(&file, "# nothing\n").unwrap();
            in_force.reload(&options);
            assert_eq!(
                (denied().as_str(), in_force.changes()),
                ("10.0.0.1,10.0.0.9", 0)
            );
        }
        fs::write(&file, "10.0.0.2\n").unwrap();
        in_force.reload(&options);
        assert_eq!(denied(), "10.0.0.2,10.0.0.9");

        // At the start it is allowed, with a warning.
        fs::write(&file, "").unwrap();
        let lists = options.read().unwrap();
        let warning = options.empty_file_warning(&lists).unwrap();
        assert!(warning.ends_with("list has no entry"), "{warning}");
        let in_force = ScopeInForce::new(lists);
        fs::write(&file, "10.0.0.1\n").unwrap();
        in_force.reload(&options);
        assert_eq!(in_force.changes(), 1);
        assert_eq!(options.empty_file_warning(&options.read().unwrap()), None);
        let without_file = ScopeOptions::default();
        assert_eq!(
            without_file.empty_file_warning(&ScopeLists::default()),
            None
        );
    }
}
