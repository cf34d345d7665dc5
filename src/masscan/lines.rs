//! Cuts a byte stream into lines of bounded length. Pure.

use crate::model::limits::MASSCAN_LINE_MAX_BYTES;

/// Cuts at any of the `ends`; bytes come in any pieces.
#[derive(Debug)]
pub struct Cutter {
    ends: &'static [u8],
    line: Vec<u8>,
}

impl Cutter {
    /// Lines end at each of these bytes.
    pub fn new(ends: &'static [u8]) -> Cutter {
        Cutter {
            ends,
            line: Vec::new(),
        }
    }

    /// Takes the next bytes and gives each line that they end, without its end, to `whole`. Of a line longer than
    /// [`MASSCAN_LINE_MAX_BYTES`] the rest is dropped.
    pub fn push(&mut self, bytes: &[u8], mut whole: impl FnMut(&[u8])) {
        for piece in bytes.split_inclusive(|byte| self.ends.contains(byte)) {
            let ended = piece.last().is_some_and(|byte| self.ends.contains(byte));
            let text = &piece[..piece.len() - usize::from(ended)];
            let room = MASSCAN_LINE_MAX_BYTES - self.line.len();
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            if ended {
                whole(&self.line);
                self.line.clear();
            }
        }
    }

    /// The stream has ended: what is left is a line too.
    pub fn end(&mut self, mut whole: impl FnMut(&[u8])) {
        if !self.line.is_empty() {
            whole(&self.line);
            self.line.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(stream: &[u8], piece: usize) -> Vec<Vec<u8>> {
        let (mut cutter, mut lines) = (Cutter::new(b"\r\n"), Vec::new());
        for bytes in stream.chunks(piece) {
            cutter.push(bytes, |line| lines.push(line.to_vec()));
        }
        cutter.end(|line| lines.push(line.to_vec()));
        lines
    }

    #[test]
    fn lines_end_where_they_should() {
        assert_eq!(cut(b"a\rb\n\nc", 2), [&b"a"[..], b"b", b"", b"c"]);
        assert!(cut(b"", 1).is_empty());
    }

    #[test]
    fn a_line_has_a_bound() {
        let lines = cut(&vec![b'x'; 1 << 20], 4096);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].len(), MASSCAN_LINE_MAX_BYTES);
    }

    proptest! {
        #[test]
        fn pieces_change_nothing(stream in prop::collection::vec(prop::sample::select(b"ab\r\n".to_vec()), 0..200), piece in 1usize..50) {
            prop_assert_eq!(cut(&stream, piece), cut(&stream, 1000));
        }
    }
}
