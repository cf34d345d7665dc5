//! The web page in a real Chromium, and the browser of these tests itself.

use crate::support::{Browser, FindingsDb, Fleet, SOON, wait_until};
use crate::{Needs, Test};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

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
