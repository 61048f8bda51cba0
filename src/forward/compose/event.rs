//! What becomes of one event: its own message and the timeline's, nothing for a copy, or a dead letter.

use super::{Composer, Limit, Waiting, meta};
use crate::callback::{Head, Provider};
use crate::forward::history::Seen;
use crate::forward::names::{Draft, source_of};
use crate::forward::repeats::{Arrival, ContentId};
use crate::forward::timeline::{Facts, TimelineForm};
use crate::forward::unfold::Reason;
use crate::provider::{Event, group_of};
use crate::publish::{Message, Position};
use crate::schema::registry::Question;
use crate::schema::{Command, Framing, Meaning};

/// What an event becomes.
pub(super) enum Made {
    /// Its own message, and the timeline's.
    Message(Message, Option<Message>),
    /// Nothing: it is a copy of an earlier event.
    Copy,
    /// A dead letter instead of its own message, since Kafka refuses its topic or this record. The timeline's message comes along for the
    /// case that Kafka has its own message all the same.
    Refused(Reason, Message, Option<Message>),
}

/// How the records of an event name their schemas.
#[derive(Clone, Copy)]
pub(super) struct Framings {
    /// `None` for a command without a schema.
    own: Option<Framing>,
    /// `None` where the timeline does not have the command.
    pub timeline: Option<TimelineForm>,
}

impl Composer {
    /// How the records of an event of this command are framed.
    pub(super) fn framings(
        &mut self,
        provider: Provider,
        command: &str,
        limit: &Limit<'_>,
    ) -> Result<Framings, Waiting> {
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
            let limit = limit(&timeline.topic);
            Ok(TimelineForm { framing, limit })
        });
        Ok(Framings {
            own: own.transpose()?,
            timeline: timeline.transpose()?,
        })
    }

    /// What becomes of an event.
    ///
    /// # Errors
    /// The reason of a dead letter, where the event cannot be encoded.
    pub(super) fn message(
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
            let facts = Facts {
                head,
                event,
                of_group,
                phase: None,
                meaning: Meaning::default(),
                event_time_ms: None,
            };
            let in_timeline = self.timeline_message(&facts, &message, framings);
            return Ok(self.made(refused, message, in_timeline));
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
            // It did not reach its topic, so the same callback, sent once more, is no copy of it.
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
        let facts = Facts {
            head,
            event,
            of_group: encoded.of_group,
            phase: Some(command.rule().phase),
            meaning: self.encoder.meaning(command),
            event_time_ms: encoded.time_ms,
        };
        let in_timeline = self.timeline_message(&facts, &message, framings);
        Ok(self.made(refused, message, in_timeline))
    }

    fn made(&self, refused: Option<Reason>, message: Message, in_timeline: Option<Message>) -> Made {
        let Some(reason) = refused else {
            return Made::Message(message, in_timeline);
        };
        // Only an earlier session can have sent it. A transaction that was not committed has sent nothing.
        let may_be_there = message.position.seq <= self.composed && !self.names.is_transactional();
        Made::Refused(reason, message, in_timeline.filter(|_| may_be_there))
    }

    /// The timeline's message of an event.
    fn timeline_message(&self, facts: &Facts<'_>, own: &Message, framings: Framings) -> Option<Message> {
        let (timeline, framing) = (self.timeline.as_ref()?, framings.timeline?);
        if self.refusals.verdict(own.position, &timeline.topic).is_some() {
            return None;
        }
        Some(timeline.message(facts, own, &self.names.spool, framing))
    }

    /// Why an event that would go to this topic becomes a dead letter.
    fn refusal(&self, position: Position, topic: &str) -> Option<Reason> {
        let verdict = self.refusals.verdict(position, topic)?;
        if !self.counted.contains(&(position.seq, position.index)) {
            self.metrics.refused.with_label_values(&[topic, &verdict.error]).inc();
        }
        Some((verdict.reason, verdict.text.clone()))
    }

    /// The message of a command without a schema: its JSON as it came; and whether its key is a group's id. Without a group, the key is
    /// the command.
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
