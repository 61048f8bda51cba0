//! The timeline's message of an event: a second message, in the topic that has all commands, with the key, the partition and the place in
//! the order of the event's own message. A dead letter has none; `imbridge replay` makes an event of it, which then has one.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::names::Names;
use crate::callback::{Head, Phase};
use crate::provider::Event;
use crate::publish::{self, Message, Position, Slot};
use crate::schema::{Framing, Meaning, TimelineEvent};

/// Makes the timeline's messages.
pub(super) struct Timeline {
    config: publish::Timeline,
    pub topic: Arc<str>,
    /// Events that were counted as left out and are not delivered, by record and place in it.
    left_out: BTreeSet<(u64, u32)>,
}

/// The form of the timeline's records.
#[derive(Clone, Copy)]
pub(super) struct TimelineForm {
    pub framing: Framing,
    /// The most bytes that the topic takes in one message.
    pub limit: usize,
}

/// What is known of an event beside its own message.
pub(super) struct Facts<'a> {
    pub head: &'a Head,
    pub event: &'a Event<'a>,
    /// Whether the message's key is a group's id.
    pub of_group: bool,
    pub phase: Option<Phase>,
    pub meaning: Meaning<'a>,
    /// When the event happened, in Unix milliseconds.
    pub event_time_ms: Option<i64>,
}

impl Timeline {
    /// `None` where the configuration has no timeline.
    pub fn new(config: &publish::Config, names: &Names) -> Option<Timeline> {
        Some(Timeline {
            config: config.timeline.clone()?,
            topic: names.timeline.clone()?,
            left_out: BTreeSet::new(),
        })
    }

    /// Whether the timeline has events of this command.
    pub fn has(&self, command: &str) -> bool {
        self.config.has(command)
    }

    /// The timeline's message of an event of this spool. It goes without the event's body where it would be larger than the topic takes.
    pub fn message(&self, facts: &Facts<'_>, own: &Message, spool: &str, form: TimelineForm) -> Message {
        let Facts { head, event, .. } = facts;
        let position = own.position;
        let body = String::from_utf8_lossy(&event.body);
        let id = own.headers.iter().find(|(name, _)| *name == "ce_id");
        let mut entry = TimelineEvent {
            ordering_key: &own.key,
            of_group: facts.of_group,
            app: &head.app,
            provider: head.provider.as_str(),
            command: &event.command,
            phase: facts.phase,
            meaning: &facts.meaning,
            event_id: id.map_or("", |(_, id)| id),
            spool,
            seq: position.seq,
            part: position.index,
            event_time_ms: facts.event_time_ms,
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
            payload: payload(form.framing, &entry),
            twin: None,
            ..*own
        };
        if message.size() > form.limit {
            entry.body = None;
            message.payload = payload(form.framing, &entry);
        }
        message
    }

    /// Notes an event that Kafka refuses in the timeline alone. It becomes no dead letter: a replay would publish it a second time. True
    /// where it was not noted before.
    pub fn leaves_out(&mut self, position: Position) -> bool {
        self.left_out.insert((position.seq, position.index))
    }

    /// Forgets records up to this one: they are delivered.
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
