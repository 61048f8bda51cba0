//! Which folders and schemas are accepted, and the errors for the others.

use serde_json::{Value, json};

use super::{Bench, META, assert_contains, folder, kinds, load, optional, schema, shipped, with, without, write};
use crate::callback::{Answer, CommandRule, Phase};
use crate::schema::{Catalogue, DecodeError, LoadError};

/// The error for a schema that breaks a rule.
fn error_of(schema: Value) -> String {
    load(&[schema]).expect_err("a broken rule").to_string()
}

/// The schema with another value at this place is refused, with an error that contains these parts.
fn refused(at: &str, value: Value, parts: &[&str]) {
    assert_contains(&error_of(with(kinds(), at, value)), parts);
}

#[test]
fn a_command_is_found_by_provider_and_name() {
    let catalogue = shipped();
    let command = catalogue
        .command("tencent", "Group.CallbackAfterCreateGroup")
        .expect("it is shipped");
    assert_eq!(
        (command.provider(), command.name()),
        ("tencent", "Group.CallbackAfterCreateGroup")
    );
    let rule = CommandRule {
        phase: Phase::After,
        answer: Answer::Neutral,
        expand: None,
    };
    assert_eq!(command.rule(), &rule);
    assert!(catalogue.command("openim", "Group.CallbackAfterCreateGroup").is_none());
    assert!(catalogue.command("tencent", "Group.Unheard").is_none());
    let names: Vec<_> = catalogue
        .commands()
        .map(|command| (command.provider(), command.name()))
        .collect();
    assert!(names.is_sorted() && names.len() >= 4, "{names:?}");
}

#[test]
fn attributes_are_read() {
    let fields = || {
        vec![
            optional("groupID", json!("string")),
            optional("Item", super::array(json!("string"))),
        ]
    };
    for (answer, expected) in [
        (json!({"echo": ["groupID"]}), Answer::Echo(vec!["groupID".to_owned()])),
        (json!({"result_item": "Item"}), Answer::ResultItem("Item".to_owned())),
        (json!({"ignore": true}), Answer::Ignore),
    ] {
        let imbridge = json!({"phase": "before", "key": "groupID | app", "answer": answer, "expand": "Events"});
        let catalogue = load(&[schema(imbridge, fields())]).expect("a good schema");
        let command = catalogue.command("test", "All.Kinds").expect("it is there");
        let rule = CommandRule {
            phase: Phase::Before,
            answer: expected,
            expand: Some("Events".to_owned()),
        };
        assert_eq!(command.rule(), &rule);
    }
}

#[test]
fn an_error_names_the_file_the_place_the_value_and_what_is_allowed() {
    let file = "test/All.Kinds/v1.avsc";
    let parts = [file, "$.fields[1].type[1]", "\"float\"", "\"string\", \"long\""];
    refused("/fields/1/type", json!(["null", "float"]), &parts);
}

#[test]
fn types_outside_the_list_are_refused() {
    for kind in [
        json!("bytes"),
        json!("Unknown"),
        json!({"type": "map", "values": "string"}),
        json!({"type": "enum", "name": "E", "symbols": ["A"]}),
        json!({"type": "long", "logicalType": "timestamp-micros"}),
        json!({"type": "string"}),
        json!(["null", "string"]),
        json!({"type": "array", "items": {"type": "array", "items": "string"}}),
        json!({"type": "array", "items": ["null", "string"]}),
        json!(7),
    ] {
        refused("/fields/1/type/1", kind, &["$.fields[1].type[1]"]);
    }
}

#[test]
fn unions_other_than_null_first_with_null_as_default_are_refused() {
    for kind in [
        json!("string"),
        json!(["string", "null"]),
        json!(["null"]),
        json!(["null", "string", "long"]),
    ] {
        refused("/fields/0/type", kind, &["$.fields[0].type"]);
    }
    let default = "/fields/0/default";
    refused(default, json!(""), &["$.fields[0].default", "null"]);
    let missing = error_of(without(kinds(), default));
    assert_contains(&missing, &["$.fields[0].default", "nothing"]);
}

