//! The Kafka of the test run, and Kafkas of single tests, which they can stop.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::proxy::Detour;
use super::{python, run, variable};

/// The broker that `scripts/test` started.
pub fn shared() -> String {
    variable("IMBRIDGE_TEST_KAFKA")
}

/// The password of the user `imbridge` on [`Kafka::secure`].
pub const PASSWORD: &str = "sEcr3tOfTheTest9f41";

/// The listeners of [`Kafka::secure`] that authenticate clients.
pub struct Doors {
    /// SASL_SSL: the user `imbridge` by PLAIN, SCRAM-SHA-512 or OAUTHBEARER (unsecured tokens).
    pub sasl: String,
    /// SSL with client certificates.
    pub tls: String,
    /// `ca.crt` is the trusted authority. `client.crt` and `client.key` are signed by it, `other.*` by an unknown one.
    pub certificates: PathBuf,
}

/// A cluster of one test. Its data are deleted when it is dropped.
pub struct Kafka {
    dir: PathBuf,
    /// Classes that its configuration names, beside Kafka's own.
    classes: Option<&'static Path>,
    /// The address for clients, which stays the same after a restart.
    pub brokers: String,
}

impl Kafka {
    /// A new broker.
    pub fn start(name: &str) -> Kafka {
        Kafka::create(name, 1, &[])
    }

    /// A new cluster of 1 or 3 nodes, each a broker and a controller, with these settings (`key=value`) beside those of
    /// `scripts/kafka`.
    pub fn create(name: &str, nodes: u32, settings: &[&str]) -> Kafka {
        let nodes = nodes.to_string();
        let settings = settings.iter().flat_map(|setting| ["--set", setting]);
        let more: Vec<&str> = ["--nodes", &nodes].into_iter().chain(settings).collect();
        Kafka::with(name, &more)
    }

    /// The same, with a second way to every node through proxies.
    pub fn with_detour(name: &str, nodes: u32, settings: &[&str]) -> (Kafka, Detour) {
        let nodes = nodes.to_string();
        let settings = settings.iter().flat_map(|setting| ["--set", setting]);
        let more: Vec<&str> = ["--nodes", &nodes, "--detour", "yes"]
            .into_iter()
            .chain(settings)
            .collect();
        let kafka = Kafka::with(name, &more);
        let text = std::fs::read_to_string(kafka.dir.join("detour")).expect("the script has written it");
        let port = |word: &str| word.parse().expect("a port");
        let ways = text.lines().map(|line| {
            let (listens, names) = line.split_once(' ').expect("two ports");
            (port(names), port(listens))
        });
        let detour = Detour::start(ways.collect());
        (kafka, detour)
    }

    fn with(name: &str, more: &[&str]) -> Kafka {
        let dir = PathBuf::from(format!("target/kafka/run/{name}-{}", std::process::id()));
        let mut kafka = Kafka {
            dir,
            classes: more.iter().any(|word| word.contains("LargestMessage")).then(classes),
            brokers: String::new(),
        };
        kafka.brokers = last_line(&kafka.script("up", more));
        kafka
    }

    /// A new broker with [`Doors`] that gives the user `imbridge` only the rights of [`Kafka::allow`], and that creates
    /// no topic whose `max.message.bytes` is above 4 MiB. Clients of [`Kafka::brokers`] have all rights.
    pub fn strict(name: &str) -> (Kafka, Doors) {
        let settings = [
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users=User:ANONYMOUS",
            "create.topic.policy.class.name=LargestMessage",
        ];
        let settings = settings.iter().flat_map(|setting| ["--set", setting]);
        let more: Vec<&str> = ["--secure", PASSWORD].into_iter().chain(settings).collect();
        Kafka::with_doors(name, &more)
    }

