//! Shell scripts in masscan's place, for unit tests.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Makes `path` an executable shell script.
///
/// A process of its own writes it: a file that this process has open for writing, and with it for a moment each child that another test
/// is starting, cannot be executed (ETXTBSY).
pub(crate) fn install_script(path: &Path, commands: &str) {
    let text = path.with_extension("text");
    fs::write(&text, format!("#!/bin/sh\n{commands}\n")).unwrap();
    let mut install = Command::new("install");
    install.args(["-m", "755", "-T"]).args([&text, path]);
    assert!(install.status().unwrap().success());
}
