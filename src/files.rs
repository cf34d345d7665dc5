//! The one place that opens files whose names come from the user: lists, passwords, certificates, tags, accounts, logs. (librdkafka opens those that
//! `-kafka-config` names.)
//!
//! **Invariant:** opening and reading never waits: something that is not a regular file (a FIFO, a device) is an error.

use rustix::fs::{Mode, OFlags};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Why a file was not read.
#[derive(Debug)]
pub enum FileError {
    /// The system refuses.
    Io(io::Error),
    /// It is a FIFO, a device, a socket or a folder.
    NotRegular,
    /// It has more bytes than this.
    TooLarge(u64),
}

impl fmt::Display for FileError {
    /// What follows the file's name: `is not a regular file`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileError::Io(error) => write!(f, "cannot be read: {error}"),
            FileError::NotRegular => f.write_str("is not a regular file"),
            FileError::TooLarge(max_bytes) => write!(f, "has more than {max_bytes} bytes"),
        }
    }
}

/// The content of a regular file of at most `max_bytes`.
pub fn read_regular(path: &Path, max_bytes: u64) -> Result<Vec<u8>, FileError> {
    // Without NONBLOCK, opening a FIFO would wait for its writer; it has no effect on regular files.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags, Mode::empty())
        .map_err(|error| FileError::Io(error.into()))?;
    let file = File::from(file);
    // Asked of the open file: the path may name another one by now.
    match file.metadata().map_err(FileError::Io)?.is_file() {
        true => read_file(file, max_bytes),
        false => Err(FileError::NotRegular),
    }
}

/// The content of a file or FIFO of at most `max_bytes`. A larger file is refused before it is read.
pub fn read_file(file: File, max_bytes: u64) -> Result<Vec<u8>, FileError> {
    match file.metadata().map_err(FileError::Io)?.len() > max_bytes {
        true => Err(FileError::TooLarge(max_bytes)),
        false => read_stream(file, max_bytes),
    }
}

/// The content of a stream of at most `max_bytes`.
pub fn read_stream(stream: impl Read, max_bytes: u64) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    stream
        .take(max_bytes.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(FileError::Io)?;
    match bytes.len() as u64 > max_bytes {
        true => Err(FileError::TooLarge(max_bytes)),
        false => Ok(bytes),
    }
}

/// A regular file for appending, created with this mode if it does not exist.
pub fn append_regular(path: &Path, mode: u32) -> Result<File, FileError> {
    // A FIFO without a reader is an error at once.
    let flags = OFlags::WRONLY
        | OFlags::APPEND
        | OFlags::CREATE
        | OFlags::NONBLOCK
        | OFlags::CLOEXEC
        | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags, Mode::from_raw_mode(mode))
        .map_err(|error| FileError::Io(error.into()))?;
    let file = File::from(file);
    match file.metadata().map_err(FileError::Io)?.is_file() {
        true => Ok(file),
        false => Err(FileError::NotRegular),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::CWD;
    use std::fs;

    #[test]
    fn only_regular_files_up_to_a_bound_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "abc").unwrap();
        let fifo = folder.path().join("fifo");
        rustix::fs::mkfifoat(CWD, &fifo, Mode::RUSR | Mode::WUSR).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&fifo, &link).unwrap();
        assert_eq!(read_regular(&file, 3).unwrap(), b"abc");
        // The size alone refuses it: this file cannot be read.
        let unreadable = File::options().write(true).open(&file).unwrap();
        let error = read_file(unreadable, 2).unwrap_err().to_string();
        assert_eq!(error, "has more than 2 bytes");
        // The size of a stream is not known before.
        let error = read_stream(&b"abc"[..], 2).unwrap_err().to_string();
        assert_eq!(error, "has more than 2 bytes");
        append_regular(&folder.path().join("new"), 0o640).unwrap();
        for path in [fifo.as_path(), &link, folder.path(), Path::new("/dev/zero")] {
            assert!(append_regular(path, 0o640).is_err(), "{path:?}");
        }
        for (path, max_bytes, wrong) in [
            (file, 2, "has more than 2 bytes"),
            (fifo, 3, "is not a regular file"),
            (link, 3, "is not a regular file"),
            (folder.path().to_owned(), 3, "is not a regular file"),
            ("/dev/zero".into(), 3, "is not a regular file"),
            ("/nowhere/file".into(), 3, "cannot be read: No such file"),
        ] {
            let error = read_regular(&path, max_bytes).unwrap_err().to_string();
            assert!(error.starts_with(wrong), "{path:?}: {error}");
        }
    }
}
