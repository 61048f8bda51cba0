//! `[kafka]` of the configuration, and what librdkafka is told because of it.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use serde::Deserialize;

use super::checkpoint::transactional_id;
use super::properties::{FIXED, IN_FLIGHT, Properties};
use super::timeline::Timeline;

/// With a smaller queue not even a dead letter's part would fit.
const LEAST_QUEUE_BYTES: usize = 128 << 10;

/// For as long, what comes waits for others to travel with.
const PAUSE: Duration = Duration::from_millis(5);
/// What a producer that died had on its way is with its broker after this, or lost.
const ON_THE_WAY: Duration = Duration::from_secs(2);
/// The same, and for a leader to tell the controller that it gives up a follower.
const LAG_MARGIN: Duration = Duration::from_secs(5);

/// Defaults that the configuration may change, by their canonical names.
const DEFAULTS: [(&str, &str); 6] = [
    // What is to travel together is handed over together: see `pause`.
    ("queue.buffering.max.ms", "0"),
    ("compression.codec", "lz4"),
    ("queue.buffering.max.messages", "20000"),
    ("queue.buffering.max.kbytes", "32768"),
    ("socket.keepalive.enable", "true"),
    ("reconnect.backoff.max.ms", "2000"),
];

/// Longer than the election after a broker's death takes (its session is 9 s), and shorter than Kafka's minute: until then a
/// broker that stands still keeps its requests, and a transaction whose producer is gone hides from readers what is behind it.
const TRANSACTION_TIMEOUT_MS: &str = "15000";

/// What keeps a message from arriving twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// Kafka's idempotent producer; after a crash or a fault, what is in Kafka already is looked up and not sent again.
    Idempotent,
    /// Kafka transactions, each with a checkpoint: exactly once for consumers that read committed messages, and a second
    /// bridge of the same spool id fences off the first.
    Transactional,
}

impl Delivery {
    /// The word in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Delivery::Idempotent => "idempotent",
            Delivery::Transactional => "transactional",
        }
    }
}

/// When topics that are missing are created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum CreateTopics {
    /// Each when its first event is there.
    OnDemand,
    /// All of the configured providers, at the start.
    All,
    /// Never: somebody else creates them.
    Never,
}

impl TryFrom<String> for CreateTopics {
    type Error = String;

