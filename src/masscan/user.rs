//! Which user masscan runs as if this process is root. masscan parses packets that anybody can send, so it runs as another user, with CAP_NET_RAW and
//! none of root's other rights. `setpriv` (util-linux) sets this and execs masscan. (Measured with Debian's masscan 1.3.2: it needs no other capability and does
//! not ask whether it is root. std's `Command::uid` cannot pass a capability on.)

use super::capabilities::Capability;
use super::folder::Folder;
use super::network::is_script;
use super::program::{ProgramError, answer, environment, find};
use crate::model::Invalid;
use crate::model::text::{one_line, quoted};
use rustix::process::geteuid;
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::str::FromStr;

/// The users that masscan runs as if `-masscan-user` is not given: the first that exists.
const USUAL_NAMES: [&str; 2] = ["scand", "nobody"];
/// Maximum length of a user's name, in bytes, as on Linux.
const SYSTEM_USER_NAME_MAX_BYTES: usize = 32;

/// The name of a user of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserName(String);

impl FromStr for UserName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<UserName, Invalid> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        let is_valid = !text.is_empty()
            && text.len() <= SYSTEM_USER_NAME_MAX_BYTES
            && !text.starts_with('-')
            && text.bytes().all(is_allowed);
        match is_valid {
            true => Ok(UserName(text.to_owned())),
            false => Err(Invalid::new(
                text,
                format!(
                    "is not a user's name: 1 to {SYSTEM_USER_NAME_MAX_BYTES} letters, digits, '_', '-', '.'"
                ),
            )),
        }
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A user of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    name: String,
    uid: u32,
    gid: u32,
}

impl User {
    /// Its entry in /etc/passwd.
    fn of_name(name: &str) -> Option<User> {
        user_in(&fs::read_to_string("/etc/passwd").ok()?, name)
    }
}

fn user_in(passwd: &str, name: &str) -> Option<User> {
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [found, _, uid, gid, ..] = fields[..] else {
            return None;
        };
        let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
        (found == name).then(|| User {
            name: name.to_owned(),
            uid,
            gid,
        })
    })
}

/// As whom masscan runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunAs {
    /// As the user of this process: it is not root, or `-masscan-user` names its user.
    Caller,
    /// As root, because it is not the system's masscan: a script may need root's rights, for instance to enter a network namespace, and a program
    /// outside `PATH` may need root's files. Which of them it is.
    RootForCustomMasscan(&'static str),
    /// As root, because no other user can run it.
    RootBecause(String),
    /// As this user, with CAP_NET_RAW and nothing else.
    User(User),
}

impl RunAs {
    /// As `wanted`, or what is best for `program`: another user than root if it is the system's masscan and one can run it. Runs `program --version` to
    /// find out. Errs if the wanted user cannot run it.
    pub(super) fn of(program: &Path, wanted: Option<&UserName>) -> Result<RunAs, String> {
        let is_root = geteuid().is_root();
        match wanted {
            None if !is_root => Ok(RunAs::Caller),
            None => Ok(usual(program)),
            Some(name) => {
                let user = User::of_name(&name.0)
                    .ok_or_else(|| format!("there is no user {name} in /etc/passwd"))?;
                if user.uid == geteuid().as_raw() {
                    return Ok(RunAs::Caller);
                }
                if !is_root {
                    return Err(format!("only root can run masscan as {name}"));
                }
                try_as(&user, program).map(|()| RunAs::User(user))
            }
        }
    }

    /// Its group, if it runs as another user than this process.
    pub fn group(&self) -> Option<u32> {
        match self {
            RunAs::User(user) => Some(user.gid),
            _ => None,
        }
    }

    /// What to put before masscan's command line; empty if masscan runs as this process does.
    pub(super) fn words(&self) -> Result<Vec<String>, ProgramError> {
        match self {
            RunAs::User(user) => setpriv_command(user),
            _ => Ok(Vec::new()),
        }
    }
}

impl fmt::Display for RunAs {
    /// As a line of the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunAs::Caller => f.write_str("masscan runs as this user"),
            RunAs::User(user) => write!(
                f,
                "masscan runs as {}, with raw sockets and nothing else",
                user.name
            ),
            RunAs::RootForCustomMasscan(why) => write!(
                f,
                "masscan runs as root, because it is {why}: run scand as another user, or give one who can run it in -masscan-user",
            ),
            RunAs::RootBecause(why) => write!(
                f,
                "masscan runs as root, and parses packets that anybody can send: {why}; run scand as another user, or give one in -masscan-user"
            ),
        }
    }
}

