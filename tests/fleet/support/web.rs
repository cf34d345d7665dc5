//! A running `scanpush serve`.

use super::environment::park_if_cancelled;
use super::fleet::Fleet;
use super::http::{Reply, get};
use super::server::Scand;
use super::store::FindingsDb;
use super::wait::{SOON, wait_for};
use std::fs::File;
use std::process::{Command, Stdio};

/// A running `scanpush serve`; killed on drop.
pub struct Serve {
    pub process: Scand,
    /// `http://127.0.0.1:PORT`
    pub origin: String,
}

impl Serve {
    /// The address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// Gets a page.
    pub fn get(&self, path: &str) -> Reply {
        get(&self.url(path))
    }
}

impl Fleet {
    /// Starts `scanpush serve` on this fleet's topics, on a free port of 127.0.0.1, and waits until it answers.
    pub fn start_serve(&self, name: &str, db: &FindingsDb, words: &[&str]) -> Serve {
        park_if_cancelled();
        let log = self.folder.join(format!("{name}.log"));
        let child = self
            .serve_command(&db.flags(), words)
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let process = Scand {
            name: name.to_owned(),
            child,
            log,
        };
        let origin = wait_for("the address of the page", SOON, || {
            let log = process.log();
            let at = log.split("the page is at ").nth(1)?;
            Some(at.split("/\n").next()?.to_owned())
        });
        Serve { process, origin }
    }

    /// `scanpush serve` with these flags, on a free port.
    pub fn serve_command(&self, db: &[String], words: &[&str]) -> Command {
        let (results, status) = (self.topic("results"), self.topic("status"));
        let db: Vec<&str> = db.iter().map(String::as_str).collect();
        let common = ["-results-topic", &results, "-status-topic", &status];
        let address = ["-http", "127.0.0.1:0"];
        let address = if words.contains(&"-http") {
            &address[..0]
        } else {
            &address[..]
        };
        self.scanpush_command(&[&["serve"], &db[..], &common, address, words].concat())
    }
}
