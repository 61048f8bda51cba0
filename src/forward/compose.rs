//! A spooled record becomes messages: its callback's events, encoded by their schemas, as raw JSON where there is no
//! schema, as dead letters where encoding is impossible. Every event becomes at least one message, unless it is a copy of
//! an earlier one; or its record waits until the registry has told the number of its schema. No I/O here.

use std::sync::Arc;

use super::dead_letter::{self, DeadLetter};
use super::history::{self, History, Seen};
use super::metrics::Metrics;
use super::names::{Draft, Names, source_of};
use super::recent::RecentLetters;
use super::renewal::Renewal;
use super::repeats::{Arrival, ContentId};
use super::sequences::Irregularities;
use super::unfold::{Reason, clear_head, cleared, events_of, open};
use crate::callback::{CommandTable, Head, Provider};
use crate::provider::{Event, Privacy, group_of};
use crate::publish::{self, Message, Position};
use crate::schema::registry::{Ids, Question};
use crate::schema::{Catalogue, Command, Encoder, Framing, Meta};
use crate::spool::Record;

/// Where messages go and how they are made.
pub struct Composer {
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) commands: Arc<CommandTable>,
    names: Names,
    pub(super) encoder: Encoder,
    metrics: Metrics,
    registry: Option<Ids>,
    recent: RecentLetters,
    pub(super) privacy: Privacy,
    pub(super) history: History,
    /// Whether the history knows what was delivered before this start.
    pub(super) recalled: bool,
}

/// A schema's number is not known yet: nothing of the record was composed or counted, and it is to be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting;

impl Composer {
    /// A composer for this spool's records.
    pub fn new(
        catalogue: Arc<Catalogue>,
        commands: Arc<CommandTable>,
        config: &publish::Config,
        spool: &str,
        metrics: Metrics,
    ) -> Composer {
        let names = Names::new(&catalogue, config, spool);
        Composer {
            catalogue,
            commands,
            names,
            encoder: Encoder::new(),
            privacy: Privacy::default(),
            history: History::new(&history::Config::default(), metrics.clone()),
            metrics,
            registry: None,
            recent: RecentLetters::default(),
            recalled: false,
        }
    }

    /// The same, without what these rules keep back.
    #[must_use]
    pub fn with_privacy(self, privacy: Privacy) -> Composer {
        Composer { privacy, ..self }
    }

    /// The same, with this much of a memory.
    #[must_use]
    pub fn with_history(self, config: &history::Config) -> Composer {
        let history = History::new(config, self.metrics.clone());
        Composer { history, ..self }
    }

    /// The latest dead letters.
    pub fn recent_letters(&self) -> RecentLetters {
        self.recent.clone()
    }

    /// The groups whose numbers did not follow one another lately.
    pub fn irregularities(&self) -> Irregularities {
        self.history.irregularities()
    }

    /// The same, for records that name their schema by its number in a registry.
    #[must_use]
    pub fn with_registry(self, registry: Option<Ids>) -> Composer {
        Composer { registry, ..self }
    }

    /// From here on with other schemas and rules; what is remembered of earlier events stays.
    pub(super) fn renew(&mut self, renewal: Renewal, topic_prefix: &str) {
        self.names.rename(&renewal.catalogue, topic_prefix);
        self.catalogue = renewal.catalogue;
        if let Some(registry) = &mut self.registry {
            registry.retain(self.catalogue.commands().map(Command::fingerprint));
        }
        self.commands = renewal.commands;
        self.privacy = renewal.privacy;
    }

    /// Every topic that something can go to.
    pub fn topics(&self) -> Vec<String> {
        self.names.all_topics()
    }

    /// The messages of a record, in order; none where all of its events are copies of earlier ones. A message larger than its topic's `limit` becomes a dead letter, in parts
    /// where one does not hold it.
    pub fn compose(&mut self, record: &Record, limit: &dyn Fn(&str) -> usize) -> Result<Vec<Message>, Waiting> {
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
            .map(|event| self.framing(callback.head.provider, &event.command))
            .collect::<Result<_, Waiting>>()?;
        let mut messages: Vec<Message> = Vec::with_capacity(events.len());
        for (event, framing) in events.iter().zip(framings) {
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
            let (reason, key) = match self.message(&callback.head, position, event, framing) {
                Ok(None) => continue,
                Ok(Some(message)) if message.size() <= limit(&message.slot.topic) => {
                    messages.push(message);
                    continue;
                }
                Ok(Some(message)) => {
                    let error = format!("{} bytes are more than {} takes", message.size(), message.slot.topic);
                    (("too_large", error), message.key)
                }
                Err(reason) => (reason, group_of(&event.body)),
            };
            let letter = DeadLetter::new(record, head, reason).with_event(event).with_key(key);
            messages.extend(self.bury(letter, limit));
        }
        Ok(messages)
    }