fn usual(program: &Path) -> RunAs {
    let Ok(path) = find(program) else {
        // The program does not exist, so nothing can run. The user is chosen again when it does.
        return RunAs::Caller;
    };
    if is_script(&path) {
        return RunAs::RootForCustomMasscan("a script");
    }
    if !is_in_path(&path) {
        return RunAs::RootForCustomMasscan("not in PATH");
    }
    let Some(user) = USUAL_NAMES.iter().find_map(|name| User::of_name(name)) else {
        let names = USUAL_NAMES.join(" or ");
        return RunAs::RootBecause(format!("there is no user {names}"));
    };
    match try_as(&user, program) {
        Ok(()) => RunAs::User(user),
        Err(why) => RunAs::RootBecause(why),
    }
}

/// Whether the folder of `program` is one of those in `PATH`.
fn is_in_path(program: &Path) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| program.parent() == Some(&folder))
}

/// Whether `user` can run `program` and write to its working folder, and this process can end it. Errs with the reason.
fn try_as(user: &User, program: &Path) -> Result<(), String> {
    let refused = |why: &dyn fmt::Display| format!("{} cannot run it: {why}", user.name);
    if !Capability::Kill.is_effective() {
        return Err(refused(
            &"scand could not end it, because it lacks CAP_KILL",
        ));
    }
    let folder = Folder::create()
        .and_then(|folder| folder.share(user.gid).map(|()| folder))
        .map_err(|error| refused(&error))?;
    let path = find(program).map_err(|error| error.to_string())?;
    let words = setpriv_command(user)
        .map_err(|_| refused(&"setpriv is missing (apt install util-linux)"))?;
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .arg(path)
        .arg("--version")
        .current_dir(folder.path())
        .env_clear()
        .envs(environment());
    let said = answer(&mut command).map_err(|error| refused(&error))?.all();
    match said.contains("Masscan version ") {
        true => Ok(()),
        false => Err(refused(&quoted(&one_line(&said)))),
    }
}

/// The command line of setpriv that execs a program as `user`, with CAP_NET_RAW alone. (setpriv can still traverse root's folders when it execs
/// masscan; masscan itself has only CAP_NET_RAW.)
fn setpriv_command(user: &User) -> Result<Vec<String>, ProgramError> {
    let setpriv = find(Path::new("setpriv"))?;
    let only_raw = "-all,+net_raw";
    let words = [
        &setpriv.to_string_lossy(),
        "--reuid",
        &user.uid.to_string(),
        "--regid",
        &user.gid.to_string(),
        "--clear-groups",
        "--inh-caps",
        only_raw,
        "--ambient-caps",
        only_raw,
        "--bounding-set",
        only_raw,
        "--no-new-privs",
        "--",
    ];
    Ok(words.map(str::to_owned).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_ids_are_those_of_its_line() {
        let passwd =
            "root:x:0:0:root:/:/bin/sh\n\nodd\nscand:x:998:997::/nonexistent:/usr/sbin/nologin\n";
        let scand = User {
            name: "scand".to_owned(),
            uid: 998,
            gid: 997,
        };
        assert_eq!(user_in(passwd, "scand"), Some(scand));
        for missing in ["scan", "odd", ""] {
            assert_eq!(user_in(passwd, missing), None, "{missing}");
        }
    }

    #[test]
    fn a_users_name_is_a_word() {
        for (text, is_valid) in [
            ("nobody", true),
            ("_apt", true),
            ("a.b-c9", true),
            ("", false),
            ("-all", false),
            ("a:b", false),
            ("a b", false),
            (&"x".repeat(33), false),
        ] {
            assert_eq!(text.parse::<UserName>().is_ok(), is_valid, "{text}");
        }
    }

    #[test]
    fn a_user_that_does_not_exist_is_named() {
        let name: UserName = "no-such-user".parse().unwrap();
        let error = RunAs::of(Path::new("sh"), Some(&name)).unwrap_err();
        assert_eq!(error, "there is no user no-such-user in /etc/passwd");
    }
}
