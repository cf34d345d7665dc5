//! A real Chromium, driven by its own chromedriver over WebDriver (W3C), with DevTools commands where WebDriver has none.

use super::environment::{environment, park_if_cancelled};
use super::http::{Reply, try_send};
use super::wait::{SOON, wait_for, wait_until};
use base64::prelude::{BASE64_STANDARD, Engine};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Name of an element in WebDriver's answers.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Errs if Chromium or chromedriver is missing.
pub fn find_browser() -> Result<(), String> {
    ["chromium", "chromedriver"]
        .into_iter()
        .try_for_each(|program| {
            let found = Command::new(program).arg("--version").output();
            match found {
                Ok(output) if output.status.success() => Ok(()),
                _ => Err(format!("{program} is not installed")),
            }
        })
}

/// A browser with one window. Stopped on drop.
pub struct Browser {
    driver: Child,
    session: String,
}

impl Browser {
    /// Starts one with its own profile in `folder`.
    pub fn start(folder: &Path) -> Browser {
        park_if_cancelled();
        let profile = folder.join("browser");
        fs::create_dir_all(&profile).unwrap();
        let log = profile.join("chromedriver.log");
        let output = fs::File::create(&log).unwrap();
        // Its group contains Chromium's processes too, so that a signal to the group ends all of them.
        // Chromium puts a socket into TMPDIR, whose path may have 107 bytes: a test's own folder would be too deep.
        let driver = Command::new("chromedriver")
            .args(["--port=0", "--allowed-ips=127.0.0.1"])
            .env("HOME", &profile)
            .env("TMPDIR", environment().folder.path())
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_CACHE_HOME")
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut browser = Browser {
            driver,
            session: String::new(),
        };
        let port = wait_for("chromedriver to say its port", SOON, || port_in(&log));
        browser.session = format!("http://127.0.0.1:{port}/session");
        let made = browser
            .request("POST", "", &capabilities(&profile))
            .unwrap();
        let id = made["sessionId"].as_str().unwrap();
        browser.session += &format!("/{id}");
        browser
    }

    /// Opens a page, and waits until it is loaded.
    pub fn open(&self, url: &str) {
        self.command("url", &json!({ "url": url }));
    }

    /// The address of the page.
    pub fn url(&self) -> String {
        let url = self.request("GET", "url", &Value::Null).unwrap();
        url.as_str().unwrap().to_owned()
    }

    /// The visible texts of the elements that match a CSS selector, in order.
    pub fn texts(&self, css: &str) -> Vec<String> {
        let script =
            "return [...document.querySelectorAll(arguments[0])].map(e => e.innerText.trim())";
        let texts = self.run(script, &json!([css]));
        let texts = texts.as_array().unwrap();
        texts
            .iter()
            .map(|text| text.as_str().unwrap().to_owned())
            .collect()
    }

    /// The visible text of the page.
    pub fn text(&self) -> String {
        self.texts("body").concat()
    }

    /// Waits until the page's text contains `text`.
    pub fn wait_for_text(&self, text: &str) {
        wait_until(&format!("the page to show {text:?}"), SOON, || {
            self.text().contains(text)
        });
    }

    /// Clicks on the first element that matches.
    pub fn click(&self, css: &str) {
        let element = self.element(css);
        self.command(&format!("element/{element}/click"), &json!({}));
    }

    /// Replaces the text of an input.
    pub fn type_into(&self, css: &str, text: &str) {
        let element = self.element(css);
        self.command(&format!("element/{element}/clear"), &json!({}));
        let keys = json!({ "text": text });
        self.command(&format!("element/{element}/value"), &keys);
    }

    /// Runs a script in the page, as the body of a function of `arguments`.
    pub fn run(&self, script: &str, arguments: &Value) -> Value {
        self.command(
            "execute/sync",
            &json!({ "script": script, "args": arguments }),
        )
    }

    /// Runs a command of the DevTools protocol.
    pub fn devtools(&self, command: &str, parameters: &Value) -> Value {
        let order = json!({ "cmd": command, "params": parameters });
        self.command("goog/cdp/execute", &order)
    }

    /// Sets the size of the page, in CSS pixels.
    pub fn set_size(&self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
    }

    /// Switches the scripts of the next pages on or off.
    pub fn set_scripts(&self, on: bool) {
        self.devtools(
            "Emulation.setScriptExecutionDisabled",
            &json!({ "value": !on }),
        );
    }

    /// Chooses `light` or `dark`.
    pub fn set_colors(&self, scheme: &str) {
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        self.devtools(
            "Emulation.setEmulatedMedia",
            &json!({ "features": [feature] }),
        );
    }

