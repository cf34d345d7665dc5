//! Limits of logins: how many attempts an address, a name and a browser have, and how many passwords are verified at a time.
//!
//! An attempt takes one from several allowances that refill by themselves, so that a wrong password costs a wait of seconds, never a lock. A browser
//! that a user has logged in with before has a cookie and an allowance of its own: somebody who guesses the user's password all the time doesn't keep
//! this user out.

use crate::sync::lock;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Allowances that are kept. If there are more, the fullest ones are forgotten.
const LOGIN_ALLOWANCES_MAX: usize = 10_000;
/// Passwords that are verified at a time.
const PASSWORD_CHECKS_MAX: usize = 2;
/// How long a login waits for the verification of others.
const PASSWORD_CHECK_WAIT: Duration = Duration::from_secs(1);

/// What an allowance belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A browser that somebody has logged in with before.
    Browser(String),
    /// A user, from browsers that are not known.
    Name(String),
    /// All names of unknown users.
    UnknownName,
    /// An address, or an IPv6 network of 64 bits.
    Address(IpAddr),
}

impl Subject {
    /// An address.
    pub fn address(address: IpAddr) -> Subject {
        Subject::Address(match address.to_canonical() {
            IpAddr::V4(address) => IpAddr::V4(address),
            IpAddr::V6(address) => {
                IpAddr::V6(Ipv6Addr::from(u128::from(address) & (u128::MAX << 64)))
            }
        })
    }

    /// Attempts at once, and the time after which there is another one.
    fn allowance(&self) -> (f64, Duration) {
        match self {
            Subject::Browser(_) => (10.0, Duration::from_secs(5)),
            Subject::Name(_) => (10.0, Duration::from_secs(10)),
            Subject::UnknownName => (20.0, Duration::from_secs(2)),
            Subject::Address(_) => (20.0, Duration::from_secs(3)),
        }
    }
}

/// What is left of the allowances that are not full.
#[derive(Default)]
pub struct Attempts {
    spent: Mutex<HashMap<Subject, Spent>>,
    checks: Mutex<usize>,
    check_ended: Condvar,
}

#[derive(Clone, Copy)]
struct Spent {
    left: f64,
    at: Instant,
}

impl Attempts {
    /// Takes an attempt from the allowances of all `subjects`. If one of them is empty, none is taken; errs with the time to wait.
    pub fn take(&self, subjects: &[Subject]) -> Result<(), Duration> {
        self.take_at(subjects, Instant::now())
    }

    fn take_at(&self, subjects: &[Subject], now: Instant) -> Result<(), Duration> {
        let mut spent = lock(&self.spent);
        let left = |spent: &HashMap<Subject, Spent>, subject: &Subject| {
            let (most, refill) = subject.allowance();
            spent.get(subject).map_or(most, |one| {
                let refilled = now.saturating_duration_since(one.at).as_secs_f64();
                (one.left + refilled / refill.as_secs_f64()).min(most)
            })
        };
        let wait = subjects
            .iter()
            .map(|subject| (1.0 - left(&spent, subject), subject.allowance().1))
            .filter(|(missing, _)| *missing > 0.0)
            .map(|(missing, refill)| refill.mul_f64(missing))
            .max();
        if let Some(wait) = wait {
            return Err(wait);
        }
        for subject in subjects {
            let left = left(&spent, subject) - 1.0;
            spent.insert(subject.clone(), Spent { left, at: now });
        }
        if spent.len() > LOGIN_ALLOWANCES_MAX {
            let fuller = |subject: &Subject| left(&spent, subject) / subject.allowance().0;
            let mut all: Vec<(f64, Subject)> = spent
                .keys()
                .map(|subject| (fuller(subject), subject.clone()))
                .collect();
            all.sort_by(|(one, _), (other, _)| other.total_cmp(one));
            for (_, subject) in all.iter().take(LOGIN_ALLOWANCES_MAX / 2) {
                spent.remove(subject);
            }
        }
        Ok(())
    }

    /// Gives an attempt back: the password was right.
    pub fn give_back(&self, subjects: &[Subject]) {
        let mut spent = lock(&self.spent);
        for subject in subjects {
            if let Some(one) = spent.get_mut(subject) {
                one.left = (one.left + 1.0).min(subject.allowance().0);
            }
        }
    }