#[test]
fn missing_documentation_is_refused_everywhere() {
    refused("/doc", json!(""), &["$.doc"]);
    refused("/fields/2/doc", json!(" "), &["$.fields[2].doc"]);
    refused("/fields/8/type/1/doc", Value::Null, &["$.fields[8].type[1].doc"]);
    refused("/fields/14/doc", json!(""), &["$.fields[14].doc"]);
    let part = "$.fields[16].type.fields[0].doc";
    refused("/fields/16/type/fields/0/doc", json!(""), &[part]);
}

#[test]
fn the_bridges_own_fields_must_be_there_last_and_in_their_one_shape() {
    let all =
        "at the end, in this order, what the bridge writes: spool, spool_seq, spool_part, meta, unmapped; take these";
    for missing in 13..18 {
        let error = error_of(without(kinds(), &format!("/fields/{missing}")));
        assert_contains(&error, &["$.fields:", all]);
    }
    for (one, other) in [(12, 13), (13, 14), (16, 17)] {
        let mut swapped = kinds();
        swapped["fields"].as_array_mut().expect("fields").swap(one, other);
        assert_contains(&error_of(swapped), &["$.fields:", all]);
    }
    refused(
        "/fields/13/type",
        json!(["null", "string"]),
        &["$.fields[13]", "\"string\""],
    );
    refused("/fields/14/type", json!("int"), &["$.fields[14]", "\"long\""]);
    refused("/fields/15/type", json!("long"), &["$.fields[15]", "\"int\""]);
    let received_at = "/fields/16/type/fields/2/type";
    refused(received_at, json!("long"), &["$.fields[16]", "im"]);
    refused("/fields/17/type/values", json!("long"), &["$.fields[17]", "map"]);
}

