//! The packets in the providers' documents, posted as documented, and compared value by value as another client reads
//! them.

use serde_json::{Value, json};

use crate::support::bridge::{APP, Home};
use crate::support::kafka;
use crate::support::reader::{Consumed, consume};

/// Posts a body and returns what arrived in Kafka.
fn through(name: &str, target: &str, body: &str, expected_answer: &str) -> Consumed {
    let home = Home::new(name);
    let bridge = home.start();
    let answer = bridge.connect().post(target, body).expect("an answer");
    assert_eq!((answer.status, answer.body.as_str()), (200, expected_answer));
    bridge.settle();
    let mut consumed = consume(&kafka::shared(), &home.prefix, &home.schemas());
    assert_eq!(consumed.len(), 1, "{consumed:#?}");
    let mut message = consumed.remove(0);
    message.topic = message.topic.replacen(&home.prefix, "im", 1);
    message
}

fn tencent(name: &str, command: &str, body: &str) -> Consumed {
    let target = format!(
        "/tencent?SdkAppid={APP}&CallbackCommand={command}&contenttype=json&ClientIP=127.0.0.1&OptPlatform=RESTAPI"
    );
    through(
        name,
        &target,
        body,
        r#"{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}"#,
    )
}

/// Compares the record's own fields with `expected`, all others being null, and the fields that every record has.
fn assert_record(message: &Consumed, topic: &str, key: &str, expected: Value) {
    assert_eq!((message.topic.as_str(), message.key.as_deref()), (topic, Some(key)));
    let mut record = message.value.clone().expect("a record of a known schema");
    let fields = record.as_object_mut().expect("a record");
    let meta = fields.remove("meta").expect("meta");
    assert_eq!(fields.remove("unmapped"), Some(json!({})));
    let [spool, seq, part] = ["spool", "spool_seq", "spool_part"].map(|name| fields.remove(name).expect(name));
    fields.retain(|_, value| !value.is_null());
    assert_eq!(record, expected);
    assert_eq!(spool, message.header("imbridge-spool"));
    assert_eq!(format!("{seq}.{part}"), message.header("imbridge-seq"));
    assert_eq!(meta["event_id"], message.header("ce_id"));
    assert_eq!(meta["received_at"].to_string(), message.header("imbridge-received-at"));
    let arrived = meta["received_at"].as_i64().expect("a time");
    assert!(
        message.timestamp >= arrived,
        "the timestamp is the broker's, when it appended the message"
    );
}

#[test]
fn a_change_of_a_groups_owner_arrives_as_it_was_sent() {
    let body = r#"{
"CallbackCommand": "Group.CallbackAfterChangeGroupOwner",
"GroupId": "@TGS#2TTV7VSII",
"Type": "Public",
"Operator_Account": "admin",
"OldOwner_Account": "user1",
"NewOwner_Account": "user2",
"EventTime":"1670574414123"
}"#;
    let message = tencent("owner", "Group.CallbackAfterChangeGroupOwner", body);
    let expected = json!({
        "CallbackCommand": "Group.CallbackAfterChangeGroupOwner", "GroupId": "@TGS#2TTV7VSII", "Type": "Public",
        "Operator_Account": "admin", "OldOwner_Account": "user1", "NewOwner_Account": "user2",
        "EventTime": 1670574414123u64
    });
    assert_record(
        &message,
        "im.tencent.Group.CallbackAfterChangeGroupOwner",
        "@TGS#2TTV7VSII",
        expected,
    );
    let headers = [
        "ce_specversion",
        "ce_source",
        "ce_type",
        "ce_time",
        "ce_subject",
        "content-type",
        "imbridge-seq",
    ];
    let found = headers.map(|name| message.header(name));
    let expected = [
        "1.0",
        "/tencent/1400000000",
        "tencent.Group.CallbackAfterChangeGroupOwner",
        "2022-12-09T08:26:54.123Z",
        "@TGS#2TTV7VSII",
        "application/avro",
        "1.0",
    ];
    assert_eq!(found, expected);
    assert!(message.header("imbridge-spool").starts_with("imbridge-0."));
}

#[test]
fn changed_group_attributes_arrive_as_they_were_sent() {
    let body = r#"{
"CallbackCommand": "Group.CallbackAfterGroupAttrChanged",
"GroupId": "@TGS#2J4SZEAEL",
"Type": "Public",
"Operator_Account": "leckie",
"OptionType":"set",
"GroupAttr": [
{
"key": "key1",
"value": "value1"
},
{
"key": "key2",
"value": "values"
}
],
"EventTime":"1670574414123"
}"#;
    let expected = json!({
        "CallbackCommand": "Group.CallbackAfterGroupAttrChanged", "GroupId": "@TGS#2J4SZEAEL", "Type": "Public",
        "Operator_Account": "leckie", "OptionType": "set",
        "GroupAttr": [{"key": "key1", "value": "value1"}, {"key": "key2", "value": "values"}],
        "EventTime": 1670574414123u64
    });
    let message = tencent("attributes", "Group.CallbackAfterGroupAttrChanged", body);
    assert_record(
        &message,
        "im.tencent.Group.CallbackAfterGroupAttrChanged",
        "@TGS#2J4SZEAEL",
        expected,
    );
}

