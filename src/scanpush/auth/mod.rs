//! `scanpush auth`: makes lines for the file of `scanpush serve -auth-file`, which this room reads too.
//!
//! **Invariants:** a password or token itself is never written to a file and never part of an error. Secrets are compared in constant time.
//!
//! | file | what |
//! |---|---|
//! | `accounts.rs` | the file: users and tokens with their rights |
//! | `secrets.rs` | random tokens, and the hashes of tokens and passwords |
//! | `watched_file.rs` | reads the file again when it has changed |
//! | `terminal.rs` | reads a new password |

pub mod accounts;
mod secrets;
mod terminal;
mod watched_file;

#[cfg(test)]
pub use accounts as lines;
pub use accounts::{Accounts, Right, UserName};
pub use secrets::{Digest, StoredPassword, hex, random};
pub use watched_file::WatchedFile;

use super::Command;
use super::output::Output;
use crate::connection::Connection;
use crate::exit::Failure;
use crate::flags::suggest::nearest;
use crate::flags::{Flag, Reader};
use crate::model::Invalid;

const RIGHT: Flag = Flag::with_default(
    "--right",
    "RIGHT",
    "change",
    "what is allowed: read, or change (which includes read)",
)
.one_of(Right::WORDS);

pub(super) const COMMAND: Command = Command {
    name: "auth",
    about: "makes users and tokens for the web page and the API",
    usage: "auth user|token NAME [-right RIGHT]",
    flags: &[RIGHT],
    more: "\
Prints a line for the file of scanpush serve -auth-file. A user logs in on the
page; the password is asked for on a terminal, or read as the first line of
standard input, and the line has its argon2id hash. A token is for programs
that use the API; it is printed once, on standard error, and the line has its
SHA-256. To change a password or to remove somebody, change the file: scanpush
serve reads it again by itself. This command connects to nothing.

examples:
  scanpush auth user anna >> scanpush.auth
  scanpush auth token exporter -right read >> scanpush.auth
  scanpush serve -auth-file scanpush.auth -http 0.0.0.0:8080
",
    run,
};

/// What a line is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    User,
    Token,
}

const KINDS: [(&str, Kind); 2] = [("user", Kind::User), ("token", Kind::Token)];

fn run(reader: Reader, output: &mut Output<'_>) -> Result<(), Failure> {
    let (kind, name, right) = resolve(reader)?;
    match kind {
        Kind::User => {
            let password = terminal::new_password(output)?;
            let stored = StoredPassword::of(&password).map_err(Failure::Runtime)?;
            output.line(&accounts::user_line(&name, &stored, right))
        }
        Kind::Token => {
            let token = secrets::new_token().map_err(Failure::Runtime)?;
            output.line(&accounts::token_line(&name, &token, right))?;
            output.flush()?;
            output.problem(&format!("the token, which is not shown again: {token}"));
            Ok(())
        }
    }
}

fn resolve(mut reader: Reader) -> Result<(Kind, UserName, Right), Invalid> {
    Connection::read(&mut reader)?;
    let right = reader.value(&RIGHT, str::parse)?;
    let words = reader.words();
    reader.finish()?;
    let [kind, name] = &words[..] else {
        return Err(Invalid::about(
            "write scanpush auth user NAME or scanpush auth token NAME",
        ));
    };
    let Some((_, kind)) = KINDS.iter().find(|(word, _)| word == kind) else {
        let hint = match nearest(kind, KINDS.iter().map(|(word, _)| *word)) {
            Some(near) => format!("did you mean {near}?"),
            None => "use user or token".to_owned(),
        };
        return Err(Invalid::new(kind, format!("is not user or token: {hint}")));
    };
    Ok((*kind, name.parse()?, right))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::read_line;

    #[test]
    fn a_command_line_is_a_kind_and_a_name() {
        let read = |line: &[&str]| read_line(line, COMMAND.flags, resolve);
        let (kind, name, right) = read(&["user", "anna"]).unwrap();
        assert_eq!(
            (kind, name.as_str(), right),
            (Kind::User, "anna", Right::Change)
        );
        let (kind, _, right) = read(&["token", "ci", "-right", "read"]).unwrap();
        assert_eq!((kind, right), (Kind::Token, Right::Read));
        for (line, wrong) in [
            (&[][..], "write scanpush auth user NAME"),
            (&["user"], "write scanpush auth user NAME"),
            (&["usr", "anna"], "did you mean user?"),
            (&["user", "an na"], "is not a name"),
            (
                &["user", "anna", "-right", "all"],
                "-right: \"all\" is not a right",
            ),
        ] {
            let error = read(line).unwrap_err().to_string();
            assert!(error.contains(wrong), "{line:?}: {error}");
        }
    }
}
