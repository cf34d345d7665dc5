//! Where an input file is read from, and reading it up to a bound. The file may be standard input.

use crate::files::{FileError, read_file, read_regular, read_stream};
use crate::model::text::{one_line, without_byte_order_mark};
use crate::model::{BadLine, Invalid};
use std::fs::File;
use std::io;
use std::path::PathBuf;

/// Where an input is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputSource {
    /// Standard input: `-`.
    Stdin,
    /// A regular file.
    File(PathBuf),
    /// A regular file or a FIFO, such as the shell's `<(COMMAND)`: opening it waits for its writer.
    FileOrPipe(PathBuf),
}

impl InputSource {
    /// From the value of a flag.
    pub fn parse(text: &str) -> Result<InputSource, Invalid> {
        Ok(match text {
            "-" => InputSource::Stdin,
            path => InputSource::File(path.into()),
        })
    }

    /// As [`InputSource::parse`], but the file may be a FIFO.
    pub fn parse_or_pipe(text: &str) -> Result<InputSource, Invalid> {
        Ok(match InputSource::parse(text)? {
            InputSource::File(path) => InputSource::FileOrPipe(path),
            other => other,
        })
    }

    /// The name in messages.
    pub fn shown(&self) -> String {
        match self {
            InputSource::Stdin => "standard input".to_owned(),
            InputSource::File(path) | InputSource::FileOrPipe(path) => {
                one_line(&path.to_string_lossy())
            }
        }
    }

    /// All of it, at most `max_bytes`, without a byte order mark. Errs with the reason, which follows the name: `can't be read: …`.
    pub fn read(&self, max_bytes: usize) -> Result<Vec<u8>, String> {
        let max_bytes = max_bytes as u64;
        let read = match self {
            InputSource::Stdin => read_stream(io::stdin().lock(), max_bytes),
            InputSource::FileOrPipe(path) => File::open(path)
                .map_err(FileError::Io)
                .and_then(|file| read_file(file, max_bytes)),
            InputSource::File(path) => read_regular(path, max_bytes),
        };
        match read {
            Ok(bytes) => match without_byte_order_mark(&bytes) {
                Ok(text) if text.len() == bytes.len() => Ok(bytes),
                Ok(text) => Ok(text.to_vec()),
                Err(error) => Err(error.to_string()),
            },
            Err(FileError::Io(error)) => Err(format!("can't be read: {}", os_reason(&error))),
            Err(other) => Err(other.to_string()),
        }
    }
}

/// The system's error text without the error number.
pub fn os_reason(error: &io::Error) -> String {
    let text = error.to_string();
    one_line(text.split(" (os error").next().unwrap_or_default())
}

/// The bytes of an input as text. Errs with the first line that is not UTF-8.
pub fn utf8(bytes: &[u8]) -> Result<&str, BadLine> {
    str::from_utf8(bytes).map_err(|wrong| BadLine {
        line: line_of(bytes, wrong.valid_up_to()),
        error: Invalid::about("the line is not UTF-8 text"),
    })
}

/// The number, from 1, of the line that contains the byte at index `at`.
fn line_of(bytes: &[u8], at: usize) -> usize {
    1 + bytes[..at].iter().filter(|&&byte| byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn an_input_is_read_up_to_its_bound_without_a_byte_order_mark() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("list");
        let read = |bytes: &[u8], max_bytes| {
            fs::write(&path, bytes).unwrap();
            InputSource::File(path.clone()).read(max_bytes)
        };
        assert_eq!(read(b"abc", 3), Ok(b"abc".to_vec()));
        assert_eq!(read(b"abcd", 3), Err("has more than 3 bytes".to_owned()));
        assert_eq!(read(b"\xef\xbb\xbfabc", 9), Ok(b"abc".to_vec()));
        assert!(read(b"\xff\xfea\0", 9).unwrap_err().contains("UTF-16"));
        let fifo = folder.path().join("fifo");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, mode).unwrap();
        let refused = InputSource::File(fifo.clone()).read(9);
        assert_eq!(refused, Err("is not a regular file".to_owned()));
        let writer = {
            let fifo = fifo.clone();
            std::thread::spawn(move || fs::write(fifo, "abc").unwrap())
        };
        let piped = InputSource::FileOrPipe(fifo).read(9);
        assert_eq!(piped, Ok(b"abc".to_vec()));
        writer.join().unwrap();
        let folder = InputSource::File(folder.path().into());
        assert_eq!(folder.read(9), Err("is not a regular file".to_owned()));
    }

    #[test]
    fn the_first_line_that_is_not_text_is_named() {
        assert_eq!(utf8("ä\nb".as_bytes()), Ok("ä\nb"));
        let bad = utf8(b"a\n\nb\xff\n\xff").unwrap_err();
        assert_eq!(bad.to_string(), "3: the line is not UTF-8 text");
    }
}
