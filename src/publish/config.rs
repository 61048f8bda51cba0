//! `[kafka]` of the configuration, and librdkafka's properties that follow from it.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use rdkafka::ClientConfig;
use serde::Deserialize;

use super::checkpoint::transactional_id;
use super::properties::{FIXED, IN_FLIGHT, Properties};
use super::timeline::Timeline;

/// A smaller queue could not hold one part of a dead letter.
const LEAST_QUEUE_BYTES: usize = 128 << 10;

/// How long a message waits for others to share its batch.
const PAUSE: Duration = Duration::from_millis(5);
/// After this time, a dead producer's requests have reached the broker or are lost.
const ON_THE_WAY: Duration = Duration::from_secs(2);
/// The same, plus the time in which a leader reports to the controller that it removes a follower.
const LAG_MARGIN: Duration = Duration::from_secs(5);

/// Defaults that the configuration may override, by their canonical names.
const DEFAULTS: [(&str, &str); 6] = [
    // The bridge itself hands over the messages of a batch together: see `pause`.
    ("queue.buffering.max.ms", "0"),
    ("compression.codec", "lz4"),
    ("queue.buffering.max.messages", "20000"),
    ("queue.buffering.max.kbytes", "32768"),
    ("socket.keepalive.enable", "true"),
    ("reconnect.backoff.max.ms", "2000"),
];

/// Longer than an election after a broker's death (its session lasts 9 s), and shorter than Kafka's default of 60 s: until this
/// time-out, a hanging broker keeps its requests, and the open transaction of a dead producer hides later messages from consumers.
const TRANSACTION_TIMEOUT_MS: &str = "15000";

/// How duplicate messages are prevented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// Kafka's idempotent producer. After a crash or a fault, the bridge reads back which messages Kafka has, and does not resend these.
    Idempotent,
    /// Kafka transactions, each with a checkpoint: exactly once for consumers that read committed messages. A second bridge with the same
    /// spool id fences off the first.
    Transactional,
}

impl Delivery {
    /// The value in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Delivery::Idempotent => "idempotent",
            Delivery::Transactional => "transactional",
        }
    }
}

/// When missing topics are created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum CreateTopics {
    /// Each topic when its first event comes.
    OnDemand,
    /// All topics of the configured providers, at the start.
    All,
    /// Never: an operator creates them.
    Never,
}

impl TryFrom<String> for CreateTopics {
    type Error = String;

    fn try_from(value: String) -> Result<CreateTopics, String> {
        match value.as_str() {
            "on_demand" => Ok(CreateTopics::OnDemand),
            "all" => Ok(CreateTopics::All),
            "never" => Ok(CreateTopics::Never),
            _ => Err(format!("{value:?}: \"on_demand\", \"all\" or \"never\" is allowed")),
        }
    }
}

