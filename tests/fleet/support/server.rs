//! A running scand.

use super::environment::park_if_cancelled;
use super::fleet::Fleet;
use super::wait::{POLL_INTERVAL, SOON, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A running server; killed on drop.
pub struct Scand {
    pub name: String,
    pub child: Child,
    pub log: PathBuf,
}

impl Scand {
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn wait_for_log(&self, text: &str) {
        let what = format!("{} to log {text:?}", self.name);
        let deadline = Instant::now() + SOON;
        while !self.log().contains(text) {
            assert!(
                Instant::now() < deadline,
                "not in time: {what}; it logged:\n{}",
                self.log()
            );
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Sends a signal, by process id.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Kills it as a crash would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until it exits.
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        let name = self.name.clone();
        let child = &mut self.child;
        wait_for(&format!("the end of {name}"), within, || {
            child.try_wait().unwrap()
        })
    }
}

impl Drop for Scand {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // SIGKILL also ends a stopped process.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if thread::panicking() {
            eprintln!("--- {} logged:\n{}", self.name, self.log());
        }
    }
}

impl Fleet {
    /// Starts a server named `name`, with more words for its command line.
    pub fn scand(&self, name: &str, words: &[&str]) -> Scand {
        self.scand_with(name, words, &[])
    }

    /// As [`Fleet::scand`], with changed environment variables.
    pub fn scand_with(&self, name: &str, words: &[&str], variables: &[(&str, &str)]) -> Scand {
        park_if_cancelled();
        let log = self.folder.join(format!("{name}.log"));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        // The default is for servers without supervision; the lab takes more.
        let max_rate: &[&str] = match words.contains(&"-max-rate") {
            true => &[],
            false => &["-max-rate", "1m"],
        };
        let child = Command::new(env!("CARGO_BIN_EXE_scand"))
            .args(["-group", &self.group, "-name", name])
            .args(max_rate)
            .args(self.connection_flags())
            .args(["-topic", &self.topic("tasks")])
            .args(["-results-topic", &self.topic("results")])
            .args(["-status-topic", &self.topic("status")])
            .args(["-lease", &self.lease_s.to_string()])
            .arg("-masscan")
            .arg(&self.masscan)
            .args(self.source)
            .args(words)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .unwrap();
        Scand {
            name: name.to_owned(),
            child,
            log,
        }
    }

    /// A server that is ready for tasks.
    pub fn ready_scand(&self, name: &str, words: &[&str]) -> Scand {
        let scand = self.scand(name, words);
        scand.wait_for_log("ready: waiting for tasks");
        scand
    }
}
