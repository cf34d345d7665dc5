//! A Prometheus on localhost that scrapes the servers of a test.

use super::environment::{park_if_cancelled, text};
use super::http::try_send;
use super::peer::free_port;
use super::wait::{SOON, wait_until};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Gets an address of a server on this machine, with a token. Returns status and body.
pub fn http_get(port: u16, path: &str, token: Option<&str>) -> Result<(u16, String), String> {
    let value = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<(&str, &str)> = value
        .iter()
        .map(|value| ("authorization", value.as_str()))
        .collect();
    let url = format!("http://127.0.0.1:{port}{path}");
    let reply = try_send("GET", &url, &headers, "")?;
    Ok((reply.status, reply.text))
}

/// A running Prometheus; killed on drop.
pub struct Prometheus {
    port: u16,
    child: Child,
}

impl Prometheus {
    /// Scrapes the ports of each job once a second, with these rules.
    pub fn start(folder: &Path, rules: &str, jobs: &[(&str, &[u16])]) -> Prometheus {
        park_if_cancelled();
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("alerts.yml"), rules).unwrap();
        let mut config =
            "global: { scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }\n\
             rule_files: [alerts.yml]\nscrape_configs:\n"
                .to_owned();
        for (job, ports) in jobs {
            let targets: Vec<String> = ports
                .iter()
                .map(|port| format!("\"127.0.0.1:{port}\""))
                .collect();
            let targets = targets.join(", ");
            config +=
                &format!("  - job_name: {job}\n    static_configs: [{{ targets: [{targets}] }}]\n");
        }
        let config_file = folder.join("prometheus.yml");
        fs::write(&config_file, config).unwrap();
        let log = File::create(folder.join("prometheus.log")).unwrap();
        let port = free_port();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", text(&config_file)))
            .arg(format!(
                "--storage.tsdb.path={}",
                text(&folder.join("data"))
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let prometheus = Prometheus { port, child };
        let count: usize = jobs.iter().map(|(_, ports)| ports.len()).sum();
        wait_until("all targets to be scraped", SOON, || {
            prometheus.values("up").len() == count
                && prometheus.values("up").iter().all(|up| up == "1")
        });
        prometheus
    }

    /// The values of a query now.
    pub fn values(&self, query: &str) -> Vec<String> {
        let answer = self.api(&format!("query?query={query}"));
        let series = answer["data"]["result"].as_array().cloned();
        series
            .unwrap_or_default()
            .iter()
            .filter_map(|series| Some(series["value"][1].as_str()?.to_owned()))
            .collect()
    }

    /// The alerts that fire, each with the port of its server.
    pub fn firing(&self) -> BTreeSet<(String, u16)> {
        let answer = self.api("alerts");
        let alerts = answer["data"]["alerts"].as_array().cloned();
        alerts
            .unwrap_or_default()
            .iter()
            .filter(|alert| alert["state"] == "firing")
            .filter_map(|alert| {
                let labels = &alert["labels"];
                let port = labels["instance"].as_str()?.rsplit(':').next()?;
                Some((labels["alertname"].as_str()?.to_owned(), port.parse().ok()?))
            })
            .collect()
    }

    fn api(&self, path: &str) -> Value {
        let answer = http_get(self.port, &format!("/api/v1/{path}"), None);
        answer
            .ok()
            .and_then(|(_, body)| serde_json::from_str(&body).ok())
            .unwrap_or_default()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
