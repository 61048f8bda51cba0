//! The Kafka of the test run, and Kafkas of a test's own that it can stop.

use std::path::PathBuf;
use std::process::Command;

/// The broker that `scripts/test` started.
pub fn shared() -> String {
    std::env::var("IMBRIDGE_TEST_KAFKA").expect("these tests need a Kafka: run them by `make test` or `scripts/test`")
}

/// A broker of one test's own; its data go when it is dropped.
pub struct Kafka {
    dir: PathBuf,
    /// Where clients attach; the same after every restart.
    pub brokers: String,
}

impl Kafka {
    /// A new broker.
    pub fn start(name: &str) -> Kafka {
        let dir = PathBuf::from(format!("target/kafka/run/{name}-{}", std::process::id()));
        let mut kafka = Kafka {
            dir,
            brokers: String::new(),
        };
        kafka.up();
        kafka
    }

    /// Starts it, again with its data and port where it ran before.
    pub fn up(&mut self) {
        self.brokers = self
            .script("up")
            .lines()
            .last()
            .expect("up prints the address last")
            .to_owned();
    }

    /// Stops it in order.
    pub fn stop(&self) {
        self.script("stop");
    }

    fn script(&self, verb: &str) -> String {
        let output = Command::new("scripts/kafka")
            .arg(verb)
            .arg("--dir")
            .arg(&self.dir)
            .output()
            .expect("bash is there");
        assert!(
            output.status.success(),
            "scripts/kafka {verb}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("the script prints text")
    }
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
