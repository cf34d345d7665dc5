//! Warns about network interface settings that make masscan lose answers, offloads and MTU: at the start, and once for each interface that a
//! scan uses. No scan waits for this.

use crate::masscan::{self, Network, NetworkError, NetworkOf};
use crate::model::source::Interface;
use crate::sync::lock;
use log::{debug, warn};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

/// The warnings that were logged already.
#[derive(Debug)]
pub struct Offloads {
    interface: Option<Interface>,
    /// masscan is a script: its network may differ from this process's.
    is_script: bool,
    said: Mutex<BTreeSet<String>>,
}

impl Offloads {
    /// For this `masscan`, and the interface of `-interface`, if given.
    pub fn new(masscan: &Path, interface: Option<Interface>) -> Arc<Offloads> {
        let is_script = masscan::find(masscan).is_ok_and(|program| masscan::is_script(&program));
        Arc::new(Offloads {
            interface,
            is_script,
            said: Mutex::default(),
        })
    }

    /// Checks before the first scan, unless the network is only known once masscan runs.
    pub fn check_at_start(&self) {
        if !self.is_script {
            self.tell(masscan::inspect(NetworkOf::Ours, self.interface.as_ref()));
        }
    }

    /// Whose network a running masscan uses.
    pub fn network_of(&self, process: u32) -> NetworkOf {
        match self.is_script {
            true => NetworkOf::Process(process),
            false => NetworkOf::Ours,
        }
    }

    /// Checks the network of a running masscan, in a thread of its own.
    pub fn check_scan(self: &Arc<Offloads>, process: u32) {
        let whose = self.network_of(process);
        let offloads = self.clone();
        let looking = thread::Builder::new()
            .name("offloads".into())
            .spawn(move || offloads.tell(masscan::inspect(whose, offloads.interface.as_ref())));
        if let Err(error) = looking {
            debug!("cannot check the offloads: no thread: {error}");
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

/// The warnings for a network.
fn warnings(seen: &Result<Network, NetworkError>) -> Vec<String> {
    match seen {
        Ok(network) => {
            let mtu = network
                .mtu_trap()
                .map(|trap| format!("interface {} has an MTU of {trap}", network.interface));
            offloads(network).into_iter().chain(mtu).collect()
        }
        Err(unseen @ NetworkError::Elsewhere(_)) => vec![format!(
            "cannot check whether the interface's offloads and MTU make masscan lose answers: {unseen}"
        )],
        // masscan reports such an error itself, or has ended already.
        Err(_) => Vec::new(),
    }
}

fn offloads(network: &Network) -> Option<String> {
    let traps = network.traps.as_ref().filter(|traps| !traps.is_empty())?;
    let traps: Vec<&str> = traps.iter().map(String::as_str).collect();
    Some(format!(
        "interface {} has offloads on ({}): masscan loses answers without any indication; switch them off: {}",
        network.interface,
        traps.join(", "),
        network.remedy()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_only_about_settings_that_lose_answers() {
        let network = |traps: Option<&[&str]>, mtu| {
            Ok(Network {
                interface: "eth0".parse().unwrap(),
                gateway: None,
                reach: Default::default(),
                kernels_interface: None,
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
            "interface eth0 has an MTU of 9000: masscan loses answers without any indication: ip link set dev eth0 mtu 1500"
        );
        let elsewhere = warnings(&Err(NetworkError::Elsewhere("no rights".into()))).concat();
        assert!(elsewhere.contains("masscan's network cannot be examined"));
    }
}
