//! Lines of masscan's standard error: progress lines, which end with `\r`, and messages, which end with `\n`. Pure.

use crate::model::Progress;
use crate::model::text::one_line;

/// One line of standard error.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Line {
    /// A progress line.
    Progress(Progress),
    /// Any other line, as one printable line.
    Message(String),
}

/// Parses one line; none if it is blank.
pub(super) fn parse(line: &[u8]) -> Option<Line> {
    let text = String::from_utf8_lossy(line);
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    Some(match progress(text) {
        Some(progress) => Line::Progress(progress),
        None => Line::Message(one_line(text)),
    })
}

/// The last messages that may explain a failure of masscan; none if there are only those of a normal run.
pub fn cause<'a>(messages: impl Iterator<Item = &'a str>) -> Option<String> {
    /// How the messages of a normal run begin.
    const USUAL: [&str; 5] = [
        "Starting masscan",
        "Initiating ",
        "Scanning ",
        "waiting ",
        "saving resume file",
    ];
    /// Lines of a failure that are kept: `FAIL: …` and its hints.
    const KEPT_MAX: usize = 4;
    let is_usual = |line: &str| USUAL.iter().any(|start| line.starts_with(start));
    let unusual: Vec<&str> = messages.filter(|line| !is_usual(line)).collect();
    let failure = unusual.iter().rposition(|line| line.contains("FAIL"));
    // Without a FAIL line the last lines say most.
    let from = failure.unwrap_or(unusual.len().saturating_sub(2));
    let kept: Vec<&str> = unusual[from..].iter().take(KEPT_MAX).copied().collect();
    (!kept.is_empty()).then(|| one_line(&kept.join("; ")))
}

/// Whether a failure with this cause is one of the server's network that every scan would meet: masscan 1.3.2 finds no interface or no address
/// of it, or the router does not answer. (A router that does not answer for IPv6 only is not: IPv4 scans work.)
pub fn is_fault_of_network(cause: &str) -> bool {
    const FAULTS: [&str; 4] = [
        "FAIL: could not determine default interface",
        "FAIL: failed to detect MAC address of interface",
        "FAIL: failed to detect IP of interface",
        "FAIL: ARP timed-out resolving MAC address for router",
    ];
    FAULTS.iter().any(|fault| cause.contains(fault))
}

/// Whether a message says that masscan received a SIGINT. After the first one it stops sending and waits as after a complete scan;
/// the percentage does not show it, since it may have been rounded to 100.00.
pub fn is_interrupt(message: &str) -> bool {
    message.starts_with("waiting several seconds to exit")
}

/// The version in masscan's first message: `Starting masscan 1.3.2 (http://bit.ly/14GZzcT) at 2026-11-24 19:00:00 GMT`.
pub fn announced_version(message: &str) -> Option<&str> {
    message
        .strip_prefix("Starting masscan ")?
        .split_whitespace()
        .next()
}

/// The numbers of addresses and ports in `Scanning 256 hosts [2 ports/host]`, each modulo 2^32.
pub fn announced_size(message: &str) -> Option<(u32, u32)> {
    let (hosts, rest) = message.strip_prefix("Scanning ")?.split_once(" hosts [")?;
    let (ports, _) = rest.split_once(" port")?;
    Some((hosts.parse().ok()?, ports.parse().ok()?))
}

/// Reads `rate:  2.00-kpps, 20.80% done,   0:01:23 remaining, found=785` and
/// `rate:  0.00-kpps, 100.00% done, waiting 3-secs, found=208`.
fn progress(line: &str) -> Option<Progress> {
    let mut parts = line.strip_prefix("rate:")?.split(',').map(str::trim);
    let rate_pps = rate(parts.next()?)?;
    let percent: f64 = parts.next()?.strip_suffix("% done")?.trim().parse().ok()?;
    if !percent.is_finite() || percent < 0.0 {
        return None;
    }
    let mut progress = Progress {
        // The last steps of a shard pass the end of the range: `101.56% done` (measured).
        percent: percent.min(100.0),
        rate_pps,
        ..Progress::default()
    };
    for part in parts {
        if let Some(time) = part.strip_suffix(" remaining") {
            progress.remaining_s = Some(seconds_of_clock(time.trim())?);
        } else if let Some(seconds) = part.strip_prefix("waiting ") {
            progress.waiting_s = Some(seconds.strip_suffix("-secs")?.parse().ok()?);
        } else if let Some(found) = part.strip_prefix("found=") {
            progress.found = found.parse().ok()?;
        }
    }
    Some(progress)
}

/// `2.00-kpps` → 2000.
fn rate(text: &str) -> Option<f64> {
    let (number, unit) = text.split_once('-')?;
    let factor = match unit {
        "pps" => 1.0,
        "kpps" => 1e3,
        "mpps" => 1e6,
        _ => return None,
    };
    let rate = number.trim().parse::<f64>().ok()? * factor;
    (rate.is_finite() && rate >= 0.0).then_some(rate)
}

