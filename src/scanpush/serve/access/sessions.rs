//! Who is logged in. Sessions are kept in memory: after a restart everybody logs in again.

use crate::scanpush::auth::{Digest, StoredPassword, UserName, hex, random};
use crate::sync::lock;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// A session ends after this time without a request.
pub const SESSION_IDLE_MAX: Duration = Duration::from_secs(12 * 3600);
/// A session ends after this time.
pub const SESSION_AGE_MAX: Duration = Duration::from_secs(7 * 86400);
/// Sessions at most; the one that was used least recently ends first.
const SESSIONS_MAX: usize = 1_000;
/// Sessions of one user at most.
const USER_SESSIONS_MAX: usize = 20;

/// The sessions, by the digest of their cookie.
#[derive(Default)]
pub struct Sessions(Mutex<HashMap<[u8; 32], Session>>);

struct Session {
    user: UserName,
    /// The password that the user logged in with: another one in the file ends the session.
    password: StoredPassword,
    began: Instant,
    used: Instant,
}

impl Session {
    fn is_valid(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.used) < SESSION_IDLE_MAX
            && now.saturating_duration_since(self.began) < SESSION_AGE_MAX
    }
}

impl Sessions {
    /// Begins a session. Returns the cookie's value. Errs if the system has no random numbers.
    pub fn begin(&self, user: &UserName, password: &StoredPassword) -> Result<String, String> {
        let value = hex(&random::<32>()?);
        self.insert(&value, user, password, Instant::now());
        Ok(value)
    }

    fn insert(&self, value: &str, user: &UserName, password: &StoredPassword, now: Instant) {
        let mut sessions = self.lock();
        sessions.retain(|_, session| session.is_valid(now));
        let of_user = |session: &Session| session.user == *user;
        if sessions.values().filter(|session| of_user(session)).count() >= USER_SESSIONS_MAX {
            remove_oldest(&mut sessions, of_user);
        }
        if sessions.len() >= SESSIONS_MAX {
            remove_oldest(&mut sessions, |_| true);
        }
        let session = Session {
            user: user.clone(),
            password: password.clone(),
            began: now,
            used: now,
        };
        sessions.insert(Digest::of(value.as_bytes()).key(), session);
    }

    /// The user of a session, and the password that it began with.
    pub fn find(&self, value: &str) -> Option<(UserName, StoredPassword)> {
        self.find_at(value, Instant::now())
    }

    fn find_at(&self, value: &str, now: Instant) -> Option<(UserName, StoredPassword)> {
        let mut sessions = self.lock();
        let session = sessions.get_mut(&Digest::of(value.as_bytes()).key())?;
        if !session.is_valid(now) {
            return None;
        }
        session.used = now;
        Some((session.user.clone(), session.password.clone()))
    }

    /// The same, without a request that keeps the session alive.
    pub fn peek(&self, value: &str) -> Option<(UserName, StoredPassword)> {
        let sessions = self.lock();
        let session = sessions.get(&Digest::of(value.as_bytes()).key())?;
        let is_valid = session.is_valid(Instant::now());
        is_valid.then(|| (session.user.clone(), session.password.clone()))
    }

    /// Ends a session.
    pub fn end(&self, value: &str) {
        self.lock().remove(&Digest::of(value.as_bytes()).key());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Session>> {
        lock(&self.0)
    }
}

fn remove_oldest(sessions: &mut HashMap<[u8; 32], Session>, of: impl Fn(&Session) -> bool) {
    let among = sessions.iter().filter(|(_, session)| of(session));
    let oldest = among.min_by_key(|(_, session)| session.used);
    if let Some(key) = oldest.map(|(key, _)| *key) {
        sessions.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_ends_by_itself_and_by_logout() {
        let sessions = Sessions::default();
        let (anna, password) = ("anna".parse().unwrap(), StoredPassword::quick("x"));
        let start = Instant::now();
        let hours = |count: u64| start + Duration::from_secs(count * 3600);
        sessions.insert("a", &anna, &password, start);
        assert!(sessions.find_at("a", hours(11)).is_some());
        assert!(sessions.find_at("a", hours(22)).is_some(), "it was used");
        assert!(sessions.find_at("a", hours(35)).is_none(), "idle");
        sessions.insert("b", &anna, &password, start);
        for hour in (0..168).step_by(11) {
            assert!(sessions.find_at("b", hours(hour)).is_some(), "{hour}");
        }
        assert!(sessions.find_at("b", hours(168)).is_none(), "a week");
        let value = sessions.begin(&anna, &password).unwrap();
        assert!(value.len() == 64 && sessions.find(&value).is_some());
        assert!(sessions.find("").is_none() && sessions.find(&value[1..]).is_none());
        sessions.end(&value);
        assert!(sessions.find(&value).is_none());
    }

    #[test]
    fn sessions_are_bounded_and_a_user_ends_only_own_ones() {
        let sessions = Sessions::default();
        let (anna, password) = ("anna".parse().unwrap(), StoredPassword::quick("x"));
        let now = Instant::now();
        sessions.insert("anna", &anna, &password, now);
        let bert = "bert".parse().unwrap();
        for n in 0..100 {
            let later = now + Duration::from_secs(n);
            sessions.insert(&format!("bert {n}"), &bert, &password, later);
        }
        assert_eq!(sessions.lock().len(), 1 + USER_SESSIONS_MAX);
        assert!(sessions.find_at("anna", now).is_some());
        assert!(
            sessions.find_at("bert 99", now).is_some() && sessions.find_at("bert 0", now).is_none()
        );
        for n in 0..2_000 {
            let name = format!("user{n}").parse().unwrap();
            sessions.insert(&format!("s{n}"), &name, &password, now);
        }
        assert_eq!(sessions.lock().len(), SESSIONS_MAX);
    }
}
