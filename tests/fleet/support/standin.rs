//! The stand-in for masscan (tests/standin/masscan.rs): it follows a plan, sends no packets, and logs its runs.

use super::environment::text;
use super::fleet::Fleet;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// A server with the stand-in does not depend on this machine's interfaces and routes.
const STANDIN_SOURCE: [&str; 4] = ["-interface", "lo", "-router-mac", "02-00-00-00-00-01"];

impl Fleet {
    /// The same fleet with the stand-in instead of masscan. `plan` is its `plan.json`.
    pub fn with_standin(self, plan: &Value) -> Fleet {
        self.with_standin_in("standin", plan)
    }

    /// As [`Fleet::with_standin`], with the stand-in in a subfolder of this name.
    pub fn with_standin_in(&self, folder: &str, plan: &Value) -> Fleet {
        let folder = self.folder.join(folder);
        fs::create_dir_all(&folder).unwrap();
        let built = Path::new(env!("CARGO_BIN_EXE_scand"))
            .parent()
            .unwrap()
            .join("examples/standin-masscan");
        let masscan = folder.join("masscan");
        fs::copy(&built, &masscan).unwrap();
        let mut plan = plan.clone();
        plan["log"] = text(&self.standin_log()).into();
        fs::write(folder.join("plan.json"), plan.to_string()).unwrap();
        Fleet {
            masscan,
            source: &STANDIN_SOURCE,
            ..self.clone_for_thread()
        }
    }

    fn standin_log(&self) -> PathBuf {
        self.folder.join("standin.log")
    }

    /// The events that the stand-in logged, in order.
    pub fn standin_events(&self) -> Vec<Value> {
        let log = fs::read_to_string(self.standin_log()).unwrap_or_default();
        log.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// How many times the stand-in was started.
    pub fn standin_starts(&self) -> usize {
        self.standin_events()
            .iter()
            .filter(|event| event["event"] == "start")
            .count()
    }
}
