//! The web page in a real Chromium, and the browser of these tests itself.
//!
//! With `SCAN_SCREENSHOTS=DIR`, the test of a scan writes what the pages look like to this folder; those in docs/images are made so.

use crate::support::{
    Browser, FindingsDb, Fleet, SOON, Serve, count_probes_of_silent, post_json, wait_for,
    wait_until,
};
use crate::{Needs, Test};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub const TESTS: &[Test] = &[
    (
        "the_browser_of_these_tests_shows_what_it_is_given",
        Needs::Browser,
        harness,
    ),
    (
        "the_frame_of_the_page_fits_every_width_and_breaks_no_rule_of_the_browser",
        Needs::Browser,
        frame,
    ),
    (
        "a_scan_is_pushed_followed_and_cancelled_in_a_browser",
        Needs::Browser,
        scan,
    ),
];

/// 600 pixels wide, black in dark mode, with controls with and without names, and a script that its policy forbids.
const SAMPLE: &str = r##"<!doctype html><html lang="en"><head><title>Sample</title>
<meta name="viewport" content="width=device-width">
<style>
  body { background: rgb(255, 255, 255) } div { width: 600px; height: 2000px }
  @media (prefers-color-scheme: dark) { body { background: rgb(0, 0, 0) } }
</style></head><body>
<h1>Sample</h1><p id="script">without scripts</p>
<form action="/form"><input name="word" aria-label="Word" value="old"><button aria-label="Send it">→</button>
<button disabled>Later</button></form>
<input type="radio" id="unnamed"><details><summary>More</summary>hidden</details><div></div>
<script nonce="allowed">document.querySelector("#script").textContent = "with scripts"</script>
<script>document.title = "forbidden"</script>
<img alt="Elsewhere" src="http://elsewhere.example/image.png">
</body></html>"##;
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-allowed'; img-src *";

/// Each method of the browser, on a page with what the others of these tests must not find.
fn harness() {
    let fleet = Fleet::new("browser");
    let site = Site::start();
    let browser = Browser::start(&fleet.folder);
    browser.open(&site.url("/"));
    assert_eq!(browser.texts("#script"), ["with scripts"]);
    assert_eq!(browser.texts("details, .none"), ["More"]);

    let complaints = browser.complaints();
    let complained = |word: &str| complaints.iter().any(|text| text.contains(word));
    assert!(complained("Content Security Policy"), "{complaints:#?}");
    assert!(complained("ERR_NAME_NOT_RESOLVED"), "{complaints:#?}");
    let again = browser.complaints();
    assert!(again.is_empty(), "{again:#?}");

    let controls = browser.controls();
    let controls: Vec<(&str, &str)> = controls
        .iter()
        .map(|(role, name)| (role.as_str(), name.as_str()))
        .collect();
    let expected = [
        ("heading", "Sample"),
        ("radio", ""),
        ("image", "Elsewhere"),
        ("textbox", "Word"),
        ("button", "Send it"),
        ("button", "Later"),
        ("DisclosureTriangle", "More"),
    ];
    assert_eq!(controls, expected);

    for (width, scheme, colour) in [
        (390, "dark", "rgb(0, 0, 0)"),
        (1440, "light", "rgb(255, 255, 255)"),
    ] {
        browser.set_size(width, 900);
        browser.set_colors(scheme);
        browser.open(&site.url("/"));
        let script = "return getComputedStyle(document.body).backgroundColor";
        assert_eq!(browser.run(script, &serde_json::json!([])), colour);
        assert_eq!(browser.overflow() > 200, width == 390, "{width}");
        let image = fleet.folder.join(format!("{scheme}.png"));
        browser.screenshot(&image);
        let (image_width, image_height) = size_of_png(&fs::read(&image).unwrap());
        assert!(image_width >= width, "{image_width}");
        assert!(image_height > 2000, "{image_height}");
    }

    browser.type_into("input[name=word]", "new word");
    browser.click("button");
    browser.wait_for_text("Sample");
    assert_eq!(browser.url(), site.url("/form?word=new+word"));

    browser.set_scripts(false);
    browser.open(&site.url("/"));
    assert_eq!(browser.texts("#script"), ["without scripts"]);
    browser.set_scripts(true);
    browser.open(&site.url("/"));
    assert_eq!(browser.texts("#script"), ["with scripts"]);

    assert!(processes_of(&fleet.folder) > 2);
    drop(browser);
    wait_until("all of its processes to end", SOON, || {
        processes_of(&fleet.folder) == 0
    });
}

