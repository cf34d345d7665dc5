//! `scanpush serve`: what a browser and a client of the API can push, see and order, with real servers.

use crate::support::{
    FindingsDb, Fleet, Reply, SOON, Serve, masscans, post_form, post_json, wait_for, wait_until,
};
use crate::{Needs, Test};
use scan::model::State;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

/// Longest answer to an order: it waits 2 s for the order to be in force, and a little for the rest.
const ORDER_ANSWERED_WITHIN: Duration = Duration::from_secs(6);

pub const TESTS: &[Test] = &[
    (
        "a_scan_is_pushed_seen_and_cancelled_on_the_page",
        Needs::Lab,
        push_and_cancel,
    ),
    (
        "tasks_and_jobs_are_controlled_through_the_api",
        Needs::Lab,
        control,
    ),
    (
        "of_a_cancel_and_a_retry_at_the_same_time_each_gets_a_clear_answer",
        Needs::Lab,
        cancel_and_retry,
    ),
    (
        "a_priority_changes_the_place_in_the_queue",
        Needs::Lab,
        priority,
    ),
    (
        "without_the_database_nothing_is_said_to_be_unknown_or_empty",
        Needs::Postgres,
        killed_database,
    ),
    (
        "open_pages_are_told_of_changes",
        Needs::KafkaAndRedis,
        events,
    ),
];

/// A running `scanpush serve` and what the tests send to it.
struct Web(Serve);

impl Web {
    fn start(fleet: &Fleet) -> Web {
        Web(fleet.start_serve("web", &FindingsDb::file(fleet, "web.db"), &[]))
    }

    fn get(&self, target: &str) -> Reply {
        self.0.get(target)
    }

    fn post_form(&self, target: &str, fields: &[(&str, &str)]) -> Reply {
        post_form(&self.0.url(target), fields)
    }

    fn post(&self, target: &str, body: &Value) -> Reply {
        post_json(&self.0.url(target), body)
    }

    /// Pushes a network through the API. Returns the id of the task.
    fn push(&self, network: &str, band_width: u32, more: &Value) -> String {
        let mut body =
            json!({"ip_range": network, "ports": "443", "band_width": band_width, "wait_s": 1});
        for (name, value) in more.as_object().unwrap() {
            body[name] = value.clone();
        }
        let answer = self.post("/api/v1/tasks", &body);
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.json()["task_ids"][0].as_str().unwrap().to_owned()
    }
}

/// The value of a hidden field of a form.
fn hidden<'a>(page: &'a str, name: &str) -> &'a str {
    let begin = format!("name=\"{name}\" value=\"");
    let rest = page
        .split(&begin)
        .nth(1)
        .unwrap_or_else(|| panic!("{name}: {page}"));
    rest.split('"').next().unwrap()
}

fn push_and_cancel() {
    let fleet = Fleet::new("web");
    let _server = fleet.ready_scand("a", &[]);
    let web = Web::start(&fleet);
    let network = fleet.network(0);
    let fields = [
        ("ip", network.as_str()),
        ("ports", "443"),
        ("bandwidth", "20"),
        ("wait", "1"),
        ("attempts", ""),
    ];
    let page = web.post_form("/push", &fields);
    assert_eq!(page.status, 200, "{}", page.text);
    assert!(page.text.contains(">256<"), "the size: {}", page.text);
    let id = hidden(&page.text, "push").to_owned();
    let form = [&fields[..], &[("push", &id)]].concat();
    // Somebody presses twice.
    for _ in 0..2 {
        let sent = web.post_form("/push/send", &form);
        assert_eq!(sent.status, 303, "{}", sent.text);
        let place = sent.header("location");
        assert!(place.starts_with("/tasks/") && place.ends_with("?result=sent"));
        assert_eq!(web.get(place).status, 200);
    }
    fleet.wait_progress(&id, 1.0);
    wait_until("the overview to show the task as running", SOON, || {
        let page = web.get("/overview").text;
        page.contains(&id) && page.contains("badge running")
    });
    let task = format!("/tasks/{}", id.replace('-', "%2D").replace('_', "%5F"));
    assert!(web.get(&task).text.contains("Cancel task"));
    let began = Instant::now();
    let answer = web.post_form(&format!("{task}/cancel"), &[]);
    assert!(
        began.elapsed() < ORDER_ANSWERED_WITHIN,
        "{:?}",
        began.elapsed()
    );
    assert_eq!(answer.status, 303, "{}", answer.text);
    let shown = web.get(answer.header("location"));
    assert!(
        shown.text.contains("The task is cancelled.")
            || shown.text.contains("The task is being cancelled."),
        "{}",
        shown.text
    );
    assert_eq!(fleet.wait_ended(&id, SOON).status, State::Cancelled);
    let again = web.post_form(&format!("{task}/cancel"), &[]);
    assert_eq!(again.status, 409);
    assert!(
        again.text.contains("already ended: cancelled"),
        "{}",
        again.text
    );
    wait_until("the database to have the end", SOON, || {
        let tasks = web.get("/api/v1/tasks?state=cancelled").json();
        tasks["tasks"][0]["task_id"] == id.as_str()
    });
    thread::sleep(Duration::from_secs(2));
    assert!(
        masscans(&network).is_empty(),
        "the second press pushed nothing"
    );
    let export = web.get(&format!("{task}/findings?format=addresses"));
    assert_eq!(export.status, 200);
}

