//! Makes untrusted text safe to display, and the error type that quotes it.

use std::fmt;

/// Maximum length of an error text that is stored or displayed, in characters.
pub(super) const ERROR_TEXT_MAX_CHARS: usize = 300;
/// Maximum length of untrusted text that a message quotes, in characters.
pub const QUOTED_TEXT_MAX_CHARS: usize = 60;
/// Maximum length of a field of a record in a log line, in characters.
pub const RECORD_FIELD_SHOWN_MAX_CHARS: usize = 200;

/// An invalid value: one line that quotes it and says what would be valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(String);

impl Invalid {
    /// `value` is the value as it was given; it is quoted and shortened here. `wrong` says what would be valid: `"is not …"`.
    pub fn new(value: &str, wrong: impl fmt::Display) -> Invalid {
        Invalid(format!("{} {wrong}", quoted(value)))
    }

    /// An error that is not about one value, such as an empty list or a missing field.
    pub fn about(what: impl fmt::Display) -> Invalid {
        Invalid(what.to_string())
    }

    /// The same error with the name of the flag or field before it.
    pub fn of(self, name: &str) -> Invalid {
        Invalid(format!("{name}: {}", self.0))
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}

/// Untrusted text in quotes, with control and invisible characters escaped. If it is longer than [`QUOTED_TEXT_MAX_CHARS`], its beginning and
/// its size: `"…"… (77000 bytes)`.
pub fn quoted(text: &str) -> String {
    let beginning: String = text.chars().take(QUOTED_TEXT_MAX_CHARS).collect();
    let size = match beginning.len() < text.len() {
        true => size_of(text),
        false => String::new(),
    };
    let shown = visible(&beginning.escape_debug().to_string());
    format!("\"{shown}\"{size}")
}

/// Whether a character changes how the text around it is displayed, or is not displayed at all: Unicode's default ignorable characters (soft
/// hyphens, zero-width and bidirectional characters, fillers, variation selectors, tags), line separators, and interlinear annotations.
pub fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

fn push_visible(shown: &mut String, c: char) {
    match c {
        _ if c.is_control() => shown.push('\u{fffd}'),
        _ if is_invisible(c) => shown.extend(c.escape_unicode()),
        _ => shown.push(c),
    }
}

/// Untrusted text as one line that a terminal displays as it is: control characters are replaced, invisible ones escaped (`\u{202e}`).
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    text.chars().for_each(|c| push_visible(&mut shown, c));
    shown
}

/// The same, at most `max_chars` characters long. A longer text is its beginning and its size: `10.0.0.1,10.0.0.3… (77000 bytes)`.
pub fn shortened(text: &str, max_chars: usize) -> String {
    let size = size_of(text);
    let beginning_max = max_chars.saturating_sub(size.chars().count());
    let (mut shown, mut chars, mut beginning) = (String::new(), 0, 0);
    for c in text.chars() {
        let before = shown.len();
        push_visible(&mut shown, c);
        chars += shown[before..].chars().count();
        if chars <= beginning_max {
            beginning = shown.len();
        }
        if chars > max_chars {
            shown.truncate(beginning);
            return shown + &size;
        }
    }
    shown
}

/// What follows the beginning of a text that is too long.
fn size_of(text: &str) -> String {
    format!("… ({} bytes)", text.len())
}

/// Text from a file or record without the UTF-8 byte order mark that some editors put before it. Errs if it is UTF-16.
pub fn without_byte_order_mark(text: &[u8]) -> Result<&[u8], Invalid> {
    if text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") {
        return Err(Invalid::about("is UTF-16 text: save it as UTF-8"));
    }
    Ok(text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text))
}

/// A whole number in digits only: `u64::from_str` alone would accept a leading plus.
pub fn whole_number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| plain)
}

/// A number that tells texts apart (FNV-1a, 64 bits), the same in every process and version. Not against those who want two
/// texts to have the same one.
pub fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Untrusted text as one [`visible`] line of at most [`ERROR_TEXT_MAX_CHARS`], for logs and records.
pub fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    shortened(&words.join(" "), ERROR_TEXT_MAX_CHARS)
}

/// `1 record`, `2 records`: the count, and the words for one or for any other number.
pub fn counted(count: impl Into<u128>, one: &str, many: &str) -> String {
    let count = count.into();
    format!("{count} {}", if count == 1 { one } else { many })
}

