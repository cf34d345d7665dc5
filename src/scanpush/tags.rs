//! Reads the file of tagged networks that `-tags` names, and finds the networks of a tag.

use crate::flags::Flag;
use crate::flags::suggest::nearest;
use crate::model::{BadLine, Invalid, Tags, Targets};
use crate::scanpush::input_source::{InputSource, utf8};

/// `-tags`: its value is parsed by [`InputSource::parse`].
pub const TAGS: Flag = Flag::optional(
    "--tags",
    "FILE",
    "networks with names, one in a line: 10.1.0.0/16 office berlin; - reads standard input",
);

/// Largest file of tags, in bytes.
const TAG_FILE_MAX_BYTES: usize = 64 * 1024 * 1024;
/// Tags that the error about an unknown one lists.
const TAGS_LISTED_MAX: usize = 10;

/// The tags in a file. The error is one line, even if the file has several bad ones: the first, and how many others there are.
pub fn read_tags(source: &InputSource) -> Result<Tags, Invalid> {
    let error = |text: String| Invalid::about(text).of(TAGS.shown());
    let bytes = source
        .read(TAG_FILE_MAX_BYTES)
        .map_err(|reason| error(format!("{} {reason}", source.shown())))?;
    utf8(&bytes)
        .map_err(|bad| vec![bad])
        .and_then(Tags::parse)
        .map_err(|bad| error(first_of(source, &bad)))
}

fn first_of(source: &InputSource, bad: &[BadLine]) -> String {
    let first = bad.first().map(BadLine::to_string).unwrap_or_default();
    let others = match bad.len() {
        0 | 1 => String::new(),
        2 => " (and another bad line)".to_owned(),
        count => format!(" (and {} other bad lines)", count - 1),
    };
    format!("{}:{first}{others}", source.shown())
}

/// All addresses with this tag. An unknown tag is an error that names a similar one or those that there are.
pub fn networks_of(tags: &Tags, tag: &str) -> Result<Targets, Invalid> {
    tags.networks_of(tag).ok_or_else(|| {
        let hint = match nearest(tag, tags.names()) {
            Some(near) => format!("did you mean {near}?"),
            None if tags.is_empty() => "the file of -tags has none".to_owned(),
            None => format!("there are {}", listed(tags)),
        };
        Invalid::new(tag, format!("is an unknown tag: {hint}"))
    })
}

fn listed(tags: &Tags) -> String {
    let names: Vec<&str> = tags.names().take(TAGS_LISTED_MAX).collect();
    let others = tags.names().count() - names.len();
    match others {
        0 => names.join(", "),
        _ => format!("{} and {others} more", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn read(bytes: &[u8]) -> Result<Tags, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sites");
        fs::write(&path, bytes).unwrap();
        let error = read_tags(&InputSource::File(path)).map_err(|error| error.to_string());
        error.map_err(|error| error.replace(folder.path().to_str().unwrap(), "FOLDER"))
    }

    #[test]
    fn a_file_is_tags_or_an_error_in_one_line() {
        let tags = read(b"\xef\xbb\xbf10.1.0.0/16 office\r\n").unwrap();
        assert_eq!(tags.tags_of("10.1.2.3".parse().unwrap()), ["office"]);
        for (bytes, error) in [
            (
                &b"10.1.0.0/16\n"[..],
                "-tags: FOLDER/sites:1: \"10.1.0.0/16\" has no tag: write tags after the network, like 10.1.0.0/16 office",
            ),
            (
                b"10.1.0.0/16 a\nx a\n",
                "-tags: FOLDER/sites:2: \"x\" is not an address, a CIDR block or a range like 10.0.0.1, 10.0.0.0/24, 10.0.0.1-10.0.0.9",
            ),
            (
                b"10.1.0.0/16 a\n\xff\n",
                "-tags: FOLDER/sites:2: the line is not UTF-8 text",
            ),
            (
                b"\xff\xfea\0",
                "-tags: FOLDER/sites is UTF-16 text: save it as UTF-8",
            ),
        ] {
            assert_eq!(read(bytes).unwrap_err(), error);
        }
        assert!(
            read(b"x\ny\n")
                .unwrap_err()
                .ends_with("(and another bad line)")
        );
        assert!(
            read(b"x\ny\nz\n")
                .unwrap_err()
                .ends_with("(and 2 other bad lines)")
        );
        let missing = read_tags(&InputSource::File("/nowhere/sites".into())).unwrap_err();
        assert_eq!(
            missing.to_string(),
            "-tags: /nowhere/sites can't be read: No such file or directory"
        );
    }

    #[test]
    fn an_unknown_tag_is_an_error_with_a_hint() {
        let tags = Tags::parse("10.1.0.0/16 office\n10.2.0.0/16 lab\n").unwrap();
        assert_eq!(
            networks_of(&tags, "lab").unwrap().to_string(),
            "10.2.0.0/16"
        );
        let many: String = (10..99).map(|n| format!("10.0.0.{n} site{n}\n")).collect();
        for (tags, tag, hint) in [
            (&tags, "offcie", "did you mean office?"),
            (&tags, "printers", "there are lab, office"),
            (&Tags::parse(&many).unwrap(), "x", "site19 and 79 more"),
            (&Tags::default(), "x", "the file of -tags has none"),
        ] {
            let error = networks_of(tags, tag).unwrap_err().to_string();
            assert!(error.ends_with(hint), "{error}");
        }
    }
}
