//! Reads a new password: from a terminal twice and without echo, else the first line of standard input.

use crate::credentials::{PASSWORD_MAX_BYTES, Secret};
use crate::exit::Failure;
use crate::model::Invalid;
use crate::scanpush::output::Output;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::{self, BufRead, IsTerminal, Read};
use std::thread;

/// Shortest new password, in characters.
const PASSWORD_MIN_CHARS: usize = 8;

/// Reads a password.
pub fn new_password(output: &mut Output<'_>) -> Result<Secret, Failure> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return checked(&line(&mut stdin.lock())?);
    }
    let _silent = Silent::start()
        .map_err(|error| Failure::Runtime(format!("the terminal cannot be used: {error}")))?;
    output.question("Password: ");
    let first = line(&mut stdin.lock())?;
    output.question("\nAgain: ");
    let second = line(&mut stdin.lock())?;
    output.question("\n");
    match first == second {
        true => checked(&first),
        false => Err(Failure::Usage(Invalid::about(
            "the two passwords are different",
        ))),
    }
}

fn line(input: &mut impl BufRead) -> Result<String, Failure> {
    let mut line = String::new();
    let max = PASSWORD_MAX_BYTES as u64 + 2;
    input
        .take(max)
        .read_line(&mut line)
        .map_err(|error| Failure::Runtime(format!("the password cannot be read: {error}")))?;
    let text = line.strip_suffix('\n').unwrap_or(&line);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

fn checked(text: &str) -> Result<Secret, Failure> {
    if text.chars().count() < PASSWORD_MIN_CHARS {
        return Err(Failure::Usage(Invalid::about(format!(
            "the password has less than {PASSWORD_MIN_CHARS} characters"
        ))));
    }
    Secret::new(text)
        .map_err(|error| Failure::Usage(Invalid::about(format!("the password {error}"))))
}

/// A terminal that does not show what is typed, until this is dropped or a signal ends the process.
struct Silent {
    before: Termios,
}

impl Silent {
    fn start() -> io::Result<Silent> {
        let before = tcgetattr(io::stdin())?;
        let restored = before.clone();
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        // Never joined: it sleeps in the kernel until the process ends.
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                if let Some(signal) = signals.forever().next() {
                    let _ = tcsetattr(io::stdin(), OptionalActions::Now, &restored);
                    let _ = signal_hook::low_level::emulate_default_handler(signal);
                }
            })?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Silent { before })
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // If the terminal is gone, there is nothing to restore.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_the_first_line() {
        for (input, password) in [
            ("correct horse\n", Some("correct horse")),
            ("correct horse\r\nmore\n", Some("correct horse")),
            ("pässwörd", Some("pässwörd")),
            ("", None),
            ("short\n", None),
            ("with\ta tab\n", None),
        ] {
            let read = line(&mut input.as_bytes()).and_then(|line| checked(&line));
            let read = read.ok().map(|secret| secret.reveal().to_owned());
            assert_eq!(read.as_deref(), password, "{input:?}");
        }
        let long = "x".repeat(PASSWORD_MAX_BYTES + 100);
        assert!(
            line(&mut long.as_bytes())
                .and_then(|line| checked(&line))
                .is_err()
        );
    }
}