    fn try_from(word: String) -> Result<CreateTopics, String> {
        match word.as_str() {
            "on_demand" => Ok(CreateTopics::OnDemand),
            "all" => Ok(CreateTopics::All),
            "never" => Ok(CreateTopics::Never),
            _ => Err(format!("{word:?}: \"on_demand\", \"all\" or \"never\" is allowed")),
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
    /// Partitions of each topic. Keys are placed by this number even where a topic has more.
    pub partitions: i32,
    /// Replicas of each topic that the bridge creates.
    pub replication_factor: i32,
    /// When topics that are missing are created: `on_demand`, `all` or `never`.
    pub create_topics: CreateTopics,
    /// Topic configuration for the topics that the bridge creates (`retention.ms`, `min.insync.replicas`, ...).
    pub topic_config: BTreeMap<String, String>,
    /// What keeps a message from arriving twice: `idempotent` or `transactional`.
    pub delivery: Delivery,
    /// The largest message, key and headers included; set on the topics that the bridge creates.
    pub max_message_bytes: usize,
    /// Seconds for which a topic may refuse everything (a right that is missing, a policy, a topic that cannot be created) before
    /// its events go to the dead letters. Publishing waits that long, once.
    pub refusal_grace_s: u64,
    /// Seconds without any delivery, although the broker answers, after which the producer is built anew.
    pub stall_timeout_s: u64,
    /// Milliseconds that pass after a crash or a fault, before the bridge looks up what reached Kafka: what was on its way
    /// arrives or dies, and becomes visible. Without it: 2000 with one replica; with more, 1.5 times the leaders'
    /// `replica.lag.time.max.ms` and 5 s, since what a leader has taken is visible to readers only when its followers have it, or
    /// have been given up: after that time and the half of it that may pass before the leader looks.
    pub settle_ms: Option<u64>,
    /// Any librdkafka property.
    pub properties: Properties,
    /// The timeline, where there is one: a table of its own.
    #[serde(skip)]
    pub timeline: Option<Timeline>,
    /// The broker is librdkafka's mock cluster, which leaves an admin client without an answer.
    #[serde(skip)]
    pub mock: bool,
    /// Somebody waits for each delivery. Not a key of this table.
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
    /// What is wrong with a value: the key and what is allowed.
    pub fn problem(&self) -> Option<(String, String)> {
        if self.topic_prefix.len() > 100 || !is_topic_name(&self.topic_prefix) {
            return Some((
                "topic_prefix".into(),
                format!(
                    "{:?}: 1 to 100 characters of A-Z a-z 0-9 . _ - are allowed",
                    self.topic_prefix
                ),
            ));
        }
        if self.brokers.trim().is_empty() {
            return Some((
                "brokers".into(),
                "is empty: host:port of at least one broker is needed".into(),
            ));
        }
        // An hour to settle, a year without a delivery: more is no time, and a clock cannot add the largest number.
        let settle_ms = self.settle_ms.unwrap_or_default();
        for (key, value, least, most) in [
            ("partitions", i128::from(self.partitions), 1, i128::MAX),
            ("replication_factor", self.replication_factor.into(), 1, i128::MAX),
            ("max_message_bytes", self.max_message_bytes as i128, 65_536, i128::MAX),
            // Without a second, every producer would be given up before it has delivered anything.
            ("stall_timeout_s", self.stall_timeout_s.into(), 1, 366 * 24 * 3600),
            ("settle_ms", settle_ms.into(), 0, 3_600_000),
            ("refusal_grace_s", self.refusal_grace_s.into(), 0, 24 * 3600),
        ] {
            if value < least {
                return Some((key.into(), format!("{value}: at least {least} is allowed")));
            }
            if value > most {
                return Some((key.into(), format!("{value}: at most {most} is allowed")));
            }
        }
        if let Some((key, problem)) = topic_config_problem(&self.topic_config) {
            return Some((key.into(), problem));
        }
        if self.queue_bytes() < LEAST_QUEUE_BYTES {
            return Some((
                "properties.\"queue.buffering.max.kbytes\"".into(),
                format!(
                    "{} KiB: at least {} is allowed",
                    self.queue_bytes() / 1024,
                    LEAST_QUEUE_BYTES / 1024
                ),
            ));
        }
        if let Some((name, problem)) = self.properties.problem() {
            return Some((format!("properties.{name:?}"), problem));
        }
        self.client("check")
            .create_native_config()
            .err()
            .map(|cause| ("properties".into(), cause.to_string()))
    }

    /// How long to wait before looking up what reached topics with so many replicas, whose leaders give up a follower after `lag`.
    pub fn settle(&self, replicas: usize, lag: impl FnOnce() -> Duration) -> Duration {
        let automatic = || match replicas {
            0 | 1 => ON_THE_WAY,
            _ => lag() * 3 / 2 + LAG_MARGIN,
        };
        self.settle_ms.map_or_else(automatic, Duration::from_millis)
    }

    /// The most bytes that librdkafka puts into one batch of several messages.
    pub(super) fn batch_bytes(&self) -> usize {
        let bytes = self.properties.get("batch.size");
        let bytes = bytes.and_then(|value| value.parse().ok());
        bytes.unwrap_or(1_000_000).max(65_536)
    }

    /// The largest message that librdkafka's queue takes.
    pub(super) fn queue_bytes(&self) -> usize {
        let kbytes = self.properties.get("queue.buffering.max.kbytes");
        let kbytes = kbytes.and_then(|value| value.parse::<usize>().ok());
        kbytes.unwrap_or(32_768).saturating_mul(1024)
    }

    /// What the producer of a spool is told.
    pub(super) fn producer(&self, spool_id: &str) -> ClientConfig {
        let mut client = self.client(&format!("imbridge-{spool_id}"));
        client.set(IN_FLIGHT, "1");
        if self.delivery == Delivery::Transactional {
            // A new epoch ends the transaction, and nothing of it is seen.
            client.set(IN_FLIGHT, "5");
            // A message that is late fails its whole transaction; librdkafka takes the transaction's time for it.
            client.remove("message.timeout.ms");
            client.set("transactional.id", transactional_id(&self.topic_prefix, spool_id));
            // librdkafka refuses a time-out of requests that is longer.
            let timeouts = ["transaction.timeout.ms", "socket.timeout.ms"];
            if timeouts.iter().all(|name| self.properties.get(name).is_none()) {
                client.set("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS);
            }
        }
        client
    }

    /// Outside of transactions, the least time between two hand-overs of messages to librdkafka: `linger.ms`, if it is configured. None
    /// where answers wait for each message; those that come while a request is on its way travel together all the same.
    pub fn pause(&self) -> Duration {
        let linger = self.properties.get("linger.ms").and_then(|ms| ms.parse::<f64>().ok());
        let linger = linger.map(|ms| Duration::from_secs_f64(ms.max(0.0) / 1000.0));
        linger.unwrap_or(if self.awaited { Duration::ZERO } else { PAUSE })
    }

    /// What librdkafka is told, for the producer, the read-back consumer and the admin client alike.
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
        // librdkafka wants room for its largest fetch, 50 MiB or the largest message.
        config.set(
            "receive.message.max.bytes",
            (self.max_message_bytes + (100 << 20)).to_string(),
        );
        config.set("log.connection.close", "false");
        if self.mock {
            // The mock cluster answers no admin client, and creates what metadata is asked for.
            config.set("allow.auto.create.topics", "true");
        }
        config
    }
}

/// Whether Kafka allows these characters in a topic's name.
pub(super) fn is_topic_name(name: &str) -> bool {
    let is_ok = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !name.is_empty() && name.bytes().all(is_ok)
}

/// What is wrong with the configuration of topics of events: the key and what is allowed.
pub(super) fn topic_config_problem(config: &BTreeMap<String, String>) -> Option<(&'static str, String)> {
    let policy = config.get("cleanup.policy").filter(|policy| *policy != "delete")?;
    let allowed =
        "only \"delete\" is allowed; compaction would keep the last event of each group and delete the others";
    Some(("topic_config.\"cleanup.policy\"", format!("{policy:?}: {allowed}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `[kafka]` with these properties.
    fn config(properties: &str) -> Config {
        toml::from_str(&format!("[properties]\n{properties}\n")).unwrap()
    }

    #[test]
    fn the_wait_before_a_read_back_goes_by_the_topics_replicas_unless_it_is_set() {
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
            let (key, words) = config(&format!("{name:?} = \"1\"")).problem().unwrap();
            assert!(key.contains(name) && words.contains("leave it out"), "{key}: {words}");
        }
        let (key, _) = config("\"no.such.property\" = \"1\"").problem().unwrap();
        assert!(key.contains("no.such.property"));
        assert_eq!(config("\"linger.ms\" = \"20\"").problem(), None);
    }

    #[test]
    fn transactions_have_times_of_their_own_unless_these_are_configured() {
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
            assert!(made.is_ok(), "librdkafka takes {properties}");
        }
    }

    #[test]
    fn messages_whose_delivery_is_awaited_wait_for_no_others() {
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
    fn whichever_name_a_property_has_it_takes_the_place_of_our_default() {
        for (name, value) in [
            ("compression.codec", "gzip"),
            ("compression.type", "gzip"),
            ("queue.buffering.max.ms", "777"),
            ("linger.ms", "777"),
        ] {
            let config = config(&format!("{name:?} = {value:?}"));
            // librdkafka is told in the order of a hash map, which is another each time.
            for _ in 0..50 {
                let native = config.client("c").create_native_config().unwrap();
                assert_eq!(native.get(name).unwrap().trim_end_matches('\0'), value, "{name}");
            }
        }
    }
}
