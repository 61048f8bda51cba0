//! Every command of the schemas folder: its sample is posted, gets the answer that its provider expects, and arrives in
//! Kafka in its own topic, with its key and every value.
//!
//! `tests/golden/samples.json` has the answers and keys that the providers' documents give. The bridge did not make it.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::support::bridge::{APP, Home};
use crate::support::held::assert_held;
use crate::support::kafka;
use crate::support::reader::{Consumed, consume};

#[derive(Deserialize)]
struct Expected {
    answer: Value,
    keys: Vec<String>,
}

/// The sample of a command.
struct Sample {
    provider: String,
    command: String,
    body: String,
    expected: Expected,
}

fn samples() -> Vec<Sample> {
    let golden = std::fs::read_to_string("tests/golden/samples.json").expect("it is committed");
    let golden: BTreeMap<String, Expected> = serde_json::from_str(&golden).expect("JSON");
    let sample = |(name, expected): (String, Expected)| {
        let (provider, command) = name.split_once('/').expect("provider/command");
        let body = std::fs::read_to_string(Path::new("schemas").join(&name).join("sample.json"))
            .expect("every command has a sample");
        Sample {
            provider: provider.into(),
            command: command.into(),
            body,
            expected,
        }
    };
    golden.into_iter().map(sample).collect()
}

fn target(sample: &Sample) -> String {
    match sample.provider.as_str() {
        "tencent" => format!(
            "/tencent?SdkAppid={APP}&CallbackCommand={}&contenttype=json&ClientIP=10.0.0.1&OptPlatform=iOS",
            sample.command
        ),
        _ => format!("/openim/{}", sample.command),
    }
}

/// The events in the body of a sample.
fn events(sample: &Sample) -> Vec<Value> {
    let body: Value = serde_json::from_str(&sample.body).expect("JSON");
    match body["Events"].as_array() {
        Some(events) => events.clone(),
        None => vec![body],
    }
}

#[test]
fn every_commands_sample_arrives_on_its_topic_with_its_key_and_every_value() {
    let mut home = Home::new("all");
    home.set("SCHEMAS__DIR", "schemas");
    home.set("KAFKA__PARTITIONS", "1");
    let bridge = home.start();
    let samples = samples();
    let folders = ["tencent", "openim"].map(|provider| {
        std::fs::read_dir(Path::new("schemas").join(provider))
            .expect("a folder")
            .count()
    });
    assert_eq!(
        samples.len(),
        folders.iter().sum::<usize>(),
        "every folder has its golden entry"
    );
    let mut connection = bridge.connect();
    for sample in &samples {
        let answer = connection.post(&target(sample), &sample.body).expect("an answer");
        let body: Value = serde_json::from_str(&answer.body).expect("JSON");
        assert_eq!(
            (answer.status, &body),
            (200, &sample.expected.answer),
            "{}",
            sample.command
        );
    }
    bridge.settle();
    let mut by_topic: HashMap<String, Vec<Consumed>> = HashMap::new();
    for message in consume(&kafka::shared(), &home.prefix, Path::new("schemas")) {
        by_topic.entry(message.topic.clone()).or_default().push(message);
    }
    for sample in &samples {
        let topic = format!("{}.{}.{}", home.prefix, sample.provider, sample.command);
        let messages = by_topic.remove(&topic).unwrap_or_else(|| panic!("nothing in {topic}"));
        let keys: Vec<_> = messages
            .iter()
            .map(|message| message.key.clone().expect("a key"))
            .collect();
        assert_eq!(keys, sample.expected.keys, "{topic}");
        let sent = events(sample);
        assert_eq!(messages.len(), sent.len(), "{topic}");
        for (message, sent) in messages.iter().zip(&sent) {
            let record = message
                .value
                .as_ref()
                .unwrap_or_else(|| panic!("{topic}: no record of a known schema"));
            assert_held(sent, record, &record["unmapped"], "");
        }
    }
    assert!(by_topic.is_empty(), "and nothing else: {:?}", by_topic.keys());
}

#[derive(Deserialize)]
struct Capture {
    command: String,
    target: String,
    body: String,
    key: String,
}

/// `tests/captures.rs` has the requests of all versions, without a running bridge.
#[test]
fn what_openim_v3_6_posts_arrives_but_for_its_own_secret() {
    let mut home = Home::new("captures");
    home.set("SCHEMAS__DIR", "schemas");
    home.set("KAFKA__PARTITIONS", "1");
    let bridge = home.start();
    let mut connection = bridge.connect();
    let text = std::fs::read_to_string("tests/golden/openim/v3.6.0.jsonl").expect("it is committed");
    let captures: Vec<Capture> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a capture"))
        .collect();
    for capture in &captures {
        let target = capture.target.replace("/<secret>", "");
        let answer = connection.post(&target, &capture.body).expect("an answer");
        assert_eq!(answer.status, 200, "{}: {}", capture.command, answer.body);
    }
    bridge.settle();
    let mut arrived = HashMap::new();
    for message in consume(&kafka::shared(), &home.prefix, Path::new("schemas")) {
        let record = message.value.as_ref().expect("a record of a known schema");
        assert!(!record.to_string().contains("secret"), "{record}");
        arrived.insert(message.topic.clone(), message.key.clone().expect("a key"));
    }
    let topic = |capture: &Capture| {
        (
            format!("{}.openim.{}", home.prefix, capture.command),
            capture.key.clone(),
        )
    };
    assert_eq!(arrived, captures.iter().map(topic).collect());
}
