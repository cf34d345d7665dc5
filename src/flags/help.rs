//! Help texts: a list of flags or commands in two columns. Pure.

use super::flag::Flag;
use super::shared::CONNECTION;
use textwrap::{Options, WordSeparator, WordSplitter};

/// Width of a help text, in columns.
const LINE_COLUMNS: usize = 80;
/// Width of its left part, in columns, including two spaces on both sides.
const LEFT_COLUMNS: usize = 24;

/// The flags of a help text: those of `table`, `-help` and `-version`, then those of [`CONNECTION`] under a heading of their own.
pub fn help_of(table: &[Flag]) -> String {
    let ends = entry("-help, -h", "show this text") + &entry("-version", "show the version");
    let own = entries(table) + &ends;
    format!(
        "{own}\nKafka, Redis and the group (the same flags for all commands and for scand):\n{}",
        entries(CONNECTION)
    )
}

/// One entry for each flag, with its default.
fn entries(table: &[Flag]) -> String {
    let mut help = String::new();
    for flag in table {
        let note = match (flag.is_required(), flag.default(), flag.variable) {
            (true, ..) => " (required)".to_owned(),
            (_, Some(default), None) => format!(" (default {default})"),
            (_, Some(default), Some(name)) => format!(" (default ${name}, else {default})"),
            (_, None, Some(name)) if flag.is_secret => {
                format!(" (or the password itself in ${name})")
            }
            (_, None, Some(name)) => format!(" (default ${name})"),
            _ => String::new(),
        };
        help += &entry(&flag.usage(), &format!("{}{note}", flag.help()));
    }
    help
}

/// One entry of a help text: `left`, then `right` wrapped in its own column. If `left` is too wide, `right` begins on the next line. A word wider
/// than its column is not divided.
pub fn entry(left: &str, right: &str) -> String {
    let options = Options::new(LINE_COLUMNS - LEFT_COLUMNS)
        // textwrap would divide flags and addresses at their hyphens.
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
        .break_words(false);
    let lines = textwrap::wrap(right, options);
    let next_line = format!("\n{:LEFT_COLUMNS$}", "");
    let room = LEFT_COLUMNS - 4;
    let first = match left.chars().count() <= room {
        true => format!("  {left:<room$}  "),
        false => format!("  {left}{next_line}"),
    };
    first + &lines.join(&next_line) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_lists_every_flag_within_80_columns() {
        let table = [
            Flag::required("--ip", "TARGETS", "addresses"),
            Flag::with_default("--rate", "PPS", "1k", "packets per second"),
            Flag::switch("--json", "as JSON"),
        ];
        let help = help_of(&table);
        for flag in table {
            assert!(
                help.contains(&format!("\n  {}", flag.usage()))
                    || help.starts_with("  -ip TARGETS")
            );
        }
        assert!(help.contains("packets per second (default 1k)"));
        assert!(help.contains("addresses (required)"));
        let long = entry("-a-flag-of-quite-some-length VALUE", &"word ".repeat(40));
        assert!(
            long.lines()
                .chain(help.lines())
                .all(|line| line.len() <= 80),
            "{help}{long}"
        );
    }
}
