//! The command line of scanpush: exit code, stdout, stderr. Without Kafka and Redis: the commands do not need them, or must fail because they are
//! unreachable.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::ffi::OsStringExt;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long a command may take to report that a peer refuses the connection or does not answer, with a margin for a busy machine.
const REFUSED_WITHIN: Duration = Duration::from_secs(5);
const SILENT_WITHIN: Duration = Duration::from_secs(6);

fn scanpush<A: Into<OsString>>(line: impl IntoIterator<Item = A>) -> Output {
    command()
        .args(line.into_iter().map(Into::into))
        .output()
        .expect("the binary that cargo just built starts")
}

/// scanpush without the environment variables that it reads.
fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scanpush"));
    command.stdin(Stdio::null());
    for name in [
        "SCAN_KAFKA",
        "SCAN_REDIS",
        "SCAN_GROUP",
        "SCAN_DB",
        "SCAN_DB_PASSWORD",
    ] {
        command.env_remove(name);
    }
    command
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("scanpush prints UTF-8")
}

/// A valid command line with the flags of `changed`. Its Kafka address refuses connections, so that a push that wrongly gets that far has another
/// exit code.
fn push_with(changed: &[&str]) -> Vec<String> {
    let mut line = vec!["-kafka=127.0.0.1:1".to_owned()];
    for (flag, value) in [("-ip", "172.16.0.0/24"), ("-ports", "443")] {
        if !changed.iter().any(|word| word.starts_with(flag)) {
            line.extend([flag.to_owned(), value.to_owned()]);
        }
    }
    line.extend(changed.iter().map(|word| (*word).to_owned()));
    line
}

#[track_caller]
fn assert_usage_error<A: Into<OsString>>(line: impl IntoIterator<Item = A>, named: &[&str]) {
    let line: Vec<OsString> = line.into_iter().map(Into::into).collect();
    let output = scanpush(line.clone());
    let err = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{line:?}: {err}");
    assert_eq!(text(&output.stdout), "", "{line:?}");
    assert!(
        err.starts_with("scanpush: ") && err.ends_with('\n') && err.lines().count() == 1,
        "{line:?}: {err:?}"
    );
    for name in named {
        assert!(err.contains(name), "{line:?} lacks {name:?}: {err}");
    }
}

