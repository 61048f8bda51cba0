//! What an error of a message or a topic means: one table for every error code of Kafka and of librdkafka.
//!
//! A refusal that passes is waited for: publishing starts over at the same record. One that does not pass must not stop the
//! rest: a record that Kafka refuses becomes a dead letter at once, the events of a topic that Kafka refuses become dead
//! letters after a time of grace. It knows neither the spool nor what is done about it.

use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use super::Config;
use super::diagnosis::{Doing, diagnosis};

/// What a refusal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It passes by itself: start over.
    Transient,
    /// This one message is refused, and will be again.
    Record,
    /// The topic takes nothing until somebody changes something.
    Topic,
    /// The producer or the cluster as a whole: start over with a new producer, and say what is wrong.
    Cluster,
    /// It follows from another message's error and says nothing of this one.
    Consequence,
}

/// The kind of an error code.
pub fn kind_of(code: RDKafkaErrorCode) -> Kind {
    use RDKafkaErrorCode as Code;
    match code {
        // The broker looked at the record and will not take it: no key where compaction needs one, a timestamp that is too
        // far away, bytes that a broker's validation does not like (KIP-467 tells which of a batch).
        Code::InvalidRecord | Code::InvalidTimestamp | Code::InvalidMessageSize => Kind::Record,
        // Larger than the topic, a batch or librdkafka's queue takes.
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::QueueFull => Kind::Record,
        // The user may not write to it.
        Code::TopicAuthorizationFailed => Kind::Topic,
        // It was deleted, has fewer partitions than it had, or may not be made.
        Code::UnknownTopic
        | Code::UnknownTopicOrPartition
        | Code::UnknownPartition
        | Code::UnknownTopicId
        | Code::InvalidTopic => Kind::Topic,
        // A policy of the cluster, or a configuration that it does not take, speaks against the topic.
        Code::PolicyViolation
        | Code::InvalidConfig
        | Code::InvalidPartitions
        | Code::InvalidReplicationFactor
        | Code::InvalidReplicaAssignment
        | Code::UnsupportedCompressionType
        | Code::UnsupportedForMessageFormat => Kind::Topic,
        // Of the whole producer: a right of the cluster or of the transactional id is missing, another producer took over,
        // librdkafka gave up.
        Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::SaslAuthenticationFailed
        | Code::Authentication
        | Code::SSL
        | Code::UnsupportedVersion
        | Code::UnsupportedFeature
        | Code::InvalidRequiredAcks
        | Code::InvalidProducerEpoch
        | Code::InvalidProducerIdMapping
        | Code::InvalidTransactionTimeout
        | Code::OutOfOrderSequenceNumber
        | Code::UnknownProducerId
        | Code::ProducerFenced
        | Code::Fenced => Kind::Cluster,
        // Its batch was refused for another record; or the producer was given up with the message in its queue.
        Code::InvalidDifferentRecord
        | Code::PurgeQueue
        | Code::PurgeInflight
        | Code::Fatal
        | Code::GaplessGuarantee => Kind::Consequence,
        // Leaders that move, replicas that lag, brokers that do not answer, disks that fail and are replaced; and what no
        // version of this program has seen: to wait loses nothing.
        _ => Kind::Transient,
    }
}

/// A message or a topic that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What was given to [`super::Publisher::send`].
    pub ticket: usize,
    /// Where the message was to go.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// The error, as a label for metrics: `TopicAuthorizationFailed`.
    pub error: String,
    pub(super) code: RDKafkaErrorCode,
    /// The broker's own words, or the error's.
    pub text: String,
    /// What it is about.
    pub kind: Kind,
    /// Kafka does not have the message. Without it, it may.
    pub is_absent: bool,
}

impl Failure {
    /// An error of a message that was not sent.
    pub(super) fn unsent(ticket: usize, topic: &str, partition: i32, code: RDKafkaErrorCode) -> Failure {
        Failure {
            ticket,
            topic: topic.to_owned(),
            partition,
            error: format!("{code:?}"),
            code,
            text: code.to_string(),
            kind: kind_of(code),
            is_absent: true,
        }
    }

    /// What is wrong and what to do.
    pub fn diagnosis(&self, config: &Config) -> String {
        let cause = KafkaError::Global(self.code);
        diagnosis(config, &Doing::Write(&self.topic), &cause, Some(&self.text))
    }

    /// The refusal of the whole topic, where the failure is one.
    pub fn topic_refused(&self, config: &Config) -> Option<TopicRefused> {
        (self.kind == Kind::Topic).then(|| TopicRefused::new(&self.topic, self.code, self.diagnosis(config)))
    }

    /// A failure as tests of other parts need one.
    #[cfg(test)]
    pub fn of(kind: Kind, error: &str, text: &str) -> Failure {
        Failure {
            ticket: 0,
            topic: "t".into(),
            partition: 0,
            error: error.into(),
            code: RDKafkaErrorCode::Unknown,
            text: text.into(),
            kind,
            is_absent: true,
        }
    }
}

/// A topic that takes nothing until somebody changes something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct TopicRefused {
    /// Its name.
    pub topic: String,
    /// The error, as a label for metrics.
    pub error: String,
    /// What is wrong and what to do.
    pub text: String,
}

impl TopicRefused {
    pub(super) fn new(topic: &str, code: RDKafkaErrorCode, text: String) -> TopicRefused {
        TopicRefused {
            topic: topic.to_owned(),
            error: format!("{code:?}"),
            text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_that_is_not_known_passes_and_one_of_a_neighbour_says_nothing() {
        assert_eq!(kind_of(RDKafkaErrorCode::Unknown), Kind::Transient);
        assert_eq!(kind_of(RDKafkaErrorCode::NotEnoughReplicas), Kind::Transient);
        assert_eq!(kind_of(RDKafkaErrorCode::InvalidDifferentRecord), Kind::Consequence);
        assert_eq!(kind_of(RDKafkaErrorCode::InvalidTimestamp), Kind::Record);
        assert_eq!(kind_of(RDKafkaErrorCode::PolicyViolation), Kind::Topic);
        assert_eq!(kind_of(RDKafkaErrorCode::Fenced), Kind::Cluster);
    }
}
