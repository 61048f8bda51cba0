//! What the tests share: a bridge, a Kafka, a client, the oracle, and independent readers.

pub mod admin;
pub mod bridge;
pub mod certificates;
pub mod client;
pub mod clock;
pub mod documents;
pub mod fleet;
pub mod held;
pub mod https;
pub mod kafka;
pub mod oracle;
pub mod postgres;
pub mod proxy;
pub mod reader;
pub mod registry;
pub mod samples;
pub mod schemas;
pub mod talk;
pub mod versions;

use std::ffi::OsStr;
use std::process::Command;
use std::time::{Duration, Instant};

/// Calls `ask` until it returns something. After a minute the test fails and names `what` it waited for.
pub fn eventually<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    within(Duration::from_secs(60), what, ask)
}

/// The same with another limit.
pub fn within<T>(limit: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} for: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A variable that `scripts/test` sets, or `make consumers`.
pub fn variable(name: &str) -> String {
    let by = "run these tests by `make test`, `scripts/test` or `make consumers`";
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: {by}"))
}

/// A Python program. The variable has the interpreter, with the packages that the program needs.
pub fn python(interpreter: &str, program: impl AsRef<OsStr>) -> Command {
    let mut python = Command::new(variable(interpreter));
    python.arg(program);
    python
}

/// Node with the packages of the readers.
pub fn node() -> Command {
    let mut node = Command::new("node");
    node.env("NODE_PATH", variable("IMBRIDGE_TEST_NODE_PATH"));
    node
}

/// Runs a program until it exits: its exit code, standard output and standard error.
pub fn run(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.output().expect("the program was built");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}
