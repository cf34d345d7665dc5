//! The repository's own rules, as tests: what lives where, what a file must begin with, what the README must name, and the form
//! of docker-compose.yml. Reads files, and asks the programs for their help and tests/mutations.sh
//! whether it is up to date; starts nothing else.

#![allow(
    clippy::unwrap_used,
    reason = "a test that meets what it did not expect fails with a panic"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use yaml_rust2::{Yaml, YamlLoader};

/// Each room with the rooms that it may know, besides itself.
const ROOMS: [(&str, &[&str]); 8] = [
    ("model", &[]),
    ("masscan", &["model"]),
    ("kafka", &["model"]),
    ("claim_table", &["model"]),
    ("flags", &["model"]),
    ("exit", &["model"]),
    (
        "scand",
        &["model", "masscan", "kafka", "claim_table", "flags", "exit"],
    ),
    (
        "scanpush",
        &["model", "masscan", "kafka", "claim_table", "flags", "exit"],
    ),
];
/// Longest line of code and prose, in characters; rustfmt keeps code shorter, but not what stands in a string or comment.
const LINE_MAX_CHARS: usize = 180;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files below `folder` with one of the endings, in order.
fn files(folder: &str, endings: &[&str]) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![root().join(folder)]);
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if endings
                .iter()
                .any(|ending| path.to_string_lossy().ends_with(ending))
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

/// What comes before the file's own tests, which may look further.
fn own_code(path: &Path) -> String {
    let text = read(path);
    text.split("\n#[cfg(test)]").next().unwrap().to_owned()
}

