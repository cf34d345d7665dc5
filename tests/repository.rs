//! Rules about the source tree, the documentation and docker-compose.yml. Reads files, and runs the programs with `-help` and
//! `tests/mutations.sh check`.

#![allow(
    clippy::unwrap_used,
    reason = "a test that meets what it did not expect fails with a panic"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use yaml_rust2::{Yaml, YamlLoader};

/// The rooms that both programs may use.
const BELOW_THE_PROGRAMS: &[&str] = &[
    "model",
    "sync",
    "files",
    "masscan",
    "kafka",
    "claim_table",
    "flags",
    "exit",
    "connection",
    "http_server",
    "monitoring",
];

/// The client keeps a database too, and checks the file with its password.
const BELOW_THE_CLIENT: &[&str] = &[
    "model",
    "sync",
    "files",
    "masscan",
    "kafka",
    "claim_table",
    "flags",
    "exit",
    "connection",
    "store",
    "credentials",
    "http_server",
    "monitoring",
];

/// Each room with the other rooms that it may use.
const ROOMS: [(&str, &[&str]); 15] = [
    ("model", &[]),
    ("sync", &[]),
    ("files", &[]),
    ("http_server", &["model", "sync"]),
    (
        "monitoring",
        &["model", "sync", "http_server", "credentials"],
    ),
    ("masscan", &["model", "sync"]),
    ("credentials", &["model", "files"]),
    ("kafka", &["model", "sync", "credentials"]),
    ("claim_table", &["model", "credentials"]),
    ("store", &["model", "credentials"]),
    ("flags", &["model", "credentials"]),
    ("exit", &["model"]),
    (
        "connection",
        &["model", "credentials", "kafka", "claim_table", "flags"],
    ),
    ("scand", BELOW_THE_PROGRAMS),
    ("scanpush", BELOW_THE_CLIENT),
];
/// Maximum length of a line, in characters. rustfmt limits code to less, but not strings and comments.
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

/// A file without its unit tests, which may use other rooms.
fn own_code(path: &Path) -> String {
    let text = read(path);
    text.split("\n#[cfg(test)]").next().unwrap().to_owned()
}

