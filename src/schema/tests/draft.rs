//! Drafts: the types that are inferred from bodies, and that a draft is a valid schema once its documentation is written.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::assert_contains;
use crate::schema::{Catalogue, Draft, DraftError, Drafted, OrderedJson, draft, lint};

fn from(bodies: &[Value], unmapped: &[Value]) -> Draft {
    Draft {
        provider: "test".to_owned(),
        command: "All.Kinds".to_owned(),
        key: Some("GroupId".to_owned()),
        phase: "after".to_owned(),
        bodies: bodies.iter().map(sample).collect(),
        sample: bodies.first().map(Value::to_string).unwrap_or_default(),
        unmapped: unmapped.iter().map(sample).collect(),
    }
}

fn sample(body: &Value) -> OrderedJson {
    serde_json::from_str(&body.to_string()).expect("JSON")
}

fn two_bodies() -> Draft {
    from(
        &[
            json!({"GroupId": 144, "Seq": 1, "EventTime": 1_670_574_414_123_i64, "SendTime": 1_670_574_414,
                "List": [{"Member_Account": "a", "Level": 1}], "Odd-Name": "x", "meta": 1, "Spool": "s", "Nothing": null}),
            json!({"Seq": 2.5, "List": [{"Extra": true}], "Info": {"List": [{"Deep": "y"}]}, "Mixed": [[1]]}),
        ],
        &[],
    )
}

fn version(dir: &Path, number: u32) -> Value {
    let path = dir.join(format!("test/All.Kinds/v{number}.avsc"));
    serde_json::from_str(&std::fs::read_to_string(path).expect("a draft")).expect("JSON")
}

fn field<'s>(record: &'s Value, name: &str) -> &'s Value {
    let fields = record["fields"].as_array().expect("fields");
    fields.iter().find(|field| field["name"] == name).expect(name)
}

fn names(record: &Value) -> Vec<&str> {
    let fields = record["fields"].as_array().expect("fields");
    fields
        .iter()
        .map(|field| field["name"].as_str().expect("a name"))
        .collect()
}

/// Writes the documentation, as a person must.
fn write_docs(dir: &Path, number: u32) {
    let path = dir.join(format!("test/All.Kinds/v{number}.avsc"));
    let text = std::fs::read_to_string(&path).expect("a draft");
    std::fs::write(path, text.replace("TODO: say", "Documentation that assert_contains")).expect("written");
}

fn drafted(draft_of: &Draft) -> (TempDir, Drafted) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let drafted = draft(dir.path(), draft_of).expect("a draft");
    (dir, drafted)
}

#[test]
fn types_are_inferred_from_all_bodies_by_the_rules_of_the_folder() {
    let (dir, drafted) = drafted(&two_bodies());
    assert_eq!(drafted.files.len(), 2);
    let schema = version(dir.path(), 1);
    let millis = json!({"type": "long", "logicalType": "timestamp-millis"});
    for (name, kind) in [
        ("GroupId", json!("string")),
        ("Seq", json!("double")),
        ("EventTime", millis),
        ("SendTime", json!("long")),
        ("Odd_Name", json!("string")),
        ("meta_", json!("long")),
        ("Spool_", json!("string")),
        ("Nothing", json!("string")),
        ("Mixed", json!("string")),
    ] {
        assert_eq!(field(&schema, name)["type"], json!(["null", kind]), "{name}");
    }
    assert_eq!(field(&schema, "Odd_Name")["spellings"], json!(["Odd-Name"]));
    assert_eq!(field(&schema, "Spool_")["spellings"], json!(["Spool"]));
    assert_eq!(
        (&field(&schema, "Nothing")["json"], &field(&schema, "Mixed")["json"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(
        schema["imbridge"],
        json!({"phase": "after", "key": "GroupId", "time": "EventTime"})
    );
    let item = &field(&schema, "List")["type"][1]["items"];
    assert_eq!(item["name"], "KindsList");
    assert_eq!(field(item, "Extra")["type"][1], "boolean");
    assert!(dir.path().join("test/All.Kinds/sample.json").is_file());
}

#[test]
fn fields_keep_their_order_and_the_sample_keeps_its_text() {
    let text = r#"{"Zebra": 1.50, "Ant": {"b": 1, "a": 2}}"#;
    let mut of = from(&[], &[]);
    of.key = None;
    of.bodies = vec![serde_json::from_str(text).expect("JSON")];
    of.sample = text.to_owned();
    let (dir, drafted) = drafted(&of);
    let schema = version(dir.path(), 1);
    assert_eq!(
        names(&schema),
        ["Zebra", "Ant", "spool", "spool_seq", "spool_part", "meta", "unmapped"]
    );
    assert_eq!(names(&field(&schema, "Ant")["type"][1]), ["b", "a"]);
    let sample = std::fs::read_to_string(dir.path().join("test/All.Kinds/sample.json")).expect("a sample");
    assert_eq!(sample, format!("{text}\n"));
    assert_contains(&drafted.notes.join("\n"), &["the key is the app"]);
}

#[test]
fn a_draft_loads_and_lint_asks_only_for_documentation() {
    let (dir, _) = drafted(&two_bodies());
    assert!(Catalogue::load(dir.path()).is_ok());
    let report = lint(dir.path());
    assert!(!report.findings.is_empty());
    assert!(
        report.findings.iter().all(|finding| finding.found.contains("TODO")),
        "{report:?}"
    );
    write_docs(dir.path(), 1);
    assert_eq!(lint(dir.path()).findings, []);
}

#[test]
fn the_next_version_adds_what_no_version_declares() {
    let (dir, _) = drafted(&two_bodies());
    write_docs(dir.path(), 1);
    let bodies = [json!({"Seq": 1, "New": 1, "Odd-Name": "x", "List": [{"Added": 1}, {"Added": 2}]})];
    let unmapped = [json!({"List/0/Other": "{\"a\": 1}", "Newer#2": "{\"a\": 1}", "EventTime": "\"x\""})];
    let next = draft(dir.path(), &from(&bodies, &unmapped)).expect("a draft");
    assert_contains(
        &next.notes.join("\n"),
        &[
            "EventTime is declared",
            "Added of KindsList stays in unmapped",
            "Other of KindsList stays in unmapped",
        ],
    );
    let schema = version(dir.path(), 2);
    let names = names(&schema);
    assert_eq!(names[names.len() - 7..names.len() - 4], ["New", "Newer", "spool"]);
    assert_eq!(field(&field(&schema, "Newer")["type"][1], "a")["type"][1], "long");
    assert_eq!(field(&schema, "List"), field(&version(dir.path(), 1), "List"));
    write_docs(dir.path(), 2);
    assert_eq!(lint(dir.path()).findings, []);
    let again = draft(dir.path(), &from(&bodies, &unmapped)).expect_err("nothing new");
    assert!(matches!(again, DraftError::NothingNew(2, _)), "{again}");
}

#[test]
fn a_draft_needs_a_body_and_a_valid_name() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for bodies in [&[][..], &[json!(1)]] {
        let error = draft(dir.path(), &from(bodies, &[])).expect_err("no body");
        assert!(matches!(error, DraftError::NoBody), "{error}");
    }
    let mut elsewhere = two_bodies();
    elsewhere.command = "../Elsewhere".to_owned();
    let error = draft(dir.path(), &elsewhere).expect_err("no name");
    assert!(matches!(error, DraftError::Name(_)), "{error}");
}
