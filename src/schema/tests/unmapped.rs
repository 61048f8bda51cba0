//! Values that no field holds: where they are kept, under which name, and which paths are reported for the metric.

use serde_json::{Map, Value, json};

use super::{Bench, kinds};

fn unmapped(body: &str) -> Value {
    Bench::new(kinds()).record(body).0["unmapped"].clone()
}

#[test]
fn undeclared_fields_are_kept_at_every_depth() {
    let body = r#"{"New": {"a": [1]}, "One": {"New": 1, "Deeper": [{"New": "x"}]}, "List": [{}, {"Deeper": [{"On": true}, {"New": null}]}]}"#;
    let expected = json!({
        "New": r#"{"a": [1]}"#,
        "One/New": "1",
        "One/Deeper/0/New": "\"x\"",
        "List/1/Deeper/1/New": "null",
    });
    assert_eq!(unmapped(body), expected);
}

#[test]
fn items_that_an_array_cannot_hold_are_kept_under_their_index() {
    let (record, _) = Bench::new(kinds()).record(r#"{"Longs": [1, null, "x", 2], "List": [null, {"Id": "a"}, 3]}"#);
    assert_eq!(record["Longs"], json!([1, 2]));
    assert_eq!(record["List"][0]["Id"], "a");
    let expected = json!({"Longs/1": "null", "Longs/2": "\"x\"", "List/0": "null", "List/2": "3"});
    assert_eq!(record["unmapped"], expected);
}

#[test]
fn the_first_of_equal_names_wins_and_the_others_are_numbered() {
    let (record, _) = Bench::new(kinds())
        .record(r#"{"Text": "a", "Text": "b", "Text": 3, "New": 1, "New": 2, "One": {"Id": "x", "Id": "y"}}"#);
    assert_eq!(record["Text"], "a");
    let expected = json!({"Text#2": "\"b\"", "Text#3": "3", "New": "1", "New#2": "2", "One/Id#2": "\"y\""});
    assert_eq!(record["unmapped"], expected);
}

#[test]
fn the_first_of_equal_names_wins_even_where_it_is_null_or_does_not_fit() {
    assert_eq!(unmapped(r#"{"Long": null, "Long": 1}"#), json!({"Long#2": "1"}));
    assert_eq!(
        unmapped(r#"{"Long": "x", "Long": 1}"#),
        json!({"Long": "\"x\"", "Long#2": "1"})
    );
}

#[test]
fn a_second_spelling_of_a_filled_field_is_kept() {
    assert_eq!(unmapped(r#"{"Text": "a", "text": "b"}"#), json!({"text#2": "\"b\""}));
}

#[test]
fn a_name_that_looks_like_a_numbered_key_overwrites_nothing() {
    assert_eq!(
        unmapped(r#"{"N": 1, "N": 2, "N#2": 3}"#),
        json!({"N": "1", "N#2": "2", "N#2#2": "3"})
    );
    assert_eq!(
        unmapped(r#"{"N#2": 3, "N": 1, "N": 2}"#),
        json!({"N#2": "3", "N": "1", "N#3": "2"})
    );
}

#[test]
fn separators_in_names_are_escaped() {
    let body = r#"{"a/b": 1, "~": 2, "One": {"/~1": 3}, "": 4, "One/Id": 5, "é\u0002": 6}"#;
    let expected = json!({"a~1b": "1", "~0": "2", "One/~1~01": "3", "": "4", "One~1Id": "5", "é\u{2}": "6"});
    assert_eq!(unmapped(body), expected);
}

#[test]
fn a_string_with_an_unpaired_surrogate_is_kept_as_ascii_json_and_the_others_stay_exact() {
    let body = r#"{"Text": "\ud83d", "Long": 7, "Longs": [1, "\udc00", 2], "Any": ["a\ud83d"], "One": {"Id": "x\uD83D\u0041", "New": {"a": "\ud83dz"}},
        "List": [{"Id": "\ud83d\ude00 \ufffd \\ud83d"}]}"#;
    let (record, _) = Bench::new(kinds()).record(body);
    assert_eq!((&record["Text"], &record["Long"]), (&json!(null), &json!(7)));
    assert_eq!(
        (&record["Longs"], &record["Any"]),
        (&json!([1, 2]), &json!(r#"["a\ud83d"]"#))
    );
    assert_eq!(record["List"][0]["Id"], "\u{1F600} \u{fffd} \\ud83d");
    let expected = json!({
        "Text": r#""\ud83d""#,
        "Longs/1": r#""\udc00""#,
        "One/Id": r#""x\uD83D\u0041""#,
        "One/New": r#"{"a": "\ud83dz"}"#,
    });
    assert_eq!(record["unmapped"], expected);
}

#[test]
fn a_name_with_an_unpaired_surrogate_has_a_replacement_character_in_its_path() {
    let mut bench = Bench::new(kinds());
    let (bytes, _) = bench
        .bytes(r#"{"\udead": 1, "One": {"\ud83dx": "\ud83d"}}"#)
        .expect("a record");
    let decoded = bench.catalogue.decode(&bytes).expect("it was encoded with this schema");
    let expected = json!({"\u{fffd}": "1", "One/\u{fffd}x": r#""\ud83d""#});
    assert_eq!(decoded.record["unmapped"], expected);
}

#[test]
fn names_of_the_bridges_own_fields_in_a_body_go_into_unmapped() {
    let (record, _) = Bench::new(kinds()).record(r#"{"meta": 1, "unmapped": {"x": 2}}"#);
    assert_eq!(record["unmapped"], json!({"meta": "1", "unmapped": r#"{"x": 2}"#}));
    assert_eq!(record["meta"]["event_id"], "e-1");
}

#[test]
fn at_most_16_paths_without_indexes_are_listed() {
    let count = |record: &Value| record["unmapped"].as_object().map(Map::len);
    let (record, encoded) = Bench::new(kinds())
        .record(r#"{"List": [{"New": 1}, {"New": 2}, null], "Text": "a", "Text": 1, "Text": 2, "X": 0}"#);
    assert_eq!(encoded.unmapped, ["List/*/New", "List/*", "Text#*", "X"]);
    assert_eq!(count(&record), Some(6));

    let many: Vec<String> = (0..100).map(|index| format!("\"f{index}\": 1")).collect();
    let (record, encoded) = Bench::new(kinds()).record(&format!("{{{}}}", many.join(",")));
    assert_eq!((encoded.unmapped.len(), count(&record)), (16, Some(100)));
}

#[test]
fn a_flood_of_equal_names_is_kept_in_linear_time() {
    let body = format!("{{{}\"a\": 1}}", "\"a\": 1,".repeat(200_000));
    let mut bench = Bench::new(kinds());
    let (bytes, encoded) = bench.bytes(&body).expect("a good body");
    let decoded = bench.catalogue.decode(&bytes).expect("it was encoded with this schema");
    assert_eq!(decoded.record["unmapped"].as_object().map(Map::len), Some(200_001));
    assert_eq!(encoded.unmapped, ["a"]);
}
