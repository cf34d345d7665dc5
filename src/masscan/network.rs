//! The network from masscan's point of view: its interface, its route, and settings that make it lose answers.
//!
//! If an interface merges or splits packets (GRO, GSO, TSO, LRO), libpcap uses frames of 64 KiB, and the capture ring holds about 32 of
//! them. A burst of answers overruns it without any indication (measured: 75 to 256 of 256 found). Otherwise frames are as large as the MTU;
//! with an MTU of 9000 the ring holds about 128 (measured: 3744 to 4015 of 4096 found).
//!
//! masscan may run in another network namespace than this process, started by a script that enters it. Then the network of masscan's process
//! is the one to examine.

use super::netlink::{active_features, interface_to, mtu};
use super::program::{find, idle};
use super::routes::{
    has_ipv6_router, ipv6_networks, own_addresses, own_networks, route_of_masscan,
};
use crate::model::Reach;
use crate::model::source::Interface;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// How long a script may take to become masscan.
pub(super) const NAMESPACE_WAIT: Duration = Duration::from_secs(2);

/// The features by which libpcap chooses the size of its frames.
const TRAPS: [&str; 8] = [
    "rx-gro",
    "rx-lro",
    "tx-generic-segmentation",
    "tx-tcp-ecn-segmentation",
    "tx-tcp-mangleid-segmentation",
    "tx-tcp-segmentation",
    "tx-tcp6-segmentation",
    "tx-udp-fragmentation",
];
/// An address that stands for any target of another network, of the range for documentation. Nothing is sent to it.
const ANY_TARGET: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// The largest MTU without losses: that of Ethernet, in bytes.
const MTU_MAX: u32 = 1500;
/// Interval between two checks whether a process has become masscan.
const EXEC_CHECK_EVERY: Duration = Duration::from_millis(20);

/// Which process's network to examine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkOf {
    /// That of this process, because masscan is started directly.
    Ours,
    /// That of the process with this id.
    Process(u32),
}

/// The result of the examination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// The interface that masscan takes.
    pub interface: Interface,
    /// The router to which masscan sends, if the interface has one.
    pub gateway: Option<Ipv4Addr>,
    /// What masscan cannot reach.
    pub reach: Reach,
    /// The interface that the kernel would take for other networks, if it is another one: masscan ignores policy rules, and all routes
    /// except those to 0.0.0.0.
    pub kernels_interface: Option<Interface>,
    /// The offloads that are on and make masscan lose answers; none if the kernel does not report them.
    pub traps: Option<BTreeSet<String>>,
    /// The interface's MTU in bytes; none if the kernel does not report it.
    pub mtu: Option<u32>,
}

impl Network {
    /// What is wrong with the MTU, with the remedy; none if masscan loses nothing because of it.
    pub fn mtu_trap(&self) -> Option<String> {
        let mtu = self.mtu.filter(|&mtu| mtu > MTU_MAX)?;
        Some(format!(
            "{mtu}: masscan loses answers without any indication: ip link set dev {} mtu {MTU_MAX}",
            self.interface
        ))
    }

    /// The command that switches all offloads off.
    pub fn remedy(&self) -> String {
        let lro = match self.traps.as_ref().is_some_and(|on| on.contains("rx-lro")) {
            true => " lro off",
            false => "",
        };
        format!(
            "ethtool -K {} gro off gso off tso off tx off rx off sg off{lro}",
            self.interface
        )
    }
}

/// Why there is no result.
#[derive(Debug)]
pub enum NetworkError {
    /// No interface was named, and the default route with the lowest metric does not exist or has no router.
    NoRoute,
    /// The interface does not exist.
    NoInterface(Interface),
    /// masscan's network is another one, which this process may not examine.
    Elsewhere(String),
    /// The system does not report it.
    Unreadable(io::Error),
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetworkError::NoRoute => f.write_str("masscan finds no default route via a router"),
            NetworkError::NoInterface(interface) => write!(f, "there is no interface {interface}"),
            NetworkError::Elsewhere(why) => {
                write!(f, "masscan's network cannot be examined from here: {why}")
            }
            NetworkError::Unreadable(error) => write!(f, "the system does not report it: {error}"),
        }
    }
}

impl From<io::Error> for NetworkError {
    fn from(error: io::Error) -> NetworkError {
        NetworkError::Unreadable(error)
    }
}

/// As [`inspect`], of the network in which `program` runs masscan: a script may enter another one.
pub fn inspect_for(program: &Path, interface: Option<&Interface>) -> Result<Network, NetworkError> {
    match find(program) {
        Ok(path) if is_script(&path) => inspect_through(&path, interface),
        _ => inspect(NetworkOf::Ours, interface),
    }
}

/// Examines `interface`, or the interface of the default route, as masscan does.
pub fn inspect(whose: NetworkOf, interface: Option<&Interface>) -> Result<Network, NetworkError> {
    let interface = interface.cloned();
    in_network_of(whose, move || inspect_this_namespace(interface))
}

/// Runs `examine` in the network namespace of `whose`: for another process on a thread of its own, because a thread that has entered another
/// namespace cannot be used for anything else.
pub(super) fn in_network_of<T: Send + 'static>(
    whose: NetworkOf,
    examine: impl FnOnce() -> Result<T, NetworkError> + Send + 'static,
) -> Result<T, NetworkError> {
    let NetworkOf::Process(id) = whose else {
        return examine();
    };
    thread::Builder::new()
        .name("network".to_owned())
        .spawn(move || {
            enter(id)?;
            examine()
        })?
        .join()
        .map_err(|_| io::Error::other("the thread that examines the network panicked"))?
}

