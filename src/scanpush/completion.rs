//! `scanpush completion SHELL`: a script that completes commands, flags and some values in bash, zsh or fish.
//! It is generated from the tables of the commands, so new commands and flags are included automatically.
//!
//! Nothing here uses Kafka or Redis: a key press must not wait for a network.

use super::options::Connection;
use super::output::Output;
use super::{COMMANDS, Command};
use crate::exit::Failure;
use crate::flags::shared::{CONNECTION, GROUP, KAFKA, REDIS, TOPIC};
use crate::flags::suggest::nearest;
use crate::flags::{Flag, Reader};
use crate::model::Invalid;

pub(super) const COMMAND: Command = Command {
    name: "completion",
    about: "prints the completion script for bash, zsh or fish",
    usage: "completion bash|zsh|fish",
    flags: &[KAFKA, TOPIC, GROUP, REDIS],
    more: "\
The script completes commands, flags, and files and words that flags take. It
asks nobody; the flags above are checked and not used.

examples:
  scanpush completion bash > /etc/bash_completion.d/scanpush
  eval \"$(scanpush completion bash)\"      # in ~/.bashrc
  scanpush completion zsh > \"${fpath[1]}/_scanpush\"
  scanpush completion fish > ~/.config/fish/completions/scanpush.fish
",
    run,
};

/// What makes a shell's script.
type Script = fn() -> String;

/// Each shell with its script.
const SHELLS: [(&str, Script); 3] = [("bash", bash), ("zsh", zsh), ("fish", fish)];

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
                    None => "there are bash, zsh and fish".to_owned(),
                };
                Err(Invalid::new(word, format!("is no shell: {hint}")))
            }
        },
        [] => Err(Invalid::about("for which shell? Give bash, zsh or fish")),
        [_, more, ..] => Err(Invalid::new(more, "is one word too many: give one shell")),
    }
}

/// What a flag takes.
enum Takes {
    Nothing,
    /// A file's name.
    File,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// What can't be guessed.
    Other,
}

fn takes(flag: &Flag) -> Takes {
    match (flag.value(), flag.words()) {
        (None, _) => Takes::Nothing,
        (_, Some(words)) => Takes::OneOf(words),
        (Some("FILE" | "PATH"), _) => Takes::File,
        _ => Takes::Other,
    }
}

/// The words that may follow a command's name, where its usage lists them: `completion bash|zsh|fish`.
fn words_of(command: &Command) -> Option<Vec<&'static str>> {
    let lower = |word: &str| word.bytes().all(|byte| byte.is_ascii_lowercase());
    let mut lists = command.usage.split(' ').map(|list| list.split('|'));
    let list = lists.find(|list| list.clone().count() > 1 && list.clone().all(lower))?;
    Some(list.collect())
}

/// What a menu has room for: the help up to its first clause.
fn short(help: &str) -> &str {
    let ends = ["; ", ": ", " ("];
    let end = ends.iter().filter_map(|end| help.find(end)).min();
    &help[..end.unwrap_or(help.len())]
}

/// `-help` and `-version`, which every command takes and no table has.
const EVERYWHERE: [(&str, &str); 2] = [
    ("help", "show the command's flags and examples"),
    ("version", "show the version"),
];

