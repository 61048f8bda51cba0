//! The timeline's schema: the folder has the schema that is written, and SQL can use the name of each field.

use serde_json::Value;

use super::{folder, kinds, shipped, write};
use crate::schema::Catalogue;

const V1: &str = include_str!("../../../schemas/bridge/Timeline/v1.avsc");

/// Reserved words of ClickHouse, Flink, Spark (ANSI) or PostgreSQL that could be names of fields.
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
fn the_schema_is_flat_and_its_names_are_not_reserved_in_sql() {
    let schema: Value = serde_json::from_str(V1).unwrap();
    for field in schema["fields"].as_array().unwrap() {
        let name = field["name"].as_str().unwrap();
        assert!(!RESERVED.contains(&name), "{name}");
        assert!(!field["type"].to_string().contains("record"), "{name} is flat");
    }
}

#[test]
fn a_folder_without_the_timelines_schema_uses_the_built_in_one() {
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
    assert_eq!(without.commands().len(), 1, "it is not a command");
}

#[test]
fn the_folders_timeline_schema_may_differ_only_in_its_documentation() {
    let dir = folder(&[kinds()]);
    write(
        &dir,
        "bridge/Timeline/v1.avsc",
        &V1.replace("The Kafka key:", "Kafka's key:"),
    );
    Catalogue::load(dir.path()).expect("only the documentation differs");
    write(&dir, "bridge/Timeline/v1.avsc", &V1.replace("\"seq\"", "\"number\""));
    let refused = Catalogue::load(dir.path()).unwrap_err().to_string();
    assert!(refused.contains("bridge/Timeline/v1.avsc"), "{refused}");
    assert!(refused.contains("that are part of this bridge"), "{refused}");
}