#[test]
fn a_field_of_the_body_with_a_name_of_the_bridges_own_needs_another_and_keeps_it_as_a_spelling() {
    for name in ["meta", "unmapped", "spool", "Spool", "SPOOL_SEQ", "spool_part"] {
        let other = format!("{name}_ with \"spellings\": [\"{name}\"]");
        refused("/fields/0/name", json!(name), &["$.fields[0]", &other]);
    }
    let renamed = with(kinds(), "/fields/0/spellings", json!(["spool"]));
    let (record, _) = Bench::new(renamed).record(r#"{"spool": "x"}"#);
    assert_eq!((&record["Text"], &record["spool"]), (&json!("x"), &json!(META.spool)));
    let (record, _) = Bench::new(kinds()).record(r#"{"spool": "x", "spool_seq": 1, "spool_part": 2}"#);
    assert_eq!(
        record["unmapped"],
        json!({"spool": "\"x\"", "spool_seq": "1", "spool_part": "2"})
    );
}

#[test]
fn attributes_of_the_bridge_are_checked() {
    for (attribute, value) in [
        ("phase", json!("during")),
        ("phase", Value::Null),
        ("key", json!("Nowhere")),
        ("key", json!("List.Id")),
        ("key", json!("Text[0]")),
        ("key", json!("Flag")),
        ("key", json!("One")),
        ("key", json!("pair(Text)")),
        ("key", json!("")),
        ("time", json!("Text")),
        ("time", json!("Nowhere")),
        ("answer", json!({"echo": ["Nowhere"]})),
        ("answer", json!({"echo": []})),
        ("answer", json!({"result_item": "Text"})),
        ("answer", json!({"ignore": false})),
        ("answer", json!({"echo": ["Text"], "ignore": true})),
        ("expand", json!(1)),
        ("identity", json!("Text")),
        ("identity", json!([])),
        ("identity", json!(["Nowhere"])),
        ("identity", json!(["Flag"])),
        ("identity", json!(["Seconds"])),
        // Not declared unique.
        ("identity", json!(["Text"])),
        ("identity", json!(["Time", "One.Id"])),
        ("sequence", json!("Long")),
        ("sequence", json!({"number": "Long", "of": []})),
        ("sequence", json!({"number": "Text", "of": ["Text"]})),
        ("sequence", json!({"number": "Long", "of": ["Nowhere"]})),
    ] {
        let at = format!("/imbridge/{attribute}");
        refused(&at, value, &[&format!("$.imbridge.{attribute}")]);
    }
    refused("/imbridge/colour", json!("red"), &["$.imbridge", "colour", "phase"]);
    for (at, named) in [
        ("/imbridge/phase", "phase"),
        ("/imbridge/key", "key"),
        ("/imbridge", "$.imbridge"),
    ] {
        assert_contains(&error_of(without(kinds(), at)), &[named, "nothing"]);
    }
}

#[test]
fn attributes_of_a_field_are_checked() {
    for (index, attribute, value) in [
        (0, "unit", json!("s")),
        (5, "unit", json!("ns")),
        (1, "json", json!(true)),
        (0, "json", json!(false)),
        (0, "unique", json!(false)),
        (0, "aliases", json!(["a"])),
        (1, "spellings", json!(["Text"])),
        (0, "spellings", json!("text")),
    ] {
        let at = format!("/fields/{index}/{attribute}");
        refused(&at, value, &[&format!("$.fields[{index}]")]);
    }
    refused("/fields/1/name", json!("Text"), &["Text", "twice"]);
    let chosen = with(kinds(), "/fields/1/name", json!("operationID"));
    assert_contains(
        &error_of(with(chosen, "/fields/1/unique", json!(true))),
        &["$.fields[1]", "operationID is the caller's choice"],
    );
}

#[test]
fn the_records_name_must_be_that_of_its_folder() {
    refused("/name", json!("Other"), &["$.name", "\"Kinds\""]);
    refused("/namespace", json!("im.test"), &["$.namespace", "im.test.all"]);
}

#[test]
fn other_files_in_the_folder_are_refused() {
    let good = kinds().to_string();
    let beside = |path: &str, text: &str| {
        let dir = folder(&[kinds()]);
        write(&dir, path, text);
        Catalogue::load(dir.path())
    };
    assert!(beside("README.md", "").is_ok() && beside("test/All.Kinds/sample.json", "{}").is_ok());
    for stray in [
        "notes.txt",
        "test/notes.txt",
        "Test/All.Kinds/v1.avsc",
        "test/All Kinds/v1.avsc",
        "test/All.Kinds/v2.json",
        "test/All.Kinds/v01.avsc",
        "test/All.Kinds/v0.avsc",
        "test/All.Kinds/v3.avsc",
        "test/All.Kinds/v2.avsc/x",
        "test/Empty/sample.json",
    ] {
        let error = beside(stray, &good).expect_err(stray);
        assert!(matches!(error, LoadError::Layout { .. }), "{stray}: {error}");
    }
    let bad_name = good.replace("\"Inner\"", "\"In ner\"");
    for (text, cause) in [("{", "not JSON"), (&bad_name, "Avro")] {
        let error = beside("test/All.Kinds/v1.avsc", text).expect_err(cause);
        assert_contains(&error.to_string(), &["v1.avsc", cause]);
    }
}

#[test]
fn incomplete_and_overlong_records_are_not_decoded() {
    let mut bench = super::Bench::new(kinds());
    let (mut bytes, _) = bench.bytes("{}").expect("a good body");
    assert!(matches!(bench.catalogue.decode(b"{}"), Err(DecodeError::NotFramed)));
    assert!(matches!(
        bench.catalogue.decode(&bytes[..bytes.len() - 1]),
        Err(DecodeError::Avro { .. })
    ));
    bytes.push(0);
    assert!(matches!(
        bench.catalogue.decode(&bytes),
        Err(DecodeError::Trailing { count: 1, .. })
    ));
}
