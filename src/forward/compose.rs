//! A spooled record becomes messages: its callback's events, encoded by their schemas, as raw JSON where there is no
//! schema, as dead letters where encoding is impossible. Every event becomes at least one message, unless it is a copy of
//! an earlier one; or its record waits until the registry has told the number of its schema. No I/O here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use super::dead_letter::{self, DeadLetter};
use super::history::{self, History, Seen};
use super::metrics::Metrics;
use super::repeats::{Arrival, ContentId};
use super::sequences::Irregularities;
use crate::callback::{Callback, CommandTable, Head, Provider, Trace};
use crate::provider::{Event, expand, group_of};
use crate::publish::{self, Delivery, Message, Position, Slot, partition_of};
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
    pub(super) history: History,
    /// Whether the history knows what was delivered before this start.
    pub(super) recalled: bool,
}

/// A schema's number is not known yet: nothing of the record was composed or counted, and it is to be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting;

/// The topic of each command.
type Topics = HashMap<Provider, HashMap<String, Arc<str>>>;

/// The names that go into messages.
pub(super) struct Names {
    spool: String,
    partitions: i32,
    topics: Topics,
    unknown: HashMap<Provider, Arc<str>>,
    dead_letter: Arc<str>,
    /// Where delivery is transactional.
    checkpoints: Option<String>,
}

/// A message's share of what is common to all kinds.
pub(super) struct Draft<'a> {
    pub position: Position,
    /// `ce_id`, where it is not made of the position.
    pub id: Option<String>,
    pub topic: &'a Arc<str>,
    pub source: String,
    pub kind: String,
    pub key: Option<String>,
    pub time_ms: i64,
    pub received_at_ms: i64,
    pub content_type: &'static str,
    pub trace: Option<&'a Trace>,
    pub payload: Vec<u8>,
}