/// Width and height, from the header.
fn size_of_png(image: &[u8]) -> (u32, u32) {
    let number = |at: usize| u32::from_be_bytes(image[at..at + 4].try_into().unwrap());
    assert_eq!(&image[1..4], b"PNG");
    (number(16), number(20))
}

/// How many processes have a file of this folder in their command line.
fn processes_of(folder: &Path) -> usize {
    let folder = format!("{}/", folder.display());
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let words = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    words
        .filter(|words| String::from_utf8_lossy(words).contains(&folder))
        .count()
}

/// A server of [`SAMPLE`] at every path; stopped on drop.
struct Site {
    address: SocketAddr,
    stops: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

impl Site {
    fn start() -> Site {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stops = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stops);
        let listener = thread::spawn(move || {
            // Chromium opens connections in advance, so each has its own thread.
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                thread::spawn(move || answer(stream));
            }
        });
        Site {
            address,
            stops,
            listener: Some(listener),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::Relaxed);
        // Wakes the listener.
        let _ = TcpStream::connect(self.address);
        let _ = self.listener.take().map(JoinHandle::join);
    }
}

/// Reads one request, and sends the page. An icon of the page is empty.
fn answer(mut stream: TcpStream) {
    let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
    let Some(first) = lines.next() else {
        return;
    };
    let ended = lines.any(|line| line.is_empty());
    let (status, page) = match first.contains("/favicon.ico") {
        true => ("204 No Content", ""),
        false => ("200 OK", SAMPLE),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/html; charset=utf-8\r\ncontent-security-policy: {POLICY}\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        page.len()
    );
    if ended {
        let _ = stream.write_all(format!("{head}{page}").as_bytes());
    }
}