    /// How a command's records name their schema; `None` for a command without one.
    fn framing(&mut self, provider: Provider, command: &str) -> Result<Option<Framing>, Waiting> {
        let Some(command) = self.catalogue.command(provider.as_str(), command) else {
            return Ok(None);
        };
        let Some(registry) = &mut self.registry else {
            return Ok(Some(command.framing()));
        };
        let question = Question {
            topic: self.names.topic(provider, command.name()),
            fingerprint: command.fingerprint(),
            schema: command.schema(),
        };
        let id = registry.id(question).ok_or(Waiting)?;
        Ok(Some(Framing::Confluent { id }))
    }

    fn bury(&self, letter: DeadLetter<'_>, limit: &dyn Fn(&str) -> usize) -> Vec<Message> {
        self.metrics
            .dead_letters
            .with_label_values(&[letter.provider(), letter.reason()])
            .inc();
        self.recent.add(letter.sample());
        dead_letter::messages(&self.names, &letter, limit(self.names.dead_letter()))
    }

    /// The message of an event; none for a copy.
    fn message(
        &mut self,
        head: &Head,
        position: Position,
        event: &Event<'_>,
        framing: Option<Framing>,
    ) -> Result<Option<Message>, Reason> {
        let command = self.catalogue.command(head.provider.as_str(), &event.command);
        let (Some(command), Some(framing)) = (command, framing) else {
            return Ok(Some(self.unknown(head, position, event)));
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
                &meta(head, &id, content_text.as_deref()),
                &mut payload,
            )
            .map_err(|cause| (cause.reason(), cause.to_string()))?;
        let seen = Seen {
            head,
            command: command.name(),
            arrival: Arrival::of(head, position.seq, event.index),
            id: content.filter(|_| encoded.identified),
            numbered: encoded.numbered,
        };
        if !self.history.admit(seen) {
            return Ok(None);
        }
        for path in &encoded.unmapped.paths {
            self.metrics.unmapped(command.provider(), command.name(), path);
        }
        let draft = Draft {
            position,
            id: content_text.filter(|_| encoded.identified),
            topic: self.names.topic(head.provider, command.name()),
            source: source_of(head),
            kind: format!("{}.{}", command.provider(), command.name()),
            key: Some(encoded.key.unwrap_or_else(|| head.app.clone())),
            time_ms: encoded.time_ms.unwrap_or(head.received_at_ms),
            received_at_ms: head.received_at_ms,
            content_type: "application/avro",
            trace: head.trace.as_ref(),
            payload,
        };
        Ok(Some(self.names.finish(draft, Vec::new())))
    }

    /// A command without a schema: its JSON as it came. Without a group, events of one command stay in order.
    fn unknown(&self, head: &Head, position: Position, event: &Event<'_>) -> Message {
        let command = event.command.clone().into_owned();
        let draft = Draft {
            position,
            id: None,
            topic: self.names.unknown(head.provider),
            source: source_of(head),
            kind: format!("{}.{command}", head.provider.as_str()),
            key: group_of(&event.body).or_else(|| Some(command.clone())),
            time_ms: head.received_at_ms,
            received_at_ms: head.received_at_ms,
            content_type: "application/json",
            trace: head.trace.as_ref(),
            payload: event.body.to_vec(),
        };
        self.names.finish(draft, vec![("imbridge-command", command)])
    }
}

pub(super) fn meta<'a>(head: &'a Head, event_id: &'a str, content_id: Option<&'a str>) -> Meta<'a> {
    Meta {
        event_id,
        content_id,
        received_at_ms: head.received_at_ms,
        app: &head.app,
        client_ip: head.client_ip.as_deref(),
        platform: head.platform.as_deref(),
        request_id: head.request_id.as_deref(),
    }
}
