//! The warnings about what makes masscan lose answers on an interface, its offloads and its MTU: at the start, and once for each
//! interface that a scan uses. They never keep a scan waiting.

use crate::masscan::{self, Network, NetworkError, NetworkOf};
use crate::model::source::Interface;
use crate::scand::claims::held_claims::lock;
use log::{debug, warn};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

/// What was warned of already.
#[derive(Debug)]
pub struct Offloads {
    interface: Option<Interface>,
    /// masscan is a script: its network may be another one than this process's.
    is_script: bool,
    said: Mutex<BTreeSet<String>>,
}

impl Offloads {
    /// For this `masscan`, and the interface that it is told to use, where it is told one.
    pub fn new(masscan: &Path, interface: Option<Interface>) -> Arc<Offloads> {
        let is_script = masscan::find(masscan).is_ok_and(|program| masscan::is_script(&program));
        Arc::new(Offloads {
            interface,
            is_script,
            said: Mutex::default(),
        })
    }

    /// Looks before the first scan, unless only a running masscan can tell which network is its own.
    pub fn check_at_start(&self) {
        if !self.is_script {
            self.tell(masscan::inspect(NetworkOf::Ours, self.interface.as_ref()));
        }
    }

    /// Looks at the network of a masscan that runs, in a thread of its own.
    pub fn check_scan(self: &Arc<Offloads>, process: u32) {
        let whose = match self.is_script {
            true => NetworkOf::Process(process),
            false => NetworkOf::Ours,
        };
        let offloads = self.clone();
        let looking = thread::Builder::new()
            .name("offloads".into())
            .spawn(move || offloads.tell(masscan::inspect(whose, offloads.interface.as_ref())));
        if let Err(error) = looking {
            debug!("cannot look at the offloads: no thread: {error}");
        }
    }

    fn tell(&self, seen: Result<Network, NetworkError>) {
        for warning in warnings(&seen) {
            if lock(&self.said).insert(warning.clone()) {
                warn!("{warning}");
            }
        }
    }
}

/// What is to be warned of.
fn warnings(seen: &Result<Network, NetworkError>) -> Vec<String> {
    match seen {
        Ok(network) => {
            let mtu = network
                .mtu_trap()
                .map(|trap| format!("interface {} has an MTU of {trap}", network.interface));
            offloads(network).into_iter().chain(mtu).collect()
        }
        Err(unseen @ NetworkError::Elsewhere(_)) => vec![format!(
            "whether the interface's offloads and MTU make masscan lose answers is not known: {unseen}"
        )],
        // masscan says in its own words what it lacks, or has ended already.
        Err(_) => Vec::new(),
    }
}

fn offloads(network: &Network) -> Option<String> {
    let traps = network.traps.as_ref().filter(|traps| !traps.is_empty())?;
    let traps: Vec<&str> = traps.iter().map(String::as_str).collect();
    Some(format!(
        "interface {} has offloads on ({}): masscan loses answers there and doesn't say so; switch them off: {}",
        network.interface,
        traps.join(", "),
        network.remedy()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_loses_answers_is_warned_of() {
        let network = |traps: Option<&[&str]>, mtu| {
            Ok(Network {
                interface: "eth0".parse().unwrap(),
                gateway: None,
                traps: traps.map(|traps| traps.iter().map(|&trap| trap.to_owned()).collect()),
                mtu,
            })
        };
        assert!(warnings(&network(Some(&[]), Some(1500))).is_empty());
        assert!(warnings(&network(None, None)).is_empty());
        assert!(warnings(&Err(NetworkError::NoRoute)).is_empty());
        let said = warnings(&network(Some(&["rx-gro"]), Some(9000)));
        assert!(
            said[0].starts_with("interface eth0 has offloads on (rx-gro): masscan loses answers")
        );
        assert!(said[0].ends_with("ethtool -K eth0 gro off gso off tso off tx off rx off sg off"));
        assert_eq!(
            said[1],
            "interface eth0 has an MTU of 9000: masscan loses answers and doesn't say so: ip link set dev eth0 mtu 1500"
        );
        let elsewhere = warnings(&Err(NetworkError::Elsewhere("no rights".into()))).concat();
        assert!(elsewhere.contains("is not known: masscan's network can't be looked at"));
    }
}