#[test]
fn an_invalid_value_is_reported_in_one_line_with_flag_value_and_remedy() {
    for (changed, named) in [
        (&["-ip", "here"][..], &["-ip: \"here\"", "10.0.0.0/24"][..]),
        (
            &["-ip", "scanme.example.org"],
            &["-ip: \"scanme.example.org\"", "host name"],
        ),
        (&["-ip", "10.0.0.0/33"], &["-ip: \"10.0.0.0/33\"", "is not"]),
        (&["-ip", "5-1"], &["-ip: \"5-1\"", "is not"]),
        (
            &["-ip", "10.0.0.5-10.0.0.1"],
            &["-ip: \"10.0.0.5-10.0.0.1\"", "lower address first"],
        ),
        (&["-ip", "256.0.0.1"], &["-ip: \"256.0.0.1\"", "is not"]),
        (
            &["-ip", "10.0.0.1,,10.0.0.2"],
            &["-ip: \"10.0.0.1,,10.0.0.2\"", "empty entry"],
        ),
        (&["-ip", ","], &["-ip: \",\"", "empty entry"]),
        (&["-ip", ""], &["-ip: \"\"", "TARGETS"]),
        (&["-ip="], &["-ip: \"\"", "TARGETS"]),
        (&["-ip=--banners"], &["-ip: \"--banners\"", "is not"]),
        (
            &["-ip", "10.0.0.1;reboot"],
            &["-ip: \"10.0.0.1;reboot\"", "is not"],
        ),
        (
            &["-ip", "10.0.0.1\n10.0.0.2"],
            &["-ip: \"10.0.0.1\\n10.0.0.2\"", "is not"],
        ),
        (&["-ports", "0"], &["-ports: \"0\"", "1 to 65535"]),
        (&["-ports", "70000"], &["-ports: \"70000\"", "1 to 65535"]),
        (&["-ports", "5-1"], &["-ports: \"5-1\"", "lower port first"]),
        (&["-ports", "http"], &["-ports: \"http\"", "80,443"]),
        (&["-ports", ""], &["-ports: \"\"", "80,443"]),
        (&["-ports", " "], &["-ports: \" \" has an empty", "80,443"]),
        (&["-ports", ","], &["-ports: \",\" has an empty", "80,443"]),
        (
            &["-ports", "443,"],
            &["-ports: \"443,\" has an empty entry", "80,443"],
        ),
        (&["-ip", "::/0"], &["-ip: \"::/0\"", "more than 2^56"]),
        (
            &["-bandwidth", "0"],
            &["-bandwidth: \"0\"", "800, 10k or 1.5m"],
        ),
        (
            &["-bandwidth", "fast"],
            &["-bandwidth: \"fast\"", "800, 10k or 1.5m"],
        ),
        (
            &["-bandwidth=-5"],
            &["-bandwidth: \"-5\"", "800, 10k or 1.5m"],
        ),
        (&["-priority", "10"], &["-priority: \"10\"", "0 to 9"]),
        (&["-retries", "many"], &["-retries: \"many\"", "0 to 16"]),
        (&["-wait", "soon"], &["-wait: \"soon\"", "0 to 600"]),
        (&["-attempts", "0"], &["-attempts: \"0\"", "1 to 100"]),
        (&["-timeout", "1w"], &["-timeout: \"1w\"", "2h"]),
        (&["-id", "two words"], &["-id: \"two words\"", "no spaces"]),
        (
            &["-kafka", "localhost:0"],
            &["-kafka: \"localhost:0\"", "65535"],
        ),
        (&["-redis", "localhost"], &["-redis: ", "redis://"]),
        (&["-topic", "a b"], &["-topic: \"a b\"", "1 to 249"]),
        (&["-group", "{a}"], &["-group: \"{a}\"", "1 to 64"]),
    ] {
        let mut line = push_with(changed);
        // Otherwise -kafka would be given twice.
        if changed[0].starts_with("-kafka") {
            line.remove(0);
        }
        assert_usage_error(line, named);
    }
}

#[test]
fn an_invalid_command_line_is_reported_in_one_line_with_word_and_remedy() {
    for (changed, named) in [
        (
            &["-prots", "80"][..],
            &["\"-prots\"", "did you mean -ports?"][..],
        ),
        (&["--banners"], &["\"-banners\"", "-help"]),
        (&["-priority"], &["-priority: has no value", "0 to 9"]),
        (
            &["-priority", "-json"],
            &["-priority: \"-json\"", "-priority N"],
        ),
        (
            &["-priority", "1", "--priority=2"],
            &["-priority: is given twice", "\"1\" and \"2\""],
        ),
        (&["10.0.0.9"], &["\"10.0.0.9\"", "commas"]),
        (&["-json", "yes", "please"], &["\"yes\""]),
        (&["-json=yes"], &["-json: \"yes\"", "no value"]),
    ] {
        assert_usage_error(push_with(changed), named);
    }
    assert_usage_error(["-ports", "80"], &["give -ip TARGETS or -iL FILE"]);
    assert_usage_error(
        ["-ip", "10.0.0.1"],
        &["-ports: is required", "-ports PORTS"],
    );
    assert_usage_error(
        ["-ip", "10.0.0.1", "-ports"],
        &["-ports: has no value", "-ports PORTS"],
    );
    assert_usage_error([""; 0], &["give -ip TARGETS or -iL FILE (scanpush -help)"]);
    assert_usage_error(
        push_with(&["-id", ""]),
        &["-id: \"\" is an empty value: write -id ID"],
    );
    assert_usage_error(["statsu"], &["\"statsu\"", "did you mean status?"]);
    assert_usage_error(["172.16.0.0/24"], &["\"172.16.0.0/24\"", "-ip TARGETS"]);
    assert_usage_error(["status", "a b"], &["\"a b\" is not an id"]);
    assert_usage_error(["status", "-ip", "10.0.0.1"], &["\"-ip\"", "-help"]);
    assert_usage_error(
        [
            OsString::from("-ip"),
            OsString::from_vec(b"10.0.0.1\xff".to_vec()),
        ],
        &["-ip: ", "is not UTF-8"],
    );
}

