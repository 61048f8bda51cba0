//! The answers of the API, for a folder of two commands, the first of which has two versions.

use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::schema::Catalogue;

const SUBJECT: &str = "im.tencent.Group.CallbackAfterCreateGroup-value";
const COMMAND: &str = "tencent/Group.CallbackAfterCreateGroup";

/// One command with two versions, and one with one.
fn subjects() -> Subjects {
    let folder = tempfile::tempdir().unwrap();
    for command in [COMMAND, "openim/callbackAfterSendGroupMsgCommand"] {
        let to = folder.path().join(command);
        std::fs::create_dir_all(&to).unwrap();
        std::fs::copy(Path::new("schemas").join(command).join("v1.avsc"), to.join("v1.avsc")).unwrap();
    }
    let first = folder.path().join(COMMAND).join("v1.avsc");
    let mut schema: Value = serde_json::from_str(&std::fs::read_to_string(first).unwrap()).unwrap();
    let fields = schema["fields"].as_array_mut().unwrap();
    let added = json!({"name": "Added", "type": ["null", "string"], "default": null, "doc": "An addition."});
    fields.insert(0, added);
    std::fs::write(folder.path().join(COMMAND).join("v2.avsc"), schema.to_string()).unwrap();
    let catalogue = Catalogue::load(folder.path()).unwrap();
    let named = |command: &'_ crate::schema::Command| format!("im.{}.{}-value", command.provider(), command.name());
    let commands = catalogue.commands().map(|command| (command, named(command)));
    let subjects = Subjects::of(&catalogue, commands);
    assert_eq!(subjects.names().count(), 2);
    subjects
}

fn ask(subjects: &Subjects, method: &str, path: &str, body: &str) -> (u16, Value) {
    let request = ApiRequest {
        method,
        path,
        subject_prefix: "",
        body: body.as_bytes(),
    };
    let (status, text) = match answer(subjects, &request) {
        Ok(text) => (200, text),
        Err(error) => (error.status(), error.to_string()),
    };
    (status, serde_json::from_str(&text).unwrap())
}

#[test]
fn every_version_is_found_by_subject_and_by_id_with_the_text_for_readers() {
    let subjects = subjects();
    let get = |path: &str| match ask(&subjects, "GET", path, "") {
        (200, answer) => answer,
        other => panic!("{path}: {other:?}"),
    };
    let names = ["im.openim.callbackAfterSendGroupMsgCommand-value", SUBJECT];
    assert_eq!(get("/subjects"), json!(names));
    assert_eq!(get(&format!("/subjects/{SUBJECT}/versions")), json!([1, 2]));
    let latest = get(&format!("/subjects/{SUBJECT}/versions/latest"));
    assert_eq!((&latest["subject"], &latest["version"]), (&json!(SUBJECT), &json!(2)));
    assert_eq!(latest, get(&format!("/subjects/{SUBJECT}/versions/2/")));
    let id = latest["id"].as_u64().filter(|id| (1..1 << 31).contains(id)).unwrap();
    let text = latest["schema"].as_str().unwrap();
    assert!(text.contains("\"Added\"") && !text.contains("\"imbridge\""), "{text}");
    assert_eq!(get(&format!("/schemas/ids/{id}")), json!({"schema": text}));
    let schema: Value = serde_json::from_str(text).unwrap();
    assert_eq!(get(&format!("/schemas/ids/{id}/schema")), schema);
    assert_eq!(get(&format!("/subjects/{SUBJECT}/versions/2/schema")), schema);
    assert_eq!(get(&format!("/schemas/ids/{id}/subjects")), json!([SUBJECT]));
    let place = json!([{"subject": SUBJECT, "version": 2}]);
    assert_eq!(get(&format!("/schemas/ids/{id}/versions")), place);
    assert_ne!(get(&format!("/subjects/{SUBJECT}/versions/1"))["id"], id);
    assert_eq!(get("/schemas").as_array().unwrap().len(), 3);
    assert_eq!(get("/schemas/types"), json!(["AVRO"]));
    for path in ["/config".to_owned(), format!("/config/{SUBJECT}")] {
        assert_eq!(get(&path), json!({"compatibilityLevel": "FULL_TRANSITIVE"}));
    }
    assert_eq!(get("/mode"), json!({"mode": "READONLY"}));
}

#[test]
fn a_schema_is_looked_up_by_meaning_and_under_its_own_subject_only() {
    let subjects = subjects();
    let (_, first) = ask(&subjects, "GET", &format!("/subjects/{SUBJECT}/versions/1"), "");
    let mut schema: Value = serde_json::from_str(first["schema"].as_str().unwrap()).unwrap();
    schema.as_object_mut().unwrap().remove("doc");
    let body = json!({"schema": format!("{schema:#}")}).to_string();
    assert_eq!(
        ask(&subjects, "POST", &format!("/subjects/{SUBJECT}"), &body),
        (200, first)
    );
    let other = "/subjects/im.openim.callbackAfterSendGroupMsgCommand-value";
    let (status, refused) = ask(&subjects, "POST", other, &body);
    assert_eq!((status, &refused["error_code"]), (404, &json!(40403)));
}

#[test]
fn unknown_things_and_writes_are_refused_with_the_codes_of_the_api() {
    let subjects = subjects();
    let own = format!("/subjects/{SUBJECT}");
    let schema = r#"{"schema": "\"string\""}"#;
    // Nested records, as deep as the JSON parser allows: a stranger's schema must not overflow the stack.
    let record = |depth: usize, inner: String| {
        format!(r#"{{"type": "record", "name": "R{depth}", "fields": [{{"name": "f", "type": {inner}}}]}}"#)
    };
    let deep = [41, 60].map(|depth| (0..depth).fold("\"int\"".to_owned(), |inner, level| record(level, inner)));
    let [deep, too_deep] = deep.map(|schema| json!({"schema": schema}).to_string());
    for (method, path, body, code) in [
        ("GET", "/subjects/no/versions", "", 40401),
        ("GET", "/subjects/no/versions/1", "", 40401),
        ("GET", "/config/no", "", 40401),
        ("POST", "/subjects/no", schema, 40401),
        ("GET", &format!("{own}/versions/3"), "", 40402),
        ("GET", &format!("{own}/versions/0"), "", 42202),
        ("GET", &format!("{own}/versions/newest"), "", 42202),
        ("GET", "/schemas/ids/0", "", 40403),
        ("GET", "/schemas/ids/one", "", 40403),
        ("POST", &own, schema, 40403),
        ("POST", &own, r#"{"schema": "{"}"#, 42201),
        ("POST", &own, r#"{"schema": "{\"type\": \"object\"}"}"#, 42201),
        ("POST", &own, "schema", 42201),
        ("POST", &own, &deep, 40403),
        ("POST", &own, &too_deep, 42201),
        ("GET", "/nothing", "", 404),
        ("POST", &format!("{own}/versions"), schema, 40501),
        ("PUT", "/config", r#"{"compatibility": "NONE"}"#, 40501),
        ("DELETE", &own, "", 40501),
    ] {
        let (status, refused) = ask(&subjects, method, path, body);
        assert_eq!(refused["error_code"], code, "{method} {path} {body}");
        assert_eq!(u64::from(status), if code > 999 { code / 100 } else { code });
        let message = refused["message"].as_str().unwrap();
        assert_eq!(
            message.contains("add a version to the schemas folder"),
            code == 40501,
            "{message}"
        );
    }
}