fn frame() {
    let fleet = Fleet::new("frame");
    let serve = fleet.start_serve("serve", &FindingsDb::file(&fleet, "web"), &[]);
    let browser = Browser::start(&fleet.folder);
    for (width, scheme) in [(390, "light"), (1440, "dark")] {
        browser.set_size(width, 900);
        browser.set_colors(scheme);
        browser.open(&serve.url("/servers"));
        browser.wait_for_text("No server of the group");
        assert_eq!(browser.overflow(), 0, "{width}");
    }
    let controls = browser.controls();
    assert!(controls.len() > 8, "{controls:?}");
    assert!(
        controls.iter().all(|(_, name)| !name.is_empty()),
        "{controls:?}"
    );
    let complaints = browser.complaints();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

/// A page that refreshes itself has done so after this time.
const REFRESHED: Duration = Duration::from_millis(2500);

/// A browser on the page of a fleet.
struct Visit {
    browser: Browser,
    serve: Serve,
    images: Option<PathBuf>,
}

impl Visit {
    fn open(&self, path: &str) {
        self.browser.open(&self.serve.url(path));
    }

    fn run(&self, script: &str) -> Value {
        self.browser.run(script, &json!([]))
    }

    /// Writes a screenshot, if they are asked for.
    fn show(&self, name: &str, width: u32, scheme: &str) {
        let Some(images) = &self.images else {
            return;
        };
        self.wear(width, scheme);
        let phone = if width < 500 { "-phone" } else { "" };
        let dark = if scheme == "dark" { "-dark" } else { "" };
        let file = images.join(format!("{name}{phone}{dark}.png"));
        self.browser.screenshot_of_window(&file);
    }

    fn wear(&self, width: u32, scheme: &str) {
        self.browser.set_size(width, 900);
        self.browser.set_colors(scheme);
    }

    /// Pushes a scan of port 443 through the API. Returns the ids of its tasks.
    fn push(&self, networks: &[String], rate: u32, job: &str) -> Vec<String> {
        let body =
            json!({"ip": networks, "ports": "443", "bandwidth": rate, "wait": 1, "job": job});
        let answer = post_json(&self.serve.url("/api/v1/tasks"), &body);
        assert_eq!(answer.status, 201, "{}", answer.text);
        let ids = answer.json()["task_ids"].as_array().unwrap().clone();
        ids.iter()
            .map(|id| id.as_str().unwrap().to_owned())
            .collect()
    }

    fn order(&self, id: &str, order: &str) {
        let path = format!("/api/v1/tasks/{id}/{order}");
        let answer = post_json(&self.serve.url(&path), &json!({}));
        assert!([200, 202].contains(&answer.status), "{}", answer.text);
    }

    /// Waits until the database has the end of these tasks, and all that they found.
    fn wait_stored(&self, ids: &[String]) {
        wait_until("the ends to be in the database", SOON, || {
            let answer = self.serve.get("/api/v1/tasks?state=completed");
            // A new database may be a second old before it is read.
            if answer.status == 503 {
                return false;
            }
            let tasks = answer.json();
            let tasks = tasks["tasks"].as_array().unwrap();
            ids.iter()
                .all(|id| tasks.iter().any(|task| task["task_id"] == id.as_str()))
        });
    }

    /// Percent of the first running task of the page.
    fn progress(&self) -> Option<f64> {
        self.run("return document.querySelector('[aria-label^=Progress]')?.value")
            .as_f64()
    }

    /// Waits until the page shows more progress than it does now.
    fn wait_progress(&self) {
        let before = wait_for("progress on the page", SOON, || self.progress());
        wait_until("the progress to move", SOON, || {
            self.progress().is_some_and(|now| now > before)
        });
    }

    /// The page does not scroll sideways, all its controls have names, and the browser complains about nothing.
    fn check(&self, what: &str) {
        assert_eq!(self.browser.overflow(), 0, "{what}");
        let controls = self.browser.controls();
        assert!(controls.len() > 8, "{what}: {controls:?}");
        let unnamed: Vec<_> = controls
            .iter()
            .filter(|(_, name)| name.is_empty())
            .collect();
        assert!(unnamed.is_empty(), "{what}: {unnamed:?}");
        let complaints = self.browser.complaints();
        assert!(complaints.is_empty(), "{what}: {complaints:#?}");
    }
}

fn scan() {
    let fleet = Fleet::new("page");
    let _servers = [
        fleet.ready_scand("scan-a", &["-max-rate", "2000"]),
        fleet.ready_scand("scan-b", &["-max-rate", "2000"]),
    ];
    let visit = Visit {
        serve: fleet.start_serve(
            "serve",
            &FindingsDb::file(&fleet, "web.db"),
            &["-keep-findings", "30d", "-closed-after", "1"],
        ),
        browser: Browser::start(&fleet.folder),
        images: std::env::var_os("SCAN_SCREENSHOTS").map(PathBuf::from),
    };
    let networks = [0, 1, 2].map(|n| fleet.network(n));
    let monday = visit.push(&networks, 800, "monday");
    visit.wait_stored(&monday);
    // 16 addresses of the first network have gone.
    let gone = networks[0].replace(".0/24", ".16/28");
    count_probes_of_silent(&gone);
    let tuesday = visit.push(&networks, 800, "tuesday");
    visit.wait_stored(&tuesday);

    let id = push_by_form(&visit, &fleet.network(3));
    overview_moves(&visit, &id);
    let host = fleet.network(3).replace(".0/24", ".7");
    shows_what_was_found(&visit, &host, &gone);
    let cancelled = cancel_with_scripts(&visit, &fleet);
    cancel_without_scripts(&visit, &fleet);
    keyboard(&visit);
    let pages = [
        ("idle", "/overview".to_owned()),
        ("changes", "/changes".to_owned()),
        ("services", "/services".to_owned()),
        (
            "host",
            format!("/hosts/{}", networks[0].replace(".0/24", ".17")),
        ),
        ("tasks", "/tasks".to_owned()),
        ("task", format!("/tasks/{id}")),
        ("cancelled", format!("/tasks/{cancelled}")),
        ("jobs", "/jobs".to_owned()),
        ("job", "/jobs/tuesday".to_owned()),
        ("servers", "/servers".to_owned()),
        ("push", "/push".to_owned()),
        ("diff", "/diff?a=monday&b=tuesday".to_owned()),
        ("network", format!("/network?net={}", networks[0])),
    ];
    for (name, path) in &pages {
        for (width, has_scripts) in [(390, true), (390, false), (1440, false), (1440, true)] {
            visit.wear(width, if has_scripts { "light" } else { "dark" });
            visit.browser.set_scripts(has_scripts);
            visit.open(path);
            visit.check(&format!("{path} at {width}"));
            visit.show(name, width, if has_scripts { "light" } else { "dark" });
        }
    }
}

/// Pushes through the form and its confirmation. Returns the id of the task.
fn push_by_form(visit: &Visit, network: &str) -> String {
    let browser = &visit.browser;
    visit.wear(1440, "light");
    visit.open("/push");
    browser.type_into("#ip", network);
    browser.type_into("#ports", "22,443");
    browser.type_into("#bandwidth", "60");
    browser.click("summary");
    browser.type_into("#wait", "1");
    browser.click("form.push button");
    browser.wait_for_text("New scan: confirm");
    assert!(browser.text().contains("512"), "{}", browser.text());
    visit.check("the confirmation");
    visit.show("confirm", 390, "dark");
    visit.show("confirm", 1440, "light");
    browser.click("form[action='/push/send'] button");
    // Until a server has ingested the task, the page says that it waits; then it shows the task without a reload.
    let id = wait_for("the task's page", SOON, || browser.texts("h1 .mono").pop());
    visit.check("the task's page");
    id
}

/// The overview moves by itself until it shows the task as ended, and disturbs nobody who uses it.
fn overview_moves(visit: &Visit, id: &str) {
    let browser = &visit.browser;
    visit.open("/overview");
    visit.run("window.stays = true");
    visit.wait_progress();
    for (width, scheme) in [
        (390, "light"),
        (390, "dark"),
        (1440, "dark"),
        (1440, "light"),
    ] {
        visit.show("overview", width, scheme);
    }
    browser.type_into("input[name=q]", "offi");
    visit.wait_progress();
    visit.wait_progress();
    let focus = "return [document.activeElement.name, document.activeElement.value]";
    assert_eq!(visit.run(focus), json!(["q", "offi"]));
    visit.run("document.querySelector('#overview a[href=\"/tasks?state=running\"]').focus()");
    visit.wait_progress();
    let focus = "return document.activeElement.getAttribute('href')";
    assert_eq!(visit.run(focus), "/tasks?state=running");
    wait_until("the overview to show the end", SOON, || {
        let rows = browser.texts("section[aria-label='Recently ended'] tbody tr");
        let is_ended = |row: &String| row.contains(id) && row.contains("completed");
        rows.iter().any(is_ended) && browser.text().contains("No task is running.")
    });
    assert_eq!(visit.run("return window.stays"), true, "no navigation");
    visit.check("the overview after the scan");
}

/// A host has the one port of the two that is open, and the changes have what opened and closed.
fn shows_what_was_found(visit: &Visit, host: &str, gone: &str) {
    let browser = &visit.browser;
    wait_until("the finding to be in the database", SOON, || {
        let host = visit.serve.get(&format!("/api/v1/hosts/{host}"));
        host.json()["services"] != json!([])
    });
    for has_scripts in [true, false] {
        browser.set_scripts(has_scripts);
        visit.open(&format!("/hosts/{host}"));
        let rows = browser.texts("#host h2 + .scroll tbody tr");
        assert_eq!(rows.len(), 3, "a service, a day and a change: {rows:?}");
        assert!(rows[0].starts_with("443\ttcp\topen"), "{rows:?}");
        visit.open(&format!("/changes?net={host}"));
        let rows = browser.texts("#changes tbody tr:not(.day)");
        assert_eq!(rows.len(), 1, "{rows:?}");
        for part in ["opened", host, "443"] {
            assert!(rows[0].contains(part), "{rows:?}");
        }
        visit.open(&format!("/changes?net={gone}&kind=closed"));
        let rows = browser.texts("#changes tbody tr:not(.day)");
        assert_eq!(rows.len(), 16, "{rows:?}");
    }
    browser.set_scripts(true);
}

/// A priority that is being typed stays when the page changes, and the button cancels the task. Returns its id.
fn cancel_with_scripts(visit: &Visit, fleet: &Fleet) -> String {
    let browser = &visit.browser;
    let id = visit.push(&[fleet.network(4)], 20, "slow").remove(0);
    fleet.wait_progress(&id, 0.0);
    visit.order(&id, "pause");
    visit.open(&format!("/tasks/{id}"));
    browser.wait_for_text("paused");
    browser.type_into("input[name=priority]", "7");
    visit.order(&id, "resume");
    fleet.wait_progress(&id, 1.0);
    thread::sleep(REFRESHED);
    let typed = visit.run("return [document.activeElement.name, document.activeElement.value]");
    assert_eq!(typed, json!(["priority", "7"]));
    visit.run("document.activeElement.blur()");
    wait_until("the page to show that it runs", SOON, || {
        browser.texts(".head .badge") == ["running"]
    });
    visit.show("running", 390, "light");
    visit.show("running", 1440, "light");
    browser.click("form[action$='/cancel'] button");
    wait_until("the page to show the end", SOON, || {
        browser.texts(".head .badge") == ["cancelled"]
    });
    assert!(browser.text().contains("cancelled."), "{}", browser.text());
    id
}

fn cancel_without_scripts(visit: &Visit, fleet: &Fleet) {
    let browser = &visit.browser;
    let id = visit.push(&[fleet.network(5)], 20, "slow").remove(0);
    fleet.wait_progress(&id, 0.0);
    browser.set_scripts(false);
    visit.open(&format!("/tasks/{id}"));
    assert_eq!(browser.texts(".head .badge"), ["running"]);
    browser.click("form[action$='/cancel'] button");
    wait_until("the answer to the order", SOON, || {
        browser.texts("#message").concat().contains("cancelled.")
    });
    visit.check("the answer to the order");
    wait_until("the end", SOON, || {
        visit.open(&format!("/tasks/{id}"));
        browser.texts(".head .badge") == ["cancelled"]
    });
    browser.set_scripts(true);
}

/// The first key goes to the link that skips the navigation, and the next one after it into the content.
fn keyboard(visit: &Visit) {
    let browser = &visit.browser;
    visit.open("/overview");
    browser.press("Tab");
    let seen = "const e = document.activeElement; return [e.className, e.getBoundingClientRect().left >= 0]";
    assert_eq!(visit.run(seen), json!(["skip", true]));
    browser.press("Enter");
    wait_until("the link to lead to the content", SOON, || {
        browser.url().ends_with("#main")
    });
    browser.press("Tab");
    let place = "const e = document.activeElement; return [!!e.closest('main'), getComputedStyle(e).outlineStyle]";
    assert_eq!(visit.run(place), json!([true, "solid"]));
}