fn control() {
    let fleet = Fleet::new("web-api");
    let _server = fleet.ready_scand("a", &[]);
    let web = Web::start(&fleet);
    let id = web.push(&fleet.network(0), 20, &json!({}));
    fleet.wait_progress(&id, 1.0);
    let order = |order: &str| web.post(&format!("/api/v1/tasks/{id}/{order}"), &json!({}));
    let refused = web.post(
        &format!("/api/v1/tasks/{id}/priority"),
        &json!({"priority": 9}),
    );
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert!(
        refused.json()["detail"]
            .as_str()
            .unwrap()
            .contains("a server runs it")
    );
    let paused = order("pause");
    assert!([200, 202].contains(&paused.status), "{}", paused.text);
    wait_until("the pause", SOON, || {
        fleet
            .task(&id)
            .is_some_and(|task| task.status == State::Paused)
    });
    let first = web.get(&format!("/api/v1/tasks/{id}")).json();
    assert_eq!(first["status"], "paused");
    let changed = web.post(
        &format!("/api/v1/tasks/{id}/priority"),
        &json!({"priority": 9}),
    );
    assert_eq!(changed.status, 200, "{}", changed.text);
    assert_eq!(order("resume").status, 200);
    wait_until("the task to run again", SOON, || {
        fleet
            .task(&id)
            .is_some_and(|task| task.status == State::Running)
    });
    assert_eq!(order("retry").status, 409, "it has not ended");
    let cancelled = order("cancel");
    assert!([200, 202].contains(&cancelled.status), "{}", cancelled.text);
    fleet.wait_ended(&id, SOON);
    let retried = order("retry");
    assert!([200, 202].contains(&retried.status), "{}", retried.text);
    wait_until("the retry", SOON, || {
        fleet.task(&id).is_some_and(|task| task.retry == 1)
    });
    assert_eq!(
        web.post("/api/v1/tasks/nobody/cancel", &json!({})).status,
        404
    );
    let networks = json!([fleet.network(1), fleet.network(2)]);
    let body = json!({"ip": networks, "ports": 443, "bandwidth": 20, "job": "both-web"});
    assert_eq!(web.post("/api/v1/tasks", &body).status, 201);
    let job = wait_for("both tasks of the job", SOON, || {
        let job = web.get("/api/v1/jobs/both-web");
        let job = (job.status == 200).then(|| job.json())?;
        (job["tasks"].as_array().unwrap().len() == 2).then_some(job)
    });
    assert_eq!(job["job_id"], "both-web");
    let cancelled = web.post("/api/v1/jobs/both-web/cancel", &json!({}));
    assert!([200, 202].contains(&cancelled.status), "{}", cancelled.text);
    wait_until("the job's end", SOON, || {
        web.get("/api/v1/jobs/both-web").json()["state"] == "cancelled"
    });
    let of_job =
        |order: &str, body: &Value| web.post(&format!("/api/v1/jobs/both-web/{order}"), body);
    assert_eq!(of_job("cancel", &json!({})).status, 409);
    assert_eq!(of_job("priority", &json!({"priority": 9})).status, 409);
    let retried = of_job("retry", &json!({}));
    assert!([200, 202].contains(&retried.status), "{}", retried.text);
    let retried = retried.json();
    let count = |name: &str| retried[name].as_u64().unwrap();
    assert_eq!(
        (count("in_force") + count("pending"), count("skipped")),
        (2, 0)
    );
    wait_until("both tasks to be retried", SOON, || {
        let tasks = web.get("/api/v1/jobs/both-web").json()["tasks"].clone();
        tasks
            .as_array()
            .unwrap()
            .iter()
            .all(|task| task["retry"] == 1)
    });
    assert_eq!(of_job("retry", &json!({})).status, 409, "none has ended");
    let unknown = web.post("/api/v1/jobs/nobody/retry", &json!({}));
    assert_eq!(unknown.status, 404, "{}", unknown.text);
}

