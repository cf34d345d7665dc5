//! The completion scripts, run in their shells: what is offered for a command line. Needs neither Kafka nor Redis.
//!
//! A shell that is not installed is skipped with a message. tests/support/setup.sh installs all three.

use std::path::PathBuf;
use std::process::{Command, Stdio};

fn scanpush(words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_scanpush"))
        .args(words)
        .stdin(Stdio::null())
        .output()
        .expect("the binary that cargo just built starts");
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).expect("scanpush prints UTF-8")
}

/// The completion script for `shell` in a temporary folder, with a file `targets list.txt` next to it. None if the shell is not installed.
fn script(shell: &str) -> Option<(tempfile::TempDir, PathBuf)> {
    if Command::new(shell).arg("--version").output().is_err() {
        eprintln!("not tested: this machine has no {shell} (tests/support/setup.sh installs it)");
        return None;
    }
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let path = folder.path().join("script");
    let text = scanpush(&["completion", shell]);
    std::fs::write(&path, text).expect("the folder is new");
    std::fs::write(folder.path().join("targets list.txt"), "").expect("the folder is new");
    Some((folder, path))
}

/// The output of `shell` for `code`, which gets the script's path as its first argument. It must print no error.
fn printed(
    shell: &str,
    code: &str,
    script: &(tempfile::TempDir, PathBuf),
    words: &[&str],
) -> String {
    let quiet = if shell == "fish" {
        "--no-config"
    } else if shell == "zsh" {
        "-f"
    } else {
        "--norc"
    };
    let mut command = Command::new(shell);
    command.args([quiet, "-c", code]);
    if shell != "fish" {
        command.arg(shell);
    }
    let output = command
        .arg(&script.1)
        .args(words)
        .current_dir(script.0.path())
        .env("HOME", script.0.path())
        .stdin(Stdio::null())
        .output()
        .expect("the shell was there a moment ago");
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && err.is_empty(),
        "{words:?}: {err}"
    );
    String::from_utf8(output.stdout).expect("the shell prints what the script does")
}

/// A command line, words that must be offered for its last word, and words that must not.
type Case = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

const CASES: &[Case] = &[
    (
        "scanpush ",
        &["push", "status", "list", "completion"],
        &["-ip", "targets list.txt"],
    ),
    ("scanpush sta", &["status"], &["push", "servers"]),
    ("scanpush -i", &["-ip", "-iL", "-id"], &["-ports", "status"]),
    ("scanpush -ip 10.0.0.1 -por", &["-ports"], &["-ip"]),
    ("scanpush push -dr", &["-dry-run"], &[]),
    (
        "scanpush list -",
        &["-state", "-limit", "-json", "-help", "-version"],
        &["-ip"],
    ),
    ("scanpush -kafka a:1 -topic=t st", &["status"], &["push"]),
    ("scanpush -iL tar", &["targets list.txt"], &["status"]),
    ("scanpush list -state q", &["queued"], &["running"]),
    ("scanpush list -state=f", &["failed"], &["running"]),
    ("scanpush completion ", &["bash", "zsh", "fish"], &["push"]),
    (
        "scanpush -ip ",
        &[],
        &["push", "-ports", "targets list.txt"],
    ),
];

#[track_caller]
fn assert_offers(shell: &str, line: &str, offered: &str, wanted: &[&str], unwanted: &[&str]) {
    // fish offers all of `-state=failed`, and appends a description after a tab.
    let words: Vec<&str> = offered
        .lines()
        .map(|line| line.split('\t').next().unwrap_or_default())
        .map(|word| word.rsplit('=').next().unwrap_or_default())
        .collect();
    for word in wanted {
        assert!(
            words.contains(word),
            "{shell}: {line:?} lacks {word}: {words:?}"
        );
    }
    for word in unwanted {
        assert!(
            !words.contains(word),
            "{shell}: {line:?} has {word}: {words:?}"
        );
    }
}

#[test]
fn bash_completes() {
    let Some(script) = script("bash") else { return };
    let code = r#"source "$1"; complete -p scanpush >/dev/null || exit 1
        COMP_LINE=$2 COMP_POINT=${#2}; _scanpush
        ((${#COMPREPLY[@]} == 0)) || printf '%s\n' "${COMPREPLY[@]}""#;
    for &(line, wanted, unwanted) in CASES {
        assert_offers(
            "bash",
            line,
            &printed("bash", code, &script, &[line]),
            wanted,
            unwanted,
        );
    }
    let offered = printed("bash", code, &script, &["scanpush --i"]);
    assert_offers(
        "bash",
        "scanpush --i",
        &offered,
        &["--ip", "--iL"],
        &["-ip"],
    );
}

#[test]
fn fish_completes() {
    let Some(script) = script("fish") else { return };
    let code = "source $argv[1]; complete -C $argv[2]";
    for &(line, wanted, unwanted) in CASES {
        // fish escapes the space in a file's name.
        let offered =
            printed("fish", code, &script, &[line]).replace("targets\\ list", "targets list");
        assert_offers("fish", line, &offered, wanted, unwanted);
    }
}

/// zsh completes only on a terminal, so its completion system is replaced by functions that print their arguments.
#[test]
fn zsh_gets_the_commands_and_the_flags_of_one() {
    let Some(script) = script("zsh") else { return };
    let code = r#"compdef() { [[ $1 == _scanpush && $2 == scanpush ]] || print wrong >&2 }
        _describe() { print -l -- ${(P)2} }
        _arguments() { print -l -- "$@" "words: $words" "current: $CURRENT" }
        source "$1"; words=("${@:2}"); CURRENT=$#words; _scanpush"#;
    let offered = |words: &[&str]| printed("zsh", code, &script, words);
    let commands = offered(&["scanpush", ""]);
    assert!(
        commands
            .lines()
            .any(|line| line.starts_with("status:shows tasks")),
        "{commands}"
    );
    assert!(
        commands.lines().all(|line| !line.starts_with('-')),
        "{commands}"
    );
    let push = offered(&["scanpush", "-ip", "10.0.0.1", "-po"]);
    for spec in [
        "-iL=[targets from a file]:FILE:_files",
        "-json[print each task as one line of JSON]",
    ] {
        assert!(push.lines().any(|line| line == spec), "{push}");
    }
    assert!(
        push.contains("words: scanpush -ip 10.0.0.1 -po\ncurrent: 4"),
        "{push}"
    );
    let list = offered(&["scanpush", "-kafka", "a:1", "list", "-state", ""]);
    let states = ":STATES:(queued running paused completed failed cancelled rejected)";
    assert!(
        list.lines()
            .any(|line| line.starts_with("-state=[") && line.ends_with(states)),
        "{list}"
    );
    assert!(
        list.contains("words: scanpush -kafka a:1 -state \ncurrent: 5"),
        "{list}"
    );
    assert!(!list.contains("-ip="), "{list}");
    let shells = offered(&["scanpush", "completion", ""]);
    assert!(
        shells.lines().any(|line| line == "1:word:(bash zsh fish)"),
        "{shells}"
    );
}
