//! What this server may scan: flags and files become one [`Scope`], and one scope is in force.
//!
//! **Invariant:** a file that cannot be read or contains a bad line changes nothing: at the start the server does not start, later the old
//! scope stays in force.
use crate::files::read_regular;
use crate::model::scope::Scope;
use crate::model::target_file;
use crate::model::targets::AddressRange;
use crate::model::text::without_byte_order_mark;
use crate::model::{Invalid, Targets};
use log::{error, info};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Largest scope file, in bytes.
const SCOPE_FILE_MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The flags about the scope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeOptions {
    /// Addresses that are never scanned.
    pub exclude: Option<Targets>,
    /// A file with more of them.
    pub exclude_file: Option<PathBuf>,
    /// The only addresses that may be scanned.
    pub allow: Option<Targets>,
    /// A file with more of them.
    pub allow_file: Option<PathBuf>,
}

impl ScopeOptions {
    /// Reads the files. Errs with one line that names the flag, the file and the line.
    pub fn read(&self) -> Result<Scope, Invalid> {
        let excluded = match &self.exclude_file {
            Some(file) => read(file).map_err(|error| error.of("-excludefile"))?,
            None => Vec::new(),
        };
        let allowed = match &self.allow_file {
            Some(file) => read(file)
                .and_then(|ranges| not_empty(file, ranges))
                .map_err(|error| error.of("-allowfile"))?,
            None => Vec::new(),
        };
        let limited = self.allow.is_some() || self.allow_file.is_some();
        Ok(Scope::new(
            joined(self.exclude.as_ref(), excluded),
            limited.then(|| joined(self.allow.as_ref(), allowed)),
        ))
    }

    fn has_files(&self) -> bool {
        self.exclude_file.is_some() || self.allow_file.is_some()
    }
}

fn joined(list: Option<&Targets>, mut ranges: Vec<AddressRange>) -> Targets {
    ranges.extend(list.map(Targets::ranges).unwrap_or_default());
    Targets::from_ranges(ranges)
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
}

impl ScopeInForce {
    /// Puts the first scope in force.
    pub fn new(scope: Scope) -> ScopeInForce {
        ScopeInForce {
            scope: RwLock::new(Arc::new(scope)),
            changes: AtomicU64::new(0),
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

    /// Reads the files again and puts their content in force, or logs an error and changes nothing.
    pub fn reload(&self, options: &ScopeOptions) {
        if !options.has_files() {
            info!("SIGHUP: no -excludefile or -allowfile to read again");
            return;
        }
        let scope = match options.read() {
            Ok(scope) => scope,
            Err(error) => {
                error!("SIGHUP: the old scope stays in force: {error}");
                return;
            }
        };
        if scope == *self.now() {
            info!("SIGHUP: the files have not changed");
            return;
        }
        info!("SIGHUP: new scope: {}", scope.summary());
        *self.scope.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(scope);
        self.changes.fetch_add(1, Ordering::Release);
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
            allow: Some(targets("10.0.0.128/26")),
            allow_file: Some(allow),
        };
        let denied = options.read().unwrap().denied(&targets("10.0.0.0/24"));
        assert_eq!(denied.to_string(), "10.0.0.1,10.0.0.9,10.0.0.192/26");
        assert_eq!(ScopeOptions::default().read(), Ok(Scope::default()));
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
        assert!(error.ends_with("(and 1 more bad lines)"), "{error}");
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
}
