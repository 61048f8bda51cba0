//! The meaning of events: it is found while a body is encoded, and only if the encoder was made for it.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use super::{META, kinds, load, shipped, with};
use crate::schema::kinds::Kinds;
use crate::schema::{Catalogue, Encoder, Meaning};

/// A catalogue of one command with this declaration.
fn declaring(declared: Value) -> Catalogue {
    let mut imbridge = json!({"phase": "after", "key": "Text | List[0].Id"});
    let entries = declared.as_object().expect("an object").clone();
    imbridge.as_object_mut().expect("an object").extend(entries);
    load(&[with(kinds(), "/imbridge", imbridge)]).expect("a good declaration")
}

fn meaning<'c>(catalogue: &'c Catalogue, encoder: &mut Encoder, body: &str) -> Meaning<'c> {
    let command = catalogue.command("test", "All.Kinds").expect("it is there");
    let encoded = encoder.encode(command, body.as_bytes(), &META, &mut Vec::new());
    encoded.unwrap_or_else(|error| panic!("{error}: {body}"));
    encoder.meaning(command)
}

/// A body, and its kind, actor and targets.
type Case<'c> = (&'c str, Option<&'c str>, Option<&'c str>, &'c [&'c str]);

/// All bodies use one encoder: the values of one body must not appear in the next.
fn means(declared: Value, cases: &[Case<'_>]) {
    let catalogue = declaring(declared);
    let mut encoder = Encoder::with_meanings();
    for (body, kind, actor, targets) in cases {
        let expected = Meaning {
            kind: *kind,
            actor: actor.map(str::to_owned),
            targets: targets.iter().map(|target| (*target).to_owned()).collect(),
        };
        assert_eq!(meaning(&catalogue, &mut encoder, body), expected, "{body}");
    }
}

#[test]
fn the_actor_is_the_first_alternative_that_names_somebody() {
    let kind = Some("a.b");
    means(
        json!({"kind": "a.b", "actor": "Text | List[0].Id | One.Id"}),
        &[
            (r#"{"Text": "a", "One": {"Id": "c"}}"#, kind, Some("a"), &[]),
            (r#"{"One": {"Id": "c"}, "text": "a"}"#, kind, Some("a"), &[]),
            (
                r#"{"Text": "", "List": [{"Id": "b"}, {"Id": "x"}]}"#,
                kind,
                Some("b"),
                &[],
            ),
            (
                r#"{"Text": "@TLS#NOT_FOUND", "List": [{}, {"Id": "x"}]}"#,
                kind,
                None,
                &[],
            ),
            (
                r#"{"Text": {}, "One": {"Id": 144115216631667826}}"#,
                kind,
                Some("144115216631667826"),
                &[],
            ),
            (r#"{"Text": null}"#, kind, None, &[]),
        ],
    );
}

#[test]
fn the_targets_are_all_items_of_lists_however_deep_each_once() {
    let kind = Some("a.b");
    means(
        json!({"kind": "a.b", "targets": ["List[].Deeper[].Id", "Texts[]"]}),
        &[
            (
                r#"{"Texts": ["d", "b", "", null, {}], "List": [{"Deeper": [{"Id": "a"}, {"Id": "b"}]}, {}, {"Deeper": [{"Id": "c"}, {"Id": "a"}]}]}"#,
                kind,
                None,
                &["a", "b", "c", "d"],
            ),
            (r#"{"List": null}"#, kind, None, &[]),
            (
                r#"{"Texts": ["\ud83d", "\ud83d\ude00", "a"]}"#,
                kind,
                None,
                &["\u{1F600}", "a"],
            ),
        ],
    );
}

#[test]
fn one_field_can_be_key_actor_and_target() {
    means(
        json!({"kind": "a.b", "actor": "List[0].Id", "targets": "List[].Id"}),
        &[(
            r#"{"List": [{"Id": "a"}, {"Id": "b"}]}"#,
            Some("a.b"),
            Some("a"),
            &["a", "b"],
        )],
    );
}

#[test]
fn a_single_target_keeps_its_place_in_front_of_others() {
    let kind = Some("a.b");
    means(
        json!({"kind": "a.b", "targets": ["Text", "Texts[]"]}),
        &[
            (r#"{"Texts": ["a", "b"], "Text": "b"}"#, kind, None, &["b", "a"]),
            (r#"{"Texts": ["a"]}"#, kind, None, &["", "a"]),
        ],
    );
    means(json!({"kind": "a.b", "targets": "Text"}), &[("{}", kind, None, &[])]);
}

#[test]
fn a_kind_can_depend_on_a_value_and_other_values_give_no_kind() {
    means(
        json!({"kind": {"by": "One.Level", "is": {"1": "a.one", "2": "a.two"}}, "actor": "Text"}),
        &[
            (r#"{"Text": "a", "One": {"Level": 1}}"#, Some("a.one"), Some("a"), &[]),
            (r#"{"Text": "a", "One": {"Level": "2"}}"#, Some("a.two"), Some("a"), &[]),
            (r#"{"Text": "a", "One": {"Level": 3}}"#, None, None, &[]),
            (r#"{"Text": "a"}"#, None, None, &[]),
        ],
    );
    means(
        json!({"kind": {"by": "Text", "is": {"": "a.none", "x": "a.some"}}}),
        &[
            (r#"{"Text": "x"}"#, Some("a.some"), None, &[]),
            (r#"{"Text": ""}"#, Some("a.none"), None, &[]),
            (r#"{"Text": null}"#, Some("a.none"), None, &[]),
            ("{}", Some("a.none"), None, &[]),
            (r#"{"Text": "y"}"#, None, None, &[]),
        ],
    );
}

#[test]
fn an_encoder_without_meanings_gives_an_empty_meaning() {
    let catalogue = declaring(json!({"kind": "a.b", "actor": "Text"}));
    let found = meaning(&catalogue, &mut Encoder::new(), r#"{"Text": "a"}"#);
    assert_eq!(found, Meaning::default());
}

/// `kinds.py` generates `kinds.json`, which is in the same folder, from the same declarations.
#[test]
fn each_sample_means_what_python_finds_in_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let golden = std::fs::read_to_string(root.join("tests/golden/kinds.json")).expect("it is committed");
    let golden: Value = serde_json::from_str(&golden).expect("JSON");
    let catalogue = shipped();
    let mut encoder = Encoder::with_meanings();
    let mut found = serde_json::Map::new();
    for command in catalogue.commands() {
        let name = format!("{}/{}", command.provider(), command.name());
        let body = std::fs::read(root.join("schemas").join(&name).join("sample.json")).expect("it has a sample");
        let encoded = encoder.encode(command, &body, &META, &mut Vec::new());
        encoded.unwrap_or_else(|error| panic!("{error}: {name}"));
        let Meaning { kind, actor, targets } = encoder.meaning(command);
        if kind.is_some() {
            found.insert(name, json!({"kind": kind, "actor": actor, "targets": targets}));
        }
    }
    assert_eq!(Value::Object(found), golden);
}

#[test]
fn every_kind_that_is_defined_is_declared_by_a_command() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let defined = Kinds::read(&root).expect("the shipped vocabulary").0;
    let defined: BTreeSet<_> = defined.into_keys().collect();
    let mut declared = BTreeSet::new();
    for command in shipped().commands() {
        match &command.parsed()["imbridge"]["kind"] {
            Value::String(kind) => drop(declared.insert(kind.clone())),
            by => declared.extend(
                by["is"]
                    .as_object()
                    .into_iter()
                    .flat_map(|is| is.values())
                    .map(|kind| kind.as_str().expect("a kind").to_owned()),
            ),
        }
    }
    assert_eq!(declared, defined);
}
