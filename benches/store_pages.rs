//! Fills a database with invented services, changes and tasks, and measures the reads of the web page.
//!
//! ```text
//! cargo run --release --example store-pages seed sqlite:seed.db 5000000 100000     services and tasks; the default is a hundredth of that
//! cargo run --release --example store-pages measure sqlite:seed.db
//! ```
//!
//! The rows are written by statements of the database, not by `scanpush store`, which would take several minutes. The same numbers give the same
//! rows, apart from times, which end now: two services at every second address from 10.0.0.0 on, thirty ports, some of them rare, changes of the
//! last 90 days. `PGPASSWORD` has the password for Postgres.

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::Text;
use scan::model::service::{ChangeKind, ServiceState};
use scan::model::{State, TaskId};
use scan::store::{
    ChangeFilter, DatabaseSettings, DatabaseUrl, ServiceFilter, StoreReader, StoreWriter,
    TaskFilter, WriterOptions,
};
use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const SERVICES_DEFAULT: u64 = 50_000;
const TASKS_DEFAULT: u64 = 1_000;
/// Rows of a page.
const PAGE_ROWS: usize = 100;
/// How often each read is measured.
const ROUNDS: usize = 5;
const DAY_S: u64 = 24 * 3600;
/// No page may take longer, with 5 million services and 100 000 tasks.
const GOAL: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["seed", url] => seed(url, SERVICES_DEFAULT, TASKS_DEFAULT),
        ["seed", url, services, tasks] => match (services.parse(), tasks.parse()) {
            (Ok(services), Ok(tasks)) => seed(url, services, tasks),
            _ => Err("SERVICES and TASKS are numbers".into()),
        },
        ["measure", url] => measure(url),
        _ => Err("usage: store-pages seed URL [SERVICES TASKS] | store-pages measure URL".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("store-pages: {error}");
            ExitCode::FAILURE
        }
    }
}

fn now_s() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn settings(url: &str) -> Result<DatabaseSettings, Box<dyn Error>> {
    let url: DatabaseUrl = url.parse().map_err(|error| format!("{error}"))?;
    Ok(DatabaseSettings {
        url,
        password: None,
    })
}

// --- seed

