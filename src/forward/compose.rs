//! A spooled record becomes messages. Its callback's events are encoded by their schemas; an event without a schema stays JSON; what cannot
//! be encoded becomes a dead letter. Every event becomes at least one message, unless it is a copy of an earlier event. A record waits
//! while the registry has not given its schema's id. No I/O here.

mod event;
mod setup;

use std::collections::BTreeSet;
use std::sync::Arc;

use self::event::{Framings, Made};
use super::dead_letter::{self, DeadLetter};
use super::history::History;
use super::metrics::Metrics;
use super::names::Names;
use super::recent::{Latest, Sample};
use super::refusals::Refusals;
use super::timeline::Timeline;
use super::unfold::{clear_head, cleared, events_of, open};
use crate::callback::{CommandTable, Head};
use crate::provider::{Event, Privacy, group_of};
use crate::publish::{Message, Position, Slot};
use crate::schema::registry::Ids;
use crate::schema::{Catalogue, Encoder, Meta, Style};
use crate::spool::Record;

/// Dead letters that the status page shows.
const LETTERS_MAX: usize = 20;

/// Where messages go and how they are made.
pub struct Composer {
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) commands: Arc<CommandTable>,
    pub(super) names: Names,
    pub(super) encoder: Encoder,
    timeline: Option<Timeline>,
    pub(super) metrics: Metrics,
    framing: Style,
    registry: Option<Ids>,
    recent: Latest<Sample>,
    pub(super) privacy: Privacy,
    pub(super) history: History,
    /// Whether the history knows what was delivered before this start.
    pub(super) recalled: bool,
    /// What Kafka refuses.
    pub(super) refusals: Refusals,
    /// The last record that was composed. Events of records up to here are not counted again.
    composed: u64,
    /// Dead letters that were counted and are not delivered, by record and place in it.
    counted: BTreeSet<(u64, u32)>,
}

/// The most bytes that a topic takes in one message.
type Limit<'a> = dyn Fn(&str) -> usize + 'a;

/// Where an event comes from.
#[derive(Clone, Copy)]
struct Origin<'a> {
    record: &'a Record,
    head: &'a Head,
}

/// The id of a schema is not known yet. Nothing of the record was composed or counted; it is to be composed again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting;

impl Composer {
    /// The other place where an earlier session may have sent this message's event: as a dead letter, or to its own topic instead.
    pub(super) fn other_place(&self, message: &Message) -> Option<Slot> {
        let letters = &self.names.dead_letter;
        if message.slot.topic == *letters {
            return message.twin.clone();
        }
        // A timeline message whose event is a dead letter has no other place: a replay of the letter brings a timeline message of its own.
        if self.is_timeline(&message.slot.topic) && message.twin.is_some() {
            return None;
        }
        Some(Slot {
            topic: Arc::clone(letters),
            partition: message.slot.partition,
        })
    }

    /// Whether this is the dead-letter topic.
    pub(super) fn is_dead_letter_topic(&self, topic: &str) -> bool {
        *self.names.dead_letter == *topic
    }

    /// Whether this is the timeline's topic.
    pub(super) fn is_timeline(&self, topic: &str) -> bool {
        self.names.timeline.as_deref() == Some(topic)
    }

    /// Forgets records up to this one: they are delivered and are never composed again.
    pub(super) fn forget(&mut self, seq: u64) {
        self.refusals.forget(seq);
        self.timeline.iter_mut().for_each(|timeline| timeline.forget(seq));
        while self.counted.first().is_some_and(|(first, _)| *first <= seq) {
            self.counted.pop_first();
        }
    }

    /// The messages of a record, in order; none where all of its events are copies of earlier ones. A message that is larger than its
    /// topic's `limit` becomes a dead letter, in parts where one message does not hold it.
    ///
    /// # Errors
    /// [`Waiting`] for the id of a schema.
    pub fn compose(&mut self, record: &Record, limit: &Limit<'_>) -> Result<Vec<Message>, Waiting> {
        let messages = self.messages(record, limit)?;
        self.composed = self.composed.max(record.seq);
        Ok(messages)
    }