fn cancel_and_retry() {
    let fleet = Fleet::new("web-race");
    let _server = fleet.ready_scand("a", &[]);
    let web = Web::start(&fleet);
    for round in 0..4 {
        let id = web.push(&fleet.network(round), 20, &json!({}));
        fleet.wait_progress(&id, 0.0);
        let ends_first = round % 2 == 1;
        if ends_first {
            web.post(&format!("/api/v1/tasks/{id}/cancel"), &json!({}));
            fleet.wait_ended(&id, SOON);
        }
        let press = |order: &str| web.post(&format!("/api/v1/tasks/{id}/{order}"), &json!({}));
        let (cancel, retry) = thread::scope(|scope| {
            let cancel = scope.spawn(|| press("cancel"));
            let retry = scope.spawn(|| press("retry"));
            (cancel.join().unwrap(), retry.join().unwrap())
        });
        for answer in [&cancel, &retry] {
            assert!([200, 202, 409].contains(&answer.status), "{}", answer.text);
            if answer.status == 409 {
                let detail = answer.json()["detail"].as_str().unwrap().to_owned();
                let says_state = State::ALL
                    .iter()
                    .any(|state| detail.contains(state.as_str()));
                assert!(says_state, "{detail}");
            }
        }
        assert!(
            cancel.status < 300 || retry.status < 300,
            "one of them has to work"
        );
        let task = wait_for("a state that stays", SOON, || {
            let task = fleet.task(&id)?;
            let is_retried = task.retry == 1 && task.finished_ms.is_none() && task.order.is_none();
            (task.finished_ms.is_some() || is_retried).then_some(task)
        });
        let has_retry = retry.status < 300;
        wait_until("the retry to be known", SOON, || {
            !has_retry || fleet.task(&id).is_some_and(|task| task.retry == 1)
        });
        println!(
            "round {round}: cancel {}, retry {}: {task:?}",
            cancel.status, retry.status
        );
        let _ = web.post(&format!("/api/v1/tasks/{id}/cancel"), &json!({}));
        assert_eq!(fleet.wait_ended(&id, SOON).status, State::Cancelled);
    }
}

fn priority() {
    let fleet = Fleet::new("web-priority");
    let _server = fleet.ready_scand("a", &["-slots", "1"]);
    let web = Web::start(&fleet);
    let running = web.push(&fleet.network(0), 20, &json!({}));
    fleet.wait_progress(&running, 0.0);
    let first = web.push(&fleet.network(1), 20, &json!({}));
    let second = web.push(&fleet.network(2), 20, &json!({"priority": 3}));
    wait_until("both tasks", SOON, || {
        web.get("/api/v1/queue").json()["ready"] == 2
    });
    let raised = web.post(
        &format!("/api/v1/tasks/{second}/priority"),
        &json!({"priority": 9}),
    );
    assert_eq!(raised.status, 200, "{}", raised.text);
    assert_eq!(fleet.task(&second).unwrap().priority, 9);
    let networks = json!([fleet.network(3), fleet.network(4)]);
    let body = json!({"ip": networks, "ports": 443, "bandwidth": 20, "job": "job-priority"});
    assert_eq!(web.post("/api/v1/tasks", &body).status, 201);
    wait_until("the tasks of the job", SOON, || {
        web.get("/api/v1/queue").json()["ready"] == 4
    });
    let lowered = web.post(
        "/api/v1/jobs/job-priority/priority",
        &json!({"priority": 1}),
    );
    assert_eq!(
        (lowered.status, &lowered.json()["in_force"]),
        (200, &json!(2))
    );
    let tasks = web.get("/api/v1/jobs/job-priority").json()["tasks"].clone();
    let priorities: Vec<&Value> = tasks
        .as_array()
        .unwrap()
        .iter()
        .map(|task| &task["priority"])
        .collect();
    assert_eq!(priorities, [1, 1]);
    web.post(&format!("/api/v1/tasks/{running}/cancel"), &json!({}));
    wait_until("the second task to run", SOON, || {
        fleet
            .task(&second)
            .is_some_and(|task| task.status == State::Running)
    });
    assert_eq!(fleet.task(&first).unwrap().status, State::Queued);
}

fn killed_database() {
    let fleet = Fleet::new("web-killed-database");
    let postgres = fleet.start_postgres(&[]);
    let db = FindingsDb::Postgres(postgres.create_database("findings"));
    let web = Web(fleet.start_serve("web", &db, &[]));
    let orders = ["/api/v1/tasks/nobody/cancel", "/api/v1/jobs/nobody/retry"];
    let answered = |status: u16| {
        let of = |target: &&str| web.post(target, &json!({})).status;
        orders.iter().map(of).all(|got| got == status)
    };
    wait_until("the database to be read", SOON, || answered(404));
    postgres.kill();
    wait_until("the orders to say that they are not sure", SOON, || {
        answered(503)
    });
    let overview = web.get("/overview");
    assert_eq!(overview.status, 200);
    for part in [
        "Unknown: the database cannot be read.",
        "The database has been away",
    ] {
        assert!(overview.text.contains(part), "{part}: {}", overview.text);
    }
    assert!(
        web.get("/tasks")
            .text
            .contains("Only running tasks are shown.")
    );
    postgres.restart();
    wait_until("the database to be read again", SOON, || answered(404));
    assert!(web.get("/overview").text.contains("No task has ended."));
}

fn events() {
    let fleet = Fleet::new("web-events");
    let web = Web::start(&fleet);
    let address = web.0.origin.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    write!(stream, "GET /events HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut seen = String::new();
    let mut read_until = |count: usize| {
        while seen.matches("event: changed").count() < count {
            let mut bytes = [0; 4096];
            let read = stream.read(&mut bytes).unwrap();
            assert!(read > 0, "the stream ended: {seen}");
            seen += &String::from_utf8_lossy(&bytes[..read]);
        }
        assert!(seen.contains("text/event-stream"), "{seen}");
        seen.matches("event: changed").count()
    };
    let before = read_until(1);
    let _server = fleet.ready_scand("a", &[]);
    read_until(before + 1);
}
