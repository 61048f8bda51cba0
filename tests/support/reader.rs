//! Everything in Kafka under a prefix, as `tests/readers/consume.py` (confluent-kafka and fastavro) reads it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::Value;

use super::python;

/// One message.
#[derive(Debug, Clone, Deserialize)]
pub struct Consumed {
    pub topic: String,
    pub partition: i32,
    pub timestamp: i64,
    pub key: Option<String>,
    pub headers: BTreeMap<String, String>,
    /// The decoded record, if the value is one of a known schema.
    #[serde(default)]
    pub value: Option<Value>,
    /// Otherwise, its bytes.
    #[serde(default)]
    pub raw_base64: Option<String>,
}

impl Consumed {
    /// The bytes of a value that is not a record.
    pub fn raw(&self) -> Vec<u8> {
        use base64::Engine;
        base64::prelude::BASE64_STANDARD
            .decode(self.raw_base64.as_deref().expect("not a record"))
            .expect("base64")
    }

    /// A header.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .unwrap_or_else(|| panic!("no header {name} in {:?}", self.headers))
    }
}

/// All messages in the topics of `prefix` except its timeline, each partition from its start to its end.
pub fn consume(brokers: &str, prefix: &str, schemas: &Path) -> Vec<Consumed> {
    let mut all = Vec::new();
    consume_each(brokers, prefix, schemas, |message| all.push(message));
    all
}

/// The timeline of `prefix`, each partition from its start to its end.
pub fn timeline(brokers: &str, prefix: &str, schemas: &Path) -> Vec<Consumed> {
    let mut all = Vec::new();
    read(brokers, prefix, schemas, &["--timeline"], |message| all.push(message));
    let topic = format!("{prefix}.timeline");
    all.retain(|message| message.topic == topic);
    all
}

/// The messages of [`consume`] one after another, because millions do not fit into memory.
pub fn consume_each(brokers: &str, prefix: &str, schemas: &Path, take: impl FnMut(Consumed)) {
    read(brokers, prefix, schemas, &[], take);
}

/// The records that a reader of `tests/readers/` prints for the values of these messages, which it gets as lines of hex.
pub fn decode<const N: usize>(mut reader: Command, messages: [&Consumed; N]) -> [Value; N] {
    let child = reader.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.expect("the reader starts");
    let lines = messages.map(|message| hex::encode(message.raw()) + "\n").concat();
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(lines.as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "the reader failed, see above");
    let text = String::from_utf8(output.stdout).expect("text");
    let records = text.lines().map(|line| serde_json::from_str(line).expect("a record"));
    let records: Vec<Value> = records.collect();
    records.try_into().expect("a record for each value")
}

fn read(brokers: &str, prefix: &str, schemas: &Path, options: &[&str], mut take: impl FnMut(Consumed)) {
    let mut reader = python("IMBRIDGE_TEST_PYTHON", "tests/readers/consume.py")
        .args(["--brokers", brokers, "--topic-prefix", prefix])
        .args(["--timeout-s", "900", "--schemas"])
        .arg(schemas)
        .args(options)
        .stdout(Stdio::piped())
        .spawn()
        .expect("python starts");
    let lines = BufReader::new(reader.stdout.take().expect("it is piped")).lines();
    for line in lines {
        let line = line.expect("the reader prints text");
        take(serde_json::from_str(&line).unwrap_or_else(|cause| panic!("{cause}: {line}")));
    }
    let status = reader.wait().expect("a child can be waited for");
    assert!(status.success(), "the reader failed, see above: {status}");
}
