//! The warning about offloads: at the start, and once for each interface that a scan uses. It never keeps a scan waiting.

use super::holdings::lock;
use crate::masscan::{self, Network, Unseen, Whose};
use crate::model::source::Interface;
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
    pub fn look_at_start(&self) {
        if !self.is_script {
            self.tell(masscan::look(Whose::Ours, self.interface.as_ref()));
        }
    }

    /// Looks at the network of a masscan that runs, in a thread of its own.
    pub fn look_at_scan(self: &Arc<Offloads>, process: u32) {
        let whose = match self.is_script {
            true => Whose::Process(process),
            false => Whose::Ours,
        };
        let offloads = self.clone();
        let looking = thread::Builder::new()
            .name("offloads".into())
            .spawn(move || offloads.tell(masscan::look(whose, offloads.interface.as_ref())));
        if let Err(error) = looking {
            debug!("cannot look at the offloads: no thread: {error}");
        }
    }

    fn tell(&self, seen: Result<Network, Unseen>) {
        if let Some(warning) = warning(&seen)
            && lock(&self.said).insert(warning.clone())
        {
            warn!("{warning}");
        }
    }
}

/// What is to be warned of.
fn warning(seen: &Result<Network, Unseen>) -> Option<String> {
    match seen {
        Ok(network) => {
            let traps = network.traps.as_ref().filter(|traps| !traps.is_empty())?;
            let traps: Vec<&str> = traps.iter().map(String::as_str).collect();
            Some(format!(
                "interface {} has offloads on ({}): masscan loses answers there and doesn't say so; switch them off: {}",
                network.interface,
                traps.join(", "),
                network.remedy()
            ))
        }
        Err(unseen @ Unseen::Elsewhere(_)) => Some(format!(
            "whether the interface's offloads make masscan lose answers is not known: {unseen}"
        )),
        // masscan says in its own words what it lacks, or has ended already.
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_loses_answers_is_warned_of() {
        let network = |traps: Option<&[&str]>| {
            Ok(Network {
                interface: "eth0".parse().unwrap(),
                gateway: None,
                traps: traps.map(|traps| traps.iter().map(|&trap| trap.to_owned()).collect()),
            })
        };
        assert_eq!(warning(&network(Some(&[]))), None);
        assert_eq!(warning(&network(None)), None);
        assert_eq!(warning(&Err(Unseen::NoRoute)), None);
        let said = warning(&network(Some(&["rx-gro"]))).unwrap();
        assert!(said.starts_with("interface eth0 has offloads on (rx-gro): masscan loses answers"));
        assert!(said.ends_with("ethtool -K eth0 gro off gso off tso off tx off rx off sg off"));
        let elsewhere = warning(&Err(Unseen::Elsewhere("no rights".into()))).unwrap();
        assert!(elsewhere.contains("is not known: masscan's network can't be looked at"));
    }
}
