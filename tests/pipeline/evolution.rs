//! A second version of a schema: the bridge writes it, a consumer with the first version reads it, and a consumer with
//! the second version reads older records.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::bridge::Home;
use crate::support::reader::{Consumed, consume, decode};
use crate::support::versions::post_by_two_versions;
use crate::support::{kafka, python, registry};

/// The values of "old" and "new" as bytes. A reader without any schema shows them raw.
fn raw(home: &Home) -> [Consumed; 2] {
    let nothing = tempfile::tempdir().unwrap();
    let all = consume(&kafka::shared(), &home.prefix, nothing.path());
    ["old", "new"].map(|group| {
        let own = all.iter().find(|message| message.key.as_deref() == Some(group));
        own.expect("it arrived").clone()
    })
}

#[test]
fn a_second_version_is_read_by_the_first_and_the_first_by_the_second() {
    let home = Home::new("evolution");
    let [v1, v2] = post_by_two_versions(&home);
    let known = consume(&kafka::shared(), &home.prefix, &home.schemas());
    let value = |group: &str| {
        let message = known
            .iter()
            .find(|message| message.key.as_deref() == Some(group))
            .expect("it arrived");
        message.value.clone().expect("a record")
    };
    assert_eq!(
        (&value("old")["Reason"], &value("old")["unmapped"]["Reason"]),
        (&Value::Null, &json!("\"left\""))
    );
    assert_eq!(
        (&value("new")["Reason"], &value("new")["unmapped"]),
        (&json!("left"), &json!({}))
    );

    let [old, new] = raw(&home);
    let resolve = |message: &Consumed, versions: [&Path; 2]| {
        let mut reader = python("IMBRIDGE_TEST_PYTHON", "tests/readers/resolve.py");
        reader.args(versions);
        let [record] = decode(reader, [message]);
        record
    };
    let new_by_old = resolve(&new, [&v2, &v1]);
    assert_eq!(
        (
            &new_by_old["GroupId"],
            &new_by_old["NewOwner_Account"],
            new_by_old.get("Reason")
        ),
        (&json!("new"), &json!("b"), None)
    );
    let old_by_new = resolve(&old, [&v1, &v2]);
    assert_eq!(
        (&old_by_new["GroupId"], &old_by_new["Reason"]),
        (&json!("old"), &Value::Null)
    );
    assert_eq!(old_by_new["meta"], value("old")["meta"]);
}

#[test]
fn clickhouse_reads_both_versions_whichever_comes_first() {
    let mut home = Home::new("evolution");
    home.set("SCHEMAS__REGISTRY_URL", registry::shared());
    home.set("SCHEMAS__AUTO_REGISTER", "true");
    post_by_two_versions(&home);
    let [old, new] = raw(&home);
    let rows = |values| {
        let mut reader = python("IMBRIDGE_TEST_CONSUMERS", "tests/readers/evolved.py");
        reader.arg(registry::shared());
        decode(reader, values)
    };
    let groups = |rows: &[Value; 2]| rows.each_ref().map(|row| row["GroupId"].clone());
    let by_old = rows([&old, &new]);
    assert_eq!(groups(&by_old), [json!("old"), json!("new")]);
    assert_eq!(by_old[0]["unmapped"], json!({"Reason": "\"left\""}));
    assert_eq!(by_old[1].get("Reason"), None);
    let by_new = rows([&new, &old]);
    assert_eq!(groups(&by_new), [json!("new"), json!("old")]);
    assert_eq!(
        (&by_new[0]["Reason"], &by_new[1]["Reason"]),
        (&json!("left"), &Value::Null)
    );
}
