//! Whether Kafka allows what the bridge will do: rights on the topics that exist, and a validated creation of the topics that do not.
//! It changes nothing in Kafka.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use rdkafka::client::Client;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

use super::diagnosis::{Doing, Resource, diagnosis, few, lack, purpose};
use super::native::{self, Allowed, Operation, Owners, TopicError};
use super::refusal::{Kind, TopicRefused, kind_of};
use super::{Config, Context, Delivery, topics};

const TIMEOUT: Duration = Duration::from_secs(20);

/// A missing right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// The right, why it is needed, and the command that grants it.
    pub text: String,
    /// Whether the bridge cannot publish without it.
    pub fatal: bool,
    /// Topics whose existence cannot be seen without this right.
    pub unseen: Vec<String>,
}

/// The rights that publishing needs and that are missing on existing topics. Empty if Kafka does not report rights.
pub fn missing_rights(config: &Config, topics: &[String]) -> Vec<String> {
    match lacks(config, topics) {
        Ok(lacks) => Vec::from_iter(lacks.into_iter().filter_map(|lack| lack.fatal.then_some(lack.text))),
        Err(cause) => {
            tracing::debug!(cause, "the cluster does not report the bridge's rights");
            Vec::new()
        }
    }
}

/// The operations that the cluster allows the bridge on each of these topics.
fn allowed(config: &Config, topics: &[String]) -> KafkaResult<HashMap<String, Result<Allowed, RDKafkaErrorCode>>> {
    let client = super::consumer(config, "imbridge-rights", &[])?;
    native::authorized_operations(client.client(), topics, TIMEOUT)
}

/// Those of these topics that the bridge may not write to, because a transaction that fails for one topic does not report which one.
/// Empty if the cluster does not answer.
pub fn unwritable(config: &Config, topics: &[String]) -> Vec<TopicRefused> {
    let Ok(allowed) = allowed(config, topics) else {
        return Vec::new();
    };
    let refused = |topic: &String| {
        let code = match allowed.get(topic)? {
            Ok(Some(operations)) if !operations.contains(&Operation::Write) => {
                RDKafkaErrorCode::TopicAuthorizationFailed
            }
            Err(code) if kind_of(*code) == Kind::Topic => *code,
            _ => return None,
        };
        let text = diagnosis(config, &Doing::Write(topic), &KafkaError::Global(code), None);
        Some(TopicRefused::new(topic, code, text))
    };
    topics.iter().filter_map(refused).collect()
}

/// The rights that are missing on existing topics. Without Describe, the bridge cannot see whether a topic exists.
///
/// # Errors
/// A sentence, when the cluster does not answer.
pub fn lacks(config: &Config, topics: &[String]) -> Result<Vec<Lack>, String> {
    if config.mock {
        return Ok(Vec::new());
    }
    let allowed = allowed(config, topics).map_err(|cause| diagnosis(config, &Doing::Connect, &cause, None))?;
    let mut missing: BTreeMap<Operation, Vec<&str>> = BTreeMap::new();
    for topic in topics {
        let lacking = match allowed.get(topic) {
            Some(Ok(allowed)) => lacking(config, topic, allowed),
            Some(Err(RDKafkaErrorCode::TopicAuthorizationFailed)) => vec![Operation::Describe],
            Some(Err(_)) | None => Vec::new(),
        };
        for operation in lacking {
            missing.entry(operation).or_default().push(topic);
        }
    }
    let sentence = |(operation, topics): (Operation, Vec<&str>)| Lack {
        unseen: match operation {
            Operation::Describe => topics.iter().map(|topic| (*topic).to_owned()).collect(),
            _ => Vec::new(),
        },
        text: lack(config, &[operation], &Resource::Topics(topics), purpose(operation)),
        fatal: operation != Operation::DescribeConfigs,
    };
    Ok(missing.into_iter().map(sentence).collect())
}

