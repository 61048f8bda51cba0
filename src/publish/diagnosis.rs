//! Sentences for operators about Kafka's errors. Each names the address, topic, right or property, the broker's error message, and
//! the command that fixes the problem. `check` and the forwarder use the same sentences, and `docs/reference/kafka-errors.md` lists
//! them.

use std::fmt;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::checkpoint::transactional_id;
use super::native::Operation;
use super::{Config, CreateTopics, context, reach, topics};

/// What the bridge was doing when the error occurred, with the name of the topic or the id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing<'a> {
    Connect,
    /// Creating a topic, or validating its creation.
    Create(&'a str),
    Write(&'a str),
    ReadBack(&'a str),
    InitTransactions(&'a str),
}

impl fmt::Display for Doing<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Doing::Connect => write!(formatter, "cannot reach Kafka"),
            Doing::Create(topic) => write!(formatter, "cannot create the topic {topic}"),
            Doing::Write(topic) => write!(formatter, "cannot publish to the topic {topic}"),
            Doing::ReadBack(topic) => write!(formatter, "cannot read back the topic {topic}"),
            Doing::InitTransactions(id) => write!(formatter, "cannot use the transactional id {id}"),
        }
    }
}

/// The resource that a right is granted on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Resource<'a> {
    Topics(Vec<&'a str>),
    Cluster,
    TransactionalId(&'a str),
    Group(&'a str),
}

/// librdkafka's code of an error. `KafkaError::rdkafka_error_code` omits those of admin requests.
pub(super) fn code_of(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    match error {
        KafkaError::AdminOp(code) => Some(*code),
        KafkaError::Transaction(cause) => Some(cause.code()),
        _ => error.rdkafka_error_code(),
    }
}

/// What is wrong and what to do. `message` is the error message of the broker or of librdkafka, if there is one. A bare code is
/// passed as `KafkaError::Global(code)`. For [`Doing::Connect`] this tries the addresses in `kafka.brokers`, for up to 5 seconds.
pub(super) fn diagnosis(config: &Config, doing: &Doing<'_>, error: &KafkaError, message: Option<&str>) -> String {
    let code = code_of(error);
    let message = message.map_or_else(|| error.to_string(), str::to_owned);
    if let Some(advice) = code.and_then(|code| context::advice(&KafkaError::Global(code))) {
        return format!("{}: {advice} in kafka.properties ({message})", config.brokers);
    }
    let explained =
        code.and_then(|code| authorization(config, doing, code).or_else(|| rejection(config, doing, code, &message)));
    match explained {
        Some(explained) => format!("{explained} (Kafka: {message})"),
        None if *doing == Doing::Connect => reach::no_answer(config, &message),
        None => format!("{doing} at {}: {message}", config.brokers),
    }
}

/// The sentence for a missing right.
fn authorization(config: &Config, doing: &Doing<'_>, code: RDKafkaErrorCode) -> Option<String> {
    use RDKafkaErrorCode as Code;
    let any_id = transactional_id(&config.topic_prefix, "");
    let (operations, resource, purpose): (&[Operation], _, _) = match (code, doing) {
        (Code::TopicAuthorizationFailed, doing) => {
            let (operation, topic) = match *doing {
                Doing::Create(topic) => (Operation::Create, topic),
                Doing::Write(topic) => (Operation::Write, topic),
                Doing::ReadBack(topic) => (Operation::Read, topic),
                Doing::Connect | Doing::InitTransactions(_) => return None,
            };
            let topics = Resource::Topics(vec![topic]);
            return Some(lack(config, &[operation], &topics, purpose(operation)));
        }
        (Code::ClusterAuthorizationFailed, Doing::Create(_)) => {
            (&[Operation::Create], Resource::Cluster, "to create topics")
        }
        (Code::ClusterAuthorizationFailed, _) => (
            &[Operation::IdempotentWrite],
            Resource::Cluster,
            "for an idempotent producer",
        ),
        (Code::TransactionalIdAuthorizationFailed, doing) => {
            let id = match doing {
                Doing::InitTransactions(id) => id,
                _ => any_id.as_str(),
            };
            let operations = &[Operation::Write, Operation::Describe];
            (operations, Resource::TransactionalId(id), "for transactions")
        }
        (Code::GroupAuthorizationFailed, _) => (
            &[Operation::Read],
            Resource::Group("imbridge-read-back"),
            "to read back",
        ),
        _ => return None,
    };
    Some(lack(config, operations, &resource, purpose))
}

/// Why the bridge needs a right on a topic.
pub(super) fn purpose(operation: Operation) -> &'static str {
    match operation {
        Operation::Write => "to publish",
        Operation::Read => "to read back after a crash which messages Kafka has",
        Operation::Create => "to create it",
        Operation::DescribeConfigs => "to know max.message.bytes and min.insync.replicas",
        _ => "to see whether it exists",
    }
}

/// The sentence for a request that the broker rejects: the configuration key that causes it, and what to do.
fn rejection(config: &Config, doing: &Doing<'_>, code: RDKafkaErrorCode, message: &str) -> Option<String> {
    use RDKafkaErrorCode as Code;
    let replicas = config.replication_factor;
    match (code, doing) {
        (Code::PolicyViolation | Code::InvalidConfig | Code::InvalidRequest, Doing::Create(topic)) => Some(format!(
            "{doing}: the cluster does not accept {}; change the key, or ask the operators of Kafka for an exception",
            rejected_keys(config, topic, message)
        )),
        (Code::InvalidReplicationFactor, Doing::Create(_)) => Some(format!(
            "{doing}: the cluster has fewer brokers than kafka.replication_factor = {replicas}; lower the key or start more brokers"
        )),
        (Code::InvalidPartitions, Doing::Create(_)) => Some(format!(
            "{doing}: the cluster does not accept kafka.partitions = {}; change the key",
            config.partitions
        )),
        (Code::InvalidTopic, Doing::Create(_)) => Some(format!("{doing}: change kafka.topic_prefix")),
        (
            Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition,
            Doing::Write(topic) | Doing::ReadBack(topic),
        ) => Some(absent(config, topic)),
        (Code::MessageSizeTooLarge, Doing::Write(topic)) => Some(format!(
            "{doing}: its max.message.bytes is less than the message's size; run kafka-configs.sh --bootstrap-server {} --alter --topic {topic} --add-config max.message.bytes={}, or lower kafka.max_message_bytes",
            config.brokers, config.max_message_bytes
        )),
        _ => None,
    }
}

/// The keys that the broker names in its error message about a topic; if it names none, all keys that describe topics.
fn rejected_keys(config: &Config, topic: &str, message: &str) -> String {
    let key = |name: &str, value: &str| match name {
        "max.message.bytes" => format!("kafka.max_message_bytes = {value} (the topic's max.message.bytes)"),
        _ => format!("kafka.topic_config.{name:?} = {value:?}"),
    };
    let wanted = topics::wanted(config, topic);
    let named = wanted.iter().filter(|(name, _)| message.contains(name.as_str()));
    let mut keys: Vec<String> = named.map(|(name, value)| key(name, value)).collect();
    let partitions = format!("kafka.partitions = {}", config.partitions);
    let replicas = format!("kafka.replication_factor = {}", config.replication_factor);
    let lower = message.to_lowercase();
    if lower.contains("partition") {
        keys.push(partitions.clone());
    }
    if lower.contains("replica") && !keys.iter().any(|key| key.contains("replica")) {
        keys.push(replicas.clone());
    }
    if keys.is_empty() {
        keys = wanted.iter().map(|(name, value)| key(name, value)).collect();
        keys.extend([partitions, replicas]);
        return format!("one of {}", keys.join(", "));
    }
    keys.join(", ")
}

/// The sentence for a missing topic.
pub fn absent(config: &Config, topic: &str) -> String {
    if creates_topics(config) {
        return format!(
            "the topic {topic} does not exist; its first event creates it, or run imbridge topics apply --config FILE"
        );
    }
    format!(
        "the topic {topic} is missing, and kafka.create_topics does not let the bridge create it: run imbridge topics apply --config FILE, or kafka-topics.sh --bootstrap-server {} --create --topic {topic} --partitions {} --replication-factor {}",
        config.brokers, config.partitions, config.replication_factor
    )
}

/// Whether `serve` creates missing topics.
pub fn creates_topics(config: &Config) -> bool {
    config.create_topics != CreateTopics::Never
}

/// The sentence for missing rights, with the command that grants them.
pub(super) fn lack(config: &Config, operations: &[Operation], resource: &Resource<'_>, purpose: &str) -> String {
    let (what, option) = match resource {
        Resource::Topics(topics) => match topics.as_slice() {
            [topic] => (format!("the topic {topic}"), format!("--topic {topic}")),
            topics => (
                format!("{} topics ({})", topics.len(), few(topics)),
                format!("--topic {}. --resource-pattern-type prefixed", config.topic_prefix),
            ),
        },
        Resource::Cluster => ("the cluster".to_owned(), "--cluster".to_owned()),
        Resource::TransactionalId(id) if id.ends_with('.') => (
            format!("transactional ids that begin with {id}"),
            format!("--transactional-id {id} --resource-pattern-type prefixed"),
        ),
        Resource::TransactionalId(id) => (format!("the transactional id {id}"), format!("--transactional-id {id}")),
        Resource::Group(group) => (format!("the group {group}"), format!("--group {group}")),
    };
    let names: Vec<_> = operations.iter().map(Operation::to_string).collect();
    let flags: Vec<_> = names.iter().map(|name| format!("--operation {name}")).collect();
    let (user, brokers) = (principal(config), &config.brokers);
    format!(
        "{user} lacks {} on {what}, needed {purpose}: kafka-acls.sh --bootstrap-server {brokers} --add --allow-principal {user} {} {option}",
        names.join(" or "),
        flags.join(" ")
    )
}

/// The first three names, and the number of the others.
pub(super) fn few(names: &[&str]) -> String {
    const SHOWN: usize = 3;
    let shown = names[..names.len().min(SHOWN)].join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// The bridge's principal in the form of `kafka-acls.sh`, or a hint where to find it if the configuration does not name it.
fn principal(config: &Config) -> String {
    let property = |name: &str| config.properties.get(name);
    let protocol = property("security.protocol").unwrap_or("plaintext").to_lowercase();
    match property("sasl.username") {
        Some(user) if protocol.starts_with("sasl") => {
            let plain = user
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-@+".contains(&byte));
            if plain {
                format!("User:{user}")
            } else {
                format!("'User:{user}'")
            }
        }
        None if protocol.starts_with("sasl") => "'User:<name in the credentials>'".into(),
        _ if protocol == "ssl" => "'User:<subject of ssl.certificate.location>'".into(),
        _ => "User:ANONYMOUS".into(),
    }
}

#[cfg(test)]
#[path = "diagnosis/tests.rs"]
mod tests;
