//! Cuts a byte stream into lines of bounded length. Pure.

use memchr::memchr2_iter;

/// Longest line of masscan's output that is kept, in bytes; the rest of a longer line is dropped.
const MASSCAN_LINE_MAX_BYTES: usize = 4096;

/// Cuts at line feeds and carriage returns. The bytes may arrive in pieces of any size.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    /// The beginning of an incomplete line.
    partial: Vec<u8>,
}

impl Cutter {
    /// Takes the next bytes and passes each line that they complete to `on_line`, without its line end. A line is truncated to
    /// [`MASSCAN_LINE_MAX_BYTES`].
    pub(super) fn push(&mut self, bytes: &[u8], mut on_line: impl FnMut(&[u8])) {
        let mut from = 0;
        for end in memchr2_iter(b'\n', b'\r', bytes) {
            let text = &bytes[from..end];
            from = end + 1;
            if self.partial.is_empty() && text.len() <= MASSCAN_LINE_MAX_BYTES {
                on_line(text);
                continue;
            }
            self.extend_partial(text);
            on_line(&self.partial);
            self.partial.clear();
        }
        self.extend_partial(&bytes[from..]);
    }

    fn extend_partial(&mut self, text: &[u8]) {
        let room = MASSCAN_LINE_MAX_BYTES - self.partial.len();
        self.partial
            .extend_from_slice(&text[..text.len().min(room)]);
    }

    /// Ends the stream: passes an incomplete last line to `on_line`.
    pub(super) fn end(&mut self, mut on_line: impl FnMut(&[u8])) {
        if !self.partial.is_empty() {
            on_line(&self.partial);
            self.partial.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(stream: &[u8], piece: usize) -> Vec<Vec<u8>> {
        let (mut cutter, mut lines) = (Cutter::default(), Vec::new());
        for bytes in stream.chunks(piece) {
            cutter.push(bytes, |line| lines.push(line.to_vec()));
        }
        cutter.end(|line| lines.push(line.to_vec()));
        lines
    }

    #[test]
    fn lines_end_at_line_feeds_and_carriage_returns() {
        assert_eq!(cut(b"a\rb\n\nc", 2), [&b"a"[..], b"b", b"", b"c"]);
        assert!(cut(b"", 1).is_empty());
    }

    #[test]
    fn a_line_is_bounded() {
        let lines = cut(&vec![b'x'; 1 << 20], 4096);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].len(), MASSCAN_LINE_MAX_BYTES);
    }

    proptest! {
        #[test]
        fn the_size_of_the_pieces_makes_no_difference(stream in prop::collection::vec(prop::sample::select(b"ab\r\n".to_vec()), 0..200), piece in 1usize..50) {
            prop_assert_eq!(cut(&stream, piece), cut(&stream, 1000));
        }
    }
}
