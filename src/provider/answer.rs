//! The bodies of the answers, as each IM server expects them.

use std::collections::HashMap;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::Refusal;
use super::object::Object;
use crate::callback::{Answer, Provider};

const TENCENT_OK: &str = r#"{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}"#;
const OPENIM_OK: &str = r#"{"actionCode":0,"errCode":0,"errMsg":"","errDlt":"","nextCode":0}"#;
const TENCENT_IGNORE: &str = r#"{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":1,"RspData":""}"#;

/// The success answer. If the request lacks the fields that the answer should carry, it is the neutral one.
pub(super) fn success(provider: Provider, answer: Option<&Answer>, body: &[u8]) -> Bytes {
    let neutral = match provider {
        Provider::Tencent => TENCENT_OK,
        Provider::OpenIm => OPENIM_OK,
    };
    let more = match answer {
        Some(Answer::Ignore) => return Bytes::from_static(TENCENT_IGNORE.as_bytes()),
        Some(Answer::ResultItem(list)) => result_item(neutral, list, body),
        Some(echo @ Answer::Echo(_)) => Some(with_echo(neutral.into(), echo, body)),
        None | Some(Answer::Neutral) => None,
    };
    more.map_or(Bytes::from_static(neutral.as_bytes()), Bytes::from)
}

fn fields_of(body: &[u8]) -> Option<HashMap<String, &RawValue>> {
    serde_json::from_slice(body).ok()
}

/// Adds the fields of the request that the rule echoes to an answer, unchanged. Refusals carry them too, since OpenIM
/// ignores the status and takes the fields from any answer.
pub(super) fn with_echo(mut answer: Vec<u8>, rule: &Answer, body: &[u8]) -> Vec<u8> {
    if let Answer::Echo(fields) = rule
        && let Some(request) = fields_of(body)
    {
        answer.pop();
        for field in fields {
            if let Some(value) = request.get(field) {
                answer.extend_from_slice(format!(",{}:{}", json!(field), value.get()).as_bytes());
            }
        }
        answer.push(b'}');
    }
    answer
}

#[derive(Deserialize)]
struct Account<'a> {
    #[serde(rename = "To_Account", borrow)]
    to_account: &'a RawValue,
}

fn result_item(neutral: &str, list: &str, body: &[u8]) -> Option<Vec<u8>> {
    let request = fields_of(body)?;
    let accounts: Vec<Object<Account<'_>>> = serde_json::from_str(request.get(list)?.get()).ok()?;
    let item = |Object(account): &Object<Account<'_>>| {
        let account = account.to_account.get();
        format!(r#"{{"To_Account":{account},"ResultCode":0,"ResultInfo":""}}"#)
    };
    let items = accounts.iter().map(item).collect::<Vec<_>>().join(",");
    Some(format!("{},\"ResultItem\":[{items}]}}", neutral.trim_end_matches('}')).into_bytes())
}

/// The answer of a refusal. It never blocks a user: OpenIM does so only if `actionCode` is 0 and `nextCode` 1.
pub(super) fn failure(refusal: &Refusal) -> Vec<u8> {
    let body = match refusal.provider {
        Some(Provider::Tencent) => {
            json!({"ActionStatus": "FAIL", "ErrorInfo": refusal.message, "ErrorCode": refusal.status})
        }
        Some(Provider::OpenIm) => {
            json!({"actionCode": 1, "errCode": refusal.status, "errMsg": refusal.reason, "errDlt": refusal.message, "nextCode": 0})
        }
        None => json!({"error": refusal.reason, "message": refusal.message}),
    };
    body.to_string().into_bytes()
}

/// The message for a callback that names no command.
pub(super) fn no_command(provider: Provider) -> &'static str {
    match provider {
        Provider::Tencent => "no command: neither the query nor the body has CallbackCommand",
        Provider::OpenIm => {
            "no command: the path must end with it, as in /openim/<command>, or the body must have callbackCommand"
        }
    }
}
