//! The Postgres of the tests themselves: what other tests rely on.

use crate::support::{Database, Fleet};
use crate::{Needs, Test};
use std::fs;

pub const TESTS: &[Test] = &[
    (
        "each_test_has_its_own_database_with_a_password_and_tls",
        Needs::Postgres,
        databases,
    ),
    (
        "a_killed_postgres_restarts_with_what_was_committed",
        Needs::Postgres,
        killed,
    ),
];

/// Whether the connection of the query uses TLS.
const TLS: &str = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

fn create_row(database: &Database) {
    database.query("CREATE TABLE numbers (number integer)");
    database.query("INSERT INTO numbers VALUES (7)");
}

fn databases() {
    let [one, other] = ["one", "other"].map(|name| Fleet::new(name).create_database());
    create_row(&one);
    create_row(&other);
    assert_eq!(one.query("SELECT * FROM numbers"), "7");
    let over_tls = |database: &Database| database.try_query_at(&database.verified_url(), TLS);
    assert_eq!(over_tls(&other), Ok("t".to_owned()));
    let without_tls = format!("{}?sslmode=disable", one.url());
    assert_eq!(one.try_query_at(&without_tls, TLS), Ok("f".to_owned()));

    let password = fs::read_to_string(one.password_file()).unwrap();
    let wrong = one.url().replace("scan@", "scan:wrong@");
    let error = one.try_query_at(&wrong, TLS).unwrap_err();
    assert!(error.contains("password authentication failed"), "{error}");
    let right = wrong.replace("wrong", password.trim_end());
    assert_eq!(one.try_query_at(&right, TLS), Ok("t".to_owned()));
}

fn killed() {
    let wrong_host = [
        "ssl_cert_file=wrong-host.crt",
        "ssl_key_file=wrong-host.key",
    ];
    let postgres = Fleet::new("killed").start_postgres(&wrong_host);
    let database = postgres.create_database("kept");
    create_row(&database);
    postgres.kill();
    let error = database.try_query("SELECT 1").unwrap_err();
    assert!(error.contains("connection to server"), "{error}");
    postgres.restart();
    assert_eq!(database.query("SELECT * FROM numbers"), "7");

    let verified = database.try_query_at(&database.verified_url(), TLS);
    let error = verified.unwrap_err();
    assert!(error.contains("does not match host name"), "{error}");
}
