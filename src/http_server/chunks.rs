//! Collects what a stream's writer writes, and sends it in chunks.

use super::limits::HTTP_STREAM_CHUNK_BYTES;
use std::io::{self, Write};

/// The end of a chunked body.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Sends a body to `out` in chunks; without their framing if the end of the body is the end of the connection.
#[derive(Debug)]
pub struct Chunks<W> {
    out: W,
    collected: Vec<u8>,
    is_chunked: bool,
}

impl<W: Write> Chunks<W> {
    /// An empty body.
    pub fn new(out: W, is_chunked: bool) -> Chunks<W> {
        Chunks {
            out,
            collected: Vec::new(),
            is_chunked,
        }
    }

    /// Sends what was collected, and the end of the body.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        match self.is_chunked {
            true => self.out.write_all(LAST_CHUNK),
            false => Ok(()),
        }
    }
}

impl<W: Write> Write for Chunks<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = HTTP_STREAM_CHUNK_BYTES - self.collected.len();
        let taken = bytes.len().min(room);
        self.collected.extend_from_slice(&bytes[..taken]);
        if self.collected.len() == HTTP_STREAM_CHUNK_BYTES {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.collected.is_empty() {
            return Ok(());
        }
        let collected = std::mem::take(&mut self.collected);
        if !self.is_chunked {
            return self.out.write_all(&collected);
        }
        let mut chunk = format!("{:x}\r\n", collected.len()).into_bytes();
        chunk.extend_from_slice(&collected);
        chunk.extend_from_slice(b"\r\n");
        self.out.write_all(&chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(is_chunked: bool, write: impl FnOnce(&mut Chunks<&mut Vec<u8>>)) -> String {
        let mut out = Vec::new();
        let mut chunks = Chunks::new(&mut out, is_chunked);
        write(&mut chunks);
        chunks.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_written_before_a_flush_is_one_chunk() {
        let write = |chunks: &mut Chunks<&mut Vec<u8>>| {
            chunks.write_all(b"a").unwrap();
            chunks.write_all(b"").unwrap();
            chunks.write_all(b"bcdefghijklm").unwrap();
            chunks.flush().unwrap();
            chunks.flush().unwrap();
            chunks.write_all(b"n").unwrap();
        };
        let expected = "d\r\nabcdefghijklm\r\n1\r\nn\r\n0\r\n\r\n";
        assert_eq!(sent(true, write), expected);
        assert_eq!(sent(false, write), "abcdefghijklmn");
        assert_eq!(sent(true, |_| ()), "0\r\n\r\n");
    }

    #[test]
    fn the_length_of_a_chunk_is_bounded() {
        let text = "x".repeat(HTTP_STREAM_CHUNK_BYTES + 1);
        let sent = sent(true, |chunks| chunks.write_all(text.as_bytes()).unwrap());
        let (first, rest) = text.split_at(HTTP_STREAM_CHUNK_BYTES);
        assert_eq!(sent, format!("4000\r\n{first}\r\n1\r\n{rest}\r\n0\r\n\r\n"));
    }
}
