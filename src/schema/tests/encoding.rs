//! Which value goes into which field, in which order, and what a body yields beside its record.

use serde_json::{Value, json};

use super::{Bench, kinds};
use crate::schema::EncodeError;

/// The field's value and the `unmapped` map for the body `{"<field>": <sent>}`.
fn field(name: &str, sent: &str) -> (Value, Value) {
    let (record, _) = Bench::new(kinds()).record(&format!("{{\"{name}\": {sent} }}"));
    (record[name].clone(), record["unmapped"].clone())
}

fn holds(name: &str, sent: &str, expected: Value) {
    assert_eq!(field(name, sent), (expected, json!({})), "{name}: {sent}");
}

fn leaves(name: &str, sent: &str) {
    assert_eq!(field(name, sent), (Value::Null, json!({name: sent})), "{name}: {sent}");
}

#[test]
fn a_string_field_holds_strings_and_the_text_of_numbers() {
    for (sent, expected) in [
        (r#""""#, ""),
        (r#""a \u0002\n\"\ud83d\ude00""#, "a \u{2}\n\"\u{1F600}"),
        ("144115225971632500", "144115225971632500"),
        ("-0", "-0"),
        ("1.50", "1.50"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
    ] {
        holds("Text", sent, json!(expected));
    }
    for sent in ["true", "{}", "[]", r#"["a"]"#] {
        leaves("Text", sent);
    }
}

#[test]
fn a_long_field_holds_integers_bare_or_quoted() {
    for sent in ["0", "9223372036854775807", "-9223372036854775808"] {
        let value: i64 = sent.parse().expect("an integer");
        holds("Long", sent, json!(value));
        holds("Long", &format!("\"{sent}\""), json!(value));
    }
    for sent in ["9223372036854775808", "-0", r#""007""#, "true", "{}", "[1]"] {
        leaves("Long", sent);
    }
}

#[test]
fn an_int_field_holds_what_32_bits_hold() {
    holds("Int", "2147483647", json!(i32::MAX));
    holds("Int", r#""-2147483648""#, json!(i32::MIN));
    leaves("Int", "2147483648");
    leaves("Int", "-2147483649");
}

#[test]
fn a_time_is_an_integer_that_stays_as_it_was_sent() {
    for sent in ["253402300799999", "-62135596800000", "-1", "0"] {
        holds("Time", sent, json!(sent.parse::<i64>().expect("an integer")));
    }
    holds("Time", r#""1670574414123""#, json!(1_670_574_414_123_i64));
    holds("Seconds", "1670574414", json!(1_670_574_414_i64));
    holds("Seconds", r#""1670574414""#, json!(1_670_574_414_i64));
    leaves("Seconds", "1670574414.5");
}

#[test]
fn an_instant_that_readers_do_not_have_is_left_over() {
    for sent in ["9223372036854775807", "253402300800000", "-62135596800001"] {
        leaves("Time", sent);
        leaves("Time", &format!("\"{sent}\""));
        // For readers, a count of seconds is only a long.
        holds("Seconds", sent, json!(sent.parse::<i64>().expect("an integer")));
    }
}

#[test]
fn the_events_time_is_the_first_alternative_above_zero_in_milliseconds() {
    let mut bench = Bench::new(kinds());
    for (body, expected) in [
        (r#"{"Time": 5, "Seconds": 7}"#, Some(5)),
        (r#"{"Seconds": 7, "Time": "5"}"#, Some(5)),
        (r#"{"Seconds": "7"}"#, Some(7000)),
        (r#"{"Seconds": 7, "Time": 0}"#, Some(7000)),
        (r#"{"Seconds": 253402300799}"#, Some(253_402_300_799_000)),
        (r#"{"Seconds": 253402300800}"#, None),
        (r#"{"Seconds": 9223372036854776}"#, None),
        (r#"{"Time": 9223372036854775807}"#, None),
        (r#"{"Time": 253402300800000, "Seconds": 7}"#, Some(7000)),
        (r#"{"Time": 0}"#, None),
        (r#"{"Time": -1}"#, None),
    ] {
        let (record, encoded) = bench.record(body);
        assert_eq!(encoded.time_ms, expected, "{body}");
        assert_eq!(record["meta"]["event_time"].as_i64(), expected, "{body}");
    }
}

#[test]
fn a_double_field_holds_numbers_that_a_double_represents_exactly() {
    holds("Double", "0.1", json!(0.1));
    holds("Double", r#""2.50""#, json!(2.5));
    holds("Double", "1e3", json!(1000.0));
    for sent in ["9007199254740993", "1e999", r#""inf""#, r#"".5""#, "true"] {
        leaves("Double", sent);
    }
}

#[test]
fn a_boolean_field_holds_true_and_false_only() {
    holds("Flag", "true", json!(true));
    holds("Flag", "false", json!(false));
    for sent in ["1", "0", r#""true""#, "{}"] {
        leaves("Flag", sent);
    }
}

#[test]
fn a_json_field_holds_anything_as_its_text() {
    for sent in [r#"{"a": [1, 2.50]}"#, "[]", "1.0", "true", r#""\u0041""#] {
        holds("Any", sent, json!(sent));
    }
}

#[test]
fn every_optional_field_holds_null() {
    for name in [
        "Text", "Long", "Int", "Double", "Flag", "Time", "Seconds", "Any", "One", "List", "Texts",
    ] {
        holds(name, "null", Value::Null);
    }
}

#[test]
fn records_and_arrays_hold_objects_and_arrays_only() {
    holds("Texts", r#"["a", 1]"#, json!(["a", "1"]));
    holds("Longs", r#"[1, "2"]"#, json!([1, 2]));
    holds("Flags", "[]", json!([]));
    holds(
        "One",
        r#"{"Level": "3"}"#,
        json!({"Id": null, "Level": 3, "Deeper": null}),
    );
    for (name, sent) in [
        ("One", "[]"),
        ("One", "1"),
        ("List", "{}"),
        ("List", r#""a""#),
        ("Texts", "true"),
    ] {
        leaves(name, sent);
    }
}

#[test]
fn a_long_array_is_counted_right() {
    for count in [63, 64, 65, 9000] {
        let list: Vec<usize> = (0..count).collect();
        holds("Longs", &serde_json::to_string(&list).expect("JSON"), json!(list));
    }
}

#[test]
fn a_field_arrives_under_each_of_its_spellings() {
    for name in ["Text", "text", "TEXT"] {
        let (record, encoded) = Bench::new(kinds()).record(&format!(r#"{{"{name}": "x"}}"#));
        assert_eq!(record["Text"], "x");
        assert_eq!(encoded.key.as_deref(), Some("x"), "{name}");
    }
}

#[test]
fn the_order_of_fields_does_not_change_the_bytes() {
    let mut bench = Bench::new(kinds());
    let mut entries = vec![
        r#""Text": "a""#,
        r#""Long": 1"#,
        r#""Flag": true"#,
        r#""Time": 5"#,
        r#""Texts": ["x", "y"]"#,
        r#""One": {"Id": "o", "Level": 2, "Deeper": [{"On": true, "Id": "d"}]}"#,
        r#""List": [{"Id": "p", "Level": 1}, {"Deeper": [], "Id": "q"}]"#,
    ];
    let join = |entries: &[&str]| format!("{{{}}}", entries.join(", "));
    let (expected, _) = bench.bytes(join(&entries)).expect("a good body");
    for turn in 0..entries.len() {
        entries.rotate_left(1);
        assert_eq!(
            bench.bytes(join(&entries)).expect("a good body").0,
            expected,
            "rotated by {turn}"
        );
        let backwards: Vec<_> = entries.iter().rev().copied().collect();
        assert_eq!(
            bench.bytes(join(&backwards)).expect("a good body").0,
            expected,
            "backwards {turn}"
        );
    }
    let inner_turned = join(&entries).replace(r#""Id": "p", "Level": 1"#, r#""Level": 1, "Id": "p""#);
    assert_eq!(bench.bytes(&inner_turned).expect("a good body").0, expected);
}

#[test]
fn key_and_time_come_from_the_body() {
    let mut bench = Bench::new(kinds());
    for (body, key, time) in [
        (r#"{"Text": "g", "Time": "7"}"#, Some("g"), Some(7)),
        (r#"{"Text": 12, "Time": 7}"#, Some("12"), Some(7)),
        (
            r#"{"Text": "@TLS#NOT_FOUND", "List": [{"Id": "i"}, {"Id": "j"}]}"#,
            Some("i"),
            None,
        ),
        (r#"{"Text": "", "List": [null, {"Id": "j"}]}"#, None, None),
        (r#"{"Text": true, "Time": "soon"}"#, None, None),
        (
            r#"{"Text": "g", "Text": "h", "Time": 1, "Time": 2}"#,
            Some("g"),
            Some(1),
        ),
        ("{}", None, None),
    ] {
        let (_, encoded) = bench.record(body);
        assert_eq!((encoded.key.as_deref(), encoded.time_ms), (key, time), "{body}");
    }
}

#[test]
fn a_body_that_is_not_a_json_object_is_refused_with_its_reason() {
    let mut bench = Bench::new(kinds());
    let deep = |levels: usize| format!("{}{}", r#"{"x":"#.repeat(levels), "1".to_owned() + &"}".repeat(levels));
    for (body, reason) in [
        (String::new(), "not_json"),
        ("{".to_owned(), "not_json"),
        (r#"{"Text": }"#.to_owned(), "not_json"),
        (r#"{"Text": "a",}"#.to_owned(), "not_json"),
        (r#"{"Text": NaN}"#.to_owned(), "not_json"),
        (r#"{"Long": 01}"#.to_owned(), "not_json"),
        (r#"{"Text": "a"} x"#.to_owned(), "not_json"),
        ("\u{feff}{}".to_owned(), "not_json"),
        ("{\"Text\": \"a\nb\"}".to_owned(), "not_json"),
        ("[]".to_owned(), "not_an_object"),
        ("null".to_owned(), "not_an_object"),
        (r#""a""#.to_owned(), "not_an_object"),
        (format!(r#"{{"Text": {}}}"#, "1".repeat(4400)), "number_too_long"),
        (deep(129), "too_deep"),
    ] {
        let error = bench.bytes(&body).expect_err(&body);
        assert_eq!(error.reason(), reason, "{error}: {body}");
    }
    assert!(bench.bytes(deep(128)).is_ok());
    let (record, _) = bench.record(r#"{"Text": "the encoder is as good as before"}"#);
    assert_eq!(record["Text"], "the encoder is as good as before");
}

#[test]
fn bytes_that_are_not_utf8_are_refused_at_their_place() {
    let mut bench = Bench::new(kinds());
    for (body, position) in [
        (&b"{\"Text\": \"a\xff\"}"[..], 11),
        (b"{\"Other\": \"a\xff\"}", 12),
        (b"{\"Other\": {\"a\": [\"\xff\"]}}", 18),
        (b"{\"Any\": \"\xff\"}", 9),
        (b"{\"\xff\": 1}", 2),
    ] {
        let error = bench.bytes(body).expect_err("no text");
        assert_eq!(error, EncodeError::NotText { position });
    }
}

#[test]
fn blanks_and_a_newline_around_the_body_do_not_matter() {
    let (record, _) = Bench::new(kinds()).record(" \r\n\t{ \"Text\" : \"a\" , \"Long\" : 1 } \n");
    assert_eq!((&record["Text"], &record["Long"]), (&json!("a"), &json!(1)));
}
