//! The one place that reads passwords, certificates and keys.
//!
//! **Invariants:** a [`Secret`] is never formatted. Files are read again for each new connection, so that a changed password or certificate needs
//! no restart. Every error is one line that names the flag and the file; none quotes the content of a file.

use crate::files::{FileError, read_regular};
use crate::model::Invalid;
use crate::model::text::quoted;
use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Largest file with a password, certificates or a key, in bytes. The CA bundle of Debian has about 220 KB.
pub const CREDENTIAL_FILE_MAX_BYTES: u64 = 4 * 1024 * 1024;
/// Longest password, in bytes.
pub const PASSWORD_MAX_BYTES: usize = 4096;
/// Permission bits with which others than the owner and the group can read a file.
const READABLE_BY_OTHERS: u32 = 0o004;

/// A password. Its text is only available through [`Secret::reveal`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The password in `text`, for a variable or a parsed file. Errs if it is empty, too long, or has a control character.
    pub fn new(text: &str) -> Result<Secret, Invalid> {
        if text.is_empty() {
            return Err(Invalid::about("is empty: it should contain the password"));
        }
        if text.len() > PASSWORD_MAX_BYTES {
            return Err(Invalid::about(format!(
                "has a password of more than {PASSWORD_MAX_BYTES} bytes"
            )));
        }
        if text.chars().any(char::is_control) {
            return Err(Invalid::about(
                "has more than one line, or a control character: it should contain only the password",
            ));
        }
        Ok(Secret(text.to_owned()))
    }

    /// The password itself, to authenticate with.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Where a password comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Password {
    /// A file that contains only the password, read for each connection.
    File(CredentialFile),
    /// An environment variable.
    Variable(Secret),
}

impl Password {
    /// The password. Errs if its file cannot be read or does not contain exactly one line.
    pub fn read(&self) -> Result<Secret, Invalid> {
        match self {
            Password::Variable(secret) => Ok(secret.clone()),
            Password::File(file) => {
                let bytes = file.read()?;
                let text =
                    String::from_utf8(bytes).map_err(|_| file.invalid("is not UTF-8 text"))?;
                let line = text.strip_suffix('\n').unwrap_or(&text);
                let line = line.strip_suffix('\r').unwrap_or(line);
                Secret::new(line).map_err(|error| file.invalid(&error.to_string()))
            }
        }
    }

    /// The password file, if there is one.
    pub fn file(&self) -> Option<&CredentialFile> {
        match self {
            Password::File(file) => Some(file),
            Password::Variable(_) => None,
        }
    }
}

/// TLS. The host name of the server is always checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The authorities that sign the servers' certificates; none for the system's.
    pub ca: Option<CredentialFile>,
    /// This program's client certificate.
    pub client: Option<ClientCertificate>,
}

impl Tls {
    /// All files of it.
    pub fn files(&self) -> impl Iterator<Item = &CredentialFile> {
        let client = self.client.iter();
        let client = client.flat_map(|client| [&client.certificate, &client.key]);
        self.ca.iter().chain(client)
    }
}

/// A certificate with its chain, and its private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificates.
    pub certificate: CredentialFile,
    /// The key of the first certificate.
    pub key: CredentialFile,
}

/// A file that is named by a flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialFile {
    flag: &'static str,
    path: PathBuf,
}

impl CredentialFile {
    /// The file at `path`, for errors with the `flag` that names it.
    pub fn new(flag: &'static str, path: PathBuf) -> CredentialFile {
        CredentialFile { flag, path }
    }

    /// Its path as given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its content. Errs if it cannot be read, is not a regular file, or is larger than [`CREDENTIAL_FILE_MAX_BYTES`].
    pub fn read(&self) -> Result<Vec<u8>, Invalid> {
        read_regular(&self.path, CREDENTIAL_FILE_MAX_BYTES).map_err(|error| match error {
            FileError::Io(error) => self.unreadable(&error),
            other => self.invalid(&other.to_string()),
        })
    }

    /// Its content, which has at least one certificate in PEM form.
    pub fn certificates(&self) -> Result<Vec<u8>, Invalid> {
        let bytes = self.read()?;
        match contains(&bytes, "-----BEGIN CERTIFICATE-----") {
            true => Ok(bytes),
            false => {
                Err(self
                    .invalid("contains no certificate in PEM form (-----BEGIN CERTIFICATE-----)"))
            }
        }
    }

    /// Its content, which has a private key in PEM form.
    pub fn private_key(&self) -> Result<Vec<u8>, Invalid> {
        let bytes = self.read()?;
        if !contains(&bytes, "PRIVATE KEY-----") {
            return Err(
                self.invalid("contains no private key in PEM form (-----BEGIN PRIVATE KEY-----)")
            );
        }
        Ok(bytes)
    }

