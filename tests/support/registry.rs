//! The registry of the test run, a gate in front of it that a test opens and closes, and stock clients that read with
//! it.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::{node, python, variable};

/// The registry that `scripts/test` started.
pub fn shared() -> String {
    variable("IMBRIDGE_TEST_REGISTRY")
}

/// A port that forwards to the shared registry while the gate is open, and refuses connections while it is closed.
pub struct Gate {
    port: u16,
    open: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

impl Gate {
    /// A closed gate on an unused port.
    pub fn closed(port: u16) -> Gate {
        Gate { port, open: None }
    }

    /// The registry's URL through the gate.
    pub fn url(&self) -> String {
        let (_, path) = shared()
            .trim_start_matches("http://")
            .split_once('/')
            .map(|(host, path)| (host.to_owned(), path.to_owned()))
            .expect("the URL has a path");
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    /// Lets connections through.
    pub fn open(&mut self) {
        let url = shared();
        let host = url.trim_start_matches("http://").split('/').next().expect("a host");
        let host = host.to_owned();
        let listener = TcpListener::bind(("127.0.0.1", self.port)).expect("the gate's port is free");
        listener.set_nonblocking(true).expect("a socket");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((client, _)) => join(client, &host),
                    // No connection since the last poll.
                    Err(_) => std::thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        self.open = Some((stop, thread));
    }

    /// Refuses new connections.
    pub fn close(&mut self) {
        if let Some((stop, thread)) = self.open.take() {
            stop.store(true, Ordering::Relaxed);
            thread.join().expect("the gate does not panic");
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.close();
    }
}

/// Copies bytes in both directions until one side ends.
fn join(client: TcpStream, host: &str) {
    client.set_nonblocking(false).expect("a socket");
    let Ok(server) = TcpStream::connect(host) else { return };
    let clone = |stream: &TcpStream| stream.try_clone().expect("a socket");
    for (mut from, mut to) in [(clone(&client), clone(&server)), (server, client)] {
        std::thread::spawn(move || {
            io::copy(&mut from, &mut to).ok();
            to.shutdown(std::net::Shutdown::Both).ok();
        });
    }
}

/// A message as a stock client returns it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Decoded {
    pub topic: String,
    pub partition: i32,
    pub key: String,
    pub value: Value,
}

/// The client that reads.
#[derive(Debug, Clone, Copy)]
pub enum Client {
    /// confluent-kafka with its AvroDeserializer.
    Python,
    /// kafkajs with its registry client.
    JavaScript,
    /// Kafka's own client with Apicurio's AvroKafkaDeserializer, which speaks only Apicurio's API.
    Java,
    /// Kafka's own client with Confluent's registry client.
    Confluent,
    /// ClickHouse as a library.
    ClickHouse,
}

/// The first `count` messages under a prefix, decoded with the schemas of a registry.
pub fn read(client: Client, registry: &str, brokers: &str, prefix: &str, count: usize) -> Vec<Decoded> {
    let mut command = match client {
        Client::Python => python("IMBRIDGE_TEST_PYTHON", "tests/readers/registry.py"),
        Client::ClickHouse => python("IMBRIDGE_TEST_CONSUMERS", "tests/readers/clickhouse.py"),
        Client::JavaScript => {
            let mut node = node();
            node.arg("tests/readers/registry-js/reader.js");
            node
        }
        Client::Java | Client::Confluent => {
            let mut java = Command::new("java");
            java.arg("-cp").arg(format!("{}/*", variable("IMBRIDGE_TEST_JARS")));
            java.args(["-XX:TieredStopAtLevel=1", "tests/readers/registry-java/Reader.java"]);
            java.args(["--client", &format!("{client:?}").to_lowercase()]);
            java
        }
    };
    let count = count.to_string();
    let output = command
        .args(["--brokers", brokers, "--registry", registry])
        .args(["--topic-prefix", prefix, "--until-count", &count])
        .output()
        .expect("the reader starts");
    let [text, error] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "the {client:?} reader failed: {error}");
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|cause| panic!("{cause}: {line}")))
        .collect()
}
