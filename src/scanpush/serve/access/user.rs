//! Who sent a request.

/// Who sent a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name, for the log and the page; empty on addresses that everybody may use.
    pub name: String,
    /// How the user is known.
    pub by: By,
    /// Whether this user may change something, if the server was not started with `-read-only`.
    pub may_change: bool,
}

/// How a user is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Not at all: the address is for everybody.
    Nothing,
    /// By this machine: there are no users, and only programs of this machine can connect.
    Machine,
    /// By the reverse proxy.
    Proxy,
    /// By a login.
    Session,
    /// By a token.
    Token,
}

impl User {
    /// Somebody who is not known.
    pub fn nobody() -> User {
        User {
            name: String::new(),
            by: By::Nothing,
            may_change: false,
        }
    }

    /// The user of a server without users.
    pub fn of_machine() -> User {
        User {
            name: "local".to_owned(),
            by: By::Machine,
            may_change: true,
        }
    }

    /// Whether there is a session that can be ended.
    pub fn may_log_out(&self) -> bool {
        self.by == By::Session
    }
}
