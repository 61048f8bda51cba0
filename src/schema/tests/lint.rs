//! What lint finds: each finding has a case, and the shipped folder has none.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::folder::says;
use super::{kinds, optional};
use crate::schema::{Report, lint, publish};

type Change<'c> = &'c dyn Fn(&mut Value);

/// `kinds`, with documentation that says something.
fn documented() -> Value {
    let text = kinds().to_string();
    let text = [
        ("A field.", "What is known about it."),
        ("A part.", "What the bridge knows."),
    ]
    .iter()
    .fold(text, |text, (from, to)| text.replace(from, to));
    let text = text.replace("A record.", "What happened, in short.");
    let text = text.replace("Of the bridge.", "What the bridge knows.");
    serde_json::from_str(&text.replace("Left over.", "What no field holds.")).expect("JSON")
}

fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut schema = documented();
    change(&mut schema);
    schema
}

fn write(dir: &TempDir, path: &str, text: &str) {
    let path = dir.path().join(path);
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
    std::fs::write(path, text).expect("a file");
}

fn folder(versions: &[Value]) -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (number, schema) in (1..).zip(versions) {
        write(&dir, &format!("test/All.Kinds/v{number}.avsc"), &schema.to_string());
    }
    dir
}

fn texts(report: &Report) -> String {
    let lines: Vec<_> = report.findings.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[test]
fn the_shipped_folder_is_clean_and_published() {
    let report = lint(&Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas"));
    assert_eq!(texts(&report), "");
    assert_eq!(report.not_published, Vec::<String>::new());
    assert!(report.versions >= 132, "{}", report.versions);
}

#[test]
fn every_fault_of_every_file_is_found() {
    let dir = folder(&[changed(|schema| {
        schema["colour"] = json!("red");
        schema["imbridge"]["phase"] = json!("during");
        schema["fields"][1]["type"][1] = json!("float");
        schema["fields"][2]["default"] = json!(0);
        schema["fields"][2]["doc"] = json!("");
    })]);
    write(&dir, "test/Broken/v1.avsc", "{");
    write(&dir, "test/Gap/v2.avsc", "{}");
    write(&dir, "notes.txt", "");
    let report = lint(dir.path());
    says(
        &texts(&report),
        &[
            "notes.txt at $: found not a provider's folder",
            "test/Broken/v1.avsc at $: found EOF",
            "test/Gap at $: found v1.avsc is missing",
            "test/Gap/v2.avsc at $.fields",
            "test/All.Kinds/v1.avsc at $: found the attribute \"colour\"",
            "$.imbridge.phase: found \"during\"; allowed: \"after\" or \"before\"",
            "$.fields[1].type[1]: found \"float\"",
            "$.fields[2].default: found 0; allowed: null",
            "$.fields[2].doc: found \"\"",
        ],
    );
    assert_eq!(report.versions, 3);
}

#[test]
fn two_commands_of_the_same_record_are_found() {
    let dir = folder(&[documented()]);
    write(&dir, "test/ALL.Kinds/v1.avsc", &documented().to_string());
    says(
        &texts(&lint(dir.path())),
        &["the same record as that of test/ALL.Kinds"],
    );
}

#[test]
fn documentation_that_says_nothing_is_found_at_every_depth() {
    let dir = folder(&[changed(|schema| {
        schema["doc"] = json!("TODO: say when.");
        schema["fields"][0]["doc"] = json!("The text.");
        schema["fields"][8]["type"][1]["fields"][2]["type"][1]["items"]["fields"][0]["doc"] = json!("An id.");
    })]);
    let found = texts(&lint(dir.path()));
    let deep = "$.fields[8].type[1].fields[2].type[1].items.fields[0].doc: found \"An id.\"";
    says(
        &found,
        &["$.doc: found \"TODO", "$.fields[0].doc: found \"The text.\"", deep],
    );
    assert_eq!(found.lines().count(), 3, "{found}");
}

#[test]
fn a_version_that_adds_a_field_is_clean() {
    let added = changed(|schema| {
        let mut field = optional("Added", json!("long"));
        field["doc"] = json!("What came to it.");
        schema["fields"].as_array_mut().expect("fields").insert(0, field);
    });
    let report = lint(folder(&[documented(), added]).path());
    assert_eq!(texts(&report), "");
    assert_eq!(report.not_published, ["test/All.Kinds/v1", "test/All.Kinds/v2"]);
}

#[test]
fn a_version_that_changes_or_takes_away_is_found() {
    let renamed = documented().to_string().replace("\"Inner\"", "\"Other\"");
    let renamed: Value = serde_json::from_str(&renamed).expect("JSON");
    let cases: [(&str, Change<'_>); 6] = [
        ("$.fields[0].default: found \"\"", &|schema| {
            schema["fields"][0]["default"] = json!("");
        }),
        ("$.fields[5].type[1]: found \"long\"", &|schema| {
            schema["fields"][5]["type"][1] = json!("long");
        }),
        ("the field \"Long\" of the version before", &|schema| {
            drop(schema["fields"].as_array_mut().expect("fields").remove(1));
        }),
        ("the field \"Int\" of the version before", &|schema| {
            schema["fields"][2]["name"] = json!("Integer");
        }),
        ("\"unit\": \"s\", as in the version before", &|schema| {
            drop(schema["fields"][6].as_object_mut().expect("a field").remove("unit"));
        }),
        ("\"Inner\", as in the version before (v1)", &|schema| {
            *schema = renamed.clone()
        }),
    ];
    for (expected, change) in cases {
        let mut schema = documented();
        change(&mut schema);
        says(&texts(&lint(folder(&[documented(), schema]).path())), &[expected]);
    }
}

#[test]
fn versions_that_cannot_read_each_other_are_found_also_when_they_are_not_neighbours() {
    let without = changed(|schema| drop(schema["fields"].as_array_mut().expect("fields").remove(1)));
    let other = changed(|schema| schema["fields"][1]["type"][1] = json!("string"));
    let found = texts(&lint(folder(&[documented(), without, other]).path()));
    says(
        &found,
        &[
            "v3.avsc at $: found records that v1 cannot read",
            "v3.avsc at $: found a reader that cannot read v1",
            "(v1)",
        ],
    );
}

#[test]
fn a_published_version_must_stay_as_it_is_but_for_its_words() {
    let dir = folder(&[documented()]);
    assert_eq!(publish(dir.path()).expect("a good folder"), ["test/All.Kinds/v1"]);
    assert_eq!(publish(dir.path()).expect("a good folder"), Vec::<String>::new());
    let path = "test/All.Kinds/v1.avsc";
    let cases: [(&str, Change<'_>); 4] = [
        ("", &|schema| schema["fields"][0]["doc"] = json!("Quite other words.")),
        ("v1.avsc at $: found fingerprint", &|schema| {
            drop(schema["fields"].as_array_mut().expect("fields").remove(1));
        }),
        ("v1.avsc at $: found an attribute", &|schema| {
            schema["imbridge"]["key"] = json!("app")
        }),
        ("v1.avsc at $: found an attribute", &|schema| {
            schema["fields"][5]["type"][1] = json!("long");
            schema["imbridge"]["time"] = json!("Seconds");
        }),
    ];
    for (expected, change) in cases {
        write(&dir, path, &changed(change).to_string());
        let report = lint(dir.path());
        says(&texts(&report), &[expected]);
        assert_eq!(report.findings.len(), usize::from(!expected.is_empty()), "{expected}");
        assert!(report.not_published.is_empty());
    }
    std::fs::rename(dir.path().join("test/All.Kinds"), dir.path().join("test/All.Sorts")).expect("renamed");
    says(
        &texts(&lint(dir.path())),
        &["published.json at $[\"test/All.Kinds/v1\"]: found an entry whose file is gone"],
    );
    write(&dir, "published.json", "[");
    says(&texts(&lint(dir.path())), &["published.json at $"]);
}