/// The system's message for an error, without the error number, and without the text that Rust puts before a resolver's message.
pub fn system_words(text: &str) -> String {
    let Some((_, why)) = text.split_once("lookup address information: ") else {
        return one_line(text.split(" (os error").next().unwrap_or_default());
    };
    match why {
        "Name or service not known" | "No address associated with hostname" => {
            "name not known".to_owned()
        }
        other => format!("name not known ({})", one_line(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_escapes_and_shortens() {
        assert_eq!(quoted("a\nb\x1b"), "\"a\\nb\\u{1b}\"");
        let long = "x".repeat(1 << 20);
        assert!(quoted(&long).len() < 120);
        assert!(quoted(&long).ends_with("x\"… (1048576 bytes)"));
        assert_eq!(quoted("é"), "\"é\"");
    }

    #[test]
    fn what_cannot_be_seen_is_escaped() {
        for (text, shown) in [
            ("plain é 日本 ❤", "plain é 日本 ❤"),
            ("e\u{301}", "e\u{301}"),
            ("\u{202e}gpj.exe", "\\u{202e}gpj.exe"),
            ("a\u{200b}b\u{2066}c", "a\\u{200b}b\\u{2066}c"),
            ("\u{feff}\u{61c}\u{ad}", "\\u{feff}\\u{61c}\\u{ad}"),
            (
                "\u{200e}\u{200f}\u{2060}\u{2069}",
                "\\u{200e}\\u{200f}\\u{2060}\\u{2069}",
            ),
            ("\u{3164}\u{e0041}", "\\u{3164}\\u{e0041}"),
            ("a\u{2028}b\x1b[2J\u{9b}", "a\\u{2028}b\u{fffd}[2J\u{fffd}"),
        ] {
            assert_eq!(visible(text), shown, "{text:?}");
            let quoted = quoted(text);
            assert!(!quoted.chars().any(is_invisible), "{quoted:?}");
            assert!(!one_line(text).chars().any(is_invisible), "{text:?}");
        }
        assert_eq!(quoted("\u{202e}\u{3164}"), "\"\\u{202e}\\u{3164}\"");
    }

    #[test]
    fn a_long_text_is_its_beginning_and_its_size() {
        for (text, max, shown) in [
            ("12345678901234567890", 20, "12345678901234567890"),
            ("123456789012345678901", 20, "12345678… (21 bytes)"),
            ("ééééééééééé", 10, "… (22 bytes)"),
            // An escape is not cut.
            ("123456\u{202e}7890123456", 20, "123456… (19 bytes)"),
        ] {
            assert_eq!(shortened(text, max), shown);
            assert_eq!(shortened(shown, max.max(12)), shown, "a second time");
        }
    }

    #[test]
    fn a_byte_order_mark_is_skipped_and_utf_16_is_named() {
        assert_eq!(without_byte_order_mark(b"\xef\xbb\xbfa"), Ok(&b"a"[..]));
        assert_eq!(without_byte_order_mark(b"a"), Ok(&b"a"[..]));
        for utf_16 in [&b"\xff\xfea\0"[..], b"\xfe\xff\0a"] {
            let error = without_byte_order_mark(utf_16).unwrap_err().to_string();
            assert!(error.contains("UTF-16"), "{error}");
        }
    }

    #[test]
    fn what_the_system_says_has_no_number() {
        let lookup = "failed to lookup address information";
        for (text, words) in [
            (
                "Permission denied (os error 13)",
                "Permission denied".to_owned(),
            ),
            (
                &format!("{lookup}: Name or service not known"),
                "name not known".to_owned(),
            ),
            (
                &format!("{lookup}: Try again"),
                "name not known (Try again)".to_owned(),
            ),
        ] {
            assert_eq!(system_words(text), words);
        }
    }

    #[test]
    fn one_thing_is_singular() {
        for (count, shown) in [(0_u64, "0 lines are"), (1, "1 line is"), (2, "2 lines are")] {
            assert_eq!(counted(count, "line is", "lines are"), shown);
        }
    }

    #[test]
    fn one_line_has_no_line_break_and_is_bounded() {
        assert_eq!(one_line(" a\r\n b\tc\x07 "), "a b c\u{fffd}");
        let long = one_line(&"y ".repeat(4096));
        assert_eq!(long.chars().count(), ERROR_TEXT_MAX_CHARS);
        assert!(long.ends_with("… (8191 bytes)"), "{long}");
        assert_eq!(one_line(&long), long);
    }
}
