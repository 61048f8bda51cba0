//! A few events of both IM servers, for the questions of examples/analytics.

use serde_json::{Value, json};

use super::bridge::{APP, Bridge};

/// 2023-11-14 22:13:20 in UTC, in milliseconds.
const BEGIN: u64 = 1_700_000_000_000;
const HOUR: u64 = 3_600_000;

/// Posts eight events. In Tencent's group t: three messages of two people within two hours, two joins and one leave. In
/// OpenIM's group o: a message and a leave. And a message between two accounts.
pub fn post(bridge: &Bridge) -> usize {
    let said = |account: &str, number: u64, time: u64| {
        let body = json!({"GroupId": "t", "From_Account": account, "MsgSeq": number, "EventTime": time});
        ("Group.CallbackAfterSendMsg", body)
    };
    let tencent = [
        said("a", 1, BEGIN),
        said("b", 2, BEGIN + 1000),
        said("a", 3, BEGIN + HOUR),
        (
            "Group.CallbackAfterNewMemberJoin",
            json!({"GroupId": "t", "NewMemberList": [{"Member_Account": "c"}, {"Member_Account": "d"}], "EventTime": BEGIN}),
        ),
        (
            "Group.CallbackAfterMemberExit",
            json!({"GroupId": "t", "ExitMemberList": [{"Member_Account": "c"}], "EventTime": BEGIN + HOUR}),
        ),
        (
            "C2C.CallbackAfterSendMsg",
            json!({"From_Account": "a", "To_Account": "b", "MsgKey": "1", "SendMsgResult": 0, "EventTime": BEGIN}),
        ),
    ];
    let openim = [
        (
            "callbackAfterSendGroupMsgCommand",
            json!({"groupID": "o", "sendID": "e", "serverMsgID": "1", "sendTime": BEGIN}),
        ),
        ("callbackAfterQuitGroupCommand", json!({"groupID": "o", "userID": "f"})),
    ];
    let mut connection = bridge.connect();
    let mut post = |target: String, body: &Value| {
        let answer = connection.post(&target, body.to_string()).expect("an answer");
        assert_eq!(answer.status, 200, "{target}");
    };
    for (command, body) in &tencent {
        post(format!("/tencent?SdkAppid={APP}&CallbackCommand={command}"), body);
    }
    for (command, body) in &openim {
        post(format!("/openim/{command}"), body);
    }
    bridge.settle();
    tencent.len() + openim.len()
}