/// `0:01:23` → 83.
fn seconds_of_clock(text: &str) -> Option<u64> {
    text.split(':').try_fold(0u64, |sum, part| {
        sum.checked_mul(60)?.checked_add(part.trim().parse().ok()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SENDING: &str = "rate:  2.00-kpps, 20.80% done,   0:01:23 remaining, found=785       ";
    const WAITING: &str = "rate:  0.00-kpps, 100.00% done, waiting -694-secs, found=208       ";

    #[test]
    fn the_first_message_contains_the_version() {
        let line = "Starting masscan 1.3.2 (http://bit.ly/14GZzcT) at 2026-11-24 19:00:00 GMT";
        assert_eq!(announced_version(line), Some("1.3.2"));
        assert_eq!(announced_version("Starting masscan "), None);
        assert_eq!(announced_version("Initiating SYN Stealth Scan"), None);
    }

    #[test]
    fn progress_lines() {
        let sending = progress(SENDING.trim()).unwrap();
        assert_eq!(
            (
                sending.percent,
                sending.rate_pps,
                sending.remaining_s,
                sending.found
            ),
            (20.8, 2000.0, Some(83), 785)
        );
        assert!(!sending.all_sent());
        let waiting = progress(WAITING.trim()).unwrap();
        assert_eq!((waiting.waiting_s, waiting.found), (Some(-694), 208));
        assert!(waiting.all_sent());
        let interrupted =
            progress("rate:  0.00-kpps, 48.90% done, waiting -9-secs, found=4006").unwrap();
        assert!(!interrupted.all_sent());
        let shard = progress("rate:  0.00-kpps, 101.56% done, waiting -2-secs, found=154").unwrap();
        assert!(shard.all_sent() && shard.percent == 100.0);
        for line in [
            "rate: fast",
            "rate: 1.0-kpps",
            "rate: 1-kpps, -1.00% done",
            "rate: 1-kpps, inf% done",
            "rate: nan-kpps, 1% done",
            "rate: 1-xpps, 1% done",
        ] {
            assert_eq!(progress(line), None, "{line}");
        }
    }

    #[test]
    fn any_other_line_is_a_message() {
        assert!(matches!(parse(SENDING.as_bytes()), Some(Line::Progress(_))));
        assert_eq!(
            parse(b" FAIL:\tno\x07 "),
            Some(Line::Message("FAIL: no\u{fffd}".to_owned()))
        );
        assert_eq!(parse(b"  "), None);
    }

    #[test]
    fn a_router_that_does_not_answer_is_the_servers_fault() {
        for (cause, is_fault) in [
            (
                "masscan exited with code 1: [-] FAIL: ARP timed-out resolving MAC address for router e0: \"192.0.2.2\"",
                true,
            ),
            (
                "FAIL: could not determine default interface; [hint] try",
                true,
            ),
            (
                "FAIL: NDP timed-out resolving MAC address for router e0",
                false,
            ),
            ("FAIL: permission denied", false),
            ("", false),
        ] {
            assert_eq!(is_fault_of_network(cause), is_fault, "{cause}");
        }
    }

    #[test]
    fn the_cause_leaves_out_the_usual_messages() {
        let messages = [
            "Starting masscan 1.3.2 (x)",
            "Initiating SYN Stealth Scan",
            "FAIL: permission denied",
            "[hint] need to sudo",
        ];
        assert_eq!(
            cause(messages.into_iter()).unwrap(),
            "FAIL: permission denied; [hint] need to sudo"
        );
        assert_eq!(cause(["Starting masscan 1.3.2"].into_iter()), None);
        let with_hints = [
            "adapter: x",
            "[-] FAIL: failed to detect router",
            "[hint] try something like \"--router-mac 66-55-44-33-22-11\"",
            "[hint] use \"--interface\"",
            "[hint] or run it as root",
            "[hint] or not at all",
        ];
        assert_eq!(
            cause(with_hints.into_iter()).unwrap(),
            "[-] FAIL: failed to detect router; [hint] try something like \"--router-mac 66-55-44-33-22-11\"; \
             [hint] use \"--interface\"; [hint] or run it as root"
        );
        let without_fail = ["one", "two", "three"];
        assert_eq!(cause(without_fail.into_iter()).unwrap(), "two; three");
    }

    #[test]
    fn interrupts_and_sizes_are_recognised() {
        assert!(is_interrupt("waiting several seconds to exit..."));
        assert!(!is_interrupt("waiting 3-secs"));
        assert_eq!(
            announced_size("Scanning 256 hosts [1 port/host]"),
            Some((256, 1))
        );
        assert_eq!(
            announced_size("Scanning 5 hosts [10 ports/host]"),
            Some((5, 10))
        );
        assert_eq!(announced_size("Scanning -5 hosts [x"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_a_panic(line in prop::collection::vec(any::<u8>(), 0..500)) {
            parse(&line);
        }
    }
}
