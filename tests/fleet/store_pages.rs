//! The lists of a database, page by page, on both databases: whatever is filtered, and however short a page is cut, all pages together have what the
//! whole list has.

use crate::random::Numbers;
use crate::support::{FindingsDb, Fleet};
use crate::{Needs, Test};
use scan::model::ports::Proto;
use scan::model::service::{ChangeKind, Service, ServiceKey, ServiceState, Sighting};
use scan::model::{State, Targets, Task};
use scan::store::{
    Batch, ChangeFilter, Completion, Event, NumberedChange, PositionChange, ServiceFilter,
    StatusChange, StoreReader, StoreWriter, StoredFinding, StoredTask, TaskAt, TaskFilter,
    TaskPlace, WriterOptions,
};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

pub const TESTS: &[Test] = &[
    (
        "pages_of_services_and_changes_are_the_whole_list",
        Needs::Postgres,
        services_and_changes,
    ),
    (
        "pages_of_tasks_and_jobs_are_the_whole_list",
        Needs::Postgres,
        tasks_and_jobs,
    ),
];

const RESULTS: &str = "results";
const FILTERS: usize = 60;
const SERVICES: u64 = 6_000;
const TASKS: u64 = 3_000;
/// The time of the first records, in unix seconds; a multiple of a day.
const BEGIN: u64 = 1_795_564_800;
const PORTS: [(u16, Proto); 5] = [
    (22, Proto::Tcp),
    (53, Proto::Udp),
    (80, Proto::Tcp),
    (443, Proto::Tcp),
    (36412, Proto::Sctp),
];

fn open(db: &FindingsDb) -> (StoreWriter, StoreReader) {
    let options = WriterOptions {
        holder: "test".to_owned(),
        closed_after: 1,
        keeps_findings: false,
    };
    let never = crossbeam_channel::never();
    let mut writer = StoreWriter::open(&db.settings(), options, &never).unwrap();
    writer.take_lease().unwrap();
    let mut reader = StoreReader::open(&db.settings()).unwrap();
    // Each page reads no more than it must.
    reader.set_page_wait(Duration::ZERO);
    (writer, reader)
}

fn apply(writer: &mut StoreWriter, events: Vec<Event>, next_offset: i64) {
    let change = PositionChange {
        next_offset,
        records: 1,
        ..PositionChange::default()
    };
    let batch = Batch {
        events,
        positions: BTreeMap::from([((RESULTS.to_owned(), 0), change)]),
        ignored: BTreeMap::new(),
    };
    writer.apply(&batch, RESULTS).unwrap();
}

