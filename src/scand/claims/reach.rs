//! What this server's masscan cannot reach, examined from time to time: routes and addresses change while a server runs.

use crate::masscan;
use crate::model::Reach;
use crate::scand::options::Options;
use log::{debug, info};
use std::time::{Duration, Instant};

/// Interval between two examinations.
const REACH_EXAMINED_EVERY: Duration = Duration::from_secs(60);

/// The last examination. Before the first one nothing is known, so nothing is refused.
#[derive(Default)]
pub struct ReachWatch {
    reach: Reach,
    examined_at: Option<Instant>,
}

impl ReachWatch {
    /// What cannot be reached, as last examined.
    pub fn last(&self) -> &Reach {
        &self.reach
    }

    /// Examines the network if that is due.
    pub fn refresh(&mut self, options: &Options) {
        let is_due = self
            .examined_at
            .is_none_or(|at| at.elapsed() >= REACH_EXAMINED_EVERY);
        if is_due {
            self.examine(options);
        }
    }

    /// Examines the network now. With -router-mac, the operator has decided where packets go, and nothing is refused. If the network
    /// cannot be examined, the last result still applies; at first nothing is refused.
    pub fn examine(&mut self, options: &Options) -> &Reach {
        self.examined_at = Some(Instant::now());
        if options.source.router_mac.is_some() {
            return &self.reach;
        }
        match masscan::inspect_for(&options.masscan, options.source.interface.as_ref()) {
            Ok(network) => {
                let reach = network.reach.with(&options.source);
                if reach != self.reach {
                    info!("masscan reaches {}", reach.summary());
                    self.reach = reach;
                }
            }
            Err(error) => debug!("cannot examine which targets masscan reaches: {error}"),
        }
        &self.reach
    }
}
