//! A numbered event in each provider's protocol, and which answers are a success. `tests/readers/judge.py` reads group and
//! number from the same fields.

use serde_json::{Value, json};

use crate::Options;
use crate::client::{Answer, Connection};

const TENCENT: &str = "Group.CallbackAfterCreateGroup";
/// The command of events with odd numbers, if `--commands` is 2.
const TENCENT_ODD: &str = "Group.CallbackAfterChangeGroupOwner";
const OPENIM: &str = "callbackAfterTransferGroupOwnerCommand";
/// The time of the first event, in the past. Each later event is one millisecond later.
const FIRST_EVENT_MS: u64 = 1_670_574_414_123;

/// The provider whose protocol a group's events use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    Tencent,
    OpenIm,
}

impl Provider {
    /// Its name in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Provider::Tencent => "tencent",
            Provider::OpenIm => "openim",
        }
    }

    /// Whether an answer is this provider's success. Only a success acknowledges an event.
    pub fn acknowledges(self, answer: &Answer) -> bool {
        let Ok(body) = serde_json::from_str::<Value>(&answer.body) else {
            return false;
        };
        let is_success = match self {
            Provider::Tencent => body["ActionStatus"] == "OK" && body["ErrorCode"] == 0,
            Provider::OpenIm => body["errCode"] == 0 && body["actionCode"] == 0,
        };
        answer.status == 200 && is_success
    }
}

/// How events are posted.
pub struct Protocol {
    tencent: String,
    tencent_odd: Option<String>,
    openim: String,
    pad: String,
}

impl Protocol {
    pub fn new(options: &Options) -> Protocol {
        let app = options.app;
        let secret = options
            .secret
            .as_ref()
            .map_or(String::new(), |secret| format!("/{secret}"));
        let tencent = |command: &str| {
            format!(
                "/tencent?SdkAppid={app}&CallbackCommand={command}&contenttype=json&ClientIP=127.0.0.1&OptPlatform=RESTAPI"
            )
        };
        Protocol {
            tencent: tencent(TENCENT),
            tencent_odd: (options.commands > 1).then(|| tencent(TENCENT_ODD)),
            openim: format!("/openim{secret}/{OPENIM}?contenttype=json"),
            pad: "x".repeat(options.pad_bytes),
        }
    }

    /// Posts an event and returns the answer. None if the connection broke before the answer.
    pub fn post(&self, connection: &mut Connection, provider: Provider, group: &str, number: u64) -> Option<Answer> {
        let odd = self.tencent_odd.as_ref().filter(|_| number % 2 == 1);
        let (target, body) = match (provider, odd) {
            (Provider::Tencent, Some(target)) => (
                target,
                json!({"CallbackCommand": TENCENT_ODD, "GroupId": group, "OldOwner_Account": self.pad,
                    "NewOwner_Account": number.to_string(), "EventTime": FIRST_EVENT_MS + number}),
            ),
            (Provider::Tencent, None) => (
                &self.tencent,
                json!({"CallbackCommand": TENCENT, "GroupId": group, "Operator_Account": "oracle", "Type": "Public",
                    "Name": number.to_string(), "Owner_Account": self.pad, "EventTime": FIRST_EVENT_MS + number}),
            ),
            (Provider::OpenIm, _) => (
                &self.openim,
                json!({"callbackCommand": OPENIM, "groupID": group, "oldOwnerUserID": self.pad,
                    "newOwnerUserID": number.to_string()}),
            ),
        };
        connection.post(target, body.to_string())
    }
}