/// Where and how to publish.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `host:port` of one or more brokers, separated by commas.
    pub brokers: String,
    /// The first part of every topic's name.
    pub topic_prefix: String,
    /// Partitions of each topic. A key's partition is computed with this number even if a topic has more.
    pub partitions: i32,
    /// Replicas of each topic that the bridge creates.
    pub replication_factor: i32,
    /// When missing topics are created: `on_demand`, `all` or `never`.
    pub create_topics: CreateTopics,
    /// Topic configuration for the topics that the bridge creates (`retention.ms`, `min.insync.replicas`, ...).
    pub topic_config: BTreeMap<String, String>,
    /// How duplicate messages are prevented: `idempotent` or `transactional`.
    pub delivery: Delivery,
    /// The largest message in bytes, including key and headers. It is set on the topics that the bridge creates.
    pub max_message_bytes: usize,
    /// How long, in seconds, a topic may refuse everything (a missing right, a policy, a topic that cannot be created) before its events
    /// become dead letters. Publishing waits once for this time.
    pub refusal_grace_s: u64,
    /// After this many seconds without a delivery, although the broker answers, the producer is replaced.
    pub stall_timeout_s: u64,
    /// The wait in milliseconds between a crash or a fault and the read-back. In this time requests in flight are appended or lost, and
    /// appended messages become visible. The default is 2000 with one replica. With more replicas it is 1.5 times the leaders'
    /// `replica.lag.time.max.ms` plus 5 s: a message becomes visible only when the leader's followers have it or were removed. A leader
    /// removes a follower after that time, plus up to half of it until its next check.
    pub settle_ms: Option<u64>,
    /// Any librdkafka property.
    pub properties: Properties,
    /// The timeline, if there is one. It has its own table.
    #[serde(skip)]
    pub timeline: Option<Timeline>,
    /// Whether the broker is librdkafka's mock cluster, which does not answer admin requests.
    #[serde(skip)]
    pub mock: bool,
    /// Whether answers wait for each delivery. Not a key of this table.
    #[serde(skip)]
    pub awaited: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            brokers: "localhost:9092".into(),
            topic_prefix: "im".into(),
            partitions: 12,
            replication_factor: 3,
            create_topics: CreateTopics::OnDemand,
            topic_config: BTreeMap::new(),
            delivery: Delivery::Idempotent,
            max_message_bytes: 8 << 20,
            refusal_grace_s: 60,
            stall_timeout_s: 120,
            settle_ms: None,
            properties: Properties::default(),
            timeline: None,
            mock: false,
            awaited: false,
        }
    }
}

impl Config {
    /// The first invalid value: its key and what is allowed.
    pub fn problem(&self) -> Option<(String, String)> {
        let problem = |key: &str, text: String| Some((key.to_owned(), text));
        let prefix = &self.topic_prefix;
        if prefix.len() > 100 || !is_topic_name(prefix) {
            let allowed = "1 to 100 characters of A-Z a-z 0-9 . _ - are allowed";
            return problem("topic_prefix", format!("{prefix:?}: {allowed}"));
        }
        if self.brokers.trim().is_empty() {
            return problem("brokers", "is empty: host:port of at least one broker is needed".into());
        }
        // The limits of an hour to settle and a year without a delivery keep additions to a clock from overflowing.
        let settle_ms = self.settle_ms.unwrap_or_default();
        for (key, value, least, most) in [
            ("partitions", i128::from(self.partitions), 1, i128::MAX),
            ("replication_factor", self.replication_factor.into(), 1, i128::MAX),
            ("max_message_bytes", self.max_message_bytes as i128, 65_536, i128::MAX),
            // With 0, every producer would be replaced before it has delivered anything.
            ("stall_timeout_s", self.stall_timeout_s.into(), 1, 366 * 24 * 3600),
            ("settle_ms", settle_ms.into(), 0, 3_600_000),
            ("refusal_grace_s", self.refusal_grace_s.into(), 0, 24 * 3600),
        ] {
            if value < least {
                return problem(key, format!("{value}: at least {least} is allowed"));
            }
            if value > most {
                return problem(key, format!("{value}: at most {most} is allowed"));
            }
        }
        if let Some((key, text)) = topic_config_problem(&self.topic_config) {
            return problem(key, text);
        }
        if self.queue_bytes() < LEAST_QUEUE_BYTES {
            let (kbytes, least) = (self.queue_bytes() / 1024, LEAST_QUEUE_BYTES / 1024);
            let key = "properties.\"queue.buffering.max.kbytes\"";
            return problem(key, format!("{kbytes} KiB: at least {least} is allowed"));
        }
        if let Some((name, text)) = self.properties.problem() {
            return problem(&format!("properties.{name:?}"), text);
        }
        let refused = self.client("check").create_native_config().err()?;
        problem("properties", refused.to_string())
    }

    /// The wait before reading back topics with this many replicas, whose leaders remove a follower after `lag`.
    pub fn settle(&self, replicas: usize, lag: impl FnOnce() -> Duration) -> Duration {
        let automatic = || match replicas {
            0 | 1 => ON_THE_WAY,
            _ => lag() * 3 / 2 + LAG_MARGIN,
        };
        self.settle_ms.map_or_else(automatic, Duration::from_millis)
    }