    /// Writes a PNG of the whole page, including what is outside the window.
    pub fn screenshot(&self, file: &Path) {
        let whole = json!({ "captureBeyondViewport": true });
        let image = self.devtools("Page.captureScreenshot", &whole);
        let encoded = image["data"].as_str().unwrap();
        fs::write(file, BASE64_STANDARD.decode(encoded).unwrap()).unwrap();
    }

    /// Writes a PNG of what the window shows.
    pub fn screenshot_of_window(&self, file: &Path) {
        let image = self.devtools("Page.captureScreenshot", &json!({}));
        let encoded = image["data"].as_str().unwrap();
        fs::write(file, BASE64_STANDARD.decode(encoded).unwrap()).unwrap();
    }

    /// Presses a key, such as `Tab`.
    pub fn press(&self, key: &str) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            _ => panic!("the code of {key} is unknown"),
        };
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            let event = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text });
            self.devtools("Input.dispatchKeyEvent", &event);
        }
    }

    /// The roles and names of what a screen reader finds: everything that takes the focus, and what is in [`ROLES`].
    /// In the order of the accessibility tree, breadth first.
    pub fn controls(&self) -> Vec<(String, String)> {
        self.devtools("Accessibility.enable", &json!({}));
        let tree = self.devtools("Accessibility.getFullAXTree", &json!({}));
        let text = |node: &Value, what: &str| node[what]["value"].as_str().unwrap_or("").to_owned();
        let has_role = |node: &Value| ROLES.contains(&text(node, "role").as_str());
        let nodes = tree["nodes"].as_array().unwrap().iter();
        nodes
            .filter(|node| node["ignored"] != true && (has_role(node) || takes_focus(node)))
            .map(|node| (text(node, "role"), text(node, "name")))
            .collect()
    }

    /// How many pixels the page is wider than its window.
    pub fn overflow(&self) -> i64 {
        let script = "const e = document.documentElement; return e.scrollWidth - e.clientWidth";
        self.run(script, &json!([])).as_i64().unwrap()
    }

    /// What the browser has complained about since the last call, such as violations of the content security policy.
    pub fn complaints(&self) -> Vec<String> {
        let entries = self.command("se/log", &json!({ "type": "browser" }));
        let entries = entries.as_array().unwrap();
        entries
            .iter()
            .map(|entry| entry["message"].to_string())
            .collect()
    }

    fn element(&self, css: &str) -> String {
        let query = json!({ "using": "css selector", "value": css });
        wait_for(&format!("an element {css}"), SOON, || {
            let element = self.request("POST", "element", &query).ok()?;
            Some(element[ELEMENT].as_str()?.to_owned())
        })
    }

    fn command(&self, path: &str, body: &Value) -> Value {
        self.request("POST", path, body)
            .unwrap_or_else(|error| panic!("{path} {body}: {error}"))
    }

    fn request(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let separator = if path.is_empty() { "" } else { "/" };
        let url = format!("{}{separator}{path}", self.session);
        let headers = [("content-type", "application/json")];
        let Reply { status, text, .. } = try_send(method, &url, &headers, &body.to_string())?;
        let mut answer: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        match status {
            200 => Ok(answer["value"].take()),
            _ => Err(answer["value"]["message"].to_string()),
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.driver), Signal::KILL);
        let _ = self.driver.wait();
    }
}

/// What must have a name even if it does not take the focus, such as a disabled button.
const ROLES: &[&str] = &[
    "button",
    "link",
    "textbox",
    "searchbox",
    "combobox",
    "checkbox",
    "spinbutton",
    "heading",
    "table",
    "image",
    "progressbar",
    "navigation",
];

/// Whether a node of the accessibility tree can have the keyboard focus. The document itself can, but is not a control.
fn takes_focus(node: &Value) -> bool {
    let properties = node["properties"].as_array().into_iter().flatten();
    let mut focusable = properties.filter(|property| property["name"] == "focusable");
    focusable.any(|property| property["value"]["value"] == true)
        && node["role"]["value"] != "RootWebArea"
}

fn capabilities(profile: &Path) -> Value {
    let data = format!("--user-data-dir={}", profile.join("data").display());
    // Without its sandbox Chromium runs as root too; it shows nothing but the page under test.
    let args = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        // The page must not load anything from another host.
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
        &data,
    ];
    json!({ "capabilities": { "alwaysMatch": {
        "browserName": "chrome",
        "goog:chromeOptions": { "args": args },
        "goog:loggingPrefs": { "browser": "ALL" },
    } } })
}

fn port_in(log: &PathBuf) -> Option<u16> {
    let text = fs::read_to_string(log).ok()?;
    let after = text.split("started successfully on port ").nth(1)?;
    after.split('.').next()?.trim().parse().ok()
}