/// The operations that the bridge needs on a topic and that are not allowed. Kafka's Write and Read imply Describe.
fn lacking(config: &Config, topic: &str, allowed: &Allowed) -> Vec<Operation> {
    let Some(allowed) = allowed else { return Vec::new() };
    let mut needed = vec![Operation::Write, Operation::Describe, Operation::DescribeConfigs];
    // Transactional delivery reads nothing but the checkpoint.
    if config.delivery == Delivery::Idempotent || topic == topics::checkpoint_topic(&config.topic_prefix) {
        needed.push(Operation::Read);
    }
    needed.retain(|operation| !allowed.contains(operation));
    needed
}

/// Topics that could not be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Their names.
    pub topics: Vec<String>,
    /// Why, and how to fix it.
    pub text: String,
}

/// Which of these missing topics could not be created, grouped by cause. The controller validates the topics and creates none.
///
/// # Errors
/// A sentence, when the cluster does not answer.
pub fn refused_topics(config: &Config, missing: &[String]) -> Result<Vec<Refusal>, String> {
    let client = super::consumer(config, "imbridge-trial", &[]);
    let errors = client.and_then(|client| topics::create(client.client(), config, missing, true));
    let errors = errors.map_err(|cause| diagnosis(config, &Doing::Connect, &cause, None))?;
    let mut causes: Vec<(TopicError, Vec<String>)> = Vec::new();
    for (topic, error) in errors {
        match causes.iter_mut().find(|(cause, _)| *cause == error) {
            Some((_, topics)) => topics.push(topic),
            None => causes.push((error, vec![topic])),
        }
    }
    let causes = causes.into_iter();
    Ok(causes.map(|(cause, topics)| refusal(config, &cause, topics)).collect())
}

fn refusal(config: &Config, cause: &TopicError, topics: Vec<String>) -> Refusal {
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let text = if cause.code == RDKafkaErrorCode::TopicAuthorizationFailed {
        let create = Operation::Create;
        let lack = lack(config, &[create], &Resource::Topics(names), purpose(create));
        format!("{lack} (Kafka: {})", cause.text)
    } else {
        let doing = Doing::Create(&topics[0]);
        let text = diagnosis(config, &doing, &KafkaError::AdminOp(cause.code), Some(&cause.text));
        match &names[1..] {
            [] => text,
            more => format!("{text}; the same for {}", few(more)),
        }
    };
    Refusal { topics, text }
}

/// The size limits for messages, of the existing topics and of the brokers.
///
/// # Errors
/// A sentence, when the cluster does not report the topics' limits.
pub fn message_limits(config: &Config, topics: &[String]) -> Result<String, String> {
    let unknown = |cause: KafkaError| format!("max.message.bytes is unknown: Kafka: {cause}");
    let client = super::consumer(config, "imbridge-limits", &[]).map_err(unknown)?;
    let limits = topics::limits(client.client(), config, topics).map_err(unknown)?;
    let least = limits.iter().min_by_key(|(topic, bytes)| (**bytes, *topic));
    let least = least.map(|(topic, bytes)| {
        let count = limits.len();
        format!("max.message.bytes is at least {bytes} on {count} topics ({topic})")
    });
    let default = broker_limit(client.client()).unwrap_or_else(|cause| {
        tracing::debug!(%cause, "the brokers do not report message.max.bytes");
        None
    });
    let default = default.map(|bytes| format!("message.max.bytes of the brokers is {bytes}"));
    let configured = format!("kafka.max_message_bytes is {}", config.max_message_bytes);
    let parts = [least, default, Some(configured)];
    Ok(parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

/// The limit of topics that do not set `max.message.bytes`, if the bridge may read it.
fn broker_limit(client: &Client<Context>) -> KafkaResult<Option<String>> {
    let forbidden = |allowed: Allowed| allowed.is_some_and(|allowed| !allowed.contains(&Operation::DescribeConfigs));
    if forbidden(native::cluster_operations(client, TIMEOUT)?) {
        return Ok(None);
    }
    let metadata = client.fetch_metadata(None, TIMEOUT)?;
    let Some(broker) = metadata.brokers().first() else {
        return Ok(None);
    };
    let described = native::settings(client, Owners::Broker(broker.id()), TIMEOUT)?;
    let mut settings = described.into_values();
    Ok(settings.find_map(|settings| settings.get("message.max.bytes").cloned()))
}