#[test]
fn help_and_version_go_to_stdout() {
    for line in [
        &["-help"][..],
        &["-h"],
        &["--help"],
        &["status", "-help"],
        &["-version"],
        &["help"],
        &["help", "status"],
        &["version"],
    ] {
        let output = scanpush(line);
        assert_eq!(output.status.code(), Some(0), "{line:?}");
        assert!(
            !output.stdout.is_empty() && output.stderr.is_empty(),
            "{line:?}"
        );
    }
}

/// Requires that the command fails in time with one line that names `address` and `reason`.
#[track_caller]
fn assert_unreachable(line: &[&str], address: &str, reason: &str, within: Duration) {
    let start = Instant::now();
    let output = scanpush(line.iter().copied());
    let (took, err) = (start.elapsed(), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert_eq!(text(&output.stdout), "");
    assert!(took < within, "{took:?}: {err}");
    assert!(
        err.contains(address) && err.to_lowercase().contains(reason),
        "{err}"
    );
    assert!(
        err.starts_with("scanpush: ") && err.lines().count() == 1,
        "{err}"
    );
    for debug in ["Error", "Os {", "Some(", "os error", "kind:", "panicked"] {
        assert!(!err.contains(debug), "{err}");
    }
}

/// A port of this machine that refuses connections.
fn refusing_port() -> u16 {
    listener()
        .local_addr()
        .expect("a listener has an address")
        .port()
}

fn listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("some port of this machine is free")
}

#[test]
fn an_address_that_refuses_is_named_with_the_reason() {
    let address = format!("127.0.0.1:{}", refusing_port());
    let kafka = ["-ip=172.16.0.1", "-ports=443", "-kafka", &address];
    assert_unreachable(&kafka, &address, "connection refused", REFUSED_WITHIN);
    let redis = ["status", "-redis", &format!("redis://{address}")];
    assert_unreachable(&redis, &address, "connection refused", REFUSED_WITHIN);
}

#[test]
fn a_peer_that_does_not_answer_times_out() {
    let silent = listener();
    let address = silent
        .local_addr()
        .expect("a listener has an address")
        .to_string();
    let kafka = ["-ip=172.16.0.1", "-ports=443", "-kafka", &address];
    assert_unreachable(&kafka, &address, "no answer", SILENT_WITHIN);
    let redis = ["status", "-redis", &format!("redis://{address}")];
    assert_unreachable(&redis, &address, "did not answer in time", SILENT_WITHIN);
}

#[test]
fn a_host_that_does_not_resolve_is_named_with_the_reason() {
    // RFC 6761: .invalid never resolves.
    let kafka = [
        "-ip=172.16.0.1",
        "-ports=443",
        "-kafka",
        "kafka.invalid:9092",
    ];
    assert_unreachable(&kafka, "kafka.invalid:9092", "name", REFUSED_WITHIN);
    let redis = ["status", "-redis", "redis://redis.invalid"];
    assert_unreachable(&redis, "redis.invalid:6379", "name", REFUSED_WITHIN);
}

/// A file in a temporary folder, which is removed on drop.
fn file(name: &str, text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let path = folder.path().join(name);
    std::fs::write(&path, text).expect("the folder is new");
    let path = path.to_str().expect("temporary folders have plain names");
    (folder, path.to_owned())
}

