//! Formats a message from Kafka for people and for programs: partition, offset, key, headers, and the value, decoded if
//! possible.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rdkafka::message::Message;
use serde_json::{Value, json};

use super::consume::{headers, text};
use super::filter::safe;
use crate::schema::Decoder;

/// How many characters of a value that cannot be decoded are shown to people.
const EXCERPT_CHARS: usize = 400;

/// A message, decoded if possible.
pub(super) struct Shown<'a, M> {
    message: &'a M,
    key: Option<String>,
    headers: Vec<(String, String)>,
    content: Content<'a>,
}

enum Content<'a> {
    /// A decoded event.
    Event(Value),
    /// Unchanged JSON of a command without a schema.
    Json(String),
    /// Bytes that were not decoded, and why.
    Raw(&'a [u8], String),
}

impl<'a, M: Message> Shown<'a, M> {
    pub fn new(message: &'a M, decoder: &mut Decoder) -> Shown<'a, M> {
        let headers = headers(message);
        let payload = message.payload().unwrap_or_default();
        let kind = headers.iter().find(|(name, _)| name == "content-type");
        let content = match kind.map(|(_, value)| value.as_str()) {
            Some("application/octet-stream") => Content::Raw(payload, "dead letter".into()),
            Some("application/json") => match std::str::from_utf8(payload) {
                // In JSON, raw line ends stand only between values.
                Ok(text) if is_json(text) => Content::Json(text.replace(['\n', '\r'], " ")),
                _ => Content::Raw(payload, "not JSON".into()),
            },
            _ => match decoder.decode(payload) {
                Ok(event) => Content::Event(event),
                Err(cause) => Content::Raw(payload, cause.to_string()),
            },
        };
        Shown {
            message,
            key: message.key().map(text),
            headers,
            content,
        }
    }

    /// Several lines, for a terminal. Omits null fields: a record has many.
    pub fn pretty(&self) -> String {
        let key = self.key.as_deref().unwrap_or_default();
        let mut text = format!(
            "{} partition {} offset {} key {}\n",
            self.message.topic(),
            self.message.partition(),
            self.message.offset(),
            safe(key)
        );
        for (name, value) in &self.headers {
            text.push_str(&format!("  {}: {}\n", safe(name), safe(value)));
        }
        match &self.content {
            Content::Event(event) => {
                let lines = format!("{:#}", without_nulls(event.clone()));
                let lines: Vec<_> = lines.lines().map(safe).collect();
                text.push_str(&lines.join("\n"));
            }
            Content::Json(json) => text.push_str(&safe(json)),
            Content::Raw(bytes, why) => {
                let all = String::from_utf8_lossy(bytes);
                let excerpt: String = all.chars().take(EXCERPT_CHARS).collect();
                let more = if excerpt.len() < all.len() { " ..." } else { "" };
                text.push_str(&format!("({why}, {} bytes) {}{more}", bytes.len(), safe(&excerpt)));
            }
        }
        text
    }

    /// One line, for programs: `event`, or `raw_base64` and `problem`.
    pub fn json(&self) -> String {
        let headers: BTreeMap<_, _> = self.headers.iter().cloned().collect();
        let mut line = json!({
            "topic": self.message.topic(),
            "partition": self.message.partition(),
            "offset": self.message.offset(),
            "timestamp": self.message.timestamp().to_millis(),
            "key": self.key,
            "headers": headers,
        });
        match &self.content {
            Content::Event(event) => line["event"] = event.clone(),
            Content::Json(json) => {
                // As text, so that numbers which no machine type can hold stay unchanged.
                let line = line.to_string();
                let open = line.strip_suffix('}').expect("an object ends with a brace");
                return format!("{open},\"event\":{json}}}");
            }
            Content::Raw(bytes, why) => {
                line["problem"] = json!(why);
                line["raw_base64"] = json!(BASE64_STANDARD.encode(bytes));
            }
        }
        line.to_string()
    }
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(_, value)| !value.is_null());
            kept.map(|(name, value)| (name, without_nulls(value))).collect()
        }
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}
