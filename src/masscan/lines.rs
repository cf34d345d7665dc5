//! Cuts a byte stream into lines of bounded length. Pure.
use memchr::memchr2_iter;

/// Longest line of masscan's output that is kept, in bytes; the rest of a longer line is dropped.
const MASSCAN_LINE_MAX_BYTES: usize = 4096;

/// Cuts at line feeds and carriage returns, however the bytes are split into pieces.
#[derive(Debug, Default)]
pub struct Cutter {
    /// The beginning of an incomplete line.
    begun: Vec<u8>,
}

impl Cutter {
    /// Takes the next bytes and passes each line that they complete to `whole`, without its line end. What exceeds
    /// [`MASSCAN_LINE_MAX_BYTES`] of a line is dropped.
    pub fn push(&mut self, bytes: &[u8], mut whole: impl FnMut(&[u8])) {
        let mut from = 0;
        for end in memchr2_iter(b'\n', b'\r', bytes) {
            let text = &bytes[from..end];
            from = end + 1;
            if self.begun.is_empty() && text.len() <= MASSCAN_LINE_MAX_BYTES {
                whole(text);
                continue;
            }
            self.begin(text);
            whole(&self.begun);
            self.begun.clear();
        }
        self.begin(&bytes[from..]);
    }

    fn begin(&mut self, text: &[u8]) {
        let room = MASSCAN_LINE_MAX_BYTES - self.begun.len();
        self.begun.extend_from_slice(&text[..text.len().min(room)]);
    }

    /// The stream has ended: an incomplete line is a line too.
    pub fn end(&mut self, mut whole: impl FnMut(&[u8])) {
        if !self.begun.is_empty() {
            whole(&self.begun);
            self.begun.clear();
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
