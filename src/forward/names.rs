//! The names in messages: topics, partitions, ids, and the headers that all kinds of messages share. It reads no body and no schema.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use foldhash::HashMap;

use crate::callback::{Head, Provider, Trace};
use crate::publish::{self, Delivery, Message, Position, Slot, partition_of};
use crate::schema::{Catalogue, Command};

/// The topic of each command.
type Topics = HashMap<Provider, HashMap<String, Arc<str>>>;

/// The names that go into messages.
pub(super) struct Names {
    pub spool: String,
    /// The number of partitions that keys are spread over.
    pub partitions: i32,
    topics: Topics,
    unknown: HashMap<Provider, Arc<str>>,
    pub dead_letter: Arc<str>,
    /// `None` without a timeline.
    pub timeline: Option<Arc<str>>,
    /// `None` unless delivery is transactional.
    checkpoints: Option<String>,
}

/// What all kinds of messages have.
pub(super) struct Draft<'a> {
    pub position: Position,
    /// `ce_id`; `None` where it is made of the position.
    pub id: Option<String>,
    pub topic: &'a Arc<str>,
    pub source: String,
    pub kind: String,
    pub key: String,
    pub time_ms: i64,
    pub received_at_ms: i64,
    pub content_type: &'static str,
    pub trace: Option<&'a Trace>,
    pub payload: Vec<u8>,
}

/// `ce_source`: the provider and the app.
pub(super) fn source_of(head: &Head) -> String {
    ["/", head.provider.as_str(), "/", &head.app].concat()
}

impl Names {
    /// For this spool's messages.
    pub fn new(catalogue: &Catalogue, config: &publish::Config, spool: &str) -> Names {
        let prefix = &config.topic_prefix;
        let unknown =
            Provider::ALL.map(|provider| (provider, publish::unknown_topic(prefix, provider.as_str()).into()));
        Names {
            spool: spool.to_owned(),
            partitions: config.partitions,
            topics: topics_of(catalogue, prefix),
            unknown: unknown.into_iter().collect(),
            dead_letter: publish::dead_letter_topic(prefix).into(),
            timeline: config.timeline.as_ref().map(|timeline| timeline.topic(prefix).into()),
            checkpoints: (config.delivery == Delivery::Transactional).then(|| publish::checkpoint_topic(prefix)),
        }
    }

    /// Takes the topics of other schemas.
    pub fn rename(&mut self, catalogue: &Catalogue, prefix: &str) {
        self.topics = topics_of(catalogue, prefix);
    }

    /// Whether messages are sent in transactions.
    pub fn is_transactional(&self) -> bool {
        self.checkpoints.is_some()
    }

    /// The topic of a command that has a schema.
    pub fn topic(&self, provider: Provider, command: &str) -> &Arc<str> {
        &self.topics[&provider][command]
    }

    /// The topic of commands that have none.
    pub fn unknown(&self, provider: Provider) -> &Arc<str> {
        &self.unknown[&provider]
    }

    /// Every topic that something of these providers can go to.
    pub fn all_topics(&self, providers: &[Provider]) -> Vec<String> {
        let all = providers
            .iter()
            .flat_map(|provider| self.topics[provider].values().chain([&self.unknown[provider]]))
            .chain([&self.dead_letter])
            .chain(&self.timeline);
        let mut topics: Vec<String> = all.map(|topic| topic.to_string()).collect();
        topics.extend(self.checkpoints.clone());
        topics.sort();
        topics
    }

    /// The id of an event without an identity of its own. It stays the same when the record is composed again.
    pub fn event_id(&self, position: Position) -> String {
        format!("{}.{position}", self.spool)
    }

    /// Chooses the partition and writes the CloudEvents headers (Kafka protocol binding, binary mode).
    pub fn finish(&self, mut draft: Draft<'_>, more: Vec<(&'static str, String)>) -> Message {
        let id = draft.id.take().unwrap_or_else(|| self.event_id(draft.position));
        let mut headers = vec![
            ("ce_specversion", Cow::Borrowed("1.0")),
            ("ce_id", id.into()),
            ("ce_source", draft.source.into()),
            ("ce_type", draft.kind.into()),
            ("ce_time", rfc3339(draft.time_ms).into()),
            ("ce_subject", draft.key.clone().into()),
        ];
        if let Some(trace) = draft.trace {
            headers.push(("traceparent", trace.parent.clone().into()));
            headers.extend(trace.state.clone().map(|state| ("tracestate", state.into())));
        }
        headers.extend(more.into_iter().map(|(name, value)| (name, value.into())));
        let partition = partition_of(draft.key.as_bytes(), self.partitions);
        Message {
            position: draft.position,
            slot: Slot {
                topic: Arc::clone(draft.topic),
                partition,
            },
            key: draft.key,
            headers: headers.into(),
            content_type: draft.content_type,
            payload: draft.payload,
            received_at_ms: draft.received_at_ms,
            twin: None,
        }
    }
}

fn rfc3339(unix_ms: i64) -> String {
    // RFC 3339 can write the years up to 9999. A time outside of 1970 to 9999 becomes the nearest one inside.
    const LAST_MS: i64 = 253_402_300_799_999;
    let time = UNIX_EPOCH + Duration::from_millis(unix_ms.clamp(0, LAST_MS) as u64);
    humantime::format_rfc3339_millis(time).to_string()
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