fn seed(url: &str, services: u64, tasks: u64) -> Result<(), Box<dyn Error>> {
    let settings = settings(url)?;
    let options = WriterOptions {
        holder: "store-pages".to_owned(),
        closed_after: 2,
        keeps_findings: false,
    };
    // Creates the schema.
    drop(StoreWriter::open(
        &settings,
        options,
        &crossbeam_channel::never(),
    )?);
    let began = Instant::now();
    match &settings.url {
        DatabaseUrl::Sqlite(file) => {
            let name = file.to_str().ok_or("the file's name is not UTF-8")?;
            let mut connection = SqliteConnection::establish(name)?;
            connection.batch_execute(
                "PRAGMA synchronous = OFF; PRAGMA cache_size = -262144; PRAGMA temp_store = MEMORY",
            )?;
            fill(&mut connection, &SQLITE, services, tasks)?;
            connection.batch_execute("PRAGMA wal_checkpoint(TRUNCATE)")?;
        }
        DatabaseUrl::Postgres(url) => {
            let mut connection = PgConnection::establish(url)?;
            fill(&mut connection, &POSTGRES, services, tasks)?;
            connection.batch_execute("VACUUM ANALYZE")?;
        }
    }
    println!(
        "{services} services and {tasks} tasks in {:.0} s",
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

/// What the databases do not have in common.
struct Dialect {
    /// The 16 bytes of the IPv4 address with the number `x`.
    address: &'static str,
    /// The numbers `n` below COUNT.
    numbers: &'static str,
    /// The statements that create the indexes, which are not part of a primary key, and their names.
    indexes: &'static str,
}

const SQLITE: Dialect = Dialect {
    address: "unhex(printf('00000000000000000000ffff%08x', x))",
    numbers: "(WITH RECURSIVE up (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM up WHERE n + 1 < COUNT) SELECT n FROM up)",
    indexes: "SELECT name, sql AS statement FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
};

const POSTGRES: Dialect = Dialect {
    address: "decode('00000000000000000000ffff' || lpad(to_hex(x), 8, '0'), 'hex')",
    numbers: "(SELECT n FROM generate_series(0::BIGINT, COUNT - 1) AS up (n)) AS numbers",
    indexes: "SELECT CAST(indexname AS TEXT) AS name, indexdef AS statement FROM pg_indexes \
              WHERE schemaname = current_schema() AND indexdef NOT LIKE 'CREATE UNIQUE%'",
};

/// Services. Address and port follow from `n`, times from pseudo-random numbers `h` and `i`; one of 12 is closed. Port `p` of the first service of an
/// address is another one than that of the second.
const SERVICES: &str = "
INSERT INTO services (address, port, protocol, first_seen, last_seen, last_task, reason, ttl, state, state_since, misses, missed_since)
SELECT ADDRESS, port, protocol, first_seen,
    CASE WHEN is_closed = 1 THEN last_seen ELSE NOW - i % 86400 END,
    'seed-' || substr(CAST(1000000 + i % TASKS AS TEXT), 2), 'syn-ack', 40 + i % 24,
    CASE WHEN is_closed = 1 THEN 'closed' ELSE 'open' END,
    CASE WHEN is_closed = 1 THEN last_seen + 86400 ELSE first_seen END, is_closed * 2, is_closed * last_seen
FROM (
    SELECT n, x, i, first_seen, CASE WHEN h % 12 = 0 AND first_seen < NOW - 172800 THEN 1 ELSE 0 END AS is_closed,
        first_seen + (i % 1000) * (NOW - 86400 - first_seen) / 1000 AS last_seen,
        CASE WHEN n % 50000 = 7 THEN 31337 WHEN n % 40000 = 9 THEN 8291 WHEN n % 2 = 0 THEN
            CASE p WHEN 0 THEN 443 WHEN 1 THEN 80 WHEN 2 THEN 22 WHEN 3 THEN 3389 WHEN 4 THEN 445 WHEN 5 THEN 8080 WHEN 6 THEN 25 WHEN 7 THEN 21
            WHEN 8 THEN 53 WHEN 9 THEN 110 WHEN 10 THEN 143 WHEN 11 THEN 3306 WHEN 12 THEN 5432 WHEN 13 THEN 6379 ELSE 27017 END
        ELSE
            CASE p WHEN 0 THEN 8443 WHEN 1 THEN 161 WHEN 2 THEN 123 WHEN 3 THEN 23 WHEN 4 THEN 5900 WHEN 5 THEN 9200 WHEN 6 THEN 1433 WHEN 7 THEN 389
            WHEN 8 THEN 636 WHEN 9 THEN 993 WHEN 10 THEN 995 WHEN 11 THEN 2049 WHEN 12 THEN 5985 WHEN 13 THEN 11211 ELSE 9100 END
        END AS port,
        CASE WHEN n % 2 = 1 AND p IN (1, 2) AND n % 40000 <> 9 AND n % 50000 <> 7 THEN 17 ELSE 6 END AS protocol
    FROM (
        SELECT n, 167772160 + n / 2 * 2 + (h / 16) % 2 AS x, h, i, NOW - (h * 3 + i) % (90 * 86400) AS first_seen,
            15 * (i % 10000) * (i % 10000) / 100000000 AS p
        FROM (SELECT n, (n / 2 * 2654435761 + 12345) % 4294967296 AS h, (n * 40503001 + 777) % 1000003 AS i FROM NUMBERS) AS hashed
    ) AS placed
) AS invented
ORDER BY n";

/// Each service opened, and closed if it is closed; one of 16 open ones closed and opened again.
const CHANGES: &str = "
INSERT INTO changes (address, port, protocol, kind, at, task_id)
SELECT address, port, protocol, kind, at, last_task FROM (
    SELECT address, port, protocol, 'opened' AS kind, first_seen AS at, last_task FROM services
    UNION ALL SELECT address, port, protocol, 'closed', state_since, last_task FROM services WHERE state = 'closed'
    UNION ALL SELECT address, port, protocol, 'closed', first_seen + (last_seen - first_seen) / 3, last_task FROM services
        WHERE state = 'open' AND last_seen % 16 = 0
    UNION ALL SELECT address, port, protocol, 'reopened', first_seen + (last_seen - first_seen) / 2, last_task FROM services
        WHERE state = 'open' AND last_seen % 16 = 0
) AS all_changes ORDER BY at";

/// Tasks of 90 days, in jobs of 250; some belong to none. Most have completed.
const TASKS: &str = "
INSERT INTO tasks (task_id, job_id, ip_range, ports, band_width, priority, retries, seed, topic_partition, topic_offset, retry, state, server, attempt,
    lost, fence, found, error, changed_ms, begun_ms, ended_ms, proof)
SELECT 'seed-' || substr(CAST(1000000 + n AS TEXT), 2),
    CASE WHEN n % 10 = 0 THEN NULL ELSE 'seed-job-' || substr(CAST(1000000 + n / 250 AS TEXT), 2) END,
    '10.' || CAST(n / 256 % 256 AS TEXT) || '.' || CAST(n % 256 AS TEXT) || '.0/24', '22,80,443,U:161', 10000, n % 10, 0, n, 0, n, 0, state,
    CASE WHEN state = 'queued' THEN NULL ELSE 'scan-' || substr(CAST(100 + n % 20 AS TEXT), 2) END,
    CASE WHEN state = 'queued' THEN 0 ELSE 1 END, 0, n, n % 300,
    CASE WHEN state = 'failed' THEN 'masscan: no route to the targets through eth0' END, changed_ms,
    CASE WHEN state <> 'queued' THEN changed_ms - 60000 END,
    CASE WHEN state IN ('completed', 'failed', 'cancelled') THEN changed_ms END,
    CASE WHEN state = 'completed' THEN CASE WHEN n % 33 = 0 THEN 'nothing: answers may be missing' ELSE 'covered' END END
FROM (
    SELECT n, NOW * 1000 - (TASKS - n) * (7776000000 / TASKS) AS changed_ms,
        CASE WHEN n % 100 < 2 THEN 'failed' WHEN n % 100 = 2 THEN 'cancelled' WHEN n >= TASKS * 99 / 100 THEN
            CASE WHEN n % 2 = 0 THEN 'queued' ELSE 'running' END ELSE 'completed' END AS state
    FROM NUMBERS
) AS invented";

const EVENTS: &str = "
INSERT INTO task_events (task_id, at_ms, retry, fence, state, server, attempt, found, error)
SELECT task_id, begun_ms, 0, fence, 'running', server, 1, 0, NULL FROM tasks WHERE begun_ms IS NOT NULL
UNION ALL SELECT task_id, ended_ms, 0, fence, state, server, 1, found, error FROM tasks WHERE ended_ms IS NOT NULL";

#[derive(QueryableByName)]
struct Index {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    statement: String,
}

/// Writes the rows. Indexes are created again afterwards, which is faster than to extend them row by row.
fn fill<C>(
    connection: &mut C,
    dialect: &Dialect,
    services: u64,
    tasks: u64,
) -> Result<(), Box<dyn Error>>
where
    C: diesel::connection::LoadConnection + SimpleConnection,
    diesel::query_builder::SqlQuery: for<'a> diesel::query_dsl::methods::LoadQuery<'a, C, Index>,
{
    let indexes: Vec<Index> = diesel::sql_query(dialect.indexes).load(connection)?;
    let text = |template: &str, count: u64| {
        template
            .replace("ADDRESS", dialect.address)
            .replace("NUMBERS", dialect.numbers)
            .replace("COUNT", &count.to_string())
            .replace("NOW", &format!("CAST({} AS BIGINT)", now_s()))
            .replace("TASKS", &tasks.max(1).to_string())
    };
    let mut statements: Vec<String> = indexes
        .iter()
        .map(|index| format!("DROP INDEX {}", index.name))
        .collect();
    statements.push(text(SERVICES, services));
    statements.push(text(CHANGES, 0));
    statements.push(text(TASKS, tasks));
    statements.push(text(EVENTS, 0));
    statements.extend(indexes.into_iter().map(|index| index.statement));
    connection.batch_execute("BEGIN")?;
    for statement in statements {
        connection.batch_execute(&statement)?;
    }
    Ok(connection.batch_execute("COMMIT")?)
}

// --- measure

/// Runs one read. Returns the number of rows, and whether the list continues.
type Read = Box<dyn Fn(&mut StoreReader) -> Result<(usize, bool), Box<dyn Error>>>;

fn measure(url: &str) -> Result<(), Box<dyn Error>> {
    let mut reader = StoreReader::open(&settings(url)?)?;
    println!(
        "{:<58} {:>9} {:>9} {:>6}  goes on",
        "read", "first ms", "most ms", "rows"
    );
    for (name, read) in service_reads()?
        .into_iter()
        .chain(change_reads()?)
        .chain(task_reads()?)
    {
        report(&mut reader, &name, &read, ROUNDS)?;
    }
    for network in ["10.1.2.0/24", "10.1.0.0/16", "10.0.0.0/12", "10.0.0.0/8"] {
        let network = scan::store::map_network(network)?;
        let read: Read = Box::new(move |reader| Ok((reader.open_by_cell(network)?.len(), false)));
        report(&mut reader, &format!("map of {network}"), &read, 2)?;
    }
    let read: Read = Box::new(|reader| Ok((reader.statistics(90, now_s())?.days.len(), false)));
    report(&mut reader, "statistics of 90 days", &read, 2)
}

fn report(
    reader: &mut StoreReader,
    name: &str,
    read: &Read,
    rounds: usize,
) -> Result<(), Box<dyn Error>> {
    let mut times = Vec::new();
    let mut found = (0, false);
    for _ in 0..rounds {
        let began = Instant::now();
        found = read(reader)?;
        times.push(began.elapsed());
    }
    let most = times.iter().skip(1).max().copied().unwrap_or_default();
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    println!(
        "{name:<58} {:>9.1} {:>9.1} {:>6}  {}{}",
        ms(times[0]),
        ms(most),
        found.0,
        if found.1 { "yes" } else { "no" },
        if most > GOAL { "   SLOW" } else { "" }
    );
    Ok(())
}

fn service_reads() -> Result<Vec<(String, Read)>, Box<dyn Error>> {
    let now = now_s();
    let all = ServiceFilter::default;
    let network = |text: &str| text.parse().map(Some).map_err(|error| format!("{error}"));
    let ports = |text: &str| text.parse().map(Some).map_err(|error| format!("{error}"));
    let closed = Some(ServiceState::Closed);
    let filters = vec![
        ("all", all()),
        (
            "open",
            ServiceFilter {
                state: Some(ServiceState::Open),
                ..all()
            },
        ),
        (
            "closed",
            ServiceFilter {
                state: closed,
                ..all()
            },
        ),
        (
            "closed, since 1 d",
            ServiceFilter {
                state: closed,
                since: Some(now - DAY_S),
                ..all()
            },
        ),
        (
            "network /16",
            ServiceFilter {
                networks: network("10.3.0.0/16")?,
                ..all()
            },
        ),
        (
            "network /16, closed",
            ServiceFilter {
                networks: network("10.3.0.0/16")?,
                state: closed,
                ..all()
            },
        ),
        (
            "network without services",
            ServiceFilter {
                networks: network("192.0.2.0/24")?,
                ..all()
            },
        ),
        (
            "port 443",
            ServiceFilter {
                ports: ports("443")?,
                ..all()
            },
        ),
        (
            "port 443, closed",
            ServiceFilter {
                ports: ports("443")?,
                state: closed,
                ..all()
            },
        ),
        (
            "port 443, last seen over 60 d ago",
            ServiceFilter {
                ports: ports("443")?,
                seen_until: Some(now - 60 * DAY_S),
                ..all()
            },
        ),
        (
            "port 443 in /8",
            ServiceFilter {
                ports: ports("443")?,
                networks: network("10.0.0.0/8")?,
                ..all()
            },
        ),
        (
            "rare port 31337",
            ServiceFilter {
                ports: ports("31337")?,
                ..all()
            },
        ),
        (
            "rare ports 31337,8291",
            ServiceFilter {
                ports: ports("31337,8291")?,
                ..all()
            },
        ),
        (
            "rare ports in /8, closed",
            ServiceFilter {
                ports: ports("31337,8291")?,
                networks: network("10.0.0.0/8")?,
                state: closed,
                ..all()
            },
        ),
        (
            "ports 80,443,8080,U:161",
            ServiceFilter {
                ports: ports("80,443,8080,U:161")?,
                ..all()
            },
        ),
        (
            "ports 30000-32000",
            ServiceFilter {
                ports: ports("30000-32000")?,
                ..all()
            },
        ),
        (
            "a port without services",
            ServiceFilter {
                ports: ports("4")?,
                ..all()
            },
        ),
        (
            "udp",
            ServiceFilter {
                proto: Some(scan::model::ports::Proto::Udp),
                ..all()
            },
        ),
        (
            "sctp (none)",
            ServiceFilter {
                proto: Some(scan::model::ports::Proto::Sctp),
                ..all()
            },
        ),
        (
            "seen or closed since 1 min",
            ServiceFilter {
                since: Some(now - 60),
                ..all()
            },
        ),
        (
            "new since 1 h",
            ServiceFilter {
                new_since: Some(now - 3600),
                ..all()
            },
        ),
        (
            "new since 7 d",
            ServiceFilter {
                new_since: Some(now - 7 * DAY_S),
                ..all()
            },
        ),
        (
            "new since 1 h, udp",
            ServiceFilter {
                new_since: Some(now - 3600),
                proto: Some(scan::model::ports::Proto::Udp),
                ..all()
            },
        ),
        (
            "first seen in one minute 80 d ago",
            ServiceFilter {
                new_since: Some(now - 80 * DAY_S),
                new_until: Some(now - 80 * DAY_S + 60),
                ..all()
            },
        ),
        (
            "last seen over 89 d ago",
            ServiceFilter {
                seen_until: Some(now - 89 * DAY_S),
                ..all()
            },
        ),
        (
            "last seen since 1 min, /12, port 22",
            ServiceFilter {
                seen_since: Some(now - 60),
                ports: ports("22")?,
                networks: network("10.0.0.0/12")?,
                ..all()
            },
        ),
        (
            "from the future (none)",
            ServiceFilter {
                seen_since: Some(now + DAY_S),
                ..all()
            },
        ),
    ];
    let read = |(name, filter): (&str, ServiceFilter)| {
        let read: Read = Box::new(move |reader| {
            let page = reader.services_page(&filter, None, PAGE_ROWS)?;
            Ok((page.rows.len(), page.next.is_some()))
        });
        (format!("services: {name}"), read)
    };
    Ok(filters.into_iter().map(read).collect())
}

fn change_reads() -> Result<Vec<(String, Read)>, Box<dyn Error>> {
    let now = now_s();
    let all = ChangeFilter::default;
    let network = |text: &str| text.parse().map(Some).map_err(|error| format!("{error}"));
    let ports = |text: &str| text.parse().map(Some).map_err(|error| format!("{error}"));
    let filters = vec![
        ("all", all()),
        (
            "since 1 d",
            ChangeFilter {
                since: Some(now - DAY_S),
                ..all()
            },
        ),
        (
            "until 60 d ago",
            ChangeFilter {
                until: Some(now - 60 * DAY_S),
                ..all()
            },
        ),
        (
            "closed",
            ChangeFilter {
                kinds: vec![ChangeKind::Closed],
                ..all()
            },
        ),
        (
            "reopened, port 22",
            ChangeFilter {
                kinds: vec![ChangeKind::Reopened],
                ports: ports("22")?,
                ..all()
            },
        ),
        (
            "rare port 31337",
            ChangeFilter {
                ports: ports("31337")?,
                ..all()
            },
        ),
        (
            "a port without changes",
            ChangeFilter {
                ports: ports("4")?,
                ..all()
            },
        ),
        (
            "sctp (none)",
            ChangeFilter {
                proto: Some(scan::model::ports::Proto::Sctp),
                ..all()
            },
        ),
        (
            "network /24",
            ChangeFilter {
                networks: network("10.3.4.0/24")?,
                ..all()
            },
        ),
        (
            "network /16",
            ChangeFilter {
                networks: network("10.3.0.0/16")?,
                ..all()
            },
        ),
        (
            "network /16, rare port",
            ChangeFilter {
                networks: network("10.3.0.0/16")?,
                ports: ports("31337")?,
                ..all()
            },
        ),
    ];
    let read = |(name, filter): (&str, ChangeFilter)| {
        let read: Read = Box::new(move |reader| {
            let page = reader.changes_page(&filter, None, PAGE_ROWS)?;
            Ok((page.rows.len(), page.next.is_some()))
        });
        (format!("changes: {name}"), read)
    };
    Ok(filters.into_iter().map(read).collect())
}

fn task_reads() -> Result<Vec<(String, Read)>, Box<dyn Error>> {
    let all = TaskFilter::default;
    let job: TaskId = "seed-job-000003".parse()?;
    let some = |text: &str| Some(text.to_owned());
    let failed = vec![State::Failed];
    let filters = vec![
        ("all", all()),
        (
            "failed",
            TaskFilter {
                states: failed.clone(),
                ..all()
            },
        ),
        (
            "rejected (none)",
            TaskFilter {
                states: vec![State::Rejected],
                ..all()
            },
        ),
        (
            "failed, cancelled, running",
            TaskFilter {
                states: vec![State::Failed, State::Cancelled, State::Running],
                ..all()
            },
        ),
        (
            "server",
            TaskFilter {
                server: some("scan-07"),
                ..all()
            },
        ),
        (
            "server, failed",
            TaskFilter {
                server: some("scan-01"),
                states: failed.clone(),
                ..all()
            },
        ),
        (
            "unknown server",
            TaskFilter {
                server: some("other"),
                ..all()
            },
        ),
        (
            "job",
            TaskFilter {
                job_id: Some(job.clone()),
                ..all()
            },
        ),
        (
            "job, failed",
            TaskFilter {
                job_id: Some(job),
                states: failed,
                ..all()
            },
        ),
        (
            "text of targets",
            TaskFilter {
                text: some("10.7.8."),
                ..all()
            },
        ),
        (
            "text of errors",
            TaskFilter {
                text: some("No Route"),
                ..all()
            },
        ),
        (
            "text that none has",
            TaskFilter {
                text: some("zzz"),
                ..all()
            },
        ),
    ];
    let read = |(name, filter): (&str, TaskFilter)| {
        let read: Read = Box::new(move |reader| {
            let page = reader.tasks_page(&filter, None, PAGE_ROWS)?;
            Ok((page.rows.len(), page.next.is_some()))
        });
        (format!("tasks: {name}"), read)
    };
    let mut reads: Vec<(String, Read)> = filters.into_iter().map(read).collect();
    let jobs: Read = Box::new(|reader| {
        let page = reader.jobs_page(None, PAGE_ROWS)?;
        Ok((page.rows.len(), page.next.is_some()))
    });
    reads.push(("jobs".to_owned(), jobs));
    let events: Read = Box::new(|reader| {
        let id: TaskId = "seed-000007".parse()?;
        Ok((reader.task_events(&id)?.len(), false))
    });
    reads.push(("events of a task".to_owned(), events));
    for network in ["10.3.4.0/24", "10.0.0.0/8", "192.0.2.0/24"] {
        let networks = network.parse().map_err(|error| format!("{error}"))?;
        let read: Read = Box::new(move |reader| {
            let unproven = reader.unproven_scans()?;
            let scans = unproven.of(&networks, now_s() - 90 * DAY_S);
            Ok((scans.scans.len(), scans.may_be_more))
        });
        reads.push((format!("incomplete scans of {network} in 90 d"), read));
    }
    Ok(reads)
}
