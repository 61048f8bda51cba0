//! The findings of lint: each has a case here, and the shipped folder has none.

use std::path::Path;

use serde_json::{Value, json};

use super::{adding, assert_contains, folder, kinds, optional, with, without, write};
use crate::schema::{Report, lint, publish};

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
    let changes = [
        ("/colour", json!("red")),
        ("/imbridge/phase", json!("during")),
        ("/fields/1/type/1", json!("float")),
        ("/fields/2/default", json!(0)),
        ("/fields/2/doc", json!("")),
    ];
    let faulty = changes
        .into_iter()
        .fold(kinds(), |schema, (at, value)| with(schema, at, value));
    let dir = folder(&[faulty]);
    write(&dir, "test/Broken/v1.avsc", "{");
    write(&dir, "test/Gap/v2.avsc", "{}");
    write(&dir, "notes.txt", "");
    let report = lint(dir.path());
    assert_contains(
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
fn two_commands_with_the_same_record_are_found() {
    let dir = folder(&[kinds()]);
    write(&dir, "test/ALL.Kinds/v1.avsc", &kinds().to_string());
    assert_contains(
        &texts(&lint(dir.path())),
        &["the same record as that of test/ALL.Kinds"],
    );
}

#[test]
fn documentation_that_is_not_useful_is_found_at_every_depth() {
    let deep = "/fields/8/type/1/fields/2/type/1/items/fields/0/doc";
    let schema = with(kinds(), deep, json!("An id."));
    let schema = with(schema, "/fields/0/doc", json!("The text."));
    let found = texts(&lint(folder(&[with(schema, "/doc", json!("TODO: say when."))]).path()));
    let deep = "$.fields[8].type[1].fields[2].type[1].items.fields[0].doc: found \"An id.\"";
    assert_contains(
        &found,
        &["$.doc: found \"TODO", "$.fields[0].doc: found \"The text.\"", deep],
    );
    assert_eq!(found.lines().count(), 3, "{found}");
}

#[test]
fn a_version_that_adds_a_field_is_clean() {
    let added = adding(kinds(), optional("Added", json!("long")));
    let report = lint(folder(&[kinds(), added]).path());
    assert_eq!(texts(&report), "");
    assert_eq!(report.not_published, ["test/All.Kinds/v1", "test/All.Kinds/v2"]);
}

#[test]
fn versions_that_cannot_read_each_other_are_found_even_if_others_are_between_them() {
    let other = with(kinds(), "/fields/1/type/1", json!("string"));
    let found = texts(&lint(folder(&[kinds(), without(kinds(), "/fields/1"), other]).path()));
    assert_contains(
        &found,
        &[
            "v3.avsc at $: found records that v1 cannot read",
            "v3.avsc at $: found a reader that cannot read v1",
            "v2.avsc at $.fields: found",
            "the field \"Long\" of the version before (v1)",
            "v3.avsc at $.fields[1].type[1]: found \"string\"",
        ],
    );
}

#[test]
fn kinds_that_are_not_defined_and_paths_that_lead_nowhere_are_found_all_at_once() {
    let declaring = |declared: Value| {
        let mut schema = with(kinds(), "/imbridge", json!({"phase": "after", "key": "Text"}));
        let entries = declared.as_object().expect("an object").clone();
        schema["imbridge"].as_object_mut().expect("an object").extend(entries);
        schema
    };
    let cases = [
        (
            json!({"kind": "a.x", "actor": "Long | Text", "targets": ["Texts", "Nothing"], "lacks": 1}),
            &[
                "$.imbridge.kind: found \"a.x\"; allowed: a kind that kinds.json defines: a.b, a.c",
                "$.imbridge.actor: found \"Long | Text\"; allowed: paths of string fields, joined by ` | ` (`Long` is not a string)",
                "$.imbridge.targets: found [\"Texts\",\"Nothing\"]; allowed: the path of string fields, or a list of such paths (`Texts` is an array: write `Texts[]`)",
                "$.imbridge.lacks: found 1; allowed: a string",
            ][..],
        ),
        (
            json!({"kind": "a.b", "targets": "List[].Name"}),
            &["there is no field `Name`"],
        ),
        (
            json!({"kind": "a.b", "targets": "List[].Level"}),
            &["is not a string, or a list of them"],
        ),
        (json!({"kind": "a.b", "targets": "List[0].Id"}), &["is not a path"]),
        (json!({"kind": "a.b", "targets": []}), &[]),
        (
            json!({"kind": "a.b", "targets": ""}),
            &["$.imbridge.targets: found \"\""],
        ),
        (json!({"kind": "a.b", "actor": "Texts"}), &["write `Texts[0]`"]),
        (
            json!({"kind": "a.c", "targets": "Text"}),
            &["allowed: nothing: the kind has no targets"],
        ),
        (json!({"kind": 1}), &["allowed: a kind, or {\"by\": path"]),
        (
            json!({"kind": {"by": "Flag", "is": {"true": "a.b", "no": "a.no"}}}),
            &[
                "$.imbridge.kind.by: found \"Flag\"; allowed: a path",
                "$.imbridge.kind.is.no: found \"a.no\"",
            ],
        ),
        (
            json!({"kind": {"by": "Text", "is": {}}}),
            &["$.imbridge.kind.is: found {}"],
        ),
        (json!({"kind": {"by": "Text"}}), &["$.imbridge.kind.is: found nothing"]),
        (
            json!({"actor": "Text", "lacks": "x"}),
            &[
                "actor: found \"Text\"; allowed: nothing where there is no kind",
                ".lacks: ",
            ],
        ),
        (json!({"phase": "before", "kind": "a.b"}), &["a before-command asks"]),
        (
            json!({"kind": "a.b", "targets": ["Text", "List[].Id", "Texts[]"], "lacks": "the time"}),
            &[],
        ),
    ];
    for (declared, expected) in cases {
        let dir = folder(&[declaring(declared.clone())]);
        write(
            &dir,
            "kinds.json",
            r#"{"a.b": {"means": "B.", "actor": "Who.", "targets": "Whom."}, "a.c": {"means": "C.", "actor": null, "targets": null}}"#,
        );
        let report = lint(dir.path());
        assert_contains(&texts(&report), expected);
        assert_eq!(report.findings.len(), expected.len(), "{declared}: {}", texts(&report));
    }
    let dir = folder(&[kinds()]);
    for (text, expected) in [
        ("[]", "kinds.json at $: found invalid type"),
        (r#"{"a.b": {"means": "B.", "target": "x"}}"#, "unknown field `target`"),
        (
            r#"{"Group": {"means": "B."}}"#,
            "found the kind \"Group\"; allowed: two words",
        ),
    ] {
        write(&dir, "kinds.json", text);
        assert_contains(&texts(&lint(dir.path())), &[expected]);
    }
}

#[test]
fn the_kind_of_a_published_version_may_be_added_later() {
    let dir = folder(&[kinds()]);
    publish(dir.path()).expect("a good folder");
    write(&dir, "kinds.json", r#"{"a.b": {"means": "B.", "actor": "Who."}}"#);
    let schema = with(
        with(kinds(), "/imbridge/kind", json!("a.b")),
        "/imbridge/actor",
        json!("Text"),
    );
    write(&dir, "test/All.Kinds/v1.avsc", &schema.to_string());
    assert_eq!(texts(&lint(dir.path())), "");
}

#[test]
fn a_published_version_must_not_change_except_for_its_documentation() {
    let dir = folder(&[kinds()]);
    assert_eq!(publish(dir.path()).expect("a good folder"), ["test/All.Kinds/v1"]);
    assert_eq!(publish(dir.path()).expect("a good folder"), Vec::<String>::new());
    let coarse = with(kinds(), "/fields/5/type/1", json!("long"));
    for (expected, changed) in [
        ("", with(kinds(), "/fields/0/doc", json!("Quite other words."))),
        ("v1.avsc at $: found fingerprint", without(kinds(), "/fields/1")),
        (
            "v1.avsc at $: found an attribute",
            with(kinds(), "/imbridge/key", json!("app")),
        ),
        (
            "v1.avsc at $: found an attribute",
            with(coarse, "/imbridge/time", json!("Seconds")),
        ),
    ] {
        write(&dir, "test/All.Kinds/v1.avsc", &changed.to_string());
        let report = lint(dir.path());
        assert_contains(&texts(&report), &[expected]);
        assert_eq!(report.findings.len(), usize::from(!expected.is_empty()), "{expected}");
        assert!(report.not_published.is_empty());
    }
    std::fs::rename(dir.path().join("test/All.Kinds"), dir.path().join("test/All.Sorts")).expect("renamed");
    assert_contains(
        &texts(&lint(dir.path())),
        &["published.json at $[\"test/All.Kinds/v1\"]: found an entry without its file"],
    );
    write(&dir, "published.json", "[");
    assert_contains(&texts(&lint(dir.path())), &["published.json at $"]);
}
