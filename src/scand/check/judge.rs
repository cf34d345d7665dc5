//! Judges what the checks found: verdict, text and remedy. Pure.

use super::line::{Line, fail, ok, warn};
use crate::claim_table::RedisInfo;
use crate::masscan::{MasscanInfo, Network, NetworkError, Rights, RunAs};
use crate::model::TopicName;
use crate::model::source::Source;
use std::path::Path;

pub(super) fn lines_of_masscan(info: &MasscanInfo, path: &Path) -> Vec<Line> {
    let version = format!("{} at {}", info.version, path.display());
    vec![ok("masscan", version), line_of_shards(info)]
}

pub(super) fn line_of_libpcap(found: bool) -> Line {
    match found {
        true => ok("libpcap", "masscan finds it"),
        false => fail(
            "libpcap",
            "masscan does not find it, so every scan fails: apt install libpcap0.8",
        ),
    }
}

/// `is_of_util_linux` is none if there is no `setsid`. masscan needs the one of util-linux, which sets its controlling terminal.
pub(super) fn line_of_setsid(is_of_util_linux: Option<bool>) -> Line {
    let remedy = "apt install util-linux";
    match is_of_util_linux {
        Some(true) => ok("setsid", "of util-linux"),
        Some(false) => fail(
            "setsid",
            format!("not the one of util-linux, which masscan's terminal needs: {remedy}"),
        ),
        None => fail(
            "setsid",
            format!("not found, so masscan cannot be started: {remedy}"),
        ),
    }
}

fn line_of_shards(info: &MasscanInfo) -> Line {
    match info.unfit_for_shards() {
        None => ok("shards", "probe order supports shards"),
        Some(why) => warn("shards", format!("leaves shards to other servers: {why}")),
    }
}

/// `run_as` is as whom masscan runs, or why the wanted user cannot run it.
pub(super) fn line_of_rights(rights: Rights, run_as: &Result<RunAs, String>, path: &Path) -> Line {
    match (rights, run_as) {
        (Rights::Bounded, _) => fail(
            "rights",
            "CAP_NET_RAW was removed from this container: start it with --cap-add NET_RAW",
        ),
        (_, Err(why)) => fail("rights", format!("-masscan-user: {why}")),
        (Rights::Root, Ok(RunAs::Caller)) => ok("rights", "root, with raw sockets"),
        (Rights::Root, Ok(run_as @ RunAs::RootBecause(_))) => warn("rights", run_as),
        (Rights::Root, Ok(run_as)) => ok("rights", run_as.to_string()),
        (Rights::Ambient, _) => ok("rights", "CAP_NET_RAW, inherited by masscan"),
        (Rights::File, _) => ok(
            "rights",
            "masscan's file has the capability or is set-user-ID root",
        ),
        (Rights::Missing, _) => fail(
            "rights",
            format!(
                "masscan may not open raw sockets: run scand by packaging/scand.service or as root, or setcap cap_net_raw+ep \"$(readlink -f {})\"",
                path.display()
            ),
        ),
    }
}

pub(super) fn line_of_network_error(error: &NetworkError) -> Line {
    match error {
        NetworkError::NoRoute => fail(
            "interface",
            "no default route via a router (the one with the lowest metric counts), so masscan finds no interface: ip route add default via ROUTER, or give \
             -interface",
        ),
        NetworkError::NoInterface(_) => fail(
            "interface",
            format!("{error}: ip link lists the interfaces"),
        ),
        NetworkError::Elsewhere(_) | NetworkError::Unreadable(_) => warn("interface", error),
    }
}

pub(super) fn lines_of_network(network: &Network, source: &Source) -> Vec<Line> {
    let from = match source.interface {
        Some(_) => "from -interface",
        None => "from the default route",
    };
    vec![
        line_of_interface(network, source, from),
        line_of_route(network, source),
        line_of_reach(network, source),
        line_of_offloads(network),
        line_of_mtu(network),
    ]
}

fn line_of_interface(network: &Network, source: &Source, from: &str) -> Line {
    let name = &network.interface;
    match &network.kernels_interface {
        Some(other) if source.interface.is_none() => warn(
            "interface",
            format!(
                "{name}, {from}, but the kernel sends to other networks through {other}: masscan ignores policy rules, and all routes except \
                 those to 0.0.0.0; give -interface {other}, or -interface {name} to keep it"
            ),
        ),
        _ => ok("interface", format!("{name}, {from}")),
    }
}