    /// Verifies a password, once fewer than [`PASSWORD_CHECKS_MAX`] others are being verified. None if that takes longer than [`PASSWORD_CHECK_WAIT`].
    pub fn verify(&self, check: impl FnOnce() -> bool) -> Option<bool> {
        let (mut running, waited) = self
            .check_ended
            .wait_timeout_while(lock(&self.checks), PASSWORD_CHECK_WAIT, |running| {
                *running >= PASSWORD_CHECKS_MAX
            })
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return None;
        }
        *running += 1;
        drop(running);
        let _running = Running(self);
        Some(check())
    }
}

/// A verification that is running.
struct Running<'a>(&'a Attempts);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        *lock(&self.0.checks) -= 1;
        self.0.check_ended.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;

    fn name(name: &str) -> Subject {
        Subject::Name(name.to_owned())
    }

    fn address(text: &str) -> Subject {
        Subject::address(text.parse().unwrap())
    }

    #[test]
    fn an_allowance_refills() {
        let attempts = Attempts::default();
        let start = Instant::now();
        let subjects = [name("anna"), address("192.0.2.1")];
        for _ in 0..10 {
            attempts.take_at(&subjects, start).unwrap();
        }
        let wait = attempts.take_at(&subjects, start).unwrap_err();
        assert!(wait <= Duration::from_secs(10), "{wait:?}");
        assert!(attempts.take_at(&[name("bert")], start).is_ok());
        let later = start + wait;
        assert!(attempts.take_at(&subjects, later).is_ok());
        assert!(attempts.take_at(&subjects, later).is_err());
        attempts.give_back(&subjects);
        assert!(attempts.take_at(&subjects, later).is_ok());
    }

    #[test]
    fn somebody_who_guesses_does_not_keep_a_known_browser_out() {
        let attempts = Attempts::default();
        let start = Instant::now();
        for n in 0..100_000_u64 {
            let now = start + Duration::from_millis(n);
            let from = address(&format!("10.{}.{}.1", n / 256 % 256, n % 256));
            let _ = attempts.take_at(&[name("anna"), from], now);
        }
        let now = start + Duration::from_secs(100);
        let known = [Subject::Browser("b".to_owned())];
        assert!(attempts.take_at(&known, now).is_ok());
        let unknown = attempts.take_at(&[name("anna"), address("192.0.2.1")], now);
        assert!(
            unknown
                .err()
                .is_none_or(|wait| wait <= Duration::from_secs(10))
        );
        assert!(lock(&attempts.spent).len() <= LOGIN_ALLOWANCES_MAX);
    }

    #[test]
    fn allowances_are_bounded_and_the_emptiest_ones_stay() {
        let attempts = Attempts::default();
        let start = Instant::now();
        while attempts.take_at(&[name("anna")], start).is_ok() {}
        for n in 0..20_000_u32 {
            let from = Subject::address(IpAddr::V4((0x0a00_0000 + n).into()));
            attempts.take_at(&[from], start).unwrap();
        }
        assert!(lock(&attempts.spent).len() <= LOGIN_ALLOWANCES_MAX);
        assert!(attempts.take_at(&[name("anna")], start).is_err());
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:1"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
        assert_ne!(address("192.0.2.1"), address("192.0.2.2"));
    }

    #[test]
    fn few_passwords_are_verified_at_a_time() {
        let attempts = Arc::new(Attempts::default());
        let (enter, entered) = crossbeam_channel::bounded::<()>(2);
        let (leave, left) = crossbeam_channel::bounded::<()>(0);
        let threads: Vec<_> = (0..PASSWORD_CHECKS_MAX)
            .map(|_| {
                let (attempts, enter, left) = (Arc::clone(&attempts), enter.clone(), left.clone());
                thread::spawn(move || {
                    attempts.verify(|| {
                        enter.send(()).unwrap();
                        left.recv().is_err()
                    })
                })
            })
            .collect();
        for _ in 0..PASSWORD_CHECKS_MAX {
            entered.recv().unwrap();
        }
        assert_eq!(attempts.verify(|| true), None);
        drop(leave);
        for thread in threads {
            assert_eq!(thread.join().unwrap(), Some(true));
        }
        assert_eq!(attempts.verify(|| false), Some(false));
    }
}
