//! Which folders and schemas are accepted, and what is said about the others.

use serde_json::{Value, json};

use super::{kinds, load, optional, schema, shipped};
use crate::callback::{Answer, Phase};
use crate::schema::{Catalogue, DecodeError, LoadError};

/// Loads the schema with everything of `change` laid over it, and returns the complaint.
fn complaint(change: impl FnOnce(&mut Value)) -> String {
    let mut changed = kinds();
    change(&mut changed);
    load(&changed).expect_err("a broken rule").to_string()
}

pub fn says(complaint: &str, parts: &[&str]) {
    for part in parts {
        assert!(complaint.contains(part), "{part:?} is not in: {complaint}");
    }
}

pub fn folder(files: &[(&str, &str)]) -> Result<Catalogue, LoadError> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (path, text) in files {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }
    Catalogue::load(dir.path())
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
    assert_eq!(
        (command.phase(), command.answer(), command.expand()),
        (Phase::After, &Answer::Neutral, None)
    );
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
        let catalogue = load(&schema(imbridge, fields())).expect("a good schema");
        let command = catalogue.command("test", "All.Kinds").expect("it is there");
        assert_eq!(
            (command.phase(), command.answer(), command.expand()),
            (Phase::Before, &expected, Some("Events"))
        );
    }
}

#[test]
fn a_complaint_names_the_file_the_place_the_value_and_what_is_allowed() {
    let complaint = complaint(|schema| schema["fields"][1]["type"] = json!(["null", "float"]));
    says(
        &complaint,
        &[
            "test/All.Kinds/v1.avsc",
            "$.fields[1].type[1]",
            "\"float\"",
            "\"string\", \"long\"",
        ],
    );
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
        says(
            &complaint(|schema| schema["fields"][1]["type"][1] = kind.clone()),
            &["$.fields[1].type[1]"],
        );
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
        says(
            &complaint(|schema| schema["fields"][0]["type"] = kind.clone()),
            &["$.fields[0].type"],
        );
    }
    says(
        &complaint(|schema| schema["fields"][0]["default"] = json!("")),
        &["$.fields[0].default", "null"],
    );
    says(
        &complaint(|schema| drop(schema["fields"][0].as_object_mut().map(|field| field.remove("default")))),
        &["$.fields[0].default", "nothing"],
    );
}

#[test]
fn missing_documentation_is_refused_everywhere() {
    says(&complaint(|schema| schema["doc"] = json!("")), &["$.doc"]);
    says(
        &complaint(|schema| schema["fields"][2]["doc"] = json!(" ")),
        &["$.fields[2].doc"],
    );
    says(
        &complaint(|schema| schema["fields"][8]["type"][1]["doc"] = Value::Null),
        &["$.fields[8].type[1].doc"],
    );
    says(
        &complaint(|schema| schema["fields"][13]["type"]["fields"][0]["doc"] = json!("")),
        &["$.fields[13].type.fields[0].doc"],
    );
}

#[test]
fn meta_and_unmapped_must_be_there_last_and_in_their_one_shape() {
    says(
        &complaint(|schema| drop(schema["fields"].as_array_mut().map(Vec::pop))),
        &["$.fields"],
    );
    says(
        &complaint(|schema| schema["fields"].as_array_mut().expect("fields").swap(13, 14)),
        &["$.fields[13]"],
    );
    says(
        &complaint(|schema| schema["fields"][13]["type"]["fields"][2]["type"] = json!("long")),
        &["$.fields[13]", "im"],
    );
    says(
        &complaint(|schema| schema["fields"][14]["type"]["values"] = json!("long")),
        &["$.fields[14]", "map"],
    );
    says(
        &complaint(|schema| schema["fields"][0]["name"] = json!("meta")),
        &["meta"],
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
        // Not said to be the IM server's own.
        ("identity", json!(["Text"])),
        ("identity", json!(["Time", "One.Id"])),
        ("sequence", json!("Long")),
        ("sequence", json!({"number": "Long", "of": []})),
        ("sequence", json!({"number": "Text", "of": ["Text"]})),
        ("sequence", json!({"number": "Long", "of": ["Nowhere"]})),
    ] {
        says(
            &complaint(|schema| schema["imbridge"][attribute] = value.clone()),
            &[&format!("$.imbridge.{attribute}")],
        );
    }
    says(
        &complaint(|schema| schema["imbridge"]["colour"] = json!("red")),
        &["$.imbridge", "colour", "phase"],
    );
    for missing in ["phase", "key"] {
        says(
            &complaint(|schema| drop(schema["imbridge"].as_object_mut().map(|it| it.remove(missing)))),
            &[missing, "nothing"],
        );
    }
    says(
        &complaint(|schema| drop(schema.as_object_mut().map(|it| it.remove("imbridge")))),
        &["$.imbridge", "nothing"],
    );
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
        says(
            &complaint(|schema| schema["fields"][index][attribute] = value.clone()),
            &[&format!("$.fields[{index}]")],
        );
    }
    says(
        &complaint(|schema| schema["fields"][1]["name"] = json!("Text")),
        &["Text", "twice"],
    );
    says(
        &complaint(|schema| {
            schema["fields"][1]["name"] = json!("operationID");
            schema["fields"][1]["unique"] = json!(true);
        }),
        &["$.fields[1]", "operationID is the caller's choice"],
    );
}

#[test]
fn the_records_name_must_be_that_of_its_folder() {
    says(
        &complaint(|schema| schema["name"] = json!("Other")),
        &["$.name", "\"Kinds\""],
    );
    says(
        &complaint(|schema| schema["namespace"] = json!("im.test")),
        &["$.namespace", "im.test.all"],
    );
}

#[test]
fn nothing_else_may_lie_in_the_folder() {
    let good = kinds().to_string();
    let v1 = ("test/All.Kinds/v1.avsc", good.as_str());
    assert!(folder(&[v1, ("README.md", ""), ("test/All.Kinds/sample.json", "{}")]).is_ok());
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
        let error = folder(&[v1, (stray, &good)]).expect_err(stray);
        assert!(matches!(error, LoadError::Layout { .. }), "{stray}: {error}");
    }
    says(
        &folder(&[(v1.0, "{")]).expect_err("not JSON").to_string(),
        &["v1.avsc", "not JSON"],
    );
    let bad_name = good.replace("\"Inner\"", "\"In ner\"");
    says(
        &folder(&[(v1.0, &bad_name)]).expect_err("no Avro name").to_string(),
        &["v1.avsc", "Avro"],
    );
}

#[test]
fn what_is_no_whole_record_is_not_decoded() {
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
