//! A spooled record becomes messages: its callback's events, encoded by their schemas, as raw JSON where there is no
//! schema, as dead letters where encoding is impossible. Every event becomes at least one message, unless it is a copy of
//! an earlier one; or its record waits until the registry has told the number of its schema. No I/O here.

mod setup;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::dead_letter::{self, DeadLetter};
use super::history::{History, Seen};
use super::metrics::Metrics;
use super::names::{Draft, Names, source_of};
use super::recent::{Latest, Sample};
use super::refusals::Refusals;
use super::repeats::{Arrival, ContentId};
use super::timeline::{Timeline, Told};
use super::unfold::{Reason, clear_head, cleared, events_of, open};
use crate::callback::{CommandTable, Head, Provider};
use crate::provider::{Event, Privacy, group_of};
use crate::publish::{Message, Position, Slot};
use crate::schema::registry::{Ids, Question};
use crate::schema::{Catalogue, Command, Encoder, Framing, Meaning, Meta, Style};
use crate::spool::Record;

/// Dead letters that are remembered.
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
    /// The last record that was composed: what is gone through again is not counted again.
    composed: u64,
    /// The dead letters that were counted and are not delivered.
    counted: BTreeSet<(u64, u32)>,
}

/// What an event becomes.
enum Made {
    /// Its own message, and the timeline's.
    Message(Message, Option<Message>),
    /// Nothing: it is a copy of an earlier one.
    Copy,
    /// A dead letter in the place of its own message, since its topic or this record is refused; and the timeline's, for the case that
    /// Kafka has its own all the same.
    Refused(Reason, Message, Option<Message>),
}

/// How the records of an event name their schemas.
#[derive(Clone, Copy)]
struct Framings {
    /// None for a command without a schema.
    own: Option<Framing>,
    /// None where the timeline does not have the command; with what its topic takes at most, in bytes.
    timeline: Option<(Framing, usize)>,
}

/// What a topic takes at most, in bytes.
type Limit<'a> = dyn Fn(&str) -> usize + 'a;

/// A schema's number is not known yet: nothing of the record was composed or counted, and it is to be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting;

impl Composer {
    /// Where a message's event may have become a dead letter in an earlier session, or the other way round.
    pub(super) fn other_place(&self, message: &Message) -> Option<Slot> {
        let letters = &self.names.dead_letter;
        if message.slot.topic == *letters {
            return message.twin.clone();
        }
        // That of an event in the timeline is its dead letter too, whose replay brings a copy of its own.
        if self.is_timeline(&message.slot.topic) && message.twin.is_some() {
            return None;
        }
        Some(Slot {
            topic: Arc::clone(letters),
            partition: message.slot.partition,
        })
    }

    /// Whether this is the topic of dead letters.
    pub(super) fn is_dead_letter_topic(&self, topic: &str) -> bool {
        *self.names.dead_letter == *topic
    }

    /// Whether this is the topic of the timeline.
    pub(super) fn is_timeline(&self, topic: &str) -> bool {
        self.names.timeline.as_deref() == Some(topic)
    }

    /// Everything up to this record is delivered, and is never composed again.
    pub(super) fn forget(&mut self, seq: u64) {
        self.refusals.forget(seq);
        self.timeline.iter_mut().for_each(|timeline| timeline.forget(seq));
        while self.counted.first().is_some_and(|(first, _)| *first <= seq) {
            self.counted.pop_first();
        }
    }

