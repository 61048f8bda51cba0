//! The identity of a body, and the number of an event in its group.

use serde_json::{Value, json};

use super::{Bench, META, kinds};
use crate::schema::{Encoder, Meta, Numbered};

/// `kinds`, with ids that are declared unique.
fn unique() -> Value {
    let mut schema = kinds();
    for id in ["/fields/0", "/fields/1", "/fields/8/type/1/fields/0"] {
        schema.pointer_mut(id).expect("a field")["unique"] = json!(true);
    }
    schema
}

fn bench() -> Bench {
    let mut schema = unique();
    schema["imbridge"]["identity"] = json!(["Text", "Long", "Time", "One.Id"]);
    schema["imbridge"]["sequence"] = json!({"number": "Int", "of": ["Text", "One.Id"]});
    Bench::new(schema)
}

#[test]
fn a_body_is_identified_by_one_field_with_a_value() {
    for (body, identified) in [
        (r#"{"Text": "48374_2837546_1557481126"}"#, true),
        (r#"{"Long": 48374}"#, true),
        (r#"{"Long": "48374"}"#, true),
        (r#"{"One": {"Id": "a"}}"#, true),
        (r#"{"Time": "1670574414123"}"#, true),
        (r#"{"Text": "", "Long": 0, "Time": 0}"#, false),
        (r#"{"Text": "0"}"#, false),
        (r#"{"Text": null, "Long": [7]}"#, false),
        // Seconds, and a clock with a resolution of one second.
        (r#"{"Time": 1670574414}"#, false),
        (r#"{"Time": 1670574414000}"#, false),
        (r#"{"Seconds": 1670574414}"#, false),
        ("{}", false),
    ] {
        let (_, encoded) = bench().record(body);
        assert_eq!(encoded.identified, identified, "{body}");
    }
    assert!(!Bench::new(kinds()).record(r#"{"Text": "a"}"#).1.identified);
}

#[test]
fn the_event_id_is_the_content_id_only_if_the_body_has_an_identity() {
    let bench = bench();
    let command = bench.catalogue.command("test", "All.Kinds").expect("it is there");
    let meta = Meta {
        content_id: Some("c-1"),
        ..META
    };
    for (body, id) in [(r#"{"Text": "a"}"#, "c-1"), (r#"{"Flag": true}"#, "e-1")] {
        let mut out = Vec::new();
        Encoder::new()
            .encode(command, body.as_bytes(), &meta, &mut out)
            .expect("it encodes");
        let decoded = bench.catalogue.decode(&out).expect("it decodes");
        assert_eq!(decoded.record["meta"]["event_id"], id, "{body}");
    }
}

#[test]
fn a_number_counts_within_its_group_and_its_topic() {
    let numbered = |group: &str, number| {
        Some(Numbered {
            group: group.into(),
            number,
        })
    };
    for (body, expected) in [
        (r#"{"Text": "g", "Int": 7}"#, numbered("g", 7)),
        (r#"{"Int": "7", "Text": "g", "One": {"Id": "t"}}"#, numbered("g/t", 7)),
        (r#"{"Text": "g", "Int": 0}"#, None),
        (r#"{"Text": "", "Int": 7, "One": {"Id": "t"}}"#, None),
        (r#"{"Text": "g"}"#, None),
    ] {
        assert_eq!(bench().record(body).1.numbered, expected, "{body}");
    }
}

#[test]
fn one_field_can_serve_key_time_and_identity() {
    let mut schema = unique();
    schema["imbridge"]["identity"] = json!(["Text", "Time"]);
    let (_, encoded) = Bench::new(schema).record(r#"{"Text": "g", "Time": 1670574414123}"#);
    assert_eq!(
        (encoded.key.as_deref(), encoded.time_ms, encoded.identified),
        (Some("g"), Some(1_670_574_414_123), true)
    );
}