#[test]
fn all_invalid_lines_of_files_are_named() {
    let (_folder, one) = file("targets.txt", "10.0.0.1\n# a\n10.0.0/8\n");
    let named = "targets.txt:3: \"10.0.0/8\" is not an address, a CIDR block or a range";
    assert_usage_error(
        ["-iL", &one, "-ports", "80", "-kafka=127.0.0.1:1"],
        &["-iL: ", named],
    );
    let (_folder, many) = file("never.txt", &"x\n".repeat(30));
    let output = scanpush([
        "-iL",
        &one,
        "-excludefile",
        &many,
        "-ports",
        "80",
        "-kafka=127.0.0.1:1",
    ]);
    let err = text(&output.stderr);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), ""));
    assert_eq!(err.lines().count(), 21, "{err}");
    assert!(
        err.lines()
            .next()
            .is_some_and(|line| line.ends_with(named) || line.contains(named)),
        "{err}"
    );
    assert!(
        err.contains("-excludefile: ") && err.contains("never.txt:19: \"x\" is not"),
        "{err}"
    );
    assert!(
        err.ends_with("scanpush: 31 errors, the first 20 of them above: nothing was sent\n"),
        "{err}"
    );
}

#[test]
fn a_dry_run_needs_neither_kafka_nor_redis() {
    let (_folder, list) = file("targets.txt", "10.0.0.0/24 # ours\n10.0.0.9\n10.1.0.0/24\n");
    let line = [
        "-iL",
        &list,
        "-exclude=10.0.0.7",
        "-ports=443",
        "-dry-run",
        "-kafka=127.0.0.1:1",
    ];
    let output = scanpush(line);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{err}");
    assert!(
        err.starts_with("scanpush: 1 of 3 targets overlap others"),
        "{err}"
    );
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 5, "{out}");
    assert!(
        lines[0].ends_with("  255 addresses, 255 probes, 11 s at 1000 packets per second"),
        "{out}"
    );
    assert!(
        lines[1].starts_with("  masscan -oD - --range 10.0.0.0/24 -p 443 --rate 1000 "),
        "{out}"
    );
    assert!(lines[1].ends_with(" --exclude 10.0.0.7"), "{out}");
    assert_eq!(
        lines[4],
        "2 tasks, 511 addresses, 511 probes, 11 s at 1000 packets per second; nothing was sent"
    );
    let json = scanpush(line.iter().copied().chain(["-json"]));
    let records: Vec<serde_json::Value> = text(&json.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect();
    assert_eq!(records.len(), 2);
    assert_eq!(records[0]["exclude"], "10.0.0.7");
    assert_eq!(records[0]["probes"], 255);
    assert_eq!(records[0]["job_id"], records[1]["job_id"]);
    // The same tasks again, from standard input.
    let mut again = command()
        .args(["-resume-push=-", "-dry-run", "-json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary that cargo just built starts");
    std::io::Write::write_all(
        &mut again.stdin.take().expect("it was asked for"),
        &json.stdout,
    )
    .expect("scanpush reads its input");
    let again = again
        .wait_with_output()
        .expect("the child was started here");
    assert_eq!(text(&again.stdout), text(&json.stdout));
}

#[test]
fn a_large_push_without_a_terminal_needs_a_flag() {
    let line = ["-ip=10.0.0.0/7", "-ports=80,443", "-kafka=127.0.0.1:1"];
    let need = [
        "16777216 addresses need -yes",
        "33554432 addresses, 67108864 probes",
        "18 h 38 min at 1000",
    ];
    assert_usage_error(line, &need);
    // With -yes the push starts, and fails because Kafka is unreachable.
    let output = scanpush(line.iter().copied().chain(["-yes"]));
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
}

/// Starts scanpush on a terminal.
fn start_on_a_terminal(line: &[&str]) -> (Child, std::fs::File) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("there is a pseudo-terminal");
    grantpt(&ours)
        .and_then(|()| unlockpt(&ours))
        .expect("it is ours");
    let name = ptsname(&ours, Vec::new()).expect("it has a name");
    let name = name.to_str().expect("terminals have plain names");
    let theirs = || {
        let opened = std::fs::File::options().read(true).write(true).open(name);
        Stdio::from(opened.expect("the other end is there"))
    };
    let child = command()
        .args(line)
        .stdin(theirs())
        .stdout(theirs())
        .stderr(theirs())
        .spawn()
        .expect("the binary that cargo just built starts");
    (child, std::fs::File::from(ours))
}

