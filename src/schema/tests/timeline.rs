//! The timeline's schema: what stands in the folder is what is written, and SQL can name each of its fields.

use serde_json::Value;

use super::{folder, kinds, shipped, write};
use crate::schema::Catalogue;

const V1: &str = include_str!("../../../schemas/bridge/Timeline/v1.avsc");

/// Words that ClickHouse, Flink, Spark (ANSI) or PostgreSQL keep for themselves and that a field might be called.
const RESERVED: [&str; 24] = [
    "all",
    "any",
    "array",
    "by",
    "date",
    "end",
    "from",
    "group",
    "index",
    "key",
    "name",
    "offset",
    "order",
    "partition",
    "position",
    "references",
    "row",
    "time",
    "timestamp",
    "to",
    "type",
    "user",
    "value",
    "values",
];

#[test]
fn the_schema_is_flat_and_its_names_are_no_words_of_sql() {
    let schema: Value = serde_json::from_str(V1).unwrap();
    for field in schema["fields"].as_array().unwrap() {
        let name = field["name"].as_str().unwrap();
        assert!(!RESERVED.contains(&name), "{name}");
        assert!(!field["type"].to_string().contains("record"), "{name} is flat");
    }
}

#[test]
fn a_folder_without_the_schema_has_the_one_that_is_built_in() {
    let dir = folder(&[kinds()]);
    let without = Catalogue::load(dir.path()).unwrap();
    assert_eq!(without.timeline().schema(), V1);
    assert_eq!(without.timeline().fingerprint(), shipped().timeline().fingerprint());
    let history = without.history(without.timeline());
    let history: Vec<_> = history
        .iter()
        .map(|version| (version.version(), version.schema()))
        .collect();
    assert_eq!(history, [(1, V1)]);
    assert_eq!(without.commands().len(), 1, "it is no command");
}

#[test]
fn a_folder_with_another_one_is_refused_but_for_its_documentation() {
    let dir = folder(&[kinds()]);
    write(
        &dir,
        "bridge/Timeline/v1.avsc",
        &V1.replace("The Kafka key:", "Kafka's key:"),
    );
    Catalogue::load(dir.path()).expect("only words differ");
    write(&dir, "bridge/Timeline/v1.avsc", &V1.replace("\"seq\"", "\"number\""));
    let refused = Catalogue::load(dir.path()).unwrap_err().to_string();
    assert!(refused.contains("bridge/Timeline/v1.avsc"), "{refused}");
    assert!(refused.contains("that this bridge writes"), "{refused}");
}
