//! Values that make readers with types of their own fail: instants that no calendar has, and integers that a double
//! cannot hold.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::bridge::Home;
use crate::support::reader::{Consumed, consume, decode};
use crate::support::{self, documents, kafka, node, schemas};

const CREATED: &str = "openim/callbackAfterCreateGroupCommand";
const SENT: &str = "openim/callbackAfterSendSingleMsgCommand";
/// The first integer that a double cannot hold.
const ODD: i64 = (1 << 53) + 1;

/// Python's stock reader: datetimes for instants, integers of any size.
fn python(message: &Consumed, schema: &Path) -> Value {
    let mut command = support::python("IMBRIDGE_TEST_PYTHON", "tests/readers/resolve.py");
    command.args([schema, schema]);
    let [record] = decode(command, [message]);
    record
}

/// avsc, configured as in docs/consumers/typescript.md. A BigInt is printed as text.
fn javascript(message: &Consumed, schema: &Path) -> Value {
    let lines = documents::blocks("typescript", "javascript").remove(0);
    assert!(lines.contains("LongType"), "{lines}");
    let read = r#"
        const { readFileSync } = require("node:fs");
        const value = Buffer.from(readFileSync(0, "utf8"), "hex");
        const type = avro.Type.forSchema(JSON.parse(readFileSync(process.argv[1], "utf8")), { typeHook });
        const record = type.fromBuffer(value.subarray(value.readUInt16BE(0) === 0xc301 ? 10 : 5));
        console.log(JSON.stringify(record, (_, part) => typeof part === "bigint" ? String(part) : part));
    "#;
    let mut command = node();
    command.args(["-e", &format!("{lines}\n{read}"), "--"]).arg(schema);
    let [record] = decode(command, [message]);
    record
}

#[test]
fn readers_with_types_of_their_own_read_whatever_was_sent() {
    let home = Home::new("values");
    schemas::copy(&[CREATED, SENT], &home.schemas());
    let bridge = home.start();
    let bodies = [
        (
            CREATED,
            json!({"groupID": "g", "createTime": i64::MAX, "memberCount": ODD}),
        ),
        (
            SENT,
            json!({"sendID": "a", "recvID": "b", "createTime": 0, "sendTime": 253_402_300_800_000_i64}),
        ),
        (
            SENT,
            json!({"sendID": "c", "recvID": "d", "createTime": -62_135_596_800_000_i64, "sendTime": 253_402_300_799_999_i64}),
        ),
    ];
    let mut connection = bridge.connect();
    for (command, body) in &bodies {
        let target = format!("/{command}");
        assert_eq!(
            connection.post(&target, body.to_string()).expect("an answer").status,
            200
        );
    }
    bridge.settle();
    let nothing = tempfile::tempdir().expect("a temporary folder");
    let raw = consume(&kafka::shared(), &home.prefix, nothing.path());
    let of = |key: &str| {
        raw.iter()
            .find(|message| message.key.as_deref() == Some(key))
            .expect("it arrived")
    };
    let schema = |command: &str| home.schemas().join(command).join("v1.avsc");

    let created = python(of("g"), &schema(CREATED));
    assert_eq!(
        (&created["createTime"], &created["unmapped"]),
        (&Value::Null, &json!({"createTime": i64::MAX.to_string()}))
    );
    assert_eq!(created["memberCount"], json!(ODD));
    let exact = javascript(of("g"), &schema(CREATED));
    assert_eq!(exact["memberCount"], json!(ODD.to_string()));
    assert_eq!(exact["meta"]["received_at"], created["meta"]["received_at"]);

    let late = python(of("a:b"), &schema(SENT));
    assert_eq!((&late["createTime"], &late["sendTime"]), (&json!(0), &Value::Null));
    assert_eq!(late["unmapped"], json!({"sendTime": "253402300800000"}));
    assert_eq!(late["meta"]["event_time"], Value::Null);
    let arrival: i64 = of("a:b").header("imbridge-received-at").parse().expect("milliseconds");
    assert_eq!(late["meta"]["received_at"], json!(arrival));
    let at = humantime::parse_rfc3339(of("a:b").header("ce_time")).expect("a time");
    let at = at
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
        .as_millis();
    assert_eq!(
        at, arrival as u128,
        "when it arrived, as the body says nothing that a calendar has"
    );

    let last = python(of("c:d"), &schema(SENT));
    assert_eq!(
        (
            &last["createTime"],
            &last["sendTime"],
            &last["meta"]["event_time"],
            &last["unmapped"]
        ),
        (
            &json!(-62_135_596_800_000_i64),
            &json!(253_402_300_799_999_i64),
            &json!(253_402_300_799_999_i64),
            &json!({})
        )
    );
    assert_eq!(of("c:d").header("ce_time"), "9999-12-31T23:59:59.999Z");
}