#[test]
fn a_file_uses_only_the_rooms_below_its_own() {
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
                wrong.push(format!("{} uses {room}", shown(&path)));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The path of each source file as a module: `scand/scan/phase` for `src/scand/scan/phase.rs`, `scand` for `src/scand/mod.rs`.
fn modules() -> BTreeMap<String, PathBuf> {
    files("src", &[".rs"])
        .into_iter()
        .map(|path| {
            let place = path.strip_prefix(root().join("src")).unwrap();
            let module = place.with_extension("").to_string_lossy().into_owned();
            let module = module.strip_suffix("/mod").unwrap_or(&module).to_owned();
            (module, path)
        })
        .collect()
}

/// The single paths of a use tree: `a::{b, c::{d, e}}` gives `a::b`, `a::c::d` and `a::c::e`.
fn paths_of_use(tree: &str) -> Vec<String> {
    let Some((prefix, rest)) = tree.split_once('{') else {
        return vec![tree.trim().to_owned()];
    };
    let inside = rest.rsplit_once('}').unwrap().0;
    let (mut depth, mut begin, mut parts) = (0, 0, Vec::new());
    for (at, byte) in inside.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b',' if depth == 0 => {
                parts.push(&inside[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inside[begin..]);
    parts
        .into_iter()
        .filter(|part| !part.trim().is_empty())
        .flat_map(|part| paths_of_use(part.trim()))
        .map(|path| format!("{}{path}", prefix.trim()))
        .collect()
}

/// The paths that `code` imports, and those that it exports from elsewhere (`pub use`).
fn imports_and_exports(code: &str) -> (Vec<String>, Vec<String>) {
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    let code: String = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(|line| format!("{line}\n"))
        .collect();
    for statement in code.split(';') {
        let Some(at) = statement.rfind("use ") else {
            continue;
        };
        let before = statement[..at].rsplit('\n').next().unwrap().trim();
        let tree = &statement[at + "use ".len()..];
        match before {
            "" => imports.extend(paths_of_use(tree)),
            _ if before.starts_with("pub") => exports.extend(paths_of_use(tree)),
            // The word "use" in a text.
            _ => {}
        }
    }
    (imports, exports)
}

/// The module that defines what `path` in `module` refers to, through re-exports.
fn target_of(modules: &BTreeMap<String, PathBuf>, module: &str, path: &str) -> Option<String> {
    let mut segments: Vec<&str> = path.split("::").map(str::trim).collect();
    let mut full: Vec<&str> = match segments[0] {
        "crate" => Vec::new(),
        "self" | "super" => module.split('/').collect(),
        // A child module, or another crate.
        child => {
            let child = format!("{module}/{child}");
            let is_child = modules.contains_key(&child);
            return is_child.then_some(child);
        }
    };
    while ["crate", "self", "super"].contains(&segments[0]) {
        if segments.remove(0) == "super" {
            full.pop();
        }
    }
    full.extend(segments);
    let length = (1..=full.len())
        .rev()
        .find(|&length| modules.contains_key(&full[..length].join("/")))?;
    let found = full[..length].join("/");
    let item = full.get(length)?;
    let (_, exports) = imports_and_exports(&own_code(&modules[&found]));
    let export = exports.iter().find(|path| {
        let name = path.rsplit("::").next().unwrap();
        name.rsplit(" as ").next().unwrap().trim() == *item
    });
    match export {
        Some(path) => target_of(modules, &found, path).or(Some(found)),
        None => Some(found),
    }
}

/// Which files each file imports from.
fn import_graph() -> BTreeMap<String, BTreeSet<String>> {
    let modules = modules();
    modules
        .iter()
        .map(|(module, path)| {
            let (imports, _) = imports_and_exports(&own_code(path));
            let targets = imports
                .iter()
                .filter_map(|path| target_of(&modules, module, path))
                .filter(|target| target != module)
                .collect();
            (module.clone(), targets)
        })
        .collect()
}

/// A circle of imports from `from` back to itself.
fn circle_through(graph: &BTreeMap<String, BTreeSet<String>>, from: &str) -> Option<Vec<String>> {
    let mut paths: Vec<Vec<String>> = vec![vec![from.to_owned()]];
    let mut seen = BTreeSet::new();
    while let Some(path) = paths.pop() {
        for next in &graph[path.last().unwrap()] {
            let mut longer = path.clone();
            longer.push(next.clone());
            if next == from {
                return Some(longer);
            }
            if seen.insert(next.clone()) {
                paths.push(longer);
            }
        }
    }
    None
}

#[test]
fn no_files_import_from_each_other_in_a_circle() {
    let graph = import_graph();
    let edges: usize = graph.values().map(BTreeSet::len).sum();
    assert!(edges > 300, "only {edges} imports were found");
    let circles: Vec<_> = graph
        .keys()
        .filter_map(|module| circle_through(&graph, module))
        .collect();
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn a_circle_of_imports_is_found() {
    let graph = |edges: &[(&str, &str)]| {
        let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to) in edges {
            graph.entry((*to).to_owned()).or_default();
            graph
                .entry((*from).to_owned())
                .or_default()
                .insert((*to).to_owned());
        }
        graph
    };
    let chain = [("a", "b"), ("b", "c"), ("a", "c")];
    assert_eq!(circle_through(&graph(&chain), "a"), None);
    let circle = [("a", "b"), ("b", "c"), ("c", "a")];
    assert!(circle_through(&graph(&circle), "b").is_some());
    assert_eq!(
        paths_of_use("a::{b, c::{d, e}, f}"),
        ["a::b", "a::c::d", "a::c::e", "a::f"]
    );
}

#[test]
fn kafka_and_redis_are_each_used_in_one_room_only() {
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

/// Decisions about time are made by monotonic clocks and by Redis. The folders of killed servers are also locked by those that use them.
#[test]
fn the_wall_clock_of_a_server_only_labels_records() {
    let allowed = ["src/scand/finalize/record.rs", "src/masscan/folder.rs"];
    for folder in ["src/scand", "src/claim_table", "src/masscan", "src/kafka"] {
        for path in files(folder, &[".rs"]) {
            let name = shown(&path);
            let reads = own_code(&path).contains("SystemTime::now(");
            assert!(!reads || allowed.contains(&name.as_str()), "{name}");
        }
    }
}

#[test]
fn a_file_begins_with_a_comment_about_its_purpose() {
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
fn the_length_of_lines_is_bounded() {
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

/// The build needs more than a minimal image of Rust has.
#[test]
fn scripts_install_requirements_before_they_build() {
    for script in [".ci/run", "run-demo.sh", "tests/run.sh", "benches/run.sh"] {
        let text = read(&root().join(script));
        let code = || {
            text.lines()
                .filter(|line| !line.trim_start().starts_with('#'))
        };
        let setup = code().position(|line| line.contains("setup.sh"));
        let build = code().position(|line| {
            ["clippy", "build", "test"]
                .iter()
                .any(|command| line.contains(&format!("cargo {command} ")))
        });
        assert!(setup.is_some() && setup < build, "{script}");
    }
}

/// The commands that `scanpush -h` lists, one in each line after a heading.
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

/// The flags that a help text lists, such as `-group NAME`.
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

/// The page of the flags that both programs take.
fn connections() -> String {
    read(&root().join("docs/connections.md"))
}

#[test]
fn the_flag_table_of_scand_matches_its_help() {
    let help = help_of(env!("CARGO_BIN_EXE_scand"), &["-h"]);
    let pages = [read(&root().join("docs/scand.md")), connections()].concat();
    assert_eq!(flags_in_tables(&pages), flags_in_help(&help));
}

#[test]
fn the_flag_table_of_push_matches_its_help() {
    let help = help_of(env!("CARGO_BIN_EXE_scanpush"), &["push", "-h"]);
    let pages = [read(&root().join("docs/scanpush.md")), connections()].concat();
    assert_eq!(flags_in_tables(&pages), flags_in_help(&help));
}

#[test]
fn the_documentation_names_every_command_and_flag_of_scanpush() {
    let web = read(&root().join("docs/web.md"));
    let page = [read(&root().join("docs/scanpush.md")), connections(), web].concat();
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
fn the_readme_is_short_and_local_links_are_valid() {
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

/// So that each sentence about security has a test, and none names a test that was renamed.
#[test]
fn each_row_of_the_security_page_names_a_test_or_is_not_enforced() {
    let page = read(&root().join("docs/security.md"));
    let mut sources = files("src", &[".rs"]);
    sources.extend(files("tests", &[".rs"]));
    let sources: String = sources.iter().map(|path| read(path)).collect();
    let (mut has_proofs, mut rows) = (false, 0);
    for line in page.lines() {
        let Some(inside) = line.strip_prefix("| ") else {
            has_proofs &= line.starts_with("|--");
            continue;
        };
        let last = inside.trim_end_matches([' ', '|']).rsplit(" | ").next();
        let proof = last.unwrap();
        if proof == "proof" {
            has_proofs = true;
        } else if has_proofs {
            rows += 1;
            if proof == "not enforced" {
                continue;
            }
            for name in proof.split(", ") {
                let name = name
                    .strip_prefix('`')
                    .and_then(|name| name.strip_suffix('`'));
                let name =
                    name.unwrap_or_else(|| panic!("no test and not \"not enforced\": {line}"));
                let exists = sources.contains(&format!("fn {name}("))
                    || sources.contains(&format!("\"{name}\""));
                assert!(exists, "there is no test {name}: {line}");
            }
        }
    }
    assert!(rows > 20, "only {rows} rows");
}

/// The value of a constant's expression: products, shifts and `Duration`s of numbers, in seconds or without a unit.
fn value_of_expression(expression: &str) -> Option<f64> {
    let expression = expression.trim();
    for (constructor, seconds) in [
        ("Duration::from_secs(", 1.0),
        ("Duration::from_millis(", 1e-3),
    ] {
        if let Some(inside) = expression.strip_prefix(constructor) {
            return Some(value_of_expression(inside.strip_suffix(')')?)? * seconds);
        }
    }
    if let Some((number, shift)) = expression.split_once("<<") {
        return Some(value_of_expression(number)? * value_of_expression(shift)?.exp2());
    }
    expression
        .split('*')
        .map(|factor| factor.trim().replace('_', "").parse::<f64>().ok())
        .product()
}

/// The value of a limit as the documentation writes it: `4 096 each`, `64 MiB`, `2^24`, `30 d`.
fn value_in_documentation(text: &str) -> Option<f64> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && !"^ ".contains(c))
        .unwrap_or(text.len());
    let number = text[..end].replace(' ', "");
    let number = match number.split_once('^') {
        Some((base, exponent)) => base.parse::<f64>().ok()?.powf(exponent.parse().ok()?),
        None => number.parse().ok()?,
    };
    let unit = match text[end..].trim() {
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        "d" => 86_400.0,
        _ => 1.0,
    };
    Some(number * unit)
}

#[test]
fn the_documented_limits_match_the_code() {
    let sources: String = files("src", &[".rs"])
        .iter()
        .map(|path| own_code(path))
        .collect();
    let page = read(&root().join("docs/limits.md"));
    let mut rows = 0;
    for row in page.lines().filter(|line| line.ends_with("` |")) {
        rows += 1;
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [_, limit, constant] = cells[..] else {
            panic!("{row}");
        };
        let name = constant.trim_matches(['`', ' ']);
        let definition = sources
            .split(&format!("const {name}: "))
            .nth(1)
            .unwrap_or_else(|| panic!("there is no constant {name}"));
        let expression = definition.split_once('=').unwrap().1.split(';').next();
        let value = value_of_expression(expression.unwrap());
        assert!(value.is_some(), "{name}: {expression:?}");
        assert_eq!(value, value_in_documentation(limit), "{name}: {limit}");
    }
    assert!(rows > 30, "only {rows} limits were found");
}

#[test]
fn no_path_of_a_developers_machine_is_named() {
    let folders = ["src", "tests", "benches", "docs", "packaging", ".ci"];
    let endings = [
        ".rs", ".lua", ".sh", ".md", ".yml", ".toml", ".service", ".env", ".conf", "rotate", "run",
    ];
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

/// Otherwise an outdated mutation would only be noticed when all of them are run, which takes hours.
#[test]
fn each_mutation_applies_and_its_tests_exist() {
    let script = root().join("tests/mutations.sh");
    let output = Command::new("bash")
        .arg(script)
        .arg("check")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
}

/// Where the metrics of each program are registered, by their whole names.
const METRICS: [(&str, &str); 2] = [
    ("scand_", "src/scand/metrics"),
    ("scanpush_", "src/scanpush/serve/metrics"),
];

/// The words of `text` that are names of metrics with this prefix.
fn metrics_in(text: &str, prefix: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with(prefix))
        .map(str::to_owned)
        .collect()
}

/// The metrics that the source files register: string literals that are names of metrics.
fn registered_metrics(place: &str, prefix: &str) -> BTreeSet<String> {
    let mut sources = files(place, &[".rs"]);
    sources.extend(Some(root().join(format!("{place}.rs"))).filter(|path| path.exists()));
    let mut found = BTreeSet::new();
    for path in sources {
        let code = own_code(&path);
        let literals = code.split('"').skip(1).step_by(2);
        found.extend(
            literals
                .filter(|text| text.starts_with(prefix) && !text.contains(' '))
                .map(str::to_owned),
        );
    }
    found
}

#[test]
fn alerts_dashboard_and_documentation_name_metrics_that_exist() {
    let page = read(&root().join("docs/monitoring.md"));
    let queries = ["alerts.yml", "grafana-dashboard.json"]
        .map(|name| read(&root().join("docs/monitoring").join(name)))
        .concat();
    for (prefix, place) in METRICS {
        let rows = page.lines().filter(|line| line.starts_with("| `"));
        let documented: BTreeSet<String> = rows
            .filter_map(|row| row.strip_prefix("| `")?.split(['`', '{']).next())
            .filter(|name| name.starts_with(prefix))
            .map(str::to_owned)
            .collect();
        assert!(documented.len() > 5, "{documented:?}");
        let registered = registered_metrics(place, prefix);
        assert_eq!(registered, documented, "docs/monitoring.md and {place}");
        for name in metrics_in(&queries, prefix) {
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| name.strip_suffix(suffix));
            let is_known =
                documented.contains(&name) || base.is_some_and(|base| documented.contains(base));
            assert!(is_known, "docs/monitoring.md does not list {name}");
        }
    }
    let alerts = read(&root().join("docs/monitoring/alerts.yml"));
    let mut count = 0;
    for line in alerts.lines() {
        if let Some(name) = line.trim().strip_prefix("- alert: ") {
            count += 1;
            let row = format!("| `{name}` |");
            assert!(page.contains(&row), "docs/monitoring.md lacks {name}");
        }
    }
    assert!(count >= 8, "only {count} alerts");
}

fn compose() -> Yaml {
    let text = read(&root().join("docker-compose.yml"));
    YamlLoader::load_from_str(&text).unwrap().remove(0)
}

#[test]
fn compose_starts_kafka_and_a_persistent_redis_on_localhost() {
    let file = compose();
    let services = &file["services"];
    assert_eq!(
        services["kafka"]["image"].as_str(),
        Some("apache/kafka:${SCAN_KAFKA_VERSION:-3.9.1}")
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
fn compose_has_prometheus_and_grafana_behind_a_profile() {
    let file = compose();
    for (name, port) in [("prometheus", "9090"), ("grafana", "3000")] {
        let service = &file["services"][name];
        assert_eq!(service["profiles"][0].as_str(), Some("monitoring"));
        let ports = service["ports"].as_vec().unwrap();
        for address in ports {
            let address = address.as_str().unwrap();
            assert!(address.starts_with("127.0.0.1:") && address.ends_with(port));
        }
        for config in service["configs"].as_vec().unwrap() {
            let source = config["source"].as_str().unwrap();
            let known = &file["configs"][source];
            assert!(!known.is_badvalue(), "{name}: {source}");
            if let Some(path) = known["file"].as_str() {
                assert!(root().join(path).exists(), "{path}");
            }
        }
    }
    let text = file["configs"]["prometheus"]["content"].as_str().unwrap();
    let config = YamlLoader::load_from_str(text).unwrap().remove(0);
    assert_eq!(
        config["scrape_configs"][0]["job_name"].as_str(),
        Some("scand")
    );
}

#[test]
fn servers_in_compose_have_only_the_net_raw_capability() {
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
        dockerfile.contains("FROM rust:1-bookworm AS build"),
        "the slim image cannot build librdkafka"
    );
    assert!(
        dockerfile.contains("masscan libpcap0.8"),
        "masscan loads libpcap at run time"
    );
    assert_eq!(
        file["networks"]["targets"]["internal"].as_bool(),
        Some(true),
        "no route out"
    );
}

/// The words in quotes on the lines of deny.toml between `begin` and the next line that is `]`.
fn words_of_deny(begin: &str) -> Vec<String> {
    let text = read(&root().join("deny.toml"));
    let lines = text.lines().skip_while(|line| *line != begin).skip(1);
    lines
        .take_while(|line| *line != "]")
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| Some(line.split('"').nth(1)?.to_owned()))
        .collect()
}

/// Whether `allowed` permits a licence expression: alternatives with `OR` or `/`, all of several with `AND`, parentheses.
fn is_permitted(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.trim();
    // The parts between `word` outside of parentheses.
    let split = |word: &str| {
        let (mut depth, mut begin, mut parts) = (0, 0, Vec::new());
        for (at, c) in expression.char_indices() {
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ if depth == 0 && at >= begin && expression[at..].starts_with(word) => {
                    parts.push(&expression[begin..at]);
                    begin = at + word.len();
                }
                _ => {}
            }
        }
        parts.push(&expression[begin..]);
        parts
    };
    for word in [" OR ", "/"] {
        let parts = split(word);
        if parts.len() > 1 {
            return parts.iter().any(|part| is_permitted(part, allowed));
        }
    }
    let parts = split(" AND ");
    if parts.len() > 1 {
        return parts.iter().all(|part| is_permitted(part, allowed));
    }
    match expression
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(')'))
    {
        Some(inside) => is_permitted(inside, allowed),
        None => allowed.iter().any(|licence| licence == expression),
    }
}

#[test]
fn a_licence_expression_is_permitted_or_not() {
    let allowed = ["MIT", "ISC"].map(str::to_owned);
    for (expression, permitted) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("Apache-2.0 / MIT", true),
        ("GPL-3.0 AND MIT", false),
        ("(GPL-3.0 OR MIT) AND ISC", true),
        ("(GPL-3.0 OR Zlib) AND ISC", false),
    ] {
        assert_eq!(
            is_permitted(expression, &allowed),
            permitted,
            "{expression}"
        );
    }
}

/// What `cargo deny check licenses bans sources` checks, for machines without cargo-deny.
#[test]
fn each_dependency_is_permitted_by_deny_toml() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let (banned, licences) = (words_of_deny("deny = ["), words_of_deny("allow = ["));
    assert!(banned.iter().any(|name| name == "tokio") && licences.len() > 5);
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100, "{}", packages.len());
    let mut wrong = Vec::new();
    for package in packages {
        let field = |name: &str| package[name].as_str().unwrap_or_default();
        let (name, licence, source) = (field("name"), field("license"), field("source"));
        if banned.iter().any(|banned| banned == name) {
            wrong.push(format!("{name} is banned"));
        }
        if !is_permitted(licence, &licences) {
            wrong.push(format!("{name}: its licence is {licence:?}"));
        }
        if !source.is_empty() && !source.contains("github.com/rust-lang/crates.io-index") {
            wrong.push(format!("{name} comes from {source}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The service's settings, and the exposure that systemd computes from them. Skipped with a line if systemd-analyze is not installed.
#[test]
fn the_service_is_valid_and_exposed_no_more_than_2_0() {
    let unit = root().join("packaging/scand.service");
    let text = read(&unit);
    for setting in [
        "AmbientCapabilities=CAP_NET_RAW",
        "CapabilityBoundingSet=CAP_NET_RAW",
        "User=scand",
    ] {
        assert!(text.lines().any(|line| line == setting), "{setting}");
    }
    let analyze = |words: &[&str], unit: &Path| {
        let mut command = Command::new("systemd-analyze");
        let output = command.args(words).arg(unit).output().ok()?;
        let bytes = [output.stdout, output.stderr].concat();
        Some(String::from_utf8(bytes).unwrap())
    };
    let Some(security) = analyze(&["security", "--offline=yes", "--no-pager"], &unit) else {
        println!("skipped: systemd-analyze is not installed (apt install systemd)");
        return;
    };
    let level = security.split("Overall exposure level for scand.service: ");
    let level: Option<f64> = level
        .last()
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    assert!(level.is_some_and(|level| level <= 2.0), "{security}");

    // With a program that exists, so that it is the settings that are checked.
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("scand.service");
    let program = env!("CARGO_BIN_EXE_scand");
    fs::write(&copy, text.replace("/usr/local/bin/scand", program)).unwrap();
    let faults = analyze(&["verify", "--man=no"], &copy).unwrap();
    assert!(!faults.contains("scand.service"), "{faults}");
}
