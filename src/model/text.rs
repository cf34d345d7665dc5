//! Makes untrusted text safe to display, and the error type that quotes it.

use std::fmt;

/// Maximum length of an error text that is stored or displayed, in characters.
pub(super) const ERROR_TEXT_MAX_CHARS: usize = 300;
/// Maximum length of untrusted text that a message quotes, in characters.
pub const QUOTED_TEXT_MAX_CHARS: usize = 60;

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

/// Untrusted text in quotes, with control characters escaped, no longer than [`QUOTED_TEXT_MAX_CHARS`].
pub fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(QUOTED_TEXT_MAX_CHARS).collect();
    let rest = text.len() - shown.len();
    let ellipsis = if rest > 0 {
        format!("… (and {rest} bytes more)")
    } else {
        String::new()
    };
    shown = shown.escape_debug().to_string();
    format!("\"{shown}\"{ellipsis}")
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

/// Untrusted text as one printable line of at most [`ERROR_TEXT_MAX_CHARS`], for logs and records.
pub fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words
        .join(" ")
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .take(ERROR_TEXT_MAX_CHARS)
        .collect()
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
        assert!(quoted(&long).ends_with("bytes more)"));
        assert_eq!(quoted("é"), "\"é\"");
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
    fn one_line_has_no_line_break_and_is_bounded() {
        assert_eq!(one_line(" a\r\n b\tc\x07 "), "a b c\u{fffd}");
        assert_eq!(
            one_line(&"y ".repeat(4096)).chars().count(),
            ERROR_TEXT_MAX_CHARS
        );
    }
}
