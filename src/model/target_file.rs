//! Files of targets and exclusions, as masscan (`-iL`, `--excludefile`) and nmap read them: entries separated by line breaks, commas or white
//! space; `#` starts a comment until the end of the line.
//!
//! Pure: the text is read elsewhere, and nothing is expanded into single addresses.
//!
//! One difference from masscan 1.3.2 is intended: of `10.0.0.1 - 10.0.0.9` masscan silently takes only the first address, because a dash after a
//! space starts a comment there. In a list of exclusions, the other addresses would be scanned. Here it is the range, and a dash without an
//! address on both sides is an error.

use super::targets::AddressRange;
use super::text::Invalid;
use std::fmt;
use std::iter::Peekable;

/// Maximum number of entries of such a file: a million ranges take 48 MiB.
pub const TARGET_FILE_ENTRIES_MAX: usize = 1 << 20;
/// Maximum number of bad lines that are reported; the rest of the file is not parsed.
pub const BAD_LINES_MAX: usize = 1000;

/// A line that cannot be parsed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// Its number, starting at 1.
    pub line: usize,
    /// The error of its first bad entry.
    pub error: Invalid,
}

impl fmt::Display for BadLine {
    /// `17: "10.0.0/8" is not …`; the caller puts the file's name before it: `targets.txt:`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.error)
    }
}

/// The entries of a file in order, not merged; empty if it contains only comments. Errs with its bad lines, at most
/// [`BAD_LINES_MAX`]. If there are more than [`TARGET_FILE_ENTRIES_MAX`] entries, the first line beyond is an error.
pub fn parse(text: &str) -> Result<Vec<AddressRange>, Vec<BadLine>> {
    let mut ranges = Vec::new();
    let mut bad = Vec::new();
    for (line, text) in (1..).zip(text.split('\n')) {
        if let Err(error) = parse_line(text, &mut ranges) {
            bad.push(BadLine { line, error });
        }
        if bad.len() == BAD_LINES_MAX || ranges.len() > TARGET_FILE_ENTRIES_MAX {
            break;
        }
    }
    match bad.is_empty() {
        true => Ok(ranges),
        false => Err(bad),
    }
}

/// A line may contain several lines separated by CR (files of old editors); a comment must not swallow the next one.
fn parse_line(line: &str, ranges: &mut Vec<AddressRange>) -> Result<(), Invalid> {
    line.split('\r')
        .try_for_each(|part| parse_entries(uncommented(part), ranges))
}

fn parse_entries(text: &str, ranges: &mut Vec<AddressRange>) -> Result<(), Invalid> {
    let mut words = text
        .split(|c: char| c == ',' || c.is_whitespace())
        .filter(|word| !word.is_empty())
        .peekable();
    while let Some(word) = words.next() {
        // Other characters that start a comment in masscan, at the beginning of an entry.
        if word.starts_with(';') || word.starts_with("//") {
            return Ok(());
        }
        if ranges.len() == TARGET_FILE_ENTRIES_MAX {
            let wrong = format!("exceeds the number of entries: at most {TARGET_FILE_ENTRIES_MAX}");
            return Err(Invalid::new(word, wrong));
        }
        ranges.push(entry_from(word, &mut words).parse()?);
    }
    Ok(())
}

/// The entry that begins with `word`: `a - b`, `a -b` and `a- b` are one entry.
pub(super) fn entry_from<'a>(
    word: &str,
    words: &mut Peekable<impl Iterator<Item = &'a str>>,
) -> String {
    let mut entry = word.to_owned();
    while let Some(next) = words.next_if(|next| entry.ends_with('-') || next.starts_with('-')) {
        entry += next;
    }
    entry
}

