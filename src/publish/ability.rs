//! Whether Kafka lets the bridge do what it will do: rights on the topics that are there, topics that are not there created
//! on trial. It changes nothing in Kafka.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use rdkafka::client::Client;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

use super::diagnosis::{Doing, Resource, diagnosis, few, lack, purpose};
use super::native::{self, Allowed, Operation, Owners};
use super::refusal::{Kind, TopicRefused, kind_of};
use super::{Config, Context, Delivery, topics};

const TIMEOUT: Duration = Duration::from_secs(20);

/// A right that is missing, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// What is missing, what for, and the command that gives it.
    pub text: String,
    /// The bridge does not publish without it.
    pub fatal: bool,
    /// Topics of which it cannot be seen whether they are there.
    pub unseen: Vec<String>,
}

/// The rights that are missing on topics that are there, and that publishing needs; nothing where Kafka does not tell.
pub fn missing_rights(config: &Config, topics: &[String]) -> Vec<String> {
    match lacks(config, topics) {
        Ok(lacks) => lacks
            .into_iter()
            .filter(|lack| lack.fatal)
            .map(|lack| lack.text)
            .collect(),
        Err(cause) => {
            tracing::debug!(cause, "the cluster does not tell what the bridge may do");
            Vec::new()
        }
    }
}

/// What the cluster lets the bridge do with each of these topics.
fn allowed(config: &Config, topics: &[String]) -> KafkaResult<HashMap<String, Result<Allowed, RDKafkaErrorCode>>> {
    let client = super::consumer(config, "imbridge-rights", &[])?;
    native::authorized_operations(client.client(), topics, TIMEOUT)
}

/// Those of these topics that the cluster does not let the bridge write to: a transaction that fails for one of them does not tell for
/// which. Empty where the cluster does not answer.
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

/// The rights that are missing on topics that are there. Whether a topic is there cannot be seen without Describe.
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

/// What the bridge needs on a topic and is not allowed. Kafka's Write and Read imply Describe.
fn lacking(config: &Config, topic: &str, allowed: &Allowed) -> Vec<Operation> {
    let Some(allowed) = allowed else { return Vec::new() };
    let mut needed = vec![Operation::Write, Operation::Describe, Operation::DescribeConfigs];
    // With transactions the checkpoint says what is there, and only it is read.
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
    /// Why, and what mends it.
    pub text: String,
}

/// Which of these missing topics could not be created, by cause. The controller is asked, and creates none.
///
/// # Errors
/// A sentence, when the cluster does not answer.
pub fn refused_topics(config: &Config, missing: &[String]) -> Result<Vec<Refusal>, String> {
    let new = topics::new_topics(config, missing);
    let asked = || {
        let client = super::consumer(config, "imbridge-trial", &[])?;
        native::create_topics(client.client(), &new, true, TIMEOUT)
    };
    let outcomes = asked().map_err(|cause| diagnosis(config, &Doing::Connect, &cause, None))?;
    let mut causes: Vec<(native::Refused, Vec<String>)> = Vec::new();
    for (topic, outcome) in outcomes {
        let Err(refused) = outcome else { continue };
        match causes.iter_mut().find(|(cause, _)| *cause == refused) {
            _ if refused.code == RDKafkaErrorCode::TopicAlreadyExists => {}
            Some((_, topics)) => topics.push(topic),
            None => causes.push((refused, vec![topic])),
        }
    }
    Ok(causes
        .into_iter()
        .map(|(cause, topics)| refusal(config, &cause, topics))
        .collect())
}

fn refusal(config: &Config, cause: &native::Refused, topics: Vec<String>) -> Refusal {
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

/// How large a message may be, by the topics that are there and by the brokers.
///
/// # Errors
/// A sentence, when the cluster does not tell.
pub fn message_limits(config: &Config, topics: &[String]) -> Result<String, String> {
    let told = |cause: KafkaError| format!("max.message.bytes is not told: Kafka: {cause}");
    let client = super::consumer(config, "imbridge-limits", &[]).map_err(told)?;
    let limits = topics::limits(client.client(), config, topics).map_err(told)?;
    let least = limits.iter().min_by_key(|(topic, bytes)| (**bytes, *topic));
    let least = least.map(|(topic, bytes)| {
        let count = limits.len();
        format!("max.message.bytes is at least {bytes} on {count} topics ({topic})")
    });
    let default = broker_limit(client.client()).unwrap_or_else(|cause| {
        tracing::debug!(%cause, "the brokers do not tell message.max.bytes");
        None
    });
    let default = default.map(|bytes| format!("message.max.bytes of the brokers is {bytes}"));
    let asked = format!("kafka.max_message_bytes is {}", config.max_message_bytes);
    let parts = [least, default, Some(asked)];
    Ok(parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

/// What topics take that have no `max.message.bytes` of their own, where the bridge may read it.
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