fn line_of_reach(network: &Network, source: &Source) -> Line {
    match source.router_mac {
        Some(_) => ok("reach", "everything that -router-mac forwards; not checked"),
        None => ok("reach", network.reach.clone().with(source).summary()),
    }
}

fn line_of_route(network: &Network, source: &Source) -> Line {
    let name = &network.interface;
    match (network.gateway, source.router_mac) {
        (_, Some(mac)) => ok("route", format!("via {mac} (-router-mac)")),
        (Some(gateway), None) => ok("route", format!("via {gateway} on {name}")),
        (None, None) => fail(
            "route",
            format!(
                "no default route on {name}: ip route add default via ROUTER dev {name}, or give the router with -router-mac"
            ),
        ),
    }
}

fn line_of_offloads(network: &Network) -> Line {
    let (name, remedy) = (&network.interface, network.remedy());
    match &network.traps {
        Some(on) if on.is_empty() => ok("offloads", "off (those that make masscan lose answers)"),
        Some(on) => {
            let on: Vec<&str> = on.iter().map(String::as_str).collect();
            let on = on.join(", ");
            warn(
                "offloads",
                format!("{on} on: masscan loses answers without any indication: {remedy}"),
            )
        }
        None => warn(
            "offloads",
            format!(
                "the kernel does not report them; if ethtool -k {name} shows gro, gso or tso: {remedy}"
            ),
        ),
    }
}

fn line_of_mtu(network: &Network) -> Line {
    match (network.mtu_trap(), network.mtu) {
        (Some(trap), _) => warn("mtu", trap),
        (None, Some(mtu)) => ok("mtu", mtu),
        (None, None) => warn(
            "mtu",
            format!(
                "the kernel does not report it: ip link show {}",
                network.interface
            ),
        ),
    }
}

/// `removed` is how many offsets are before the beginning of the logs; none if it is not known.
pub(super) fn line_of_topic(topic: &TopicName, partitions: usize, removed: Option<i64>) -> Line {
    let removed = match removed {
        Some(0) => "no records were removed".to_owned(),
        Some(removed) => format!("records removed from the beginning of the log: {removed}"),
        None => "a partition has no leader that answers".to_owned(),
    };
    ok(
        "topics",
        format!(
            "{topic}, partitions: {partitions}; {removed}; retention and cleanup.policy are not checked"
        ),
    )
}