/// A line without its comment.
pub(super) fn uncommented(line: &str) -> &str {
    line.split_once('#').map_or(line, |(entries, _)| entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Targets;
    use proptest::prelude::*;

    fn shown(text: &str) -> String {
        let ranges = parse(text).unwrap();
        let entries: Vec<String> = ranges.iter().map(AddressRange::to_string).collect();
        entries.join(" ")
    }

    #[test]
    fn all_usual_forms_are_parsed() {
        for (text, entries) in [
            ("", ""),
            ("\n \n\t\r\n", ""),
            ("# nothing\n  # at all", ""),
            ("10.0.0.1", "10.0.0.1"),
            ("10.0.0.1\n10.0.0.0/24\n", "10.0.0.1 10.0.0.0/24"),
            ("10.0.0.1 # the door\n10.0.0.2#too", "10.0.0.1 10.0.0.2"),
            ("10.0.0.1\r\n10.0.0.2\r\n", "10.0.0.1 10.0.0.2"),
            (
                "10.0.0.1,10.0.0.2,\n,,10.0.0.3",
                "10.0.0.1 10.0.0.2 10.0.0.3",
            ),
            ("10.0.0.1 10.0.0.2\t10.0.0.3", "10.0.0.1 10.0.0.2 10.0.0.3"),
            ("10.0.0.1 # x\r10.0.0.2\r", "10.0.0.1 10.0.0.2"),
            (
                "10.0.0.1 ; x\n;10.0.0.2\n// y\n10.0.0.3 // z",
                "10.0.0.1 10.0.0.3",
            ),
            ("10.0.0.1-10.0.0.9", "10.0.0.1-10.0.0.9"),
            ("10.0.0.1 - 10.0.0.9,10.1.0.1", "10.0.0.1-10.0.0.9 10.1.0.1"),
            ("10.0.0.1- 10.0.0.9 10.1.0.1", "10.0.0.1-10.0.0.9 10.1.0.1"),
            ("10.0.0.1 -10.0.0.9", "10.0.0.1-10.0.0.9"),
            (
                "fd00::1\nfd00::/120\nfd00::5 - fd00::7",
                "fd00::1 fd00::/120 fd00::5-fd00::7",
            ),
            ("10.0.0.5\n10.0.0.1\n10.0.0.5", "10.0.0.5 10.0.0.1 10.0.0.5"),
        ] {
            assert_eq!(shown(text), entries, "{text:?}");
        }
    }

    #[test]
    fn a_bad_line_is_named_with_its_number() {
        for (text, named) in [
            (
                "10.0.0.1\n10.0.0/8\n",
                "2: \"10.0.0/8\" is not an address, a CIDR block or a range",
            ),
            ("\r\n\r\n10.0.0.256\r\n", "3: \"10.0.0.256\" is not"),
            ("# a\nexample.org", "2: \"example.org\" is a host name"),
            ("10.0.0.1 x 10.0.0.2 y", "1: \"x\" is not"),
            (
                "10.0.0.9-10.0.0.1",
                "1: \"10.0.0.9-10.0.0.1\" runs backwards",
            ),
            ("10.0.0.1 -\n10.0.0.9", "1: \"10.0.0.1-\" is not"),
            ("-\n10.0.0.9", "1: \"-\" is not"),
            ("10.0.0.1 - the door", "1: \"10.0.0.1-the\" is not"),
            ("10.0.0.1-5", "1: \"10.0.0.1-5\" is not"),
            ("10.0.0.1;10.0.0.2", "1: \"10.0.0.1;10.0.0.2\" is not"),
            ("10.0.0.1\u{0}", "1: \"10.0.0.1\\0\" is not"),
            ("\u{202e}10.0.0.1", "1: \"\\u{202e}10.0.0.1\" is not"),
        ] {
            let bad = parse(text).unwrap_err();
            assert_eq!(bad.len(), 1, "{text:?}");
            let line = bad[0].to_string();
            assert!(line.starts_with(named), "{text:?}: {line}");
        }
    }

    #[test]
    fn all_bad_lines_are_reported_up_to_a_bound() {
        let bad = parse("a\n10.0.0.1\nb\nc c\n").unwrap_err();
        let lines: Vec<usize> = bad.iter().map(|bad| bad.line).collect();
        assert_eq!(lines, [1, 3, 4]);
        assert_eq!(
            parse(&"x\n".repeat(BAD_LINES_MAX * 3)).unwrap_err().len(),
            BAD_LINES_MAX
        );
    }

    #[test]
    fn the_number_of_entries_is_bounded() {
        let full = "10.0.0.1\n".repeat(TARGET_FILE_ENTRIES_MAX);
        assert_eq!(parse(&full).unwrap().len(), TARGET_FILE_ENTRIES_MAX);
        let bad = parse(&(full + "10.0.0.2\n10.0.0.3\n")).unwrap_err();
        assert_eq!(bad[0].line, TARGET_FILE_ENTRIES_MAX + 1);
        assert!(bad[0].to_string().contains("at most 1048576"), "{}", bad[0]);
    }

    proptest! {
        #[test]
        fn any_text_is_entries_or_bad_lines(text in "[-0-9a-f.:/,;# \r\n\t\u{feff}]{0,200}") {
            match parse(&text) {
                Ok(ranges) => prop_assert!(Targets::from_ranges(ranges.clone()).ranges().len() <= ranges.len()),
                Err(bad) => {
                    let lines = text.split('\n').count();
                    prop_assert!(!bad.is_empty() && bad.iter().all(|bad| (1..=lines).contains(&bad.line)));
                    prop_assert!(bad.iter().all(|bad| !bad.to_string().contains(['\n', '\r'])));
                }
            }
        }

        #[test]
        fn displayed_entries_parse_to_the_same_ranges(spans in prop::collection::vec((any::<u32>(), 0u32..70_000), 0..20), separator in "[,\n]|\r\n| # x\n") {
            let entries: Vec<String> = spans.iter()
                .map(|&(first, length)| format!("{}-{}", std::net::Ipv4Addr::from(first), std::net::Ipv4Addr::from(first.saturating_add(length))))
                .collect();
            let ranges = parse(&entries.join(&separator)).unwrap();
            prop_assert_eq!(ranges.len(), entries.len());
            for (range, entry) in ranges.iter().zip(&entries) {
                prop_assert_eq!(*range, entry.parse::<AddressRange>().unwrap());
            }
        }
    }
}
