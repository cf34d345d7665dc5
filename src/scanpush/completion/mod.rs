//! `scanpush completion SHELL`: a script that completes commands, flags and some values in bash, zsh or fish.
//! It is generated from the tables of the commands, so new commands and flags are included automatically.
//!
//! Nothing here uses Kafka or Redis: a key press must not wait for a network.
//!
//! | file | purpose |
//! |---|---|
//! | `candidates.rs` | what can be completed, from the tables of the commands |
//! | `bash.rs`, `zsh.rs`, `fish.rs` | each fills its template in `scripts/` |

mod bash;
mod candidates;
mod fish;
mod zsh;

use super::Command;
use super::output::Output;
use crate::connection::Connection;
use crate::exit::Failure;
use crate::flags::Reader;
use crate::flags::suggest::nearest;
use crate::model::Invalid;

pub(super) const COMMAND: Command = Command {
    name: "completion",
    about: "prints the completion script for bash, zsh or fish",
    usage: "completion bash|zsh|fish",
    flags: &[],
    more: "\
The script completes commands, flags, file names and fixed values. It connects
to nothing; the flags above are accepted but not used.

examples:
  scanpush completion bash > /etc/bash_completion.d/scanpush
  eval \"$(scanpush completion bash)\"      # in ~/.bashrc
  scanpush completion zsh > \"${fpath[1]}/_scanpush\"
  scanpush completion fish > ~/.config/fish/completions/scanpush.fish
",
    run,
};

/// Generates a script.
type Script = fn() -> String;

/// Each shell with its script.
const SHELLS: [(&str, Script); 3] = [
    ("bash", bash::script),
    ("zsh", zsh::script),
    ("fish", fish::script),
];

fn run(reader: Reader, output: &mut Output<'_>) -> Result<(), Failure> {
    let script = resolve(reader)?;
    output.text(&script())
}

fn resolve(mut reader: Reader) -> Result<Script, Invalid> {
    Connection::read(&mut reader)?;
    let words = reader.words();
    reader.finish()?;
    let names = || SHELLS.iter().map(|(name, _)| *name);
    match words.as_slice() {
        [word] => match SHELLS.iter().find(|(name, _)| name == word) {
            Some((_, script)) => Ok(*script),
            None => {
                let hint = match nearest(word, names()) {
                    Some(near) => format!("did you mean {near}?"),
                    None => "use bash, zsh or fish".to_owned(),
                };
                Err(Invalid::new(
                    word,
                    format!("is not a supported shell: {hint}"),
                ))
            }
        },
        [] => Err(Invalid::about("give a shell: bash, zsh or fish")),
        [_, more, ..] => Err(Invalid::new(
            more,
            "is an unexpected argument: give one shell",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags;
    use crate::scanpush::COMMANDS;

    fn resolved(line: &[&str]) -> Result<Script, Invalid> {
        flags::read_line(line, COMMAND.flags, resolve)
    }

    #[test]
    fn every_script_has_every_command_and_flag() {
        for (shell, script) in SHELLS {
            let script = script();
            for command in COMMANDS {
                assert!(script.contains(command.name), "{shell}: {}", command.name);
                for flag in command.all_flags() {
                    let name = if shell == "fish" {
                        flag.name()
                    } else {
                        flag.shown()
                    };
                    assert!(script.contains(name), "{shell}: {} {name}", command.name);
                }
            }
            assert!(!script.contains(['\t', '\r']), "{shell}");
            let is_marker = |word: &str| {
                word.len() > 1 && word.bytes().all(|c| c.is_ascii_uppercase() || c == b'_')
            };
            let left = script.split('@').find(|word| is_marker(word));
            assert_eq!(
                left, None,
                "{shell}: every marker of the template is filled"
            );
        }
    }

    #[test]
    fn a_shell_is_one_of_three() {
        for (line, expected) in [
            (
                &["bsh"][..],
                "\"bsh\" is not a supported shell: did you mean bash?",
            ),
            (
                &["powershell"],
                "\"powershell\" is not a supported shell: use bash, zsh or fish",
            ),
            (&[], "give a shell: "),
            (&["bash", "zsh"], "\"zsh\" is an unexpected argument"),
        ] {
            let error = resolved(line).map(drop).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        assert!(resolved(&["zsh", "-kafka=k:1"]).is_ok());
    }
}