/// What Redis does not report, because the user has no right to INFO, is not checked.
pub(super) fn lines_of_redis(info: &RedisInfo) -> Vec<Line> {
    let at = &info.at;
    let version = match &info.version {
        None => ok(
            "redis",
            format!("{at}; its version and settings are not checked (no right to INFO)"),
        ),
        Some(version) => ok("redis", format!("{version} at {at}")),
    };
    let eviction = match &info.maxmemory_policy {
        None => "not checked (no right to INFO): maxmemory-policy must be noeviction",
        Some(_) => "off (noeviction)",
    };
    let warnings = info.warnings();
    let eviction = match warnings.iter().any(|warning| warning.about == "eviction") {
        true => None,
        false => Some(ok("eviction", eviction)),
    };
    let warnings = warnings
        .into_iter()
        .map(|warning| warn(warning.about, warning.text));
    [version]
        .into_iter()
        .chain(eviction)
        .chain(warnings)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::line::Verdict;
    use super::*;
    use crate::model::Reach;
    use std::collections::BTreeSet;

    #[test]
    fn a_problem_has_a_verdict_and_a_remedy() {
        let path = Path::new("/usr/bin/masscan");
        let redis = |policy: &str| {
            let info = RedisInfo {
                at: "r".to_owned(),
                version: Some("7.0.15".to_owned()),
                maxmemory_policy: Some(policy.to_owned()),
                ..RedisInfo::default()
            };
            lines_of_redis(&info)
        };
        let caller = Ok(RunAs::Caller);
        let script = Ok(RunAs::RootForCustomMasscan("a script"));
        let because = Ok(RunAs::RootBecause("why".to_owned()));
        let refused = Err("why".to_owned());
        for (line, verdict, named) in [
            (
                line_of_rights(Rights::Missing, &caller, path),
                Verdict::Fail,
                "setcap cap_net_raw+ep \"$(readlink -f /usr/bin/masscan)\"",
            ),
            (
                line_of_rights(Rights::Bounded, &because, path),
                Verdict::Fail,
                "--cap-add NET_RAW",
            ),
            (
                line_of_rights(Rights::Root, &caller, path),
                Verdict::Ok,
                "root, with",
            ),
            (
                line_of_rights(Rights::Root, &script, path),
                Verdict::Ok,
                "because it is a script:",
            ),
            (
                line_of_rights(Rights::Root, &because, path),
                Verdict::Warn,
                "as root, and parses packets that anybody can send: why",
            ),
            (
                line_of_rights(Rights::Root, &refused, path),
                Verdict::Fail,
                "-masscan-user: why",
            ),
            (
                line_of_rights(Rights::Ambient, &refused, path),
                Verdict::Fail,
                "-masscan-user: why",
            ),
            (
                line_of_libpcap(false),
                Verdict::Fail,
                "apt install libpcap0.8",
            ),
            (line_of_libpcap(true), Verdict::Ok, "masscan finds it"),
            (line_of_setsid(None), Verdict::Fail, "not found"),
            (
                line_of_setsid(Some(false)),
                Verdict::Fail,
                "apt install util-linux",
            ),
            (line_of_setsid(Some(true)), Verdict::Ok, "of util-linux"),
            (
                line_of_network_error(&NetworkError::NoRoute),
                Verdict::Fail,
                "ip route add default",
            ),
            (
                line_of_network_error(&NetworkError::Elsewhere("x".into())),
                Verdict::Warn,
                "cannot be examined",
            ),
            (redis("noeviction").remove(0), Verdict::Ok, "7.0.15 at r"),
            (redis("noeviction").remove(1), Verdict::Ok, "off"),
            (
                redis("allkeys-lru").remove(1),
                Verdict::Warn,
                "maxmemory-policy noeviction",
            ),
        ] {
            assert_eq!(line.verdict, verdict, "{line}");
            assert!(line.text.contains(named), "{line}");
        }
    }

    #[test]
    fn a_network_is_interface_route_offloads_and_mtu() {
        let lines = |gateway: Option<&str>, traps: Option<&[&str]>, mtu, source: &Source| {
            let network = Network {
                mtu,
                interface: "eth0".parse().unwrap(),
                reach: Reach::default(),
                kernels_interface: None,
                gateway: gateway.map(|gateway| gateway.parse().unwrap()),
                traps: traps.map(|on| {
                    on.iter()
                        .map(|&trap| trap.to_owned())
                        .collect::<BTreeSet<_>>()
                }),
            };
            let lines = lines_of_network(&network, source);
            lines
                .iter()
                .map(Line::to_string)
                .collect::<Vec<_>>()
                .join("\n")
        };
        assert_eq!(
            lines(Some("192.0.2.1"), Some(&[]), Some(1500), &Source::default()),
            "ok    interface  eth0, from the default route\n\
             ok    route      via 192.0.2.1 on eth0\n\
             ok    reach      all IPv4 targets; all IPv6 targets\n\
             ok    offloads   off (those that make masscan lose answers)\n\
             ok    mtu        1500"
        );
        let text = lines(
            None,
            Some(&["rx-gro", "tx-tcp-segmentation"]),
            Some(9001),
            &Source {
                interface: "eth0".parse().ok(),
                ..Source::default()
            },
        );
        assert!(
            text.contains("warn  mtu        9001: masscan loses answers without any indication: ip link set dev eth0 mtu 1500"),
            "{text}"
        );
        assert!(
            text.contains("FAIL  route      no default route on eth0"),
            "{text}"
        );
        assert!(
            text.contains("warn  offloads   rx-gro, tx-tcp-segmentation on: masscan loses answers without any indication: ethtool -K eth0 gro off"),
            "{text}"
        );
        let router = Source {
            router_mac: "00:11:22:33:44:55".parse().ok(),
            ..Source::default()
        };
        let text = lines(None, None, None, &router);
        assert!(
            text.contains("ok    route      via 00-11-22-33-44-55 (-router-mac)"),
            "{text}"
        );
        assert!(
            text.contains("warn  offloads   the kernel does not report them"),
            "{text}"
        );
    }
}
