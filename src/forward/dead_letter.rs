//! Dead letters: the raw bytes of what cannot become an event, with a reason that a program can read.

use super::names::{Draft, Names, source_of};
use super::recent::{Sample, shape};
use crate::callback::{Head, SHOWN_BYTES_MAX, clip};
use crate::provider::{Event, group_of};
use crate::publish::{Message, Position, Slot};
use crate::spool::Record;

/// Room for the key and the headers beside the bytes of one part.
const HEADROOM: usize = 16 << 10;
/// The most bytes of a key or a header. Each comes from a caller, is in the message up to twice, and must fit into the headroom.
const CLIP_BYTES: usize = 1024;

/// What becomes a dead letter, and why.
pub(super) struct DeadLetter<'a> {
    record: &'a Record,
    /// `None` where the record cannot be read.
    head: Option<&'a Head>,
    /// A label for metrics, and the header `imbridge-reason`.
    pub reason: &'static str,
    error: String,
    command: Option<&'a str>,
    key: Option<String>,
    /// The partition of the event's own message, which an earlier session may have sent.
    twin: Option<Slot>,
    index: u32,
    bytes: &'a [u8],
    /// The number of bytes that a privacy rule withholds.
    withheld: Option<usize>,
}

impl<'a> DeadLetter<'a> {
    /// A dead letter of the whole record with its head.
    pub fn new(record: &'a Record, head: Option<&'a Head>, (reason, error): (&'static str, String)) -> DeadLetter<'a> {
        let command = head.and_then(|head| head.command.as_deref());
        DeadLetter {
            record,
            head,
            reason,
            error,
            command,
            key: None,
            twin: None,
            index: 0,
            bytes: &record.data,
            withheld: None,
        }
    }

    /// With the callback's body instead of the record.
    pub fn with_body(self, body: &'a [u8]) -> DeadLetter<'a> {
        DeadLetter {
            bytes: body,
            key: group_of(body),
            ..self
        }
    }

    /// With one event of the callback instead of the record.
    pub fn with_event(self, event: &'a Event<'_>) -> DeadLetter<'a> {
        DeadLetter {
            bytes: &event.body,
            command: Some(&event.command),
            index: event.index,
            ..self
        }
    }

    /// With the key of the event's own message.
    pub fn with_key(self, key: Option<String>) -> DeadLetter<'a> {
        DeadLetter { key, ..self }
    }

    /// Instead of a message to this partition, which an earlier session may have sent.
    pub fn instead_of(self, slot: Slot) -> DeadLetter<'a> {
        DeadLetter {
            twin: Some(slot),
            ..self
        }
    }

    /// Its record, and its place in the record.
    pub fn place(&self) -> (u64, u32) {
        (self.record.seq, self.index)
    }

    /// Without its bytes and its key, if a privacy rule concerns something in them that cannot be cut out.
    pub fn withheld_if(self, concerned: bool) -> DeadLetter<'a> {
        if !concerned {
            return self;
        }
        DeadLetter {
            withheld: Some(self.bytes.len()),
            bytes: &[],
            key: None,
            ..self
        }
    }

    /// What the status page shows of it.
    pub fn sample(&self) -> Sample {
        Sample {
            at_ms: self.received_at_ms(),
            provider: self.provider(),
            command: self.command.map(|command| clip(command, SHOWN_BYTES_MAX).into_owned()),
            reason: self.reason,
            bytes: self.withheld.unwrap_or(self.bytes.len()),
            shape: shape(self.bytes),
        }
    }

    fn received_at_ms(&self) -> i64 {
        self.head.map_or(self.record.appended_at_ms, |head| head.received_at_ms)
    }

    /// A label for metrics.
    pub fn provider(&self) -> &'static str {
        self.head.map_or("unknown", |head| head.provider.as_str())
    }
}

/// The messages of a dead letter: one, or several parts (`imbridge-part: 1/3`) where one message does not hold it.
pub(super) fn messages(names: &Names, letter: &DeadLetter<'_>, limit: usize) -> Vec<Message> {
    let room = limit.saturating_sub(HEADROOM).max(1024);
    let parts: Vec<&[u8]> = if letter.bytes.is_empty() {
        vec![&[]]
    } else {
        letter.bytes.chunks(room).collect()
    };
    let received_at_ms = letter.received_at_ms();
    let command = letter.command.map(|command| clip(command, CLIP_BYTES));
    // Each letter has a key, so that letters of one group, or of one app, stay in order.
    let own = letter.key.as_ref().filter(|key| key.len() <= CLIP_BYTES);
    let key = own.unwrap_or_else(|| letter.head.map_or(&names.spool, |head| &head.app));
    let message = |(part, bytes): (usize, &&[u8])| {
        let mut more = vec![
            ("imbridge-reason", letter.reason.to_owned()),
            ("imbridge-error", clip(&letter.error, CLIP_BYTES).into_owned()),
        ];
        more.extend(
            command
                .as_deref()
                .map(|command| ("imbridge-command", command.to_owned())),
        );
        more.extend(letter.withheld.map(|bytes| ("imbridge-withheld", bytes.to_string())));
        if parts.len() > 1 {
            more.push(("imbridge-part", format!("{}/{}", part + 1, parts.len())));
        }
        let draft = Draft {
            position: Position {
                seq: letter.record.seq,
                index: letter.index,
                part: part as u32,
            },
            id: None,
            topic: &names.dead_letter,
            source: letter.head.map_or_else(|| "/unknown".to_owned(), source_of),
            kind: format!("{}.{}", letter.provider(), command.as_deref().unwrap_or("unknown")),
            key: key.clone(),
            time_ms: received_at_ms,
            received_at_ms,
            content_type: "application/octet-stream",
            trace: letter.head.and_then(|head| head.trace.as_ref()),
            payload: bytes.to_vec(),
        };
        let mut message = names.finish(draft, more);
        message.twin.clone_from(&letter.twin);
        message
    };
    parts.iter().enumerate().map(message).collect()
}