    /// The messages of a record, in order; none where all of its events are copies of earlier ones. A message larger than its topic's `limit` becomes a dead letter, in parts
    /// where one does not hold it.
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
                return Ok(self.bury(letter, limit));
            }
        };
        clear_head(&mut callback, &self.privacy);
        let head = Some(&callback.head);
        let events = match events_of(&callback, &self.commands) {
            Ok(events) => events,
            Err(reason) => {
                // The events of a batch have commands of their own.
                let command = callback.head.command.as_deref().filter(|_| reason.0 == "not_json");
                let letter = DeadLetter::new(record, head, reason)
                    .with_body(&callback.body)
                    .withheld_if(self.privacy.concerns(command));
                return Ok(self.bury(letter, limit));
            }
        };
        // All of them before the first is composed: a record waits as a whole.
        let framings: Vec<_> = events
            .iter()
            .map(|event| self.framings(callback.head.provider, &event.command, limit))
            .collect::<Result<_, Waiting>>()?;
        let mut messages: Vec<Message> = Vec::with_capacity(events.len() * 2);
        for (event, framings) in events.iter().zip(framings) {
            let position = Position {
                seq: record.seq,
                index: event.index,
                part: 0,
            };
            let Some(event) = &cleared(event, &self.privacy) else {
                let reason = (
                    "withheld",
                    "the event is no JSON object, and a privacy rule is for its command".into(),
                );
                let letter = DeadLetter::new(record, head, reason)
                    .with_event(event)
                    .withheld_if(true);
                messages.extend(self.bury(letter, limit));
                continue;
            };
            let (letter, mut beside) = (DeadLetter::new, None);
            let letter = match self.message(&callback.head, position, event, framings) {
                Ok(Made::Copy) => continue,
                Ok(Made::Message(message, copy)) if message.size() <= limit(&message.slot.topic) => {
                    messages.push(message);
                    if copy.is_none() && framings.timeline.is_some() {
                        self.leave_out(position);
                    }
                    messages.extend(copy);
                    continue;
                }
                Ok(Made::Message(message, _)) => {
                    let error = format!("{} bytes are more than {} takes", message.size(), message.slot.topic);
                    letter(record, head, ("too_large", error))
                        .with_key(Some(message.key))
                        .instead_of(message.slot)
                }
                Ok(Made::Refused(reason, own, copy)) => {
                    let twin = Some(own.slot.clone());
                    beside = copy.map(|copy| Message { twin, ..copy });
                    letter(record, head, reason)
                        .with_key(Some(own.key))
                        .instead_of(own.slot)
                }
                Err(reason) => letter(record, head, reason).with_key(group_of(&event.body)),
            };
            messages.extend(self.bury(letter.with_event(event), limit));
            messages.extend(beside);
        }
        Ok(messages)
    }

    fn framings(&mut self, provider: Provider, command: &str, limit: &Limit<'_>) -> Result<Framings, Waiting> {
        let (registry, style) = (&mut self.registry, self.framing);
        let mut framing = |topic: &str, command: &Command| {
            let Some(registry) = registry else {
                return Ok(command.framing(style));
            };
            let question = Question {
                topic,
                fingerprint: command.fingerprint(),
                schema: command.schema(),
            };
            let id = registry.id(question).ok_or(Waiting)?;
            Ok(Framing::Confluent { id })
        };
        let own = self.catalogue.command(provider.as_str(), command);
        let own = own.map(|command| framing(self.names.topic(provider, command.name()), command));
        let timeline = self.timeline.as_ref().filter(|timeline| timeline.has(command));
        let timeline = timeline.map(|timeline| {
            let framing = framing(&timeline.topic, self.catalogue.timeline())?;
            Ok((framing, limit(&timeline.topic)))
        });
        Ok(Framings {
            own: own.transpose()?,
            timeline: timeline.transpose()?,
        })
    }

    /// Counts, once, an event that the timeline does not take.
    fn leave_out(&mut self, position: Position) {
        let Some(timeline) = &mut self.timeline else { return };
        let verdict = self.refusals.verdict(position, &timeline.topic);
        if let Some(verdict) = verdict.filter(|_| timeline.leaves_out(position)) {
            let count = &self.metrics.timeline_left_out;
            count.with_label_values(&[&verdict.error]).inc();
        }
    }

    fn bury(&mut self, letter: DeadLetter<'_>, limit: &Limit<'_>) -> Vec<Message> {
        if self.counted.insert(letter.place()) {
            self.metrics
                .dead_letters
                .with_label_values(&[letter.provider(), letter.reason])
                .inc();
            self.recent.add(letter.sample(), |_, _| false);
        }
        dead_letter::messages(&self.names, &letter, limit(&self.names.dead_letter))
    }

    /// What becomes of an event.
    fn message(
        &mut self,
        head: &Head,
        position: Position,
        event: &Event<'_>,
        framings: Framings,
    ) -> Result<Made, Reason> {
        let command = self.catalogue.command(head.provider.as_str(), &event.command);
        let (Some(command), Some(framing)) = (command, framings.own) else {
            let (message, of_group) = self.unknown(head, position, event);
            let refused = self.refusal(position, &message.slot.topic);
            let told = Told {
                head,
                event,
                of_group,
                phase: None,
                meaning: Meaning::default(),
                event_time_ms: None,
            };
            let copy = self.copy(&told, &message, framings);
            return Ok(self.made(refused, message, copy));
        };
        let content = command
            .has_identity()
            .then(|| ContentId::of(head, command.name(), &event.body));
        let (id, content_text) = (self.names.event_id(position), content.map(ContentId::text));
        let mut payload = Vec::with_capacity(event.body.len() + 128);
        framing.write(&mut payload);
        let encoded = self
            .encoder
            .record(
                command,
                &event.body,
                &meta(&self.names.spool, position, head, (&id, content_text.as_deref())),
                &mut payload,
            )
            .map_err(|cause| (cause.reason(), cause.to_string()))?;
        let topic = self.names.topic(head.provider, command.name());
        let key = encoded.key.unwrap_or_else(|| head.app.clone());
        let arrival = Arrival::of(head, position.seq, event.index);
        let refused = self.refusal(position, topic);
        let seen = Seen {
            head,
            command: command.name(),
            arrival,
            id: content.filter(|_| encoded.identified),
            numbered: encoded.numbered,
        };
        if refused.is_some() {
            // Sent once more by somebody, it is no copy of what never came.
            self.history.repeats.rewind(arrival);
        } else if !self.history.admit(seen) {
            return Ok(Made::Copy);
        } else if position.seq > self.composed {
            for path in &encoded.unmapped {
                self.metrics.unmapped(command.provider(), command.name(), path);
            }
        }
        let draft = Draft {
            position,
            id: content_text.filter(|_| encoded.identified),
            topic,
            source: source_of(head),
            kind: [command.provider(), ".", command.name()].concat(),
            key,
            time_ms: encoded.time_ms.unwrap_or(head.received_at_ms),
            received_at_ms: head.received_at_ms,
            content_type: "application/avro",
            trace: head.trace.as_ref(),
            payload,
        };
        let message = self.names.finish(draft, Vec::new());
        let told = Told {
            head,
            event,
            of_group: encoded.of_group,
            phase: Some(command.rule().phase),
            meaning: self.encoder.meaning(command),
            event_time_ms: encoded.time_ms,
        };
        let copy = self.copy(&told, &message, framings);
        Ok(self.made(refused, message, copy))
    }

    fn made(&self, refused: Option<Reason>, message: Message, copy: Option<Message>) -> Made {
        let Some(reason) = refused else {
            return Made::Message(message, copy);
        };
        // Only an earlier session can have sent it, and a transaction that did not end has sent nothing.
        let may_be_there = message.position.seq <= self.composed && !self.names.is_transactional();
        Made::Refused(reason, message, copy.filter(|_| may_be_there))
    }

    /// The timeline's message of an event.
    fn copy(&self, told: &Told<'_>, own: &Message, framings: Framings) -> Option<Message> {
        let (timeline, (framing, limit)) = (self.timeline.as_ref()?, framings.timeline?);
        if self.refusals.verdict(own.position, &timeline.topic).is_some() {
            return None;
        }
        Some(timeline.copy(told, own, &self.names.spool, (framing, limit)))
    }

    /// Why an event that would go to this topic becomes a dead letter.
    fn refusal(&self, position: Position, topic: &str) -> Option<Reason> {
        let verdict = self.refusals.verdict(position, topic)?;
        if !self.counted.contains(&(position.seq, position.index)) {
            self.metrics.refused.with_label_values(&[topic, &verdict.error]).inc();
        }
        Some((verdict.reason, verdict.text.clone()))
    }

    /// A command without a schema: its JSON as it came. Without a group, events of one command stay in order. Says also whether its key is a group's id.
    fn unknown(&self, head: &Head, position: Position, event: &Event<'_>) -> (Message, bool) {
        let command = event.command.clone().into_owned();
        let group = group_of(&event.body);
        let of_group = group.is_some();
        let draft = Draft {
            position,
            id: None,
            topic: self.names.unknown(head.provider),
            source: source_of(head),
            kind: format!("{}.{command}", head.provider.as_str()),
            key: group.unwrap_or_else(|| command.clone()),
            time_ms: head.received_at_ms,
            received_at_ms: head.received_at_ms,
            content_type: "application/json",
            trace: head.trace.as_ref(),
            payload: event.body.to_vec(),
        };
        let message = self.names.finish(draft, vec![("imbridge-command", command)]);
        (message, of_group)
    }
}

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