#[test]
fn a_created_group_arrives_as_it_was_sent() {
    let body = r#"{
"CallbackCommand": "Group.CallbackAfterCreateGroup",
"GroupId" : "@TGS#2J4SZEAEL",
"Operator_Account": "group_root",
"Owner_Account": "leckie",
"Type": "Public",
"Name": "MyFirstGroup",
"MemberList": [
{
"Member_Account": "bob"
},
{
"Member_Account": "peter"
}
],
"UserDefinedDataList": [
{
"Key": "UserDefined1",
"Value": "hello"
},
{
"Key": "UserDefined2",
"Value": "world"
}
],
"EventTime":"1670574414123"
}"#;
    let expected = json!({
        "CallbackCommand": "Group.CallbackAfterCreateGroup", "GroupId": "@TGS#2J4SZEAEL", "Operator_Account": "group_root",
        "Owner_Account": "leckie", "Type": "Public", "Name": "MyFirstGroup",
        "MemberList": [{"Member_Account": "bob"}, {"Member_Account": "peter"}],
        "UserDefinedDataList": [{"Key": "UserDefined1", "Value": "hello"}, {"Key": "UserDefined2", "Value": "world"}],
        "EventTime": 1670574414123u64
    });
    let message = tencent("created", "Group.CallbackAfterCreateGroup", body);
    assert_record(
        &message,
        "im.tencent.Group.CallbackAfterCreateGroup",
        "@TGS#2J4SZEAEL",
        expected,
    );
}

#[test]
fn openims_transfer_of_a_group_arrives_as_it_was_sent() {
    let body = r#"{
"callbackCommand": "callbackAfterTransferGroupOwnerCommand",
"groupID": "G12345",
"oldOwnerUserID": "userOld123",
"newOwnerUserID": "userNew456"
}
"#;
    let expected = json!({
        "callbackCommand": "callbackAfterTransferGroupOwnerCommand", "groupID": "G12345",
        "oldOwnerUserID": "userOld123", "newOwnerUserID": "userNew456"
    });
    let answer = r#"{"actionCode":0,"errCode":0,"errMsg":"","errDlt":"","nextCode":0}"#;
    let message = through(
        "transfer",
        "/openim/callbackAfterTransferGroupOwnerCommand?contenttype=json",
        body,
        answer,
    );
    assert_record(
        &message,
        "im.openim.callbackAfterTransferGroupOwnerCommand",
        "G12345",
        expected,
    );
    assert_eq!(message.header("ce_source"), "/openim/main");
}

#[test]
fn numbers_lists_and_fields_come_as_the_wire_has_them() {
    let body = r#"{"CallbackCommand":"Group.CallbackAfterCreateGroup","groupID":"g","Operator_Account":144115225971632500123,
        "EventTime":1670574414123,"MemberList":null,"UserDefinedDataList":[{"Key":"k","Value":9007199254740993,"More":[1.10]}],
        "New":{"a":[true,null]},"Type":["not","a","string"]}"#;
    let message = tencent("wire", "Group.CallbackAfterCreateGroup", body);
    let record = message.value.expect("a record");
    assert_eq!((message.key.as_deref(), &record["GroupId"]), (Some("g"), &json!("g")));
    assert_eq!(record["Operator_Account"], "144115225971632500123");
    assert_eq!(record["EventTime"], 1670574414123u64);
    assert_eq!(record["MemberList"], Value::Null);
    assert_eq!(
        record["UserDefinedDataList"],
        json!([{"Key": "k", "Value": "9007199254740993"}])
    );
    let unmapped = json!({
        "UserDefinedDataList/0/More": "[1.10]", "New": r#"{"a":[true,null]}"#, "Type": r#"["not","a","string"]"#
    });
    assert_eq!(record["unmapped"], unmapped);
}

#[test]
fn an_unknown_command_goes_to_the_unknown_topic_as_raw_json() {
    let body = r#"{ "groupID":"g7",  "anything":[1, 2.50] }"#;
    let answer = r#"{"actionCode":0,"errCode":0,"errMsg":"","errDlt":"","nextCode":0}"#;
    let message = through("unknown", "/openim/callbackAfterSomethingNewCommand", body, answer);
    assert_eq!(
        (message.topic.as_str(), message.key.as_deref()),
        ("im.openim.unknown", Some("g7"))
    );
    assert_eq!(message.raw(), body.as_bytes());
    assert_eq!(message.header("imbridge-command"), "callbackAfterSomethingNewCommand");
    assert_eq!(message.header("content-type"), "application/json");
}

#[test]
fn ten_fields_that_nobody_declared_lose_nothing() {
    let values = [
        "1",
        "-2.50",
        "\"three\"",
        "true",
        "null",
        "[5,\"five\"]",
        "{\"six\":{\"deep\":[6]}}",
        "12345678901234567890123",
        "\"\"",
        "[]",
    ];
    let extra: Vec<_> = values
        .iter()
        .enumerate()
        .map(|(index, value)| format!("\"Extra{index}\":{value}"))
        .collect();
    let body = format!(r#"{{"GroupId":"g",{},"NewOwner_Account":"b"}}"#, extra.join(","));
    let message = tencent("extra", "Group.CallbackAfterChangeGroupOwner", &body);
    let record = message.value.expect("a record");
    assert_eq!(
        (&record["GroupId"], &record["NewOwner_Account"]),
        (&json!("g"), &json!("b"))
    );
    let unmapped = record["unmapped"].as_object().expect("a map");
    assert_eq!(unmapped.len(), values.len());
    for (index, value) in values.iter().enumerate() {
        assert_eq!(unmapped[&format!("Extra{index}")], *value);
    }
}
