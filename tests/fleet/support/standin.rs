//! The stand-in for masscan: it behaves as its plan says, sends no packet, and logs its runs.

use super::environment::text;
use super::fleet::Fleet;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

impl Fleet {
    /// Takes the stand-in for masscan, which behaves as `plan` says.
    pub fn with_standin(self, plan: &Value) -> Fleet {
        self.with_standin_in("standin", plan)
    }

    /// The same fleet with another stand-in for masscan, of a folder of its own.
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
            ..self.clone_for_thread()
        }
    }

    /// Where the stand-in logs its runs.
    pub fn standin_log(&self) -> PathBuf {
        self.folder.join("standin.log")
    }

    /// What the stand-in logged.
    pub fn standin_events(&self) -> Vec<Value> {
        let log = fs::read_to_string(self.standin_log()).unwrap_or_default();
        log.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}