#[test]
fn a_file_knows_only_the_rooms_below_it() {
    let mut wrong = Vec::new();
    for path in files("src", &[".rs"]) {
        let place = path.strip_prefix(root().join("src")).unwrap();
        let first = place.iter().next().unwrap().to_str().unwrap();
        let own = first.trim_end_matches(".rs");
        let Some((_, may_know)) = ROOMS.iter().find(|(room, _)| *room == own) else {
            continue;
        };
        let code = own_code(&path);
        let others = ROOMS.iter().map(|(room, _)| *room);
        for room in others.filter(|room| *room != own && !may_know.contains(room)) {
            if code.contains(&format!("crate::{room}::")) {
                wrong.push(format!("{} knows {room}", shown(&path)));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn only_one_room_each_knows_kafka_and_redis() {
    for path in files("src", &[".rs"]) {
        let name = shown(&path);
        let code = own_code(&path);
        for (word, room) in [("kafka", "src/kafka/"), ("redis", "src/claim_table/")] {
            let uses = code.lines().any(|line| {
                let line = line.trim_start();
                line.starts_with(&format!("use {word}::"))
                    || line.contains(&format!(" {word}::cmd("))
            });
            assert!(
                !uses || name.starts_with(room),
                "{name} uses the crate {word}"
            );
        }
    }
}

#[test]
fn pure_rooms_do_no_io_and_read_no_clock() {
    let io = [
        "std::fs",
        "std::net::Tcp",
        "std::process",
        "std::thread",
        "Instant::now(",
        "SystemTime::now(",
    ];
    for path in files("src/model", &[".rs"]) {
        let code = own_code(&path);
        for word in io {
            assert!(!code.contains(word), "{} uses {word}", shown(&path));
        }
    }
}

#[test]
fn a_file_begins_with_what_it_is_for() {
    for path in files("src", &[".rs"])
        .into_iter()
        .chain(files("tests", &[".rs"]))
        .chain(files("benches", &[".rs"]))
    {
        assert!(read(&path).starts_with("//! "), "{}", shown(&path));
    }
    for path in files("src", &[".lua"]) {
        assert!(read(&path).starts_with("-- "), "{}", shown(&path));
    }
    for path in files("tests", &[".sh"])
        .into_iter()
        .chain(files("benches", &[".sh"]))
    {
        let text = read(&path);
        let second = text.lines().nth(1).unwrap_or_default();
        assert!(second.starts_with("# "), "{}: {second}", shown(&path));
    }
}

#[test]
fn lines_have_a_bound() {
    let all = ["src", "tests", "benches"]
        .iter()
        .flat_map(|folder| files(folder, &[".rs", ".lua", ".sh"]));
    for path in all {
        for (number, line) in read(&path).lines().enumerate() {
            let length = line.chars().count();
            assert!(
                length <= LINE_MAX_CHARS,
                "{}:{} has {length} characters",
                shown(&path),
                number + 1
            );
        }
    }
}

/// `scanpush -h` lists its commands, one a line, behind a heading.
fn commands() -> BTreeSet<String> {
    let help = help_of(env!("CARGO_BIN_EXE_scanpush"), &["-h"]);
    let list = help.split("commands (").nth(1).unwrap();
    list.lines()
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .map(|line| line.split_whitespace().next().unwrap().to_owned())
        .collect()
}

fn help_of(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output().unwrap();
    assert!(output.status.success(), "{program} {words:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The flags that a help text lists, each as it is written there: `-group NAME`.
fn flags_in_help(help: &str) -> BTreeSet<String> {
    help.lines()
        .filter_map(|line| line.strip_prefix("  -"))
        .map(|line| format!("-{}", line.split("  ").next().unwrap().trim_end()))
        .map(|usage| usage.replace("-help, -h", "-help"))
        .collect()
}

/// The flags in the first column of the tables of a Markdown file: code spans that begin with a dash.
fn flags_in_tables(markdown: &str) -> BTreeSet<String> {
    markdown
        .lines()
        .filter_map(|line| line.strip_prefix("| `-"))
        .flat_map(|row| {
            let first_cell = row.split(" | ").next().unwrap();
            let spans = format!("`-{first_cell}");
            let flags: Vec<String> = spans
                .split('`')
                .filter(|span| span.starts_with('-'))
                .map(str::to_owned)
                .collect();
            flags
        })
        .collect()
}

#[test]
fn the_flag_table_of_scand_is_its_help() {
    let help = help_of(env!("CARGO_BIN_EXE_scand"), &["-h"]);
    let page = read(&root().join("docs/scand.md"));
    assert_eq!(flags_in_tables(&page), flags_in_help(&help));
}

#[test]
fn the_flag_table_of_a_push_is_its_help() {
    let help = help_of(env!("CARGO_BIN_EXE_scanpush"), &["push", "-h"]);
    let page = read(&root().join("docs/scanpush.md"));
    assert_eq!(flags_in_tables(&page), flags_in_help(&help));
}

#[test]
fn the_documentation_names_every_command_and_flag_of_scanpush() {
    let page = read(&root().join("docs/scanpush.md"));
    let commands = commands();
    assert!(commands.contains("push"), "{commands:?}");
    let mut missing = BTreeSet::new();
    for command in &commands {
        let help = help_of(env!("CARGO_BIN_EXE_scanpush"), &[command, "-h"]);
        let flags = flags_in_help(&help);
        assert!(flags.len() > 2, "{help}");
        let names = flags.iter().map(|usage| usage.split(' ').next().unwrap());
        missing.extend(
            names
                .filter(|name| !page.contains(&format!("`{name}")))
                .map(|name| format!("{command} {name}")),
        );
        if !page.contains(&format!("scanpush {command}")) && command != "push" {
            missing.insert(format!("scanpush {command}"));
        }
    }
    assert!(missing.is_empty(), "docs/scanpush.md lacks {missing:#?}");
}

/// The README is for someone who has never seen the project; everything else belongs to docs/.
#[test]
fn the_readme_is_short_and_its_links_lead_somewhere() {
    const README_MAX_LINES: usize = 150;
    let readme = read(&root().join("README.md"));
    assert!(readme.lines().count() <= README_MAX_LINES);
    let mut pages = vec![root().join("README.md")];
    pages.extend(files("docs", &[".md"]));
    for page in pages {
        let folder = page.parent().unwrap();
        for link in read(&page).split("](").skip(1) {
            let target = link.split([')', '#']).next().unwrap();
            let is_local = !target.is_empty() && !target.starts_with("https://");
            assert!(
                !is_local || folder.join(target).exists(),
                "{} links to {target}",
                shown(&page)
            );
        }
    }
}

#[test]
fn no_secret_place_of_a_machine_is_named() {
    let folders = ["src", "tests", "benches", "docs", ".ci"];
    let endings = [".rs", ".lua", ".sh", ".md", ".yml", ".toml", "run"];
    let mut all: Vec<PathBuf> = folders
        .iter()
        .flat_map(|folder| files(folder, &endings))
        .collect();
    all.extend(
        [
            "README.md",
            "Cargo.toml",
            "docker-compose.yml",
            "run-demo.sh",
        ]
        .map(|name| root().join(name)),
    );
    // Written in two parts, so that this file does not name them itself.
    let words = [
        ["/ho", "me/"].concat(),
        ["/wo", "rk/"].concat(),
        ["/ro", "ot/"].concat(),
    ];
    for path in all {
        let text = read(&path);
        for word in &words {
            assert!(
                !text.contains(word.as_str()),
                "{} names {word}",
                shown(&path)
            );
        }
    }
}

/// Else it would go unseen until somebody runs them, which takes hours.
#[test]
fn each_mutation_finds_what_it_changes() {
    let script = root().join("tests/mutations.sh");
    let output = Command::new("bash")
        .arg(script)
        .arg("check")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

fn compose() -> Yaml {
    let text = read(&root().join("docker-compose.yml"));
    YamlLoader::load_from_str(&text).unwrap().remove(0)
}

#[test]
fn compose_has_a_kafka_and_a_redis_that_lose_nothing() {
    let file = compose();
    let services = &file["services"];
    assert_eq!(
        services["kafka"]["image"].as_str(),
        Some("apache/kafka:3.9.1")
    );
    assert_eq!(services["redis"]["image"].as_str(), Some("redis:7"));
    let words: Vec<&str> = services["redis"]["command"]
        .as_vec()
        .unwrap()
        .iter()
        .map(|word| word.as_str().unwrap())
        .collect();
    assert_eq!(
        words,
        [
            "redis-server",
            "--appendonly",
            "yes",
            "--maxmemory-policy",
            "noeviction"
        ]
    );
    let roles = services["kafka"]["environment"]["KAFKA_PROCESS_ROLES"].as_str();
    assert_eq!(roles, Some("broker,controller"), "KRaft, no ZooKeeper");
    for name in ["kafka", "redis"] {
        let service = &services[name];
        assert!(service["healthcheck"]["test"].as_vec().is_some(), "{name}");
        assert!(
            service["profiles"].is_badvalue(),
            "{name} starts without a profile"
        );
        for port in service["ports"].as_vec().unwrap() {
            assert!(
                port.as_str().unwrap().starts_with("127.0.0.1:"),
                "{name} {port:?}"
            );
        }
        for volume in service["volumes"].as_vec().unwrap() {
            let volume = volume.as_str().unwrap().split(':').next().unwrap();
            assert!(
                !file["volumes"][volume].is_badvalue(),
                "{name}: {volume} is a named volume"
            );
        }
    }
}

#[test]
fn composes_servers_may_open_raw_sockets_and_nothing_else() {
    let file = compose();
    let scand = &file["services"]["scand"];
    let texts = |yaml: &Yaml| -> Vec<String> {
        yaml.as_vec()
            .unwrap()
            .iter()
            .map(|entry| entry.as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(texts(&scand["profiles"]), ["fleet"]);
    assert_eq!(scand["deploy"]["replicas"].as_i64(), Some(2));
    assert_eq!(
        (texts(&scand["cap_drop"]), texts(&scand["cap_add"])),
        (vec!["ALL".into()], vec!["NET_RAW".into()])
    );
    let dockerfile = scand["build"]["dockerfile_inline"].as_str().unwrap();
    assert!(
        dockerfile.contains("masscan libpcap0.8"),
        "masscan loads libpcap at run time"
    );
    assert_eq!(
        file["networks"]["targets"]["internal"].as_bool(),
        Some(true),
        "no way out"
    );
}
