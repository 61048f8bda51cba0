//! HTTPS as Node speaks it, with `https.js`: a TLS implementation that shares no code with the bridge's.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::certificates::Pair;

/// A running Node with its open connections.
pub struct Https {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    port: u16,
    authority: String,
}

impl Https {
    /// A client of `https://localhost:<port>` that trusts one authority.
    pub fn new(port: u16, authority: &str) -> Https {
        let mut child = Command::new("node")
            .arg("tests/support/https.js")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        Https {
            orders: child.stdin.take().expect("piped"),
            answers: BufReader::new(child.stdout.take().expect("piped")),
            child,
            port,
            authority: authority.to_owned(),
        }
    }

    fn order(&mut self, order: &Value) -> Value {
        writeln!(self.orders, "{order}").expect("node reads");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("node answers");
        serde_json::from_str(&line).unwrap_or_else(|cause| panic!("{cause}: {line:?} to {order}"))
    }

    /// Opens a connection with a name. Returns `protocol` and `subject`, or `error`.
    pub fn open(&mut self, name: &str, client: Option<&Pair>) -> Value {
        let order = json!({
            "open": name, "port": self.port, "ca": self.authority,
            "cert": client.map(|pair| &pair.cert), "key": client.map(|pair| &pair.key),
        });
        self.order(&order)
    }

    /// Posts over an open connection. Returns `status` and `body`, or `error`.
    pub fn post(&mut self, name: &str, path: &str, headers: &Value, body: &str) -> Value {
        self.order(&json!({"post": name, "path": path, "headers": headers, "body": body}))
    }
}

impl Drop for Https {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