/// Whether `program` is a script: then what it starts may run in another network.
pub fn is_script(program: &Path) -> bool {
    let mut begin = [0; 2];
    File::open(program).is_ok_and(|mut file| file.read_exact(&mut begin).is_ok()) && begin == *b"#!"
}

/// Lets `script` start masscan, examines that process's network, and kills it. It sends nothing.
pub fn inspect_through(
    script: &Path,
    interface: Option<&Interface>,
) -> Result<Network, NetworkError> {
    let mut waiting = idle(script).spawn()?;
    let seen = inspect(NetworkOf::Process(waiting.id()), interface);
    waiting.kill()?;
    waiting.wait()?;
    seen
}

/// Moves this thread into the network namespace of a process once that process has become masscan.
fn enter(id: u32) -> Result<(), NetworkError> {
    let give_up = Instant::now() + NAMESPACE_WAIT;
    while !is_masscan(id) {
        if !Path::new(&format!("/proc/{id}")).exists() {
            return Err(io::Error::from(io::ErrorKind::NotFound).into());
        }
        if Instant::now() >= give_up {
            let why = "the script that was started did not become masscan (exec)";
            return Err(NetworkError::Elsewhere(why.to_owned()));
        }
        thread::sleep(EXEC_CHECK_EVERY);
    }
    let refused = |error: io::Error| NetworkError::Elsewhere(error.to_string());
    let theirs = File::open(format!("/proc/{id}/ns/net")).map_err(refused)?;
    let ours = File::open("/proc/thread-self/ns/net")?;
    if theirs.metadata()?.ino() == ours.metadata()?.ino() {
        return Ok(());
    }
    move_into_link_name_space(theirs.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|error| refused(error.into()))
}

/// Whether the process `id` runs masscan rather than the script that started it.
pub(super) fn is_masscan(id: u32) -> bool {
    fs::read_link(format!("/proc/{id}/exe")).is_ok_and(|program| {
        program
            .file_name()
            .is_some_and(|name| name.to_string_lossy().contains("masscan"))
    })
}

fn inspect_this_namespace(interface: Option<Interface>) -> Result<Network, NetworkError> {
    let table = fs::read_to_string("/proc/thread-self/net/route")?;
    let (interface, gateway) =
        route_of_masscan(&table, interface.as_ref()).ok_or(NetworkError::NoRoute)?;
    let traps = match active_features(&interface) {
        Ok(on) => Some(
            TRAPS
                .iter()
                .filter(|&&trap| on.contains(trap))
                .map(|&trap| trap.to_owned())
                .collect(),
        ),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) => {
            return Err(NetworkError::NoInterface(interface));
        }
        Err(_) => None,
    };
    Ok(Network {
        mtu: mtu(&interface).ok(),
        reach: reach_of(&table, &interface),
        kernels_interface: interface_to(ANY_TARGET)
            .ok()
            .filter(|name| *name != interface),
        interface,
        gateway,
        traps,
    })
}

/// What masscan cannot reach through `interface`. A table that cannot be read counts as empty.
fn reach_of(routes: &str, interface: &Interface) -> Reach {
    let read = |name: &str| fs::read_to_string(format!("/proc/thread-self/net/{name}"));
    let mut own = own_networks(routes, interface);
    own.extend(own_addresses(&read("fib_trie").unwrap_or_default()));
    let ipv6_networks = ipv6_networks(&read("if_inet6").unwrap_or_default(), interface);
    let has_router = has_ipv6_router(&read("ipv6_route").unwrap_or_default(), interface);
    let no_ipv6 = match (ipv6_networks.is_empty(), has_router) {
        (true, _) => Some(format!(
            "{interface} has no IPv6 address from which masscan sends (a global one, not in fc00::/7)"
        )),
        (false, false) => Some(format!(
            "{interface} has no IPv6 default route via a router"
        )),
        (false, true) => None,
    };
    own.extend(ipv6_networks);
    Reach::new(own, no_ipv6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_is_a_complete_command() {
        let mut network = Network {
            interface: "eth0".parse().unwrap(),
            gateway: None,
            reach: Reach::default(),
            kernels_interface: None,
            mtu: Some(1500),
            traps: None,
        };
        assert_eq!(
            network.remedy(),
            "ethtool -K eth0 gro off gso off tso off tx off rx off sg off"
        );
        network.traps = Some(BTreeSet::from(["rx-lro".to_owned()]));
        assert!(network.remedy().ends_with(" sg off lro off"));
    }

    #[test]
    fn a_missing_interface_is_named() {
        let found = inspect(NetworkOf::Ours, Some(&"no-such-thing".parse().unwrap()));
        // A kernel without ethtool's netlink reports nothing.
        if let Err(error) = found {
            assert_eq!(error.to_string(), "there is no interface no-such-thing");
        }
    }

    #[test]
    fn a_script_is_recognised_by_its_first_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("masscan");
        assert!(!is_script(&file));
        fs::write(&file, "#!/bin/sh\n").unwrap();
        assert!(is_script(&file));
        fs::write(&file, b"\x7fELF").unwrap();
        assert!(!is_script(&file));
    }
}
