//! A command's attributes as its newest schema spells them, for listings. Reads the schema's text only.

use serde::Serialize;
use serde_json::Value;

use super::command::Command;
use crate::callback::Phase;

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    pub provider: String,
    pub command: String,
    pub version: u32,
    /// `after` or `before`.
    pub phase: &'static str,
    /// The key expression.
    pub key: String,
    /// The paths of the event's time.
    pub time: Option<String>,
    /// What a success answer carries: `echo groupID`, `result_item FriendItem`, `ignore`.
    pub answer: Option<String>,
    /// The array whose elements are the events.
    pub expand: Option<String>,
    /// The fields that give a body an identity: equal bodies with a value in one of them are the same event.
    pub identity: Option<String>,
    /// The field with an event's number in its group, and the fields that name the group: `MsgSeq of GroupId, TopicId`.
    pub sequence: Option<String>,
    /// The kind of its events: `group.created`, or `user.online, user.offline by Info.Action`.
    pub kind: Option<String>,
    /// The paths of the account that did it.
    pub actor: Option<String>,
    /// The paths of the accounts to which it was done.
    pub targets: Option<String>,
    /// CRC-64-AVRO of the newest version, in hex as in the header.
    pub fingerprint: String,
    /// The id in the bridge's own registry.
    pub id: u32,
}

impl Command {
    pub(super) fn parsed(&self) -> Value {
        serde_json::from_str(self.schema()).expect("a loaded schema is JSON")
    }

    /// The command as one line of a listing.
    pub fn summary(&self) -> Summary {
        let schema = self.parsed();
        let attributes = &schema["imbridge"];
        let text = |name: &str| attributes[name].as_str().map(str::to_owned);
        Summary {
            provider: self.provider().to_owned(),
            command: self.name().to_owned(),
            version: self.version(),
            phase: match self.rule().phase {
                Phase::After => "after",
                Phase::Before => "before",
            },
            key: text("key").unwrap_or_default(),
            time: text("time"),
            answer: answer(&attributes["answer"]),
            expand: text("expand"),
            identity: list(&attributes["identity"]),
            sequence: sequence(&attributes["sequence"]),
            kind: text("kind").or_else(|| kinds(&attributes["kind"])),
            actor: text("actor"),
            targets: text("targets").or_else(|| list(&attributes["targets"])),
            fingerprint: hex::encode(self.fingerprint().to_le_bytes()),
            id: self.id(),
        }
    }
}

fn list(names: &Value) -> Option<String> {
    let names: Vec<_> = names.as_array()?.iter().filter_map(Value::as_str).collect();
    Some(names.join(", "))
}

fn kinds(kind: &Value) -> Option<String> {
    let mut names: Vec<_> = kind["is"].as_object()?.values().filter_map(Value::as_str).collect();
    names.sort_unstable();
    names.dedup();
    Some(format!("{} by {}", names.join(", "), kind["by"].as_str()?))
}

fn sequence(sequence: &Value) -> Option<String> {
    Some(format!(
        "{} of {}",
        sequence["number"].as_str()?,
        list(&sequence["of"])?
    ))
}

fn answer(answer: &Value) -> Option<String> {
    let (name, value) = answer.as_object()?.iter().next()?;
    let names = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let names: Vec<_> = names.iter().chain(Some(value)).filter_map(Value::as_str).collect();
    Some(format!("{name} {}", names.join(", ")).trim_end().to_owned())
}