    /// Gives the user `imbridge` exactly these rights: operation, kind of resource, the beginning of its name. Returns
    /// when the broker applies them.
    pub fn allow(&self, rights: &[(&str, &str, &str)]) {
        let rights = rights
            .iter()
            .map(|(operation, kind, name)| format!("{operation}:{kind}:{name}"));
        let mut acls = python("IMBRIDGE_TEST_PYTHON", "tests/support/acls.py");
        let (code, _, error) = run(acls.args([&self.brokers, "User:imbridge"]).args(rights));
        assert_eq!(code, Some(0), "{error}");
    }

    /// A new broker with two more listeners. [`Kafka::brokers`] stays without security.
    pub fn secure(name: &str) -> (Kafka, Doors) {
        Kafka::with_doors(name, &["--secure", PASSWORD])
    }

    fn with_doors(name: &str, more: &[&str]) -> (Kafka, Doors) {
        let kafka = Kafka::with(name, more);
        let dir = kafka.dir.canonicalize().expect("it was made");
        let text = std::fs::read_to_string(dir.join("secure")).expect("the script has written it");
        let (sasl, tls) = text.trim().split_once('\n').expect("two addresses");
        let doors = Doors {
            sasl: sasl.to_owned(),
            tls: tls.to_owned(),
            certificates: dir.join("tls"),
        };
        (kafka, doors)
    }

    /// Starts stopped nodes again with their data and ports.
    pub fn up(&mut self) {
        self.script("up", &[]);
    }

    /// Stops all nodes in order.
    pub fn stop(&self) {
        self.script("stop", &[]);
    }

    /// `kill` (SIGKILL), `pause` (SIGSTOP), `resume`, `stop` or `up` for one node, from 1.
    pub fn node(&self, verb: &str, node: i32) {
        self.script(verb, &["--node", &node.to_string()]);
    }

    /// Kills all nodes, data kept.
    pub fn kill(&self) {
        self.script("kill", &[]);
    }

    /// The active controller, as the nodes report it.
    pub fn controller(&self) -> i32 {
        let state = |node: i32| {
            let path = self.dir.join(format!("{node}/__cluster_metadata-0/quorum-state"));
            let state: Value = serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()?;
            Some((state["leaderEpoch"].as_i64()?, state["leaderId"].as_i64()? as i32))
        };
        let (_, leader) = (1..=3).filter_map(state).max().expect("a quorum was formed");
        leader
    }

    fn script(&self, verb: &str, more: &[&str]) -> String {
        let output = Command::new("scripts/kafka")
            .envs(self.classes.map(|classes| ("KAFKA_CLASSES", classes)))
            .arg(verb)
            .arg("--dir")
            .arg(&self.dir)
            .args(more)
            .output()
            .expect("bash is there");
        assert!(
            output.status.success(),
            "scripts/kafka {verb} {more:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("the script prints text")
    }
}

/// The folder of the classes that [`Kafka::strict`] names, compiled once per test program.
fn classes() -> &'static Path {
    static CLASSES: LazyLock<PathBuf> = LazyLock::new(|| {
        let folder = std::env::current_dir()
            .expect("there is one")
            .join("target/kafka/classes");
        let compiled = Command::new("javac")
            .args(["--release", "17", "-cp", "target/kafka/libs/*", "-d"])
            .arg(&folder)
            .arg("tests/support/LargestMessage.java")
            .output()
            .expect("a JDK is there: scripts/setup");
        assert!(
            compiled.status.success(),
            "{}",
            String::from_utf8_lossy(&compiled.stderr)
        );
        folder
    });
    &CLASSES
}

fn last_line(text: &str) -> String {
    text.lines().last().expect("up prints the address last").to_owned()
}

impl Drop for Kafka {
    fn drop(&mut self) {
        Command::new("scripts/kafka")
            .arg("down")
            .arg("--dir")
            .arg(&self.dir)
            .output()
            .ok();
    }
}

/// Held by a test with three nodes, or by one that measures speed beside others: a test run has only one such cluster
/// at a time.
pub fn one_cluster_at_a_time() -> MutexGuard<'static, ()> {
    static CLUSTER: Mutex<()> = Mutex::new(());
    CLUSTER.lock().unwrap_or_else(PoisonError::into_inner)
}