fn task(id: &str, offset: i64, range: &str, job: Option<&str>) -> Event {
    let job = job.map_or(String::new(), |job| format!(r#","job_id":"{job}""#));
    let json = format!(
        r#"{{"task_id":"{id}","ip_range":"{range}","ports":"1-65535,U:53,S:36412","band_width":"9"{job}}}"#
    );
    Event::Task(Box::new(TaskAt {
        partition: 0,
        offset,
        task: Task::from_record(json.as_bytes()).unwrap(),
    }))
}

fn status(id: &str, offset: i64, status: State, at_ms: u64) -> StatusChange {
    let is_completed = status == State::Completed;
    StatusChange {
        task_id: id.parse().unwrap(),
        status,
        server: format!("server-{}", offset % 3),
        attempt: 1,
        lost: 0,
        fence: offset as u64,
        retry: 0,
        record: (0, offset),
        found: 1,
        found_by_pass: None,
        error: (status == State::Failed).then(|| format!("No route through eth{}", offset % 2)),
        at_ms,
        completion: is_completed.then(|| Completion {
            begun_ms: Some(at_ms - 1000),
            server_exclude: Targets::from_ranges(Vec::new()),
        }),
    }
}

/// A service whose address and port follow from its number.
fn sighting(number: u64, at: u64) -> StoredFinding {
    let (port, proto) = match number % 97 {
        0 => (31337, Proto::Tcp),
        1 => (8291, Proto::Tcp),
        other => PORTS[(other * other % 5) as usize],
    };
    let ip = Ipv4Addr::from(0x0a00_0000 + (number * 7 / 2 % 4096) as u32);
    StoredFinding {
        sighting: Sighting {
            key: ServiceKey {
                ip: IpAddr::V4(ip),
                port,
                proto,
            },
            at,
            task_id: "first".parse().unwrap(),
            reason: "syn-ack".parse().unwrap(),
            ttl: 64,
        },
        server: "s".to_owned(),
        attempt: 1,
        pass: 1,
    }
}

/// The rows of all pages of a list.
fn all_pages<T, P: PartialEq>(
    mut page: impl FnMut(Option<&P>) -> scan::store::Page<T, P>,
) -> Vec<T> {
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let next = page(after.as_ref());
        rows.extend(next.rows);
        assert!(next.next.is_none() || next.next != after, "no progress");
        after = next.next;
        if after.is_none() {
            return rows;
        }
    }
}

fn services_and_changes() {
    let fleet = Fleet::new("pages");
    let mut answers = Vec::new();
    for db in FindingsDb::both(&fleet) {
        let (mut writer, mut reader) = open(&db);
        let found = (0..SERVICES).map(|number| sighting(number, BEGIN + number * number % 80_000));
        let events = vec![task("first", 0, "10.0.0.0/16", None)];
        apply(&mut writer, events, 1);
        apply(&mut writer, vec![Event::Findings(found.collect())], 2);
        // A part is seen again, another part closes, and some of it reopens.
        let again = (0..SERVICES)
            .step_by(3)
            .map(|number| sighting(number, BEGIN + 100_000 + number));
        apply(&mut writer, vec![Event::Findings(again.collect())], 3);
        let end = status("second", 1, State::Completed, (BEGIN + 90_000) * 1000);
        let events = vec![
            task("second", 1, "10.0.0.0-10.0.8.77", None),
            Event::Status(Box::new(end)),
        ];
        apply(&mut writer, events, 4);
        let back = (0..SERVICES)
            .step_by(13)
            .map(|number| sighting(number, BEGIN + 200_000 + number));
        apply(&mut writer, vec![Event::Findings(back.collect())], 5);

        let mut services: Vec<Service> = Vec::new();
        let keep = |service| {
            services.push(service);
            true
        };
        reader
            .services(&ServiceFilter::default(), None, keep)
            .unwrap();
        let is_sorted = services.is_sorted_by_key(|service| service.key);
        assert!(is_sorted && services.len() > 3_000, "{}", services.len());
        assert!(services.iter().any(|one| one.state == ServiceState::Closed));
        let mut changes: Vec<NumberedChange> = Vec::new();
        let keep = |change| {
            changes.push(change);
            true
        };
        reader
            .changes(&ChangeFilter::default(), None, keep)
            .unwrap();
        let order = |one: &NumberedChange| Reverse((one.change.at, one.id));
        assert!(changes.is_sorted_by_key(order));

        let mut numbers = Numbers(7);
        for _ in 0..FILTERS {
            let filter = service_filter(&mut numbers);
            let limit = numbers.between(60, 1_500) as usize;
            let expected: Vec<Service> = services
                .iter()
                .filter(|service| filter.matches(service))
                .cloned()
                .collect();
            let paged = all_pages(|after| reader.services_page(&filter, after, limit).unwrap());
            assert!(paged == expected, "{filter:?} {}", db.name());
            let mut streamed = Vec::new();
            let keep = |service| {
                streamed.push(service);
                true
            };
            reader.services(&filter, None, keep).unwrap();
            assert!(streamed == expected, "{filter:?} {}", db.name());

            let filter = change_filter(&mut numbers);
            let expected: Vec<NumberedChange> = changes
                .iter()
                .filter(|found| filter.matches(&found.change))
                .cloned()
                .collect();
            let paged = all_pages(|after| reader.changes_page(&filter, after, limit).unwrap());
            assert!(paged == expected, "{filter:?} {}", db.name());
        }
        answers.push(counted(&mut reader, &services, &changes));
    }
    assert_eq!(answers[0], answers[1]);
}

/// Statistics and maps, checked against the lists.
fn counted(reader: &mut StoreReader, services: &[Service], changes: &[NumberedChange]) -> String {
    let open: Vec<&Service> = services
        .iter()
        .filter(|service| service.state == ServiceState::Open)
        .collect();
    let statistics = reader.statistics(5, BEGIN + 250_000).unwrap();
    assert_eq!(statistics.open, open.len() as u64);
    assert_eq!(statistics.closed, (services.len() - open.len()) as u64);
    let of_ssh = open.iter().filter(|one| one.key.port == 22).count() as u64;
    let top = &statistics.top_ports;
    assert!(top.iter().any(|one| one.port == 22 && one.open == of_ssh));
    assert!(top.is_sorted_by_key(|one| Reverse(one.open)));
    let days = &statistics.days;
    assert_eq!((days.len(), days[4].open), (5, open.len() as u64));
    // The first records are of the third of the five days.
    assert_eq!((days[1].open, days[1].opened, days[2].begin), (0, 0, BEGIN));
    let of_kind = |kind| {
        let is_kind = |one: &&NumberedChange| one.change.kind == kind;
        changes.iter().filter(is_kind).count() as u64
    };
    let opened: u64 = days.iter().map(|day| day.opened).sum();
    let closed: u64 = days.iter().map(|day| day.closed).sum();
    let reopened: u64 = days.iter().map(|day| day.reopened).sum();
    assert_eq!(opened, of_kind(ChangeKind::Opened));
    assert_eq!(closed, of_kind(ChangeKind::Closed));
    assert_eq!(reopened, of_kind(ChangeKind::Reopened));

    for network in ["10.0.0.0/8", "10.0.0.0/16", "10.0.4.0/22", "10.0.4.0/24"] {
        let map = reader.open_by_cell(network.parse().unwrap()).unwrap();
        let network: Targets = network.parse().unwrap();
        let inside = open.iter().filter(|one| network.contains(one.key.ip));
        let counted: u64 = map.iter().map(|(_, open)| open).sum();
        assert_eq!(counted, inside.count() as u64);
        for (cell, count) in map {
            let cell: Targets = cell.to_string().parse().unwrap();
            let inside = open.iter().filter(|one| cell.contains(one.key.ip));
            assert_eq!(count, inside.count() as u64);
        }
    }
    assert_eq!(reader.records_read(RESULTS).unwrap(), 5);
    format!("{statistics:?}")
}

fn networks(numbers: &mut Numbers) -> Option<Targets> {
    let text = match numbers.between(0, 5) {
        0 => "10.0.3.0/24",
        1 => "10.0.0.0/20",
        2 => "10.0.1.7,10.0.2.0/25,10.0.9.0/24,2001:db8::/64",
        3 => "192.0.2.0/24",
        _ => return None,
    };
    Some(text.parse().unwrap())
}

fn ports(numbers: &mut Numbers) -> Option<scan::model::Ports> {
    let text = match numbers.between(0, 7) {
        0 => "80",
        1 => "31337",
        2 => "31337,8291",
        3 => "22,80,443,U:53,S:36412",
        4 => "1-1000,30000-40000",
        5 => "4",
        _ => return None,
    };
    Some(text.parse().unwrap())
}

fn time(numbers: &mut Numbers) -> Option<u64> {
    let is_set = numbers.between(0, 3) == 0;
    is_set.then(|| BEGIN + numbers.between(0, 210_000))
}

fn proto(numbers: &mut Numbers) -> Option<Proto> {
    let protos = [Proto::Tcp, Proto::Udp, Proto::Sctp];
    protos.get(numbers.between(0, 9) as usize).copied()
}

fn service_filter(numbers: &mut Numbers) -> ServiceFilter {
    let states = [ServiceState::Open, ServiceState::Closed];
    ServiceFilter {
        networks: networks(numbers),
        ports: ports(numbers),
        state: states.get(numbers.between(0, 3) as usize).copied(),
        since: time(numbers),
        proto: proto(numbers),
        new_since: time(numbers),
        new_until: time(numbers),
        seen_since: time(numbers),
        seen_until: time(numbers),
    }
}

fn change_filter(numbers: &mut Numbers) -> ChangeFilter {
    let kinds = [
        vec![],
        vec![ChangeKind::Closed],
        vec![ChangeKind::Opened, ChangeKind::Reopened],
    ];
    ChangeFilter {
        networks: networks(numbers),
        ports: ports(numbers),
        proto: proto(numbers),
        kinds: kinds[numbers.between(0, 2) as usize].clone(),
        since: time(numbers),
        until: time(numbers),
    }
}

/// Ids whose order differs between bytes and languages.
fn id_of(number: u64) -> String {
    let begin = ["a", "B", "_", "Z", "b-"][(number % 5) as usize];
    format!("{begin}{:04}", number * 7919 % 10_000)
}

fn tasks_and_jobs() {
    let fleet = Fleet::new("pages-tasks");
    let mut answers = Vec::new();
    for db in FindingsDb::both(&fleet) {
        let (mut writer, mut reader) = open(&db);
        apply(&mut writer, task_events(), 1);

        let all = all_pages(|after| {
            let filter = TaskFilter::default();
            reader.tasks_page(&filter, after, 333).unwrap()
        });
        assert_eq!(all.len() as u64, TASKS);
        let order = |task: &StoredTask| Reverse((task.changed_ms, task.task_id.clone()));
        assert!(all.is_sorted_by_key(order), "{}", db.name());
        let mut numbers = Numbers(11);
        for _ in 0..FILTERS {
            let filter = task_filter(&mut numbers);
            let limit = numbers.between(20, 600) as usize;
            let expected = all.iter().filter(|task| is_asked_for(&filter, task));
            let paged = all_pages(|after| reader.tasks_page(&filter, after, limit).unwrap());
            assert!(paged.iter().eq(expected), "{filter:?} {}", db.name());
        }
        jobs(&mut reader, &all);

        // Each accepted change of a state once, in the order of time.
        for (number, expected) in [
            (0, &[State::Running, State::Failed][..]),
            (1, &[State::Running, State::Cancelled]),
            (2, &[State::Running]),
            (10, &[State::Running, State::Completed]),
        ] {
            let events = reader.task_events(&id_of(number).parse().unwrap()).unwrap();
            let states: Vec<State> = events.iter().map(|event| event.state).collect();
            assert_eq!(states, expected, "{number}");
        }
        let failed = reader.task_events(&id_of(0).parse().unwrap()).unwrap();
        assert_eq!(failed[1].error.as_deref(), Some("No route through eth0"));
        assert_eq!(failed[1].at_ms, failed[0].at_ms + 500);

        // Tasks 0 to 3 have not completed; 4 has, and covered its targets.
        let networks: Targets = "10.0.0.0-10.0.4.255".parse().unwrap();
        let unproven = reader.unproven_scans().unwrap();
        let scans = unproven.of(&networks, BEGIN);
        let mut ids: Vec<&str> = scans.scans.iter().map(|one| one.task_id.as_str()).collect();
        ids.sort_unstable();
        let mut expected: Vec<String> = (0..4).map(id_of).collect();
        expected.sort_unstable();
        assert!(!scans.may_be_more && ids == expected, "{ids:?}");
        let later = unproven.of(&networks, BEGIN + 1000);
        assert!(later.scans.is_empty());
        let everywhere = "10.0.0.0/8".parse().unwrap();
        let many = unproven.of(&everywhere, BEGIN);
        assert!(many.may_be_more && many.scans.len() == 100);
        answers.push(all);
    }
    assert!(answers[0] == answers[1]);
}

/// Tasks in all states. Many have changed at the same time, and some status records are repeated.
fn task_events() -> Vec<Event> {
    let mut events = Vec::new();
    let mut add = |change: &StatusChange| events.push(Event::Status(Box::new(change.clone())));
    let mut records = Vec::new();
    for number in 0..TASKS {
        let (id, offset) = (id_of(number), number as i64);
        let jobs = ["one", "Two", "_three", "four"];
        let job = jobs.get((number % 7) as usize).copied();
        let range = format!("10.{}.{}.0/24", number / 256, number % 256);
        records.push(task(&id, offset, &range, job));
        let at_ms = (BEGIN + number / 50) * 1000;
        let running = status(&id, offset, State::Running, at_ms);
        let end = match number % 20 {
            0 => State::Failed,
            1 => State::Cancelled,
            2 => State::Running,
            3 => State::Rejected,
            _ => State::Completed,
        };
        add(&running);
        if number % 10 == 0 {
            add(&running);
        }
        if end == State::Running {
            continue;
        }
        let ended = status(&id, offset, end, at_ms + 500);
        add(&ended);
        if number % 10 == 0 {
            add(&ended);
            add(&running);
        }
    }
    records.into_iter().chain(events).collect()
}

fn task_filter(numbers: &mut Numbers) -> TaskFilter {
    let states = [
        vec![],
        vec![State::Failed],
        vec![State::Running, State::Rejected, State::Failed],
        vec![State::Completed, State::Cancelled],
        vec![State::Queued],
    ];
    let servers = ["server-1", "other"];
    let jobs = ["Two", "_three", "none"];
    let texts = ["NO ROUTE through eth1", "10.7.1", "b-", "_THREE", "zz", "%"];
    let mut one_of = |texts: &[&str], chances: u64| {
        let text = texts.get(numbers.between(0, chances) as usize);
        text.map(|text| (*text).to_owned())
    };
    TaskFilter {
        server: one_of(&servers, 6),
        job_id: one_of(&jobs, 8).map(|id| id.parse().unwrap()),
        text: one_of(&texts, 11),
        states: states[numbers.between(0, 4) as usize].clone(),
    }
}

fn is_asked_for(filter: &TaskFilter, task: &StoredTask) -> bool {
    let has_text = |text: &String| {
        let text = text.to_lowercase();
        let targets = task.parameters.as_ref().map(|one| one.ip_range.as_str());
        let values = [
            Some(task.task_id.as_str()),
            task.job_id.as_deref(),
            targets,
            task.error.as_deref(),
        ];
        let mut values = values.into_iter().flatten();
        values.any(|value| value.to_lowercase().contains(&text))
    };
    let job_id = filter.job_id.as_ref().map(|id| id.as_str());
    (filter.states.is_empty() || filter.states.contains(&task.state))
        && (filter.server.is_none() || task.server == filter.server)
        && (job_id.is_none() || task.job_id.as_deref() == job_id)
        && filter.text.as_ref().is_none_or(has_text)
}

fn jobs(reader: &mut StoreReader, tasks: &[StoredTask]) {
    for limit in [1, 2, 100] {
        let jobs = all_pages(|after: Option<&TaskPlace>| reader.jobs_page(after, limit).unwrap());
        let order = |job: &scan::store::JobSummary| Reverse((job.changed_ms, job.job_id.clone()));
        assert!(jobs.len() == 4 && jobs.is_sorted_by_key(order));
        for job in jobs {
            let of_job: Vec<&StoredTask> = tasks
                .iter()
                .filter(|task| task.job_id.as_deref() == Some(job.job_id.as_str()))
                .collect();
            assert_eq!(job.tasks, of_job.len() as u64);
            for (state, count) in &job.by_state {
                let in_state = of_job.iter().filter(|task| task.state == *state);
                assert_eq!(*count, in_state.count() as u64);
            }
            let counted: u64 = job.by_state.iter().map(|(_, count)| count).sum();
            assert_eq!(counted, job.tasks);
            let begun = of_job.iter().filter_map(|task| task.begun_ms).min();
            assert_eq!((job.begun_ms, job.ended_ms), (begun, None));
            assert_eq!(job.found, job.tasks);
        }
    }
}