    /// Its content, which has a private key in PEM form that is not encrypted.
    pub fn unencrypted_private_key(&self) -> Result<Vec<u8>, Invalid> {
        let bytes = self.private_key()?;
        match CredentialFile::is_encrypted(&bytes) {
            false => Ok(bytes),
            true => {
                let shown = self.path.display();
                Err(self.invalid(&format!(
                    "contains an encrypted key: remove its password with openssl pkey -in {shown} -out NEW"
                )))
            }
        }
    }

    /// Whether the key in `bytes` is encrypted.
    pub fn is_encrypted(bytes: &[u8]) -> bool {
        contains(bytes, "-----BEGIN ENCRYPTED PRIVATE KEY-----")
            || contains(bytes, "Proc-Type: 4,ENCRYPTED")
    }

    /// A warning if all users of this machine can read the file.
    pub fn permission_warning(&self) -> Option<String> {
        let metadata = self.path.metadata().ok()?;
        let is_readable = metadata.permissions().mode() & READABLE_BY_OTHERS != 0;
        // Anything else is refused when it is read.
        (metadata.is_file() && is_readable).then(|| {
            let shown = self.path.display();
            format!(
                "{} {shown}: every user of this machine can read this file: chmod o-r {shown}",
                self.flag
            )
        })
    }

    fn unreadable(&self, error: &io::Error) -> Invalid {
        let reason = match error.kind() {
            io::ErrorKind::NotFound => "does not exist".to_owned(),
            io::ErrorKind::PermissionDenied => format!(
                "cannot be read by this user (id {})",
                rustix::process::geteuid().as_raw()
            ),
            _ => format!("cannot be read: {error}"),
        };
        self.invalid(&reason)
    }

    /// An error about this file: `-kafka-ca: "ca.pem" contains no certificate …`.
    pub fn invalid(&self, wrong: &str) -> Invalid {
        Invalid::about(format!("{} {wrong}", quoted(&self.path.to_string_lossy()))).of(self.flag)
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A file with this content; the folder is removed on drop.
    fn file(content: &[u8]) -> (tempfile::TempDir, CredentialFile) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        fs::write(&path, content).unwrap();
        (folder, CredentialFile::new("-kafka-password-file", path))
    }

    #[test]
    fn a_password_is_the_only_line_of_its_file() {
        for content in ["s3cret", "s3cret\n", "s3cret\r\n"] {
            let (_folder, file) = file(content.as_bytes());
            assert_eq!(Password::File(file).read().unwrap().reveal(), "s3cret");
        }
        for (content, wrong) in [
            (&b""[..], "is empty"),
            (b"\n", "is empty"),
            (b"s3cret\nmore\n", "more than one line"),
            (b"\xff\xfe", "not UTF-8"),
        ] {
            let (_folder, file) = file(content);
            let error = Password::File(file).read().unwrap_err().to_string();
            assert!(error.starts_with("-kafka-password-file: \""), "{error}");
            assert!(
                error.contains(wrong) && !error.contains("s3cret"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for (path, wrong) in [
            (folder.path().join("none"), "none\" does not exist"),
            (folder.path().to_owned(), "is not a regular file"),
        ] {
            let file = CredentialFile::new("-kafka-ca", path);
            let error = file.certificates().unwrap_err().to_string();
            assert!(
                error.starts_with("-kafka-ca: \"") && error.contains(wrong),
                "{error}"
            );
        }
    }

    #[test]
    fn certificates_and_keys_are_told_apart() {
        let certificate = b"-----BEGIN CERTIFICATE-----\n";
        let key = b"-----BEGIN EC PRIVATE KEY-----\n";
        let (_folder, of_certificate) = file(certificate);
        let (_other_folder, of_key) = file(key);
        assert!(of_certificate.certificates().is_ok() && of_key.private_key().is_ok());
        assert!(of_certificate.private_key().is_err() && of_key.certificates().is_err());
        assert!(!CredentialFile::is_encrypted(key));
        assert!(of_key.unencrypted_private_key().is_ok());
        let (_third_folder, of_encrypted) = file(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n");
        let error = of_encrypted
            .unencrypted_private_key()
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("contains an encrypted key: remove its password"),
            "{error}"
        );
        assert!(CredentialFile::is_encrypted(
            b"-----BEGIN ENCRYPTED PRIVATE KEY-----"
        ));
    }

    #[test]
    fn a_file_that_everybody_can_read_gives_a_warning() {
        let (_folder, file) = file(b"s3cret");
        for (mode, warns) in [(0o600, false), (0o640, false), (0o644, true)] {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(file.permission_warning().is_some(), warns, "{mode:o}");
        }
    }

    #[test]
    fn a_secret_is_not_formatted() {
        let secret = Secret::new("s3cret").unwrap();
        let password = Password::Variable(secret.clone());
        assert!(!format!("{secret:?} {password:?}").contains("s3cret"));
        assert!(Secret::new("").is_err() && Secret::new(&"x".repeat(5000)).is_err());
    }
}
