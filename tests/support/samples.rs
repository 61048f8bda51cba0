//! The samples of commands: as they are posted, and as readers return them.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::bridge::{APP, Bridge, Home};
use super::registry::Decoded;

/// Every command that has a sample, as `provider/command`.
pub fn all() -> Vec<String> {
    let list = |path: &Path| -> Vec<_> {
        let entries = std::fs::read_dir(path).expect("it can be listed");
        let names = entries.map(|entry| entry.expect("it can be listed").file_name());
        names.map(|name| name.into_string().expect("a name is text")).collect()
    };
    let providers = ["openim", "tencent"].iter();
    let folders = providers.flat_map(|provider| {
        let commands = list(&Path::new("schemas").join(provider));
        commands.into_iter().map(move |command| format!("{provider}/{command}"))
    });
    folders.collect()
}

/// The request target and the body of a command's sample.
pub fn sample(folder: &str) -> (String, String) {
    let body = std::fs::read_to_string(format!("schemas/{folder}/sample.json")).expect("every command has one");
    let (provider, command) = folder.split_once('/').expect("provider/command");
    let target = match provider {
        "tencent" => format!("/tencent?SdkAppid={APP}&CallbackCommand={command}&contenttype=json"),
        _ => format!("/openim/{command}"),
    };
    (target, body)
}

/// Posts the samples of these commands.
pub fn post(bridge: &Bridge, folders: &[impl AsRef<str>]) {
    let mut connection = bridge.connect();
    for folder in folders {
        let (target, body) = sample(folder.as_ref());
        let answer = connection.post(&target, &body).expect("an answer");
        assert_eq!(answer.status, 200, "{target}");
    }
}

/// The number of events that the samples of these commands become: a batch is several.
pub fn events(folders: &[impl AsRef<str>]) -> usize {
    let golden = std::fs::read_to_string("tests/golden/samples.json").expect("it is committed");
    let golden: Value = serde_json::from_str(&golden).expect("JSON");
    let keys = |folder: &str| golden[folder]["keys"].as_array().expect("one for each event").len();
    folders.iter().map(|folder| keys(folder.as_ref())).sum()
}

/// The records of each topic without empty values: null, and lists, maps and records with nothing in them. Not every
/// reader has a null for each of them.
pub fn by_topic(prefix: &str, messages: Vec<Decoded>) -> BTreeMap<String, Vec<Value>> {
    let mut found = BTreeMap::<_, Vec<_>>::new();
    for message in messages {
        let received_at = message.value["meta"]["received_at"].as_u64();
        assert!(received_at.is_some_and(|time| time > 1_700_000_000_000), "{message:?}");
        let topic = message.topic.replacen(prefix, "im", 1);
        let event = json!({"key": message.key, "value": without_empty(message.value)});
        found.entry(topic).or_default().push(event);
    }
    found
}

fn without_empty(value: Value) -> Value {
    let is_full = |value: &Value| *value != Value::Null && *value != json!([]) && *value != json!({});
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| (name, without_empty(value)));
            Value::Object(fields.filter(|(_, value)| is_full(value)).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_empty).collect()),
        other => other,
    }
}

/// A bridge that has received a sample of every command, each with its own topic.
pub fn posted(name: &str, timeline: bool) -> (Home, Bridge, Vec<String>) {
    let commands = all();
    assert!(commands.len() > 100, "{}", commands.len());
    let mut home = Home::new(name);
    if !timeline {
        home.without_timeline();
    }
    home.set("SCHEMAS__DIR", "schemas");
    home.set("KAFKA__PARTITIONS", "1");
    // Commands of two OpenIM versions may have equal bodies.
    home.set("HISTORY__WINDOW_S", "0");
    let bridge = home.start();
    post(&bridge, &commands);
    bridge.settle();
    (home, bridge, commands)
}
