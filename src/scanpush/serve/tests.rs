//! Requests to the pages and the API of tasks and jobs, answered from a database while Redis and Kafka are away.

use super::for_tests::site;
use super::router;
use super::site::Site;
use crate::http_server::{Body, BodyStream, Request, Response};
use crate::model::State;
use crate::scanpush::sample_store::SampleStore;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::{Value, json};
use std::sync::Arc;

/// Nothing listens there.
const NOWHERE: [&str; 2] = ["-redis=redis://127.0.0.1:1", "-kafka=127.0.0.1:1"];

struct Served {
    site: Arc<Site>,
    store: SampleStore,
}

impl Served {
    fn new(more: &[&str]) -> Served {
        let store = SampleStore::new();
        let url = store.url();
        let line = [&NOWHERE[..], &["-db", &url], more].concat();
        let site = site(&line);
        Served { site, store }
    }

    /// With tasks of a job and a single one.
    fn with_tasks(more: &[&str]) -> Served {
        let mut served = Served::new(more);
        let store = &mut served.store;
        for (id, state, at) in [
            ("night-1", State::Completed, 30),
            ("night-2", State::Failed, 20),
        ] {
            store.push(id, "10.0.0.0/30", "22,80", r#","job_id":"night""#);
            store.end(id, state, 2, 10, at);
        }
        store.push("a<b>/%", "10.1.0.1", "443", "");
        store.end("a<b>/%", State::Cancelled, 0, 10, 40);
        store.find("night-1", &[("10.0.0.1", 22, 15), ("10.0.0.1", 80, 16)]);
        served
    }

    fn send(&self, method: Method, target: &str, body: &str, content_type: &str) -> Answered {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("localhost"));
        if method == Method::POST {
            let content_type = HeaderValue::from_str(content_type).unwrap();
            headers.insert(header::CONTENT_TYPE, content_type);
            let origin = HeaderValue::from_static("http://localhost");
            headers.insert(header::ORIGIN, origin);
        }
        let request = Request {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            headers,
            body: body.into(),
            peer: "127.0.0.1:9".parse().unwrap(),
        };
        Answered::of(router::answer(&self.site, &request))
    }

    fn get(&self, target: &str) -> Answered {
        self.send(Method::GET, target, "", "")
    }

    fn post(&self, target: &str, form: &str) -> Answered {
        self.send(
            Method::POST,
            target,
            form,
            "application/x-www-form-urlencoded",
        )
    }

    fn post_json(&self, target: &str, body: &Value) -> Answered {
        self.send(
            Method::POST,
            target,
            &body.to_string(),
            "application/json; charset=utf-8",
        )
    }
}