    fn messages(&mut self, record: &Record, limit: &Limit<'_>) -> Result<Vec<Message>, Waiting> {
        let mut callback = match open(record) {
            Ok(callback) => callback,
            Err(reason) => {
                let letter = DeadLetter::new(record, None, reason).withheld_if(self.privacy.concerns(None));
                return Ok(self.dead_letter(letter, limit));
            }
        };
        clear_head(&mut callback, &self.privacy);
        let head = &callback.head;
        let events = match events_of(&callback, &self.commands) {
            Ok(events) => events,
            Err(reason) => {
                // The events of a batch have commands of their own.
                let command = head.command.as_deref().filter(|_| reason.0 == "not_json");
                let letter = DeadLetter::new(record, Some(head), reason)
                    .with_body(&callback.body)
                    .withheld_if(self.privacy.concerns(command));
                return Ok(self.dead_letter(letter, limit));
            }
        };
        // A record waits as a whole: the framings of all events are needed before the first is composed.
        let framings: Vec<_> = events
            .iter()
            .map(|event| self.framings(head.provider, &event.command, limit))
            .collect::<Result<_, Waiting>>()?;
        let origin = Origin { record, head };
        let mut messages: Vec<Message> = Vec::with_capacity(events.len() * 2);
        for (event, framings) in events.iter().zip(framings) {
            messages.extend(self.compose_event(origin, event, framings, limit));
        }
        Ok(messages)
    }

    /// The messages of one event: its own and the timeline's, or its dead letter, or none for a copy.
    fn compose_event(
        &mut self,
        Origin { record, head }: Origin<'_>,
        event: &Event<'_>,
        framings: Framings,
        limit: &Limit<'_>,
    ) -> Vec<Message> {
        let letter = |reason| DeadLetter::new(record, Some(head), reason);
        let Some(event) = &cleared(event, &self.privacy) else {
            let error = "the event is no JSON object, and a privacy rule is for its command";
            let letter = letter(("withheld", error.into())).with_event(event).withheld_if(true);
            return self.dead_letter(letter, limit);
        };
        let position = Position {
            seq: record.seq,
            index: event.index,
            part: 0,
        };
        let (letter, beside) = match self.message(head, position, event, framings) {
            Ok(Made::Copy) => return Vec::new(),
            Ok(Made::Message(message, in_timeline)) if message.size() <= limit(&message.slot.topic) => {
                if in_timeline.is_none() && framings.timeline.is_some() {
                    self.leave_out(position);
                }
                return std::iter::once(message).chain(in_timeline).collect();
            }
            Ok(Made::Message(message, _)) => {
                let error = format!("{} bytes are more than {} takes", message.size(), message.slot.topic);
                let letter = letter(("too_large", error)).with_key(Some(message.key));
                (letter.instead_of(message.slot), None)
            }
            Ok(Made::Refused(reason, own, in_timeline)) => {
                let twin = Some(own.slot.clone());
                let beside = in_timeline.map(|message| Message { twin, ..message });
                (letter(reason).with_key(Some(own.key)).instead_of(own.slot), beside)
            }
            Err(reason) => (letter(reason).with_key(group_of(&event.body)), None),
        };
        let mut messages = self.dead_letter(letter.with_event(event), limit);
        messages.extend(beside);
        messages
    }

    /// Counts an event, once, that the timeline refuses.
    fn leave_out(&mut self, position: Position) {
        let Some(timeline) = &mut self.timeline else { return };
        let verdict = self.refusals.verdict(position, &timeline.topic);
        if let Some(verdict) = verdict.filter(|_| timeline.leaves_out(position)) {
            let count = &self.metrics.timeline_left_out;
            count.with_label_values(&[&verdict.error]).inc();
        }
    }

    /// Counts a dead letter, once, and gives its messages.
    fn dead_letter(&mut self, letter: DeadLetter<'_>, limit: &Limit<'_>) -> Vec<Message> {
        if self.counted.insert(letter.place()) {
            self.metrics
                .dead_letters
                .with_label_values(&[letter.provider(), letter.reason])
                .inc();
            self.recent.add(letter.sample(), |_, _| false);
        }
        dead_letter::messages(&self.names, &letter, limit(&self.names.dead_letter))
    }
}

/// What a record says of its event beside the body.
pub(super) fn meta<'a>(
    spool: &'a str,
    position: Position,
    head: &'a Head,
    (event_id, content_id): (&'a str, Option<&'a str>),
) -> Meta<'a> {
    Meta {
        spool,
        seq: position.seq,
        part: position.index,
        event_id,
        content_id,
        received_at_ms: head.received_at_ms,
        app: &head.app,
        client_ip: head.client_ip.as_deref(),
        platform: head.platform.as_deref(),
        request_id: head.request_id.as_deref(),
    }
}