fn bash() -> String {
    let names: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
    let connection: Vec<&str> = CONNECTION.iter().map(Flag::shown).collect();
    let (mut flags, mut values, mut words) = (String::new(), String::new(), String::new());
    for command in COMMANDS {
        let all = command.flags.iter().map(Flag::shown);
        let all: Vec<&str> = all.chain(["-help", "-version"]).collect();
        flags += &format!("        {}) flags='{}' ;;\n", command.name, all.join(" "));
        for flag in command.flags {
            let what = match takes(flag) {
                Takes::Nothing => continue,
                Takes::File => "files".to_owned(),
                Takes::OneOf(words) => format!("words='{}'", words.join(" ")),
                Takes::Other => "return".to_owned(),
            };
            let name = format!("'{} {}'", command.name, flag.shown());
            values += &match what.as_str() {
                "files" => format!("        {name}) _scanpush_files \"$cur\"; return ;;\n"),
                "return" => format!("        {name}) return ;;\n"),
                words => format!("        {name}) {words} ;;\n"),
            };
        }
        if let Some(list) = words_of(command) {
            words += &format!("        {}) words='{}' ;;\n", command.name, list.join(" "));
        }
    }
    let (one, equals) = (connection.join("|"), connection.join("=*|") + "=*");
    format!(
        r#"# bash completion for scanpush, made by: scanpush completion bash
_scanpush_files() {{
    local IFS=$'\n'
    compopt -o filenames 2>/dev/null
    COMPREPLY=($(compgen -f -- "$1"))
}}

_scanpush() {{
    local line=${{COMP_LINE:0:COMP_POINT}} cur='' flag='' command='' flags='' words='' word i
    local -a typed
    COMPREPLY=()
    read -ra typed <<<"$line"
    if [[ $line != *[[:space:]] ]]; then
        cur=${{typed[${{#typed[@]}} - 1]}}
        unset "typed[${{#typed[@]}} - 1]"
    fi
    for ((i = 1; i < ${{#typed[@]}}; i++)); do
        word=${{typed[i]/#--/-}}
        case $word in
        {one}) i=$((i + 1)) ;;
        {equals}) ;;
        -*) command=push; break ;;
        *) command=$word; break ;;
        esac
    done
    if ((${{#typed[@]}} > 1)); then
        flag=${{typed[${{#typed[@]}} - 1]/#--/-}}
    fi
    if [[ $cur == -*=* ]]; then
        flag=${{cur%%=*}}
        flag=${{flag/#--/-}}
        cur=${{cur#*=}}
    fi
    case "${{command:-push}} $flag" in
{values}    esac
    if [[ -z $words && $cur == -* ]]; then
        case ${{command:-push}} in
{flags}        esac
        words=$flags
        if [[ $cur == --* ]]; then
            words=" $flags"
            words=${{words// -/ --}}
        fi
    elif [[ -z $words && -z $command ]]; then
        words='{names}'
    elif [[ -z $words ]]; then
        case $command in
{words}        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}

complete -F _scanpush scanpush
"#,
        names = names.join(" "),
    )
}

fn zsh() -> String {
    let quoted = |text: &str| text.replace('\'', "'\\''");
    let escaped = |text: &str| {
        let mut escaped = String::new();
        for c in quoted(text).chars() {
            if matches!(c, '[' | ']' | ':') {
                escaped.push('\\');
            }
            escaped.push(c);
        }
        escaped
    };
    let (mut commands, mut cases) = (String::new(), String::new());
    for command in COMMANDS {
        commands += &format!(
            "        '{}:{}'\n",
            command.name,
            escaped(short(command.about))
        );
        cases += &format!("    {})\n        _arguments -S \\\n", command.name);
        for flag in command.flags {
            let (name, help) = (flag.shown(), escaped(short(flag.help())));
            let value = flag.value().unwrap_or_default();
            let spec = match takes(flag) {
                Takes::Nothing => format!("{name}[{help}]"),
                Takes::File => format!("{name}=[{help}]:{value}:_files"),
                Takes::OneOf(words) => format!("{name}=[{help}]:{value}:({})", words.join(" ")),
                Takes::Other => format!("{name}=[{help}]:{value}: "),
            };
            cases += &format!("            '{spec}' \\\n");
        }
        for (name, help) in EVERYWHERE {
            cases += &format!("            '-{name}[{}]' \\\n", escaped(help));
        }
        cases += &match words_of(command) {
            Some(words) => format!("            '1:word:({})'\n", words.join(" ")),
            None => "            '*:word: '\n".to_owned(),
        };
        cases += "        ;;\n";
    }
    let connection: Vec<&str> = CONNECTION.iter().map(Flag::shown).collect();
    let (one, equals) = (connection.join("|"), connection.join("=*|") + "=*");
    format!(
        r#"#compdef scanpush
# zsh completion for scanpush, made by: scanpush completion zsh
_scanpush() {{
    local -a commands
    local command='' i
    commands=(
{commands}    )
    for ((i = 2; i < CURRENT; i++)); do
        case ${{words[i]/#--/-}} in
        ({one}) ((i++)) ;;
        ({equals}) ;;
        (-*) command=push; i=0; break ;;
        (*) command=$words[i]; break ;;
        esac
    done
    if [[ -z $command && ${{words[CURRENT]}} != -* && ${{words[CURRENT-1]/#--/-}} != ({one}) ]]; then
        _describe command commands
        return
    fi
    if [[ -n $command ]] && ((i > 0)); then
        words[i]=()
        ((CURRENT--))
    fi
    case ${{command:-push}} in
{cases}    esac
}}

if [[ ${{funcstack[1]}} == _scanpush ]]; then
    _scanpush "$@"
else
    compdef _scanpush scanpush
fi
"#
    )
}

fn fish() -> String {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('\'', "\\'");
    let mut lines = String::new();
    for command in COMMANDS {
        let (name, about) = (command.name, quoted(short(command.about)));
        lines += &format!("complete -c scanpush -n __scanpush_no_command -a {name} -d '{about}'\n");
        let condition = format!("complete -c scanpush -n '__scanpush_is {name}'");
        for flag in command.flags {
            let what = match takes(flag) {
                Takes::Nothing => String::new(),
                Takes::File => " -r -F".to_owned(),
                Takes::OneOf(words) => format!(" -x -a '{}'", words.join(" ")),
                Takes::Other => " -x".to_owned(),
            };
            let help = quoted(short(flag.help()));
            lines += &format!("{condition} -o {}{what} -d '{help}'\n", flag.name());
        }
        for (flag, help) in EVERYWHERE {
            lines += &format!("{condition} -o {flag} -d '{}'\n", quoted(help));
        }
        if let Some(words) = words_of(command) {
            lines += &format!("{condition} -a '{}'\n", words.join(" "));
        }
    }
    let spelled = |end: &str| {
        let names = CONNECTION.iter().map(Flag::name);
        let both = names.flat_map(|name| [format!("'-{name}{end}'"), format!("'--{name}{end}'")]);
        both.collect::<Vec<_>>().join(" ")
    };
    format!(
        r#"# fish completion for scanpush, made by: scanpush completion fish
function __scanpush_command
    set -l typed (commandline -opc)
    set -e typed[1]
    while set -q typed[1]
        switch $typed[1]
            case {one}
                set -e typed[1]
                set -q typed[1]; and set -e typed[1]
            case {equals}
                set -e typed[1]
            case '-*'
                echo push
                return
            case '*'
                echo $typed[1]
                return
        end
    end
end

function __scanpush_no_command
    test -z "$(__scanpush_command)"
end

# Without a command it is push.
function __scanpush_is
    set -l command (__scanpush_command)
    test "$command" = $argv[1]; or test -z "$command" -a $argv[1] = push
end

complete -c scanpush -f
{lines}"#,
        one = spelled(""),
        equals = spelled("=*"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags;

    fn resolved(line: &[&str]) -> Result<Script, Invalid> {
        flags::read_line(line, COMMAND.flags, resolve)
    }

    #[test]
    fn every_script_has_every_command_and_flag() {
        for (shell, script) in SHELLS {
            let script = script();
            for command in COMMANDS {
                assert!(script.contains(command.name), "{shell}: {}", command.name);
                for flag in command.flags {
                    let name = if shell == "fish" {
                        flag.name()
                    } else {
                        flag.shown()
                    };
                    assert!(script.contains(name), "{shell}: {} {name}", command.name);
                }
            }
            assert!(!script.contains(['\t', '\r']), "{shell}");
        }
    }

    #[test]
    fn a_shell_is_one_of_three() {
        for (line, said) in [
            (&["bsh"][..], "\"bsh\" is no shell: did you mean bash?"),
            (
                &["powershell"],
                "\"powershell\" is no shell: there are bash, zsh and fish",
            ),
            (&[], "for which shell?"),
            (&["bash", "zsh"], "\"zsh\" is one word too many"),
        ] {
            let error = resolved(line).map(drop).unwrap_err().to_string();
            assert!(error.starts_with(said), "{error}");
        }
        assert!(resolved(&["zsh", "-kafka=k:1"]).is_ok());
    }

    #[test]
    fn menus_get_the_first_clause() {
        for (help, menu) in [
            ("as JSON", "as JSON"),
            ("0 to 9; higher first", "0 to 9"),
            ("a file (new)", "a file"),
            ("Redis, like redis://x", "Redis, like redis://x"),
        ] {
            assert_eq!(short(help), menu);
        }
    }
}