/// Why there is no event, as a label and in words.
type Reason = (&'static str, String);

impl Composer {
    /// A composer for this spool's records.
    pub fn new(
        catalogue: Arc<Catalogue>,
        commands: Arc<CommandTable>,
        config: &publish::Config,
        spool: &str,
        metrics: Metrics,
    ) -> Composer {
        let prefix = &config.topic_prefix;
        let unknown =
            Provider::ALL.map(|provider| (provider, publish::unknown_topic(prefix, provider.as_str()).into()));
        let names = Names {
            spool: spool.to_owned(),
            partitions: config.partitions,
            topics: topics_of(&catalogue, prefix),
            unknown: unknown.into_iter().collect(),
            dead_letter: publish::dead_letter_topic(prefix).into(),
            checkpoints: (config.delivery == Delivery::Transactional).then(|| publish::checkpoint_topic(prefix)),
        };
        Composer {
            catalogue,
            commands,
            names,
            encoder: Encoder::new(),
            history: History::new(&history::Config::default(), metrics.clone()),
            metrics,
            registry: None,
            recalled: false,
        }
    }

    /// The same, with this much of a memory.
    #[must_use]
    pub fn with_history(self, config: &history::Config) -> Composer {
        let history = History::new(config, self.metrics.clone());
        Composer { history, ..self }
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

    /// From here on with other schemas; what is remembered of earlier events stays.
    pub(super) fn renew(&mut self, catalogue: Arc<Catalogue>, commands: Arc<CommandTable>, topic_prefix: &str) {
        self.names.topics = topics_of(&catalogue, topic_prefix);
        self.catalogue = catalogue;
        self.commands = commands;
    }

    /// Every topic that something can go to.
    pub fn topics(&self) -> Vec<String> {
        let names = &self.names;
        let all = names
            .topics
            .values()
            .flat_map(HashMap::values)
            .chain(names.unknown.values())
            .chain([&names.dead_letter]);
        let mut topics: Vec<String> = all.map(|topic| topic.to_string()).collect();
        topics.extend(names.checkpoints.clone());
        topics.sort();
        topics
    }

    /// The messages of a record, in order; none where all of its events are copies of earlier ones. A message larger than its topic's `limit` becomes a dead letter, in parts
    /// where one does not hold it.
    pub fn compose(&mut self, record: &Record, limit: &dyn Fn(&str) -> usize) -> Result<Vec<Message>, Waiting> {
        let callback = match open(record) {
            Ok(callback) => callback,
            Err(reason) => return Ok(self.bury(DeadLetter::new(record, None, reason), limit)),
        };
        let head = Some(&callback.head);
        let events = match events_of(&callback, &self.commands) {
            Ok(events) => events,
            Err(reason) => {
                let letter = DeadLetter::new(record, head, reason).with_body(&callback.body);
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
            topic: &self.names.topics[&provider][command.name()],
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
        dead_letter::messages(&self.names, &letter, limit(&self.names.dead_letter))
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
            topic: &self.names.topics[&head.provider][command.name()],
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
            topic: &self.names.unknown[&head.provider],
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

fn topics_of(catalogue: &Catalogue, prefix: &str) -> Topics {
    let topics_of = |provider: Provider| {
        let own = catalogue
            .commands()
            .filter(|command| command.provider() == provider.as_str());
        let topic = |command: &Command| {
            let topic = publish::command_topic(prefix, command.provider(), command.name());
            (command.name().to_owned(), topic.into())
        };
        (provider, own.map(topic).collect())
    };
    Provider::ALL.into_iter().map(topics_of).collect()
}

pub(super) fn open(record: &Record) -> Result<Callback, Reason> {
    if !record.intact && record.data.is_empty() {
        let error = "the page of the spool's file that held the record cannot be read; the file is in the quarantine";
        return Err(("corrupt_page", error.into()));
    }
    if !record.intact {
        return Err(("corrupt_record", "the record's bytes do not have its checksum".into()));
    }
    Callback::from_record(&record.data).map_err(|cause| ("unknown_record", cause.to_string()))
}

pub(super) fn events_of<'a>(callback: &'a Callback, commands: &CommandTable) -> Result<Vec<Event<'a>>, Reason> {
    if callback.head.unreadable {
        return Err((
            "not_json",
            "the body was refused: it is not JSON, or names no command".into(),
        ));
    }
    match expand(callback, commands) {
        Ok(events) if events.is_empty() => Err(("empty_batch", "the batch has no events".into())),
        Ok(events) => Ok(events),
        Err(cause) => Err(("no_batch", cause.to_string())),
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

/// `ce_source`: which app of which provider.
pub(super) fn source_of(head: &Head) -> String {
    format!("/{}/{}", head.provider.as_str(), head.app)
}

impl Names {
    /// The dead-letter topic.
    pub fn dead_letter(&self) -> &Arc<str> {
        &self.dead_letter
    }

    /// The id of an event without an identity of its own: the same however often the record goes through.
    pub fn event_id(&self, position: Position) -> String {
        format!("{}.{position}", self.spool)
    }

    /// Places the message and writes its CloudEvents headers (Kafka protocol binding, binary mode).
    pub fn finish(&self, mut draft: Draft<'_>, more: Vec<(&'static str, String)>) -> Message {
        let id = draft.id.take().unwrap_or_else(|| self.event_id(draft.position));
        let mut headers = vec![
            ("ce_specversion", "1.0".to_owned()),
            ("ce_id", id),
            ("ce_source", draft.source),
            ("ce_type", draft.kind),
            ("ce_time", rfc3339(draft.time_ms)),
            ("content-type", draft.content_type.to_owned()),
        ];
        headers.extend(draft.key.clone().map(|key| ("ce_subject", key)));
        if let Some(trace) = draft.trace {
            headers.push(("traceparent", trace.parent.clone()));
            headers.extend(trace.state.clone().map(|state| ("tracestate", state)));
        }
        headers.extend(more);
        let partition = draft
            .key
            .as_ref()
            .map_or(0, |key| partition_of(key.as_bytes(), self.partitions));
        Message {
            position: draft.position,
            slot: Slot {
                topic: Arc::clone(draft.topic),
                partition,
            },
            key: draft.key,
            headers,
            payload: draft.payload,
            received_at_ms: draft.received_at_ms,
        }
    }
}

fn rfc3339(unix_ms: i64) -> String {
    // The range that RFC 3339 can write: years 1970 to 9999. A provider's nonsense outside of it becomes its nearest end.
    const LAST_MS: i64 = 253_402_300_799_999;
    let time = UNIX_EPOCH + Duration::from_millis(unix_ms.clamp(0, LAST_MS) as u64);
    humantime::format_rfc3339_millis(time).to_string()
}
