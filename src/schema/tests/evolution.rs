//! Several versions of one command: which may follow which, and that all are read.

use serde_json::{Value, json};

use super::folder::{folder, says};
use super::{kinds, load, optional, with};
use crate::schema::{Catalogue, DecodeError, LoadError};

#[test]
fn the_newest_version_writes_and_every_version_is_read() {
    let old = kinds();
    let mut new = kinds();
    new["fields"]
        .as_array_mut()
        .expect("fields")
        .insert(1, with(optional("Added", json!("long")), "spellings", json!(["added"])));
    let before = load(&old).expect("a good schema");
    let both = folder(&[
        ("test/All.Kinds/v1.avsc", &old.to_string()),
        ("test/All.Kinds/v2.avsc", &new.to_string()),
    ])
    .expect("a good folder");

    let mut written_before = Vec::new();
    let mut written_now = Vec::new();
    for (catalogue, out) in [(&before, &mut written_before), (&both, &mut written_now)] {
        let command = catalogue.command("test", "All.Kinds").expect("it is there");
        super::Encoder::new()
            .encode(command, br#"{"added": 1}"#, &super::META, out)
            .expect("a good body");
    }
    let (old, new) = (
        both.decode(&written_before).expect("v1"),
        both.decode(&written_now).expect("v2"),
    );
    assert_eq!((old.version, &old.record["unmapped"]), (1, &json!({"added": "1"})));
    assert_eq!((new.version, &new.record["Added"]), (2, &json!(1)));
    assert!(matches!(
        before.decode(&written_now),
        Err(DecodeError::UnknownSchema { .. })
    ));
}

/// Loads the usual schema as the first version and a changed one as the second.
fn successor(change: impl FnOnce(&mut Value)) -> Result<Catalogue, LoadError> {
    let mut second = kinds();
    change(&mut second);
    let (first, second) = (kinds().to_string(), second.to_string());
    folder(&[("test/All.Kinds/v1.avsc", &first), ("test/All.Kinds/v2.avsc", &second)])
}

fn fields(schema: &mut Value) -> &mut Vec<Value> {
    schema["fields"].as_array_mut().expect("fields")
}

#[test]
fn a_new_version_may_add_fields_and_change_what_no_reader_sees() {
    assert!(successor(|schema| fields(schema).insert(3, optional("Added", json!("long")))).is_ok());
    assert!(successor(|schema| schema["fields"][0]["doc"] = json!("Other words.")).is_ok());
    assert!(successor(|schema| schema["fields"][1]["spellings"] = json!(["long"])).is_ok());
    assert!(successor(|schema| schema["imbridge"]["key"] = json!("app")).is_ok());
    let inner = |schema: &mut Value| {
        let added = optional("Added", json!("string"));
        fields(&mut schema["fields"][8]["type"][1]).push(added);
    };
    assert!(successor(inner).is_ok());
}

type Change<'c> = &'c dyn Fn(&mut Value);

#[test]
fn a_new_version_that_takes_away_or_changes_is_refused() {
    let deeper = "/fields/8/type/1/fields/2/type/1/items";
    let changes: [(&str, Change<'_>); 6] = [
        ("\"Long\"", &|schema| drop(fields(schema).remove(1))),
        ("$.fields[2].type[1]", &|schema| {
            schema["fields"][2]["type"][1] = json!("long")
        }),
        ("$.fields[5].type[1]", &|schema| {
            schema["fields"][5]["type"][1] = json!("long")
        }),
        ("$.fields[6]", &|schema| {
            drop(schema["fields"][6].as_object_mut().map(|it| it.remove("unit")))
        }),
        ("$.fields[7]", &|schema| {
            drop(schema["fields"][7].as_object_mut().map(|it| it.remove("json")))
        }),
        (".items.fields", &|schema| {
            drop(fields(schema.pointer_mut(deeper).expect("it is there")).pop())
        }),
    ];
    for (place, change) in changes {
        let change = |schema: &mut Value| {
            schema["imbridge"] = json!({"phase": "after", "key": "app"});
            change(schema);
        };
        says(
            &successor(change).expect_err(place).to_string(),
            &["v2.avsc", place, "version before"],
        );
    }
    let renamed = kinds().to_string().replace("\"Inner\"", "\"Other\"");
    let renamed = serde_json::from_str(&renamed).expect("JSON");
    let error = successor(|schema| *schema = renamed).expect_err("a renamed record");
    says(&error.to_string(), &["$.fields[8].type[1].name", "\"Inner\""]);
}
