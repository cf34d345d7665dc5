//! Running scanpush.

use super::environment::park_if_cancelled;
use super::fleet::Fleet;
use serde_json::Value;
use std::process::{Child, Command, Output, Stdio};

impl Fleet {
    /// Runs scanpush with this fleet's connections.
    pub fn scanpush(&self, words: &[&str]) -> Output {
        self.scanpush_command(words).output().unwrap()
    }

    /// As [`Fleet::scanpush`], but left running.
    pub fn start_scanpush(&self, words: &[&str]) -> Child {
        self.scanpush_command(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    pub fn scanpush_command(&self, words: &[&str]) -> Command {
        park_if_cancelled();
        let mut command = Command::new(env!("CARGO_BIN_EXE_scanpush"));
        command
            .args(self.connection_flags())
            .args(["-group", &self.group, "-topic", &self.topic("tasks")])
            .args(words)
            // A failed push writes its `-rest` file here.
            .current_dir(&self.folder)
            .stdin(Stdio::null());
        command
    }

    /// What `scanpush servers -json` prints about the server `name`; none if it is not listed.
    pub fn shown_server(&self, name: &str) -> Option<Value> {
        let output = self.scanpush(&["servers", "-json"]);
        let lines = String::from_utf8(output.stdout).unwrap();
        lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .find(|server: &Value| server["server"] == name)
    }

    /// Pushes, and returns the ids.
    pub fn push(&self, words: &[&str]) -> Vec<String> {
        let output = self.scanpush(words);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "scanpush {words:?}: {stderr}");
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// Pushes port 443 of one network, with `-wait 1` if `more` has no `-wait`.
    pub fn push_network(&self, network: &str, band_width: u32, more: &[&str]) -> String {
        let rate = band_width.to_string();
        let mut words = vec!["-ip", network, "-ports", "443", "-bandwidth", &rate];
        words.extend(more);
        if !more.contains(&"-wait") {
            words.extend(["-wait", "1"]);
        }
        let mut ids = self.push(&words);
        assert_eq!(ids.len(), 1);
        ids.remove(0)
    }
}

/// Everything that a program has printed.
pub fn shown(output: &Output) -> String {
    let Output { stdout, stderr, .. } = output;
    format!(
        "{}{}",
        String::from_utf8_lossy(stdout),
        String::from_utf8_lossy(stderr)
    )
}