struct Answered {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answered {
    fn of(response: Response) -> Answered {
        let body = match response.body {
            Body::Complete(body) => body,
            Body::Streamed(_, writer) => {
                let mut body = Vec::new();
                writer(&mut BodyStream::new(&mut body)).unwrap();
                body
            }
        };
        Answered {
            status: response.status,
            headers: response.headers,
            text: String::from_utf8(body).unwrap(),
        }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{}", self.text))
    }
}

#[test]
fn tasks_are_listed_from_the_database_while_redis_is_away() {
    let served = Served::with_tasks(&[]);
    let page = served.get("/tasks");
    assert_eq!(page.status, StatusCode::OK);
    for part in [
        "night-1",
        "night-2",
        "/tasks/a%3Cb%3E%2F%25",
        "a&#60;b&#62;/%",
        "masscan: no route",
    ] {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
    let first = served.get("/api/v1/tasks?limit=2").json();
    let ids = |page: &Value| -> Vec<String> {
        let items = page["tasks"].as_array().unwrap();
        let ids = items.iter().map(|item| item["task_id"].as_str().unwrap());
        ids.map(str::to_owned).collect()
    };
    assert_eq!(ids(&first), ["a<b>/%", "night-1"]);
    assert_eq!(first["tasks"][1]["source"], "database");
    let next = first["next"].as_str().unwrap();
    let second = served.get(&format!("/api/v1/tasks?limit=2&after={next}"));
    assert_eq!(ids(&second.json()), ["night-2"]);
    assert_eq!(second.json()["next"], Value::Null);
    for (query, expected) in [
        ("state=failed,cancelled", &["a<b>/%", "night-2"][..]),
        ("text=no%20route", &["night-2"]),
        ("text=10.0.0", &["night-1", "night-2"]),
        ("text=%25", &["a<b>/%"]),
        ("job=night&state=completed", &["night-1"]),
        ("server=other", &[]),
    ] {
        let page = served.get(&format!("/api/v1/tasks?{query}")).json();
        assert_eq!(ids(&page), expected, "{query}");
    }
    for query in ["limit=0", "limit=1001", "after=x", "state=done", "stat=x"] {
        let problem = served.get(&format!("/api/v1/tasks?{query}"));
        assert_eq!(problem.status, StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(problem.json()["status"], 400);
    }
}

#[test]
fn a_task_shows_what_it_proves_and_its_text_stays_text() {
    let served = Served::with_tasks(&[]);
    let page = served.get("/tasks/night-1");
    assert_eq!(page.status, StatusCode::OK);
    for part in [
        "10.0.0.0/30",
        "count as missed by this scan",
        "/tasks/night-1/findings?format=csv",
        "/jobs/night",
        "Changes of its state",
    ] {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
    let hostile = served.get("/tasks/a%3Cb%3E%2F%25");
    assert_eq!(hostile.status, StatusCode::OK);
    assert!(!hostile.text.contains("<b>"), "{}", hostile.text);
    let task = served.get("/api/v1/tasks/night-1").json();
    assert_eq!(
        (&task["status"], &task["found"], &task["proof"]),
        (&json!("completed"), &json!(2), &json!("covered"))
    );
    for (target, status) in [
        ("/tasks/nobody", StatusCode::NOT_FOUND),
        ("/tasks/a%20b", StatusCode::NOT_FOUND),
        ("/tasks/nobody?result=sent", StatusCode::OK),
        ("/jobs/nobody?result=sent", StatusCode::OK),
        ("/jobs/nobody", StatusCode::NOT_FOUND),
        ("/api/v1/tasks/nobody", StatusCode::NOT_FOUND),
        ("/tasks/nobody/cancel", StatusCode::METHOD_NOT_ALLOWED),
    ] {
        assert_eq!(served.get(target).status, status, "{target}");
    }
    let shown = served.get("/tasks/night-1?result=cancelled").text;
    assert!(shown.contains("The task is cancelled."));
    let invented = served.get("/tasks/night-1?result=You+have+won").text;
    assert!(!invented.contains("won"), "{invented}");
}

#[test]
fn a_job_is_shown_as_a_whole() {
    let served = Served::with_tasks(&[]);
    let page = served.get("/jobs/night");
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text.contains("1 completed") && page.text.contains("1 failed"));
    assert!(served.get("/jobs").text.contains("/jobs/night"));
    let job = served.get("/api/v1/jobs/night").json();
    assert_eq!(
        (&job["state"], &job["found"], &job["states"]["failed"]),
        (&json!("failed"), &json!(4), &json!(1))
    );
    assert_eq!(job["tasks"].as_array().unwrap().len(), 2);
    let jobs = served.get("/api/v1/jobs").json();
    assert_eq!(jobs["jobs"][0]["job_id"], "night");
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 1);
}

#[test]
fn kept_findings_are_exported_from_the_database() {
    let served = Served::with_tasks(&["-keep-findings", "30d"]);
    for (target, lines) in [
        ("/tasks/night-1/findings?format=addresses", 1),
        ("/tasks/night-1/findings?format=csv", 3),
        ("/api/v1/tasks/night-1/findings", 2),
    ] {
        let export = served.get(target);
        assert_eq!(export.status, StatusCode::OK, "{target}");
        assert_eq!(export.text.lines().count(), lines, "{}", export.text);
        let name = export.headers[header::CONTENT_DISPOSITION]
            .to_str()
            .unwrap();
        assert!(name.starts_with("attachment; filename=\""), "{name}");
    }
    let wrong = served.get("/tasks/night-1/findings?format=yaml");
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    // The database does not have all findings of this one, and Kafka is away.
    let partial = served.get("/tasks/night-2/findings?format=csv");
    assert_eq!(partial.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[test]
fn the_overview_works_without_redis() {
    let served = Served::with_tasks(&[]);
    let page = served.get("/overview");
    assert_eq!(page.status, StatusCode::OK);
    for part in [
        "Unknown: Redis has not been read yet.",
        "night-1",
        "10.0.0.1 22/tcp",
        "<noscript><meta http-equiv=\"refresh\"",
    ] {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
    assert_eq!(served.get("/api/v1/queue").json()["running"], 0);
}

#[test]
fn lists_are_downloaded_whole() {
    let served = Served::with_tasks(&[]);
    for (target, lines, first) in [
        ("/tasks?format=csv", 4, "task_id,status,progress,"),
        (
            "/tasks?format=csv&text=night",
            3,
            "task_id,status,progress,",
        ),
        ("/tasks?format=csv&limit=1", 2, "task_id,status,progress,"),
        (
            "/tasks?format=csv&text=nothing",
            1,
            "task_id,status,progress,",
        ),
        (
            "/api/v1/tasks?format=ndjson",
            3,
            "{\"source\":\"database\",",
        ),
        ("/jobs?format=csv", 2, "job_id,found,updated_ms,queued,"),
        ("/api/v1/jobs?format=ndjson", 1, "{\"job_id\":\"night\","),
        ("/network?net=10.0.0.0%2F16&format=csv", 2, "network,open"),
        (
            "/api/v1/network?net=10.0.0.0%2F16&format=ndjson",
            1,
            "{\"network\":\"10.0.0.0/24\",\"open\":2}",
        ),
    ] {
        let list = served.get(target);
        assert_eq!(list.status, StatusCode::OK, "{target}: {}", list.text);
        assert_eq!(list.text.lines().count(), lines, "{target}: {}", list.text);
        assert!(list.text.starts_with(first), "{target}: {}", list.text);
        let name = list.headers[header::CONTENT_DISPOSITION].to_str().unwrap();
        assert!(name.starts_with("attachment; filename=\""), "{name}");
    }
    let map = served.get("/api/v1/network?net=10.0.0.0%2F16").json();
    assert_eq!(
        (&map["open"], &map["network"]),
        (&json!(2), &json!("10.0.0.0/16"))
    );
    for target in [
        "/api/v1/tasks?format=addresses",
        "/api/v1/jobs?state=failed",
        "/api/v1/network",
        "/network?format=csv",
        "/api/v1/network?net=2001:db8::%2F64",
        "/servers?x=1",
        "/overview?x=1",
        "/network?net=10.0.0.0%2F16&format=xml",
    ] {
        assert_eq!(
            served.get(target).status,
            StatusCode::BAD_REQUEST,
            "{target}"
        );
    }
    // Redis has never been read: an empty list would be wrong.
    let servers = served.get("/servers?format=csv");
    assert_eq!(servers.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        served
            .get("/servers")
            .text
            .contains("the servers are unknown")
    );
}

#[test]
fn without_the_database_pages_show_what_redis_knows() {
    let line = [&NOWHERE[..], &["-db", "sqlite:/nowhere/scan.db"]].concat();
    let served = Served {
        site: site(&line),
        store: SampleStore::new(),
    };
    let tasks = served.get("/tasks");
    assert_eq!(tasks.status, StatusCode::OK);
    assert!(
        tasks.text.contains("Only running tasks are shown."),
        "{}",
        tasks.text
    );
    assert!(!tasks.text.contains("There are no tasks yet"));
    let overview = served.get("/overview").text;
    assert!(overview.contains("Unknown: the database cannot be read."));
    assert!(!overview.contains("No task has ended"), "{overview}");
    for target in [
        "/jobs",
        "/tasks/a",
        "/jobs/a",
        "/tasks?format=csv",
        "/api/v1/tasks",
    ] {
        assert_eq!(
            served.get(target).status,
            StatusCode::SERVICE_UNAVAILABLE,
            "{target}"
        );
    }
}

#[test]
fn a_push_is_confirmed_with_its_size_before_it_is_sent() {
    let served = Served::new(&[]);
    let form = served.get("/push?ip=10.9.0.0%2F24&ports=%22%3E%3Cx");
    assert!(form.text.contains("10.9.0.0/24"));
    assert!(!form.text.contains("\"><x"), "{}", form.text);
    let page = served.post("/push", "ip=10.0.0.0%2F24,10.0.0.1&ports=80&retries=");
    assert_eq!(page.status, StatusCode::OK);
    for part in [
        "1 of 2 targets overlap others",
        ">256<",
        "name=\"push\" value=\"",
        "Send 1 task",
    ] {
        assert!(page.text.contains(part), "{part}: {}", page.text);
    }
    let lines = served.post(
        "/push",
        "ip=10.0.0.0%2F24%0D%0A10.0.1.0%2F24,%0A%0A&ports=80",
    );
    assert!(lines.text.contains("Send 2 tasks"), "{}", lines.text);
    let large = served.post("/push", "ip=0.0.0.0-63.255.255.255&ports=80");
    assert!(large.text.contains("Type <strong>yes</strong>"));
    for form in [
        "ip=10.0.0.0%2F33&ports=80",
        "ip=10.0.0.1",
        "ports=80",
        "ip=10.0.0.1&ports=80&iL=x",
    ] {
        let refused = served.post("/push", form);
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{form}");
        assert!(refused.text.contains("role=\"alert\""));
    }
    let unconfirmed = served.post("/push/send", "ip=0.0.0.0-63.255.255.255&ports=80&push=p");
    assert_eq!(unconfirmed.status, StatusCode::BAD_REQUEST);
    assert!(unconfirmed.text.contains("nothing was sent"));
    let away = served.post("/push/send", "ip=10.0.0.1&ports=80&push=p");
    assert_eq!(away.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(away.text.contains("value=\"p\""), "it can be sent again");
}

#[test]
fn bodies_of_the_api_are_checked() {
    let served = Served::new(&[]);
    for (body, detail) in [
        (json!({"ports": "80"}), "ip: give addresses"),
        (
            json!({"ip_range": "10.0.0.1", "ip": "10.0.0.1", "ports": 80}),
            "ip",
        ),
        (json!({"ip": {}, "ports": 80}), "ip: has to be a string"),
        (
            json!({"ip": ["10.0.0.0/7"], "ports": 80}),
            "nothing was sent",
        ),
        (json!({"ip": "10.0.0.1", "ports": 80, "iL": "x"}), "\"iL\""),
        (json!([1]), "the body"),
    ] {
        let problem = served.post_json("/api/v1/tasks", &body);
        assert_eq!(problem.status, StatusCode::BAD_REQUEST, "{body}");
        let found = problem.json()["detail"].as_str().unwrap().to_owned();
        assert!(found.contains(detail), "{body}: {found}");
    }
    let form = served.post("/api/v1/tasks", "ip=10.0.0.1&ports=80");
    assert_eq!(form.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    for body in [json!({"priority": 10}), json!({"priority": "9"}), json!({})] {
        let problem = served.post_json("/api/v1/tasks/a/priority", &body);
        assert_eq!(problem.status, StatusCode::BAD_REQUEST, "{body}");
    }
}

#[test]
fn orders_say_that_redis_is_away_and_read_only_refuses_them() {
    let served = Served::with_tasks(&[]);
    for target in ["cancel", "pause", "resume", "retry"] {
        for subject in ["tasks/night-2", "jobs/night"] {
            let answer = served.post(&format!("/api/v1/{subject}/{target}"), "");
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{target}");
            let answer = served.post(&format!("/{subject}/{target}"), "");
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{target}");
        }
    }
    for subject in ["tasks/night-2", "jobs/night"] {
        let answer = served.post(&format!("/{subject}/priority"), "priority=9");
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{subject}");
    }
    let served = Served::with_tasks(&["-read-only"]);
    for target in [
        "/tasks/night-2/retry",
        "/jobs/night/cancel",
        "/push",
        "/push/send",
        "/api/v1/tasks",
    ] {
        let answer = served.post(target, "");
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{target}");
    }
    assert_eq!(served.get("/push").status, StatusCode::FORBIDDEN);
    let pages = ["/overview", "/tasks", "/tasks/night-2", "/jobs/night"];
    for target in pages {
        let page = served.get(target);
        assert_eq!(page.status, StatusCode::OK);
        assert!(!page.text.contains("method=\"post\""), "{target}");
    }
}
