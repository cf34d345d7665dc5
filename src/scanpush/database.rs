//! The flags that say which database, and how to authenticate there.

use crate::flags::{Flag, Reader};
use crate::model::Invalid;
use crate::store::DatabaseSettings;

/// The database.
pub const DB: Flag = Flag::with_default(
    "--db",
    "URL",
    "sqlite:findings.db",
    "the database: sqlite:FILE or postgres://USER@HOST:PORT/DATABASE",
)
.or_variable("SCAN_DB");

/// The password of the database's user.
pub const DB_PASSWORD_FILE: Flag = Flag::optional(
    "--db-password-file",
    "FILE",
    "file with the password for Postgres",
)
.or_secret_variable("SCAN_DB_PASSWORD");

/// The value of the two flags.
pub fn read(reader: &mut Reader) -> Result<DatabaseSettings, Invalid> {
    Ok(DatabaseSettings {
        url: reader.value(&DB, str::parse)?,
        password: reader.password(&DB_PASSWORD_FILE)?,
    })
}
