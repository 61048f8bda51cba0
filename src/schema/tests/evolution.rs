//! Several versions of one command: which version may follow another, and that records of all versions are decoded.

use serde_json::json;

use super::{META, adding, array, assert_contains, kinds, load, optional, record, with, without};
use crate::schema::{Catalogue, DecodeError, Encoder, Framing, Style};

#[test]
fn the_newest_version_writes_and_every_version_is_read() {
    let added = with(optional("Added", json!("long")), "/spellings", json!(["added"]));
    let before = load(&[kinds()]).expect("a good schema");
    let both = load(&[kinds(), adding(kinds(), added)]).expect("a good folder");

    let written = |catalogue: &Catalogue| {
        let command = catalogue.command("test", "All.Kinds").expect("it is there");
        let mut out = Vec::new();
        let encoded = Encoder::new().encode(command, br#"{"added": 1}"#, &META, &mut out);
        encoded.map(|_| out).expect("a good body")
    };
    let (written_before, written_now) = (written(&before), written(&both));
    let old = both.decode(&written_before).expect("v1");
    let new = both.decode(&written_now).expect("v2");
    assert_eq!((old.version, &old.record["unmapped"]), (1, &json!({"added": "1"})));
    assert_eq!((new.version, &new.record["Added"]), (2, &json!(1)));
    assert!(matches!(
        before.decode(&written_now),
        Err(DecodeError::UnknownId { .. })
    ));

    // The same records as single objects.
    let as_single_object = |catalogue: &Catalogue, written: &[u8]| {
        let (_, record) = Framing::split(written).expect("it is framed");
        let command = catalogue.command("test", "All.Kinds").expect("it is there");
        let mut out = Vec::new();
        command.framing(Style::SingleObject).write(&mut out);
        [&out, record].concat()
    };
    let single = [
        as_single_object(&before, &written_before),
        as_single_object(&both, &written_now),
    ];
    let decoded = single
        .each_ref()
        .map(|written| both.decode(written).expect("it is known"));
    assert_eq!(decoded, [old, new]);
    assert!(matches!(
        before.decode(&single[1]),
        Err(DecodeError::UnknownSchema { .. })
    ));
}

#[test]
fn a_new_version_may_add_fields_and_change_what_no_reader_sees() {
    let whole = record("Whole", vec![optional("Added", json!("long"))]);
    for second in [
        adding(kinds(), optional("Added", json!("long"))),
        adding(kinds(), optional("Added", whole.clone())),
        adding(kinds(), optional("Added", array(whole))),
        with(kinds(), "/fields/0/doc", json!("Other words.")),
        with(kinds(), "/fields/1/spellings", json!(["long"])),
        with(kinds(), "/imbridge/key", json!("app")),
    ] {
        load(&[kinds(), second]).expect("a version that may follow");
    }
}

#[test]
fn a_new_version_that_adds_inside_a_record_or_an_item_is_refused() {
    for inner in ["/fields/8/type/1", "/fields/8/type/1/fields/2/type/1/items"] {
        let record = kinds().pointer(inner).expect("a record").clone();
        let second = with(kinds(), inner, adding(record, optional("Added", json!("long"))));
        let place = format!("${}.fields[0].name", inner.replace("/items", ".items"))
            .replace("/fields/", ".fields[")
            .replace("/type/1", "].type[1]");
        let error = load(&[kinds(), second]).expect_err(inner);
        assert_contains(
            &error.to_string(),
            &["v2.avsc", &place, "found \"Added\"", "in unmapped"],
        );
    }
}

#[test]
fn a_new_version_that_takes_away_or_changes_is_refused() {
    let renamed = kinds().to_string().replace("\"Inner\"", "\"Other\"");
    for (place, second) in [
        ("the field \"Long\"", without(kinds(), "/fields/1")),
        ("the field \"Int\"", with(kinds(), "/fields/2/name", json!("Integer"))),
        ("$.fields[2].type[1]", with(kinds(), "/fields/2/type/1", json!("long"))),
        ("$.fields[5].type[1]", with(kinds(), "/fields/5/type/1", json!("long"))),
        ("\"unit\": \"s\"", without(kinds(), "/fields/6/unit")),
        ("$.fields[7]", without(kinds(), "/fields/7/json")),
        (
            ".items.fields",
            without(kinds(), "/fields/8/type/1/fields/2/type/1/items/fields/1"),
        ),
        (
            "$.fields[8].type[1].name",
            serde_json::from_str(&renamed).expect("JSON"),
        ),
    ] {
        let second = with(second, "/imbridge", json!({"phase": "after", "key": "app"}));
        let error = load(&[kinds(), second]).expect_err(place);
        assert_contains(&error.to_string(), &["v2.avsc", place, "version before"]);
    }
}
