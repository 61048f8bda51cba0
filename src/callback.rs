//! The types that every part shares: what a provider sent ([`Callback`]), and what is known about its command
//! ([`Phase`], [`Answer`], [`CommandTable`]). It knows no HTTP server, no spool, no Avro and no Kafka.

mod span;
mod trace;

use std::borrow::Cow;
use std::collections::HashMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use span::{Span, Spans};
pub use trace::Trace;

/// An IM server whose webhooks the bridge accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// Tencent Cloud Chat, and Tencent's products with the same callbacks (Push, Live, Conference).
    Tencent,
    /// OpenIM Server.
    OpenIm,
}

impl Provider {
    /// All providers, in the order of documents and metrics.
    pub const ALL: [Provider; 2] = [Provider::Tencent, Provider::OpenIm];

    /// The name in topics, folders, labels and paths.
    pub fn as_str(self) -> &'static str {
        match self {
            Provider::Tencent => "tencent",
            Provider::OpenIm => "openim",
        }
    }
}

/// Whether the IM server waits for the answer to decide something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The user's action waits for the answer, which is always *allow*, within the deadline.
    Before,
    /// The action has happened. The answer only confirms the receipt.
    After,
}

/// What a success answer carries in addition to the provider's neutral one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Nothing.
    Neutral,
    /// These fields of the request, unchanged. OpenIM replaces its own values by those of the answer.
    Echo(Vec<String>),
    /// Tencent's `ResultItem`: an *allow* for each `To_Account` in this list of the request.
    ResultItem(String),
    /// Tencent's interactive chatbot answer that asks for nothing: `ErrorCode` 1 with an empty `RspData`.
    Ignore,
}

/// How one command is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandRule {
    /// Whether the IM server waits for a decision.
    pub phase: Phase,
    /// What its success answer carries.
    pub answer: Answer,
    /// If the body is a batch: the field whose elements are the events.
    pub expand: Option<String>,
}

impl CommandRule {
    /// Whether the IM server waits for a decision.
    pub fn is_before(&self) -> bool {
        self.phase == Phase::Before
    }

    /// Whether the IM server takes values from any answer, so that an answer without them does harm.
    pub fn is_echoed(&self) -> bool {
        matches!(self.answer, Answer::Echo(_))
    }
}

/// The commands that have a schema, with their rules. Any other command is unknown.
#[derive(Debug, Clone, Default)]
pub struct CommandTable([HashMap<String, CommandRule>; Provider::ALL.len()]);

impl CommandTable {
    /// Adds a command. A second rule for the same command replaces the first.
    pub fn insert(&mut self, provider: Provider, command: &str, rule: CommandRule) {
        self.0[provider as usize].insert(command.to_owned(), rule);
    }

    /// The rule of a command, `None` for one without a schema.
    pub fn get(&self, provider: Provider, command: &str) -> Option<&CommandRule> {
        self.known(provider, command).map(|(_, rule)| rule)
    }

    /// The rule and the table's own copy of the name. As a label, it limits a metric to the commands with a schema.
    pub fn known(&self, provider: Provider, command: &str) -> Option<(&str, &CommandRule)> {
        let (name, rule) = self.0[provider as usize].get_key_value(command)?;
        Some((name, rule))
    }
}

/// One callback as the provider sent it: the head that the bridge needs, and the body's bytes untouched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    /// The values from the request line and the headers.
    pub head: Head,
    /// The body as it came over the wire.
    pub body: Bytes,
}

/// The part of a [`Callback`] that is not in its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Who sent it.
    pub provider: Provider,
    /// Tencent's SdkAppid, or the configured name of the OpenIM instance.
    pub app: String,
    /// The command; `None` if the request line has none and the body is unreadable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// When the bridge had read the whole request, in Unix milliseconds.
    pub received_at_ms: i64,
    /// The end user's address, as the provider sends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ip: Option<String>,
    /// The end user's platform (`OptPlatform`), an open set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Tencent's `RequestID` or OpenIM's `Operationid` header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The caller's trace context; records of earlier versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
    /// Whether the body is not a JSON object. It then goes to the dead-letter topic as it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unreadable: bool,
}

/// Why a spooled record is not a callback.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// There is no line feed between head and body.
    #[error("the record has no head")]
    NoHead,
    /// The head is not the JSON of this version.
    #[error("the record's head does not parse: {0}")]
    Head(#[from] serde_json::Error),
}

/// A name that a caller sent is clipped to so many bytes before people read it.
pub const SHOWN_BYTES_MAX: usize = 200;

/// The beginning of a text: at most `bytes_max` bytes, including the ellipsis that ends a longer text.
pub fn clip(text: &str, bytes_max: usize) -> Cow<'_, str> {
    const MORE: char = '…';
    if text.len() <= bytes_max {
        return text.into();
    }
    let room = bytes_max.saturating_sub(MORE.len_utf8());
    let end = (0..=room).rev().find(|end| text.is_char_boundary(*end));
    format!("{}{MORE}", &text[..end.unwrap_or(0)]).into()
}

impl Callback {
    /// The record for the spool: the head as one line of JSON, then the body. An operator can read it with `sqlite3`.
    pub fn to_record(&self) -> Vec<u8> {
        let mut record = Vec::with_capacity(self.body.len() + 256);
        serde_json::to_writer(&mut record, &self.head).expect("a head is strings and numbers, which always serialise");
        record.push(b'\n');
        record.extend_from_slice(&self.body);
        record
    }

    /// Reads what [`Callback::to_record`] wrote.
    ///
    /// # Errors
    /// [`FormatError`] if the bytes are not such a record.
    pub fn from_record(record: &Bytes) -> Result<Callback, FormatError> {
        let end = record
            .iter()
            .position(|byte| *byte == b'\n')
            .ok_or(FormatError::NoHead)?;
        let head = serde_json::from_slice(&record[..end])?;
        Ok(Callback {
            head,
            body: record.slice(end + 1..),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_gives_back_the_callback_with_every_byte_of_its_body() {
        let head = Head {
            provider: Provider::OpenIm,
            app: "main".into(),
            command: Some("callback\nwith a line feed".into()),
            received_at_ms: 1_700_000_000_000,
            client_ip: None,
            platform: Some("iOS".into()),
            request_id: None,
            trace: Trace::of(
                Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
                Some("a=b"),
            ),
            unreadable: true,
        };
        let callback = Callback {
            head,
            body: Bytes::from_static(b"{\n\x00\xff not JSON\n"),
        };
        assert_eq!(Callback::from_record(&callback.to_record().into()).unwrap(), callback);
    }

    #[test]
    fn a_text_is_clipped_between_characters_and_ends_with_an_ellipsis() {
        for (text, bytes_max, clipped) in [
            ("", 0, ""),
            ("abc", 3, "abc"),
            ("abcd", 3, "…"),
            ("abcde", 4, "a…"),
            ("Zoë Zoë", 6, "Zo…"),
            ("Zoë Zoë", 7, "Zoë…"),
        ] {
            assert_eq!(clip(text, bytes_max), clipped, "{text} {bytes_max}");
        }
    }

    #[test]
    fn bytes_that_are_no_record_are_refused() {
        assert!(matches!(
            Callback::from_record(&Bytes::from_static(b"no line feed")),
            Err(FormatError::NoHead)
        ));
        assert!(matches!(
            Callback::from_record(&Bytes::from_static(b"{}\nbody")),
            Err(FormatError::Head(_))
        ));
    }
}
