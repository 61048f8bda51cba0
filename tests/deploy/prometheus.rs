//! A real Prometheus with the alert rules of the repository, which scrapes bridges under load.

use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::bridge::{APP, Bridge, Home, free_ports};
use crate::support::client::Connection;
use crate::support::{eventually, schemas};
use crate::tools::{tool, well};

const COMMAND: &str = "Group.CallbackAfterCreateGroup";

/// A Prometheus and the bridges that it scrapes. One has no registry that answers, so its answers do not wait for Kafka
/// long.
pub struct Watched {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
    connection: Connection,
    pub bridge: Bridge,
    pub waiting: Bridge,
    _homes: [Home; 2],
}

fn target(command: &str) -> String {
    format!("/tencent?SdkAppid={APP}&CallbackCommand={command}&contenttype=json")
}

impl Watched {
    /// Starts everything, and provokes each labelled metric of the bridge once.
    pub fn start() -> Watched {
        let home = Home::new("watched");
        let before = schemas::add_before_command(&home.schemas());
        schemas::copy(&["tencent/Group.CallbackAfterSendMsg"], &home.schemas());
        let bridge = home.start();
        let mut without_registry = Home::new("waiting");
        let [nobody, port] = free_ports();
        without_registry.set("SCHEMAS__REGISTRY_URL", format!("http://127.0.0.1:{nobody}"));
        without_registry.set("SERVER__ANSWER_AFTER", "kafka");
        let waiting = without_registry.start();
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let watched = Watched {
            child: start(&folder, port, [home.admin_port, without_registry.admin_port]),
            port,
            folder,
            connection: bridge.connect(),
            bridge,
            waiting,
            _homes: [home, without_registry],
        };
        watched.provoke(before);
        watched
    }

    fn provoke(&self, before: &str) {
        // A body that does not arrive: allowed without being durable.
        let answer = self.bridge.connect().half_request(&target(before), 1000, b"{");
        assert_eq!(answer.expect("an answer").status, 200);
        let refused = self.bridge.connect().request("POST", "/nowhere", &[], b"{}");
        assert_eq!(refused.expect("an answer").status, 404);
        // A missing number, a copy, and a late number.
        for number in [1, 5, 5, 3] {
            let body = format!(r#"{{"GroupId":"g","MsgSeq":{number},"Random":{number},"MsgTime":1490686222}}"#);
            let answer = self.bridge.connect().post(&target("Group.CallbackAfterSendMsg"), body);
            assert_eq!(answer.expect("an answer").status, 200);
        }
        for bridge in [&self.bridge, &self.waiting] {
            let body = r#"{"GroupId":"g","Name":"n","Undeclared":1}"#;
            let answer = bridge.connect().post(&target(COMMAND), body).expect("an answer");
            assert_eq!(answer.status, 200);
        }
    }

    /// Posts a few more callbacks.
    pub fn load(&mut self) {
        for number in 0..20 {
            let body = format!(r#"{{"GroupId":"g{number}","Name":"n"}}"#);
            let answer = self.connection.post(&target(COMMAND), body).expect("an answer");
            assert_eq!(answer.status, 200);
        }
    }

    /// Posts JSON that is not an object: it is acknowledged and becomes a dead letter.
    pub fn post_a_dead_letter(&self) {
        let answer = self.bridge.connect().post(&target(COMMAND), "[]").expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    /// The current result of a query.
    ///
    /// # Errors
    /// Prometheus' error message, if the query is invalid.
    pub fn query(&self, query: &str) -> Result<Vec<Value>, String> {
        let answer = self.get("query", &["--data-urlencode", &format!("query={query}")]);
        if answer["status"] != "success" {
            return Err(answer["error"].to_string());
        }
        Ok(answer["data"]["result"].as_array().cloned().unwrap_or_default())
    }

    /// The names of the firing alerts.
    pub fn firing(&self) -> Vec<String> {
        let answer = self.get("alerts", &[]);
        let alerts = answer["data"]["alerts"].as_array().cloned().unwrap_or_default();
        let firing = alerts.into_iter().filter(|alert| alert["state"] == "firing");
        firing
            .map(|alert| alert["labels"]["alertname"].as_str().expect("a name").to_owned())
            .collect()
    }

    fn get(&self, what: &str, arguments: &[&str]) -> Value {
        let url = format!("http://127.0.0.1:{}/api/v1/{what}", self.port);
        let text = well(
            Command::new("curl")
                .args(["-sG", "--max-time", "10"])
                .args(arguments)
                .arg(url),
        );
        serde_json::from_str(&text).unwrap_or_else(|cause| panic!("{cause}: {text}"))
    }
}

fn start(folder: &tempfile::TempDir, port: u16, targets: [u16; 2]) -> Child {
    let rules = std::fs::canonicalize("dashboards/alerts.yml").expect("the rules are there");
    let [one, other] = targets;
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{}]\nscrape_configs:\n  - job_name: imbridge\n    \
         static_configs: [{{targets: ['127.0.0.1:{one}', '127.0.0.1:{other}']}}]\n",
        rules.display()
    );
    let file = folder.path().join("prometheus.yml");
    std::fs::write(&file, config).expect("a temporary folder is writable");
    let log = std::fs::File::create(folder.path().join("log")).expect("a temporary folder is writable");
    let mut child = tool("prometheus")
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("scripts/tools fetched it");
    eventually("Prometheus to be ready", || {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
            panic!("Prometheus ended with {status}: {log}");
        }
        let answer = Connection::open(port)?.request("GET", "/-/ready", &[], b"")?;
        (answer.status == 200).then_some(())
    });
    child
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            eprintln!("Prometheus output:\n{log}");
        }
    }
}