    /// The largest batch of several messages that librdkafka builds, in bytes.
    pub(super) fn batch_bytes(&self) -> usize {
        self.number("batch.size").unwrap_or(1_000_000).max(65_536)
    }

    /// The size of librdkafka's queue in bytes, which also limits a message.
    pub(super) fn queue_bytes(&self) -> usize {
        let kbytes: usize = self.number("queue.buffering.max.kbytes").unwrap_or(32_768);
        kbytes.saturating_mul(1024)
    }

    fn number<N: FromStr>(&self, property: &str) -> Option<N> {
        self.properties.get(property)?.parse().ok()
    }

    /// librdkafka's configuration for the producer of a spool.
    pub(super) fn producer(&self, spool_id: &str) -> ClientConfig {
        let mut client = self.client(&format!("imbridge-{spool_id}"));
        client.set(IN_FLIGHT, "1");
        if self.delivery == Delivery::Transactional {
            // Several requests are safe here: after an error a new epoch aborts the transaction, and consumers see none of it.
            client.set(IN_FLIGHT, "5");
            // A message that times out fails its whole transaction, so librdkafka applies the transaction's time-out.
            client.remove("message.timeout.ms");
            client.set("transactional.id", transactional_id(&self.topic_prefix, spool_id));
            // librdkafka refuses a `socket.timeout.ms` that is longer than the transaction's time-out.
            let timeouts = ["transaction.timeout.ms", "socket.timeout.ms"];
            if timeouts.iter().all(|name| self.properties.get(name).is_none()) {
                client.set("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS);
            }
        }
        client
    }

    /// Without transactions, the least time between two hand-overs of messages to librdkafka: `linger.ms`, if it is configured. It is zero
    /// if answers wait for each delivery; messages that come while a request is in flight still share a batch.
    pub fn pause(&self) -> Duration {
        let linger = self.number::<f64>("linger.ms");
        let linger = linger.map(|ms| Duration::from_secs_f64(ms.max(0.0) / 1000.0));
        linger.unwrap_or(if self.awaited { Duration::ZERO } else { PAUSE })
    }

    /// librdkafka's configuration for every client: producer, consumers and admin requests.
    pub(super) fn client(&self, client_id: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (name, value) in DEFAULTS {
            config.set(name, value);
        }
        for (name, value) in self.properties.canonical() {
            config.set(name, value);
        }
        for (name, value) in FIXED {
            config.set(name, value);
        }
        config.set("metadata.broker.list", &self.brokers);
        config.set("client.id", client_id);
        config.set("group.id", "imbridge-read-back");
        config.set("message.max.bytes", self.max_message_bytes.to_string());
        // librdkafka needs room for its largest fetch: 50 MiB or the largest message.
        config.set(
            "receive.message.max.bytes",
            (self.max_message_bytes + (100 << 20)).to_string(),
        );
        config.set("log.connection.close", "false");
        if self.mock {
            // The mock cluster answers no admin request. It creates a topic when its metadata is requested.
            config.set("allow.auto.create.topics", "true");
        }
        config
    }
}

/// Whether Kafka allows a topic's name to consist of these characters.
pub(super) fn is_topic_name(name: &str) -> bool {
    let is_ok = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !name.is_empty() && name.bytes().all(is_ok)
}

/// The first invalid setting for event topics: its key and what is allowed.
pub(super) fn topic_config_problem(config: &BTreeMap<String, String>) -> Option<(&'static str, String)> {
    let policy = config.get("cleanup.policy").filter(|policy| *policy != "delete")?;
    let allowed =
        "only \"delete\" is allowed; compaction would keep the last event of each group and delete the others";
    Some(("topic_config.\"cleanup.policy\"", format!("{policy:?}: {allowed}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A configuration with these properties.
    fn config(properties: &str) -> Config {
        toml::from_str(&format!("[properties]\n{properties}\n")).unwrap()
    }

    #[test]
    fn the_wait_before_a_read_back_depends_on_the_replicas_unless_it_is_configured() {
        let mut config = Config {
            replication_factor: 1,
            ..Config::default()
        };
        let seconds = |config: &Config, lag_s| {
            [1, 3].map(|replicas| config.settle(replicas, || Duration::from_secs(lag_s)).as_secs())
        };
        assert_eq!(seconds(&config, 30), [2, 50]);
        assert_eq!(seconds(&config, 10), [2, 20]);
        config.settle_ms = Some(7_000);
        assert_eq!(seconds(&config, 30), [7, 7]);
    }

    #[test]
    fn properties_that_the_promise_rests_on_cannot_be_set_under_any_name() {
        for name in [
            "acks",
            "request.required.acks",
            "max.in.flight",
            "max.in.flight.requests.per.connection",
            "delivery.timeout.ms",
            "message.timeout.ms",
            "bootstrap.servers",
            "metadata.broker.list",
        ] {
            let (key, problem) = config(&format!("{name:?} = \"1\"")).problem().unwrap();
            assert!(
                key.contains(name) && problem.contains("leave it out"),
                "{key}: {problem}"
            );
        }
        let (key, _) = config("\"no.such.property\" = \"1\"").problem().unwrap();
        assert!(key.contains("no.such.property"));
        assert_eq!(config("\"linger.ms\" = \"20\"").problem(), None);
    }

    #[test]
    fn transactions_have_their_own_timeouts_unless_these_are_configured() {
        for (properties, linger, timeout) in [
            ("", Some("0"), Some(TRANSACTION_TIMEOUT_MS)),
            ("\"linger.ms\" = \"20\"", Some("20"), Some(TRANSACTION_TIMEOUT_MS)),
            ("\"transaction.timeout.ms\" = \"60000\"", Some("0"), Some("60000")),
            ("\"socket.timeout.ms\" = \"30000\"", Some("0"), None),
        ] {
            let mut config = config(properties);
            config.delivery = Delivery::Transactional;
            let client = config.producer("s");
            assert_eq!(client.get("queue.buffering.max.ms"), linger, "{properties}");
            assert_eq!(client.get("transaction.timeout.ms"), timeout, "{properties}");
            let made: Result<rdkafka::producer::BaseProducer, _> = client.create();
            assert!(made.is_ok(), "librdkafka accepts {properties}");
        }
    }

    #[test]
    fn a_message_does_not_wait_for_others_if_an_answer_waits_for_its_delivery() {
        let linger = |awaited, properties| {
            let mut config = config(properties);
            config.awaited = awaited;
            let linger = config.producer("s").get("queue.buffering.max.ms").map(str::to_owned);
            (linger.unwrap(), config.pause().as_micros())
        };
        assert_eq!(linger(false, ""), ("0".into(), 5_000));
        assert_eq!(linger(true, ""), ("0".into(), 0));
        for awaited in [false, true] {
            assert_eq!(linger(awaited, "\"linger.ms\" = \"20\""), ("20".into(), 20_000));
            assert_eq!(
                linger(awaited, "\"queue.buffering.max.ms\" = \"0.5\""),
                ("0.5".into(), 500)
            );
        }
    }

    #[test]
    fn a_property_replaces_the_default_under_any_of_its_names() {
        for (name, value) in [
            ("compression.codec", "gzip"),
            ("compression.type", "gzip"),
            ("queue.buffering.max.ms", "777"),
            ("linger.ms", "777"),
        ] {
            let config = config(&format!("{name:?} = {value:?}"));
            // Properties are set in the order of a hash map, which differs each time.
            for _ in 0..50 {
                let native = config.client("c").create_native_config().unwrap();
                assert_eq!(native.get(name).unwrap().trim_end_matches('\0'), value, "{name}");
            }
        }
    }
}
