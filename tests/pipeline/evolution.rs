//! A second version of a schema: the bridge writes it, a consumer that holds the first reads it, and one that holds the
//! second reads what was written before.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::bridge::{APP, Bridge, Home};
use crate::support::kafka;
use crate::support::reader::{Consumed, consume};

const COMMAND: &str = "Group.CallbackAfterChangeGroupOwner";

fn post(bridge: &Bridge, group: &str) {
    let body = json!({"GroupId": group, "NewOwner_Account": "b", "Reason": "left"});
    let target = format!("/tencent?SdkAppid={APP}&CallbackCommand={COMMAND}");
    assert_eq!(
        bridge
            .connect()
            .post(&target, body.to_string())
            .expect("an answer")
            .status,
        200
    );
    bridge.settle();
}

/// Adds an optional field before `meta`.
fn second_version(v1: &str) -> String {
    let field = r#"{"name": "Reason", "doc": "Why the owner changed, where it is said.", "type": ["null", "string"], "default": null},"#;
    let meta = v1
        .find(r#"{"name": "meta""#)
        .expect("every record ends with meta and unmapped");
    format!("{}{field}\n    {}", &v1[..meta], &v1[meta..])
}

fn resolve(message: &Consumed, writer: &Path, reader: &Path) -> Value {
    let python = std::env::var("IMBRIDGE_TEST_PYTHON").expect("run by scripts/test");
    let mut child = Command::new(python)
        .arg("tests/readers/resolve.py")
        .args([writer, reader])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python starts");
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(hex::encode(message.raw()).as_bytes())
        .expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).expect("a record")
}

#[test]
fn a_second_version_is_read_by_the_first_and_the_first_by_the_second() {
    let home = Home::new("evolution");
    let folder = home.schemas().join("tencent").join(COMMAND);
    let (v1, v2) = (folder.join("v1.avsc"), folder.join("v2.avsc"));
    let bridge = home.start();
    post(&bridge, "old");
    assert!(bridge.terminate().success());
    std::fs::write(&v2, second_version(&std::fs::read_to_string(&v1).unwrap())).unwrap();
    let bridge = home.start();
    post(&bridge, "new");

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

    // The same values as bytes: a reader without any schema shows them raw.
    let nothing = tempfile::tempdir().unwrap();
    let raw = consume(&kafka::shared(), &home.prefix, nothing.path());
    let of = |group: &str| {
        raw.iter()
            .find(|message| message.key.as_deref() == Some(group))
            .expect("it arrived")
    };
    let new_by_old = resolve(of("new"), &v2, &v1);
    assert_eq!(
        (
            &new_by_old["GroupId"],
            &new_by_old["NewOwner_Account"],
            new_by_old.get("Reason")
        ),
        (&json!("new"), &json!("b"), None)
    );
    let old_by_new = resolve(of("old"), &v1, &v2);
    assert_eq!(
        (&old_by_new["GroupId"], &old_by_new["Reason"]),
        (&json!("old"), &Value::Null)
    );
    assert_eq!(old_by_new["meta"], value("old")["meta"]);
}
