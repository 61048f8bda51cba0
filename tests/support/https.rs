//! HTTPS as Node speaks it, over HTTP/1.1 or HTTP/2, by `https.js`: a TLS and an HTTP/2 that share no code with ours.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::certificates::Pair;

/// A running Node with the connections that it was told to open.
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

    /// Opens a connection under a name, offering one protocol, `h2` or `http/1.1`. Gives `protocol` and `subject`, or
    /// `error`.
    pub fn open(&mut self, name: &str, protocol: &str, client: Option<&Pair>) -> Value {
        let order = json!({
            "open": name, "port": self.port, "ca": self.authority, "protocol": protocol,
            "cert": client.map(|pair| &pair.cert), "key": client.map(|pair| &pair.key),
        });
        self.order(&order)
    }

    /// Posts over an open connection, `count` times at once with HTTP/2; gives `answers`, each with `status` and `body` or with `error`.
    pub fn post(&mut self, name: &str, path: &str, body: &str, count: u32) -> Value {
        self.post_with(name, json!({"path": path, "body": body, "count": count}))
    }

    /// Posts with more to say: `path`, `body`, `count`, `headers`.
    pub fn post_with(&mut self, name: &str, mut request: Value) -> Value {
        request["post"] = name.into();
        self.order(&request)
    }
}

impl Drop for Https {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