/// Runs scanpush on a terminal and types `answer`. Returns what the terminal shows, and the exit code.
fn on_a_terminal(line: &[&str], answer: &str) -> (String, Option<i32>) {
    let (mut child, mut ours) = start_on_a_terminal(line);
    ours.write_all(answer.as_bytes())
        .expect("a terminal takes what is typed");
    let status = child.wait().expect("the child was started here");
    let mut shown = Vec::new();
    // Reading fails when the other end is closed.
    let _ = ours.read_to_end(&mut shown);
    (String::from_utf8_lossy(&shown).into_owned(), status.code())
}

#[test]
fn a_large_push_on_a_terminal_must_be_confirmed() {
    let line = ["-ip=10.0.0.0/7", "-ports=80", "-kafka=127.0.0.1:1"];
    let (shown, code) = on_a_terminal(&line, "no\n");
    assert_eq!(code, Some(1), "{shown}");
    for part in [
        "This push has 33554432 addresses, 33554432 probes, 9 h 19 min",
        "Type yes to push it: ",
        "nothing was sent",
    ] {
        assert!(shown.contains(part), "{shown}");
    }
    let (shown, code) = on_a_terminal(&line, "yes\n");
    assert_eq!(code, Some(1), "{shown}");
    assert!(
        shown.contains("connection refused"),
        "the push started: {shown}"
    );
    let (shown, _) = on_a_terminal(&["-ip=10.0.0.0/8", "-ports=80", "-kafka=127.0.0.1:1"], "");
    assert!(!shown.contains("Type yes"), "{shown}");
}

#[test]
fn environment_variables_replace_missing_flags() {
    let run = |line: &[&str], variables: &[(&str, &str)]| {
        let output = command()
            .args(line)
            .envs(variables.iter().copied())
            .output()
            .expect("the binary that cargo just built starts");
        let err = text(&output.stderr).to_owned();
        (output.status.code(), err)
    };
    let push = ["-ip=10.0.0.1", "-ports=80"];
    let refusing = format!("127.0.0.1:{}", refusing_port());
    let (code, err) = run(&push, &[("SCAN_KAFKA", &refusing)]);
    assert!(code == Some(1) && err.contains(&refusing), "{err}");
    let flag = format!("-kafka={refusing}");
    let (code, err) = run(
        &[push[0], push[1], &flag],
        &[("SCAN_KAFKA", "not:a:broker")],
    );
    assert!(
        code == Some(1) && err.contains(&refusing),
        "the flag takes precedence: {err}"
    );
    for (name, value) in [
        ("SCAN_KAFKA", "x:0"),
        ("SCAN_REDIS", "x"),
        ("SCAN_GROUP", "a b"),
    ] {
        let (code, err) = run(&push, &[(name, value)]);
        assert_eq!(code, Some(2), "{err}");
        assert!(
            err.starts_with(&format!("scanpush: {name}: ")) && err.lines().count() == 1,
            "{err}"
        );
        let scand = Command::new(env!("CARGO_BIN_EXE_scand"))
            .env(name, value)
            .stdin(Stdio::null())
            .output()
            .expect("the binary that cargo just built starts");
        assert_eq!(scand.status.code(), Some(2));
        assert!(
            text(&scand.stderr).contains(&format!("{name}: ")),
            "{}",
            text(&scand.stderr)
        );
    }
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_scanpush"))
        .arg("-help")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary that cargo just built starts");
    drop(child.stdout.take());
    let mut err = String::new();
    let mut stderr = BufReader::new(child.stderr.take().expect("it was asked for"));
    stderr.read_to_string(&mut err).expect("stderr is UTF-8");
    let status = child.wait().expect("the child was started here");
    assert_eq!((status.code(), err.as_str()), (Some(0), ""));
    assert_eq!(stderr.fill_buf().expect("stderr is at its end").len(), 0);
}

