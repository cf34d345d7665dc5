//! Random tokens, and the hashes of tokens and passwords.

use crate::credentials::Secret;
use crate::model::Invalid;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, Params, PasswordHasher, PasswordVerifier};
use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use std::fmt::Write;
use subtle::ConstantTimeEq;

/// What a token begins with, so that tools that search for leaked secrets can find it.
const TOKEN_PREFIX: &str = "scanpush_";
/// Bytes of a password's salt.
const SALT_BYTES: usize = 16;
/// Memory of one verification at most, in bytes. [`Params::DEFAULT`] has 19 MiB.
const HASH_MEMORY_MAX_BYTES: u64 = 256 * 1024 * 1024;
/// Passes over the memory at most.
const HASH_PASSES_MAX: u32 = 20;
/// Lanes at most.
const HASH_LANES_MAX: u32 = 16;

/// A SHA-256 digest, which can only be compared in constant time.
#[derive(Clone, Copy, Debug)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `text`.
    pub fn of(text: &[u8]) -> Digest {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, text).as_ref());
        Digest(bytes)
    }

    /// The digest in 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Digest> {
        let digits = text.as_bytes();
        if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Digest(bytes))
    }

    /// The same in hexadecimal digits.
    pub fn to_hex(self) -> String {
        hex(&self.0)
    }

    /// Whether they are equal. Takes the same time wherever they differ.
    pub fn is(&self, other: &Digest) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// Its bytes, as the key of a table. Looking up a digest shows nothing about other texts with digests in the table.
    pub fn key(self) -> [u8; 32] {
        self.0
    }
}

/// A password's hash, argon2id with its parameters and salt.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredPassword(PasswordHash);

impl StoredPassword {
    /// Hashes a password with a new salt. Errs if the system has no random numbers.
    pub fn of(password: &Secret) -> Result<StoredPassword, String> {
        let salt: [u8; SALT_BYTES] = random()?;
        StoredPassword::with(&Argon2::default(), password.reveal(), &salt)
    }

    /// With few passes over little memory, for tests.
    #[cfg(test)]
    pub fn quick(password: &str) -> StoredPassword {
        let params = Params::new(8, 1, 1, None).unwrap();
        let argon2 = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
        StoredPassword::with(&argon2, password, &[7; SALT_BYTES]).unwrap()
    }

    fn with(argon2: &Argon2<'_>, password: &str, salt: &[u8]) -> Result<StoredPassword, String> {
        let hash: PasswordHash = argon2
            .hash_password_with_salt(password.as_bytes(), salt)
            .map_err(|error| format!("the password cannot be hashed: {error}"))?;
        Ok(StoredPassword(hash))
    }

    /// The hash in the form `$argon2id$v=19$m=19456,t=2,p=1$SALT$HASH`. Errs on other algorithms, and on parameters that would cost too much.
    pub fn parse(text: &str) -> Result<StoredPassword, Invalid> {
        let wrong = |what: &str| Invalid::about(format!("the hash of the password {what}"));
        let hash = PasswordHash::new(text)
            .map_err(|_| wrong("is not in the form that scanpush auth user NAME prints"))?;
        if hash.algorithm.as_str() != "argon2id" || hash.version != Some(19) {
            return Err(wrong("is not argon2id of version 19"));
        }
        if hash.salt.is_none() || hash.hash.is_none() {
            return Err(wrong("is not complete"));
        }
        let params = Params::try_from(&hash).map_err(|_| wrong("has invalid parameters"))?;
        let is_expensive = u64::from(params.m_cost()) * 1024 > HASH_MEMORY_MAX_BYTES
            || params.t_cost() > HASH_PASSES_MAX
            || params.p_cost() > HASH_LANES_MAX;
        match is_expensive {
            true => Err(wrong(&format!(
                "needs too much: at most m={},t={HASH_PASSES_MAX},p={HASH_LANES_MAX}",
                HASH_MEMORY_MAX_BYTES / 1024
            ))),
            false => Ok(StoredPassword(hash)),
        }
    }

    /// Whether this is the password. Takes some ten milliseconds and [`Params::DEFAULT_M_COST`] KiB.
    pub fn verify(&self, password: &str) -> bool {
        let argon2 = Argon2::default();
        argon2.verify_password(password.as_bytes(), &self.0).is_ok()
    }

    /// The hash as a line of the file has it.
    pub fn text(&self) -> String {
        self.0.to_string()
    }
}

impl std::fmt::Debug for StoredPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hash)")
    }
}

/// Random bytes. Errs if the system has none.
pub fn random<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| "the system gives no random numbers".to_owned())?;
    Ok(bytes)
}

/// A new token with 256 random bits.
pub fn new_token() -> Result<String, String> {
    Ok(format!("{TOKEN_PREFIX}{}", hex(&random::<32>()?)))
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_has_64_digits() {
        let digest = Digest::of(b"abc");
        let digits = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest.to_hex(), digits);
        assert!(Digest::from_hex(digits).unwrap().is(&digest));
        assert!(
            Digest::from_hex(&digits.to_uppercase())
                .unwrap()
                .is(&digest)
        );
        assert!(!Digest::of(b"abd").is(&digest));
        for wrong in ["", "ba", &digits[1..], &format!("+{}", &digits[1..])] {
            assert!(Digest::from_hex(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_password_is_verified_against_its_line() {
        let stored = StoredPassword::quick("s3cret ü");
        let read = StoredPassword::parse(&stored.text()).unwrap();
        assert!(read == stored && read.verify("s3cret ü") && !read.verify("s3cret"));
        assert!(!format!("{read:?}").contains("argon2"));
        for (text, wrong) in [
            ("", "is not in the form"),
            ("$2y$05$abcdefghijklmnopqrstuv", "is not"),
            (
                "$argon2i$v=19$m=19456,t=2,p=1$BwcHBwcHBwcHBwcHBwcHBw$uxfUXmNAD0RXQ2XTYD+Dng",
                "is not argon2id",
            ),
            (
                "$argon2id$v=19$m=19456,t=2,p=1$BwcHBwcHBwcHBwcHBwcHBw",
                "is not complete",
            ),
            (
                "$argon2id$v=19$m=4194304,t=2,p=1$BwcHBwcHBwcHBwcHBwcHBw$uxfUXmNAD0RXQ2XTYD+Dng",
                "needs too much",
            ),
            (
                "$argon2id$v=19$m=19456,t=999,p=1$BwcHBwcHBwcHBwcHBwcHBw$uxfUXmNAD0RXQ2XTYD+Dng",
                "needs too much",
            ),
        ] {
            let error = StoredPassword::parse(text).unwrap_err().to_string();
            assert!(error.contains(wrong), "{text}: {error}");
        }
    }

    #[test]
    fn tokens_differ() {
        let (one, other) = (new_token().unwrap(), new_token().unwrap());
        assert!(one != other && one.len() == TOKEN_PREFIX.len() + 64);
        assert!(one.starts_with(TOKEN_PREFIX), "{one}");
    }
}
