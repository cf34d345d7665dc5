//! One line of `scand -check`. Pure.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Ok,
    /// Scans run, but may lose findings or tasks.
    Warn,
    /// No scan can run, or the server would not start.
    Fail,
}

/// A result of a check.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) verdict: Verdict,
    /// What was checked, in one or two words.
    pub(super) name: &'static str,
    /// The result, and the remedy if there is a problem.
    pub(super) text: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        write!(f, "{verdict:<5} {:<10} {}", self.name, self.text)
    }
}

pub(super) fn ok(name: &'static str, text: impl fmt::Display) -> Line {
    line(Verdict::Ok, name, text)
}

pub(super) fn warn(name: &'static str, text: impl fmt::Display) -> Line {
    line(Verdict::Warn, name, text)
}

pub(super) fn fail(name: &'static str, text: impl fmt::Display) -> Line {
    line(Verdict::Fail, name, text)
}

fn line(verdict: Verdict, name: &'static str, text: impl fmt::Display) -> Line {
    let text = text.to_string();
    Line {
        verdict,
        name,
        text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_consists_of_verdict_name_and_text() {
        assert_eq!(ok("redis", "7.0").to_string(), "ok    redis      7.0");
        assert_eq!(fail("exclusions", "x").to_string(), "FAIL  exclusions x");
    }
}
