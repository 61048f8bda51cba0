//! The timeline: a second message of each event, in the one topic that has all commands, with the key, the partition and the
//! place in the order that the first has. Dead letters have none: `imbridge replay` makes events of them, which come in then.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::names::Names;
use crate::callback::{Head, Phase};
use crate::provider::Event;
use crate::publish::{self, Message, Position, Slot};
use crate::schema::{Framing, Meaning, TimelineEvent};

/// What goes there, and what could not.
pub(super) struct Timeline {
    config: publish::Timeline,
    pub topic: Arc<str>,
    /// Events that were counted as left out, and whose records are not delivered.
    left_out: BTreeSet<(u64, u32)>,
}

/// What is known of an event beside its message.
pub(super) struct Told<'a> {
    pub head: &'a Head,
    pub event: &'a Event<'a>,
    /// Its key is a group's id.
    pub of_group: bool,
    pub phase: Option<Phase>,
    pub meaning: Meaning<'a>,
    /// When it happened, in Unix milliseconds.
    pub event_time_ms: Option<i64>,
}

impl Timeline {
    /// None where the configuration has none.
    pub fn new(config: &publish::Config, names: &Names) -> Option<Timeline> {
        Some(Timeline {
            config: config.timeline.clone()?,
            topic: names.timeline.clone()?,
            left_out: BTreeSet::new(),
        })
    }

    /// Whether events of this command are copied.
    pub fn has(&self, command: &str) -> bool {
        self.config.has(command)
    }

    /// The timeline's message of an event, beside its own; of this spool, framed in this way, without its body where it would be
    /// larger than this limit.
    pub fn copy(&self, told: &Told<'_>, own: &Message, spool: &str, (framing, limit): (Framing, usize)) -> Message {
        let Told { head, event, .. } = told;
        let position = own.position;
        let body = String::from_utf8_lossy(&event.body);
        let id = own.headers.iter().find(|(name, _)| *name == "ce_id");
        let mut entry = TimelineEvent {
            ordering_key: &own.key,
            of_group: told.of_group,
            app: &head.app,
            provider: head.provider.as_str(),
            command: &event.command,
            phase: told.phase,
            meaning: &told.meaning,
            event_id: id.map_or("", |(_, id)| id),
            spool,
            seq: position.seq,
            part: position.index,
            event_time_ms: told.event_time_ms,
            received_at_ms: head.received_at_ms,
            body: Some(&body),
        };
        let mut message = Message {
            slot: Slot {
                topic: Arc::clone(&self.topic),
                partition: own.slot.partition,
            },
            key: own.key.clone(),
            headers: Arc::clone(&own.headers),
            content_type: "application/avro",
            payload: payload(framing, &entry),
            twin: None,
            ..*own
        };
        if message.size() > limit {
            entry.body = None;
            message.payload = payload(framing, &entry);
        }
        message
    }

    /// An event is left out since the topic refuses: the event itself is well, and a dead letter would bring it back a second
    /// time. True where it was not noted before.
    pub fn leaves_out(&mut self, position: Position) -> bool {
        self.left_out.insert((position.seq, position.index))
    }

    /// Everything up to this record is delivered.
    pub fn forget(&mut self, seq: u64) {
        while self.left_out.first().is_some_and(|(first, _)| *first <= seq) {
            self.left_out.pop_first();
        }
    }
}

fn payload(framing: Framing, entry: &TimelineEvent<'_>) -> Vec<u8> {
    let mut payload = Vec::with_capacity(entry.body.map_or(0, str::len) + 512);
    framing.write(&mut payload);
    entry.write(&mut payload);
    payload
}