#[test]
fn a_missing_or_foreign_database_is_one_line() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let foreign = folder.path().join("foreign.db");
    std::fs::write(
        &foreign,
        "not a database, but a text that is long enough to be read",
    )
    .expect("the folder is new");
    let missing = format!("sqlite:{}", folder.path().join("none.db").display());
    let foreign = format!("sqlite:{}", foreign.display());
    for line in [
        &["services"][..],
        &["changes"],
        &["host", "10.0.0.1"],
        &["diff", "a", "b"],
        &["status", "abcd", "-redis", "redis://127.0.0.1:1"],
    ] {
        for (url, cause) in [
            (&missing, "the file does not exist"),
            (&foreign, "the file is not an SQLite database"),
        ] {
            let output = scanpush([line, &["-db", url]].concat());
            let err = text(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{line:?}: {err}");
            assert_eq!(text(&output.stdout), "", "{line:?}");
            let last = err.lines().last().unwrap_or_default();
            assert!(
                last.starts_with("scanpush: database sqlite:") && last.contains(cause),
                "{line:?}: {err}"
            );
            let lines = if line[0] == "status" { 2 } else { 1 };
            assert_eq!(err.lines().count(), lines, "{line:?}: {err}");
        }
    }
    assert!(!folder.path().join("none.db").exists());
}

#[test]
fn the_page_is_not_for_everybody_on_other_machines() {
    let remedy = "-auth-file FILE";
    for (words, named) in [
        (
            &["-http", "0.0.0.0:0"][..],
            &["-http: \"0.0.0.0:0\"", remedy][..],
        ),
        (
            &["-http", "[::]:0"],
            &[remedy, "-trust-header NAME", "-trust-proxy ADDRESS"],
        ),
        (
            &["-trust-header", "X-User"],
            &["-trust-header: needs -trust-proxy"],
        ),
        (
            &["-trust-proxy", "::1"],
            &["-trust-proxy: needs -trust-header"],
        ),
        (
            &["-auth-file", "none.auth"],
            &["-auth-file: \"none.auth\" does not exist"],
        ),
    ] {
        assert_usage_error([&["serve"], words].concat(), named);
    }
    let (_folder, path) = file("auth", "# people\nanna:secret\n");
    let output = scanpush(["serve", "-auth-file", &path]);
    let err = text(&output.stderr);
    assert!(err.contains("every user of this machine can read"), "{err}");
    assert!(
        err.contains("line 2: is not user NAME HASH") && !err.contains("secret"),
        "{err}"
    );
}

#[test]
fn users_and_tokens_are_made_without_a_terminal() {
    let mut child = command()
        .args(["auth", "user", "anna", "-right", "read"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"correct horse\n").unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let line = text(&output.stdout);
    assert!(
        output.status.success() && line.starts_with("user anna $argon2id$v=19$"),
        "{line}"
    );
    assert!(
        line.ends_with(" read\n") && !line.contains("horse"),
        "{line}"
    );

    let output = scanpush(["auth", "token", "ci"]);
    let (line, token) = (text(&output.stdout), text(&output.stderr));
    assert!(
        line.starts_with("token ci ") && line.ends_with(" change\n"),
        "{line}"
    );
    let token = token.split("scanpush_").nth(1).unwrap().trim();
    assert!(token.len() == 64 && !line.contains(token), "{token}");
    assert_usage_error(["auth", "user", "an na"], &["\"an na\" is not a name"]);
    // Standard input is empty.
    assert_usage_error(["auth", "user", "anna"], &["less than 8 characters"]);
}

#[test]
fn a_password_is_not_shown_on_a_terminal() {
    for (second, code) in [("correct horse", 0), ("correct house", 2)] {
        let (mut child, mut ours) = start_on_a_terminal(&["auth", "user", "anna"]);
        let mut shown = Vec::new();
        for (question, answer) in [("Password: ", "correct horse"), ("Again: ", second)] {
            while !String::from_utf8_lossy(&shown).ends_with(question) {
                let mut byte = [0];
                ours.read_exact(&mut byte).unwrap();
                shown.push(byte[0]);
            }
            ours.write_all(format!("{answer}\n").as_bytes()).unwrap();
        }
        assert_eq!(child.wait().unwrap().code(), Some(code));
        let _ = ours.read_to_end(&mut shown);
        let shown = String::from_utf8_lossy(&shown);
        assert!(!shown.contains("correct"), "{shown}");
        assert_eq!(shown.contains("user anna $argon2id$"), code == 0, "{shown}");
    }
}
