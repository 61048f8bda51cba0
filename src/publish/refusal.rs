//! What an error of a message or a topic means: one table for every error code of Kafka and of librdkafka.
//!
//! After a transient refusal, publishing starts over at the same record. A permanent refusal must not stop the other messages: a
//! record that Kafka refuses becomes a dead letter at once, and the events of a topic that Kafka refuses become dead letters after
//! `refusal_grace_s`. This file knows neither the spool nor how the caller reacts.

use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use super::Config;
use super::diagnosis::{Doing, diagnosis};

/// What a refusal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It ends without intervention: start over.
    Transient,
    /// This one message is refused, and a retry would be refused too.
    Record,
    /// The topic accepts nothing until an operator changes something.
    Topic,
    /// It concerns the whole producer or cluster: start over with a new producer, and log the cause.
    Cluster,
    /// It follows from another message's error and gives no information about this message.
    Consequence,
}

/// The kind of an error code.
pub fn kind_of(code: RDKafkaErrorCode) -> Kind {
    use RDKafkaErrorCode as Code;
    match code {
        // The broker's validation refuses the record: a missing key on a compacted topic, a timestamp too far from the broker's
        // clock, invalid bytes (KIP-467 names the record within its batch).
        Code::InvalidRecord | Code::InvalidTimestamp | Code::InvalidMessageSize => Kind::Record,
        // Larger than the limit of the topic, of a batch or of librdkafka's queue.
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::QueueFull => Kind::Record,
        // The user may not write to the topic.
        Code::TopicAuthorizationFailed => Kind::Topic,
        // The topic was deleted, lost partitions, or has a name that is not allowed.
        Code::UnknownTopic
        | Code::UnknownTopicOrPartition
        | Code::UnknownPartition
        | Code::UnknownTopicId
        | Code::InvalidTopic => Kind::Topic,
        // The topic violates a policy of the cluster, or the cluster does not accept its configuration.
        Code::PolicyViolation
        | Code::InvalidConfig
        | Code::InvalidPartitions
        | Code::InvalidReplicationFactor
        | Code::InvalidReplicaAssignment
        | Code::UnsupportedCompressionType
        | Code::UnsupportedForMessageFormat => Kind::Topic,
        // The whole producer is affected: a right on the cluster or the transactional id is missing, another producer fenced this
        // one off, or librdkafka reports a fatal error.
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
        // Its batch was refused because of another record, or the producer was closed with the message in its queue.
        Code::InvalidDifferentRecord
        | Code::PurgeQueue
        | Code::PurgeInflight
        | Code::Fatal
        | Code::GaplessGuarantee => Kind::Consequence,
        // Leaders that move, replicas that lag, brokers that do not answer, disks that fail and are replaced. Unknown codes too:
        // waiting loses no message.
        _ => Kind::Transient,
    }
}

/// A message or a topic that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The ticket that was passed to [`super::Publisher::send`].
    pub ticket: usize,
    /// The message's topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// The error, as a label for metrics: `TopicAuthorizationFailed`.
    pub error: String,
    pub(super) code: RDKafkaErrorCode,
    /// The broker's error message, or the error code's text.
    pub text: String,
    /// What the refusal is about.
    pub kind: Kind,
    /// Whether Kafka certainly does not have the message. If false, Kafka may have it.
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

    /// The refusal of the whole topic, if the failure is about the topic.
    pub fn topic_refused(&self, config: &Config) -> Option<TopicRefused> {
        (self.kind == Kind::Topic).then(|| TopicRefused::new(&self.topic, self.code, self.diagnosis(config)))
    }

    /// A failure as tests of other parts need one.
    #[cfg(test)]
    pub fn of(kind: Kind, error: &str, text: &str) -> Failure {
        Failure {
            error: error.into(),
            text: text.into(),
            kind,
            ..Failure::unsent(0, "t", 0, RDKafkaErrorCode::Unknown)
        }
    }
}

/// A topic that accepts nothing until an operator changes something.
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
    fn an_unknown_code_is_transient_and_one_from_another_record_is_a_consequence() {
        assert_eq!(kind_of(RDKafkaErrorCode::Unknown), Kind::Transient);
        assert_eq!(kind_of(RDKafkaErrorCode::NotEnoughReplicas), Kind::Transient);
        assert_eq!(kind_of(RDKafkaErrorCode::InvalidDifferentRecord), Kind::Consequence);
        assert_eq!(kind_of(RDKafkaErrorCode::InvalidTimestamp), Kind::Record);
        assert_eq!(kind_of(RDKafkaErrorCode::PolicyViolation), Kind::Topic);
        assert_eq!(kind_of(RDKafkaErrorCode::Fenced), Kind::Cluster);
    }
}
