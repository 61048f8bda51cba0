//! Kafka: topics, partitions, the producer of one session, its delivery reports, and which messages of a spool Kafka already has.
//! It knows no JSON, no Avro, no spool and no HTTP. The caller is responsible for order and for repetitions.

mod ability;
mod checkpoint;
mod config;
mod context;
mod diagnosis;
mod directory;
mod ends;
mod hidden;
mod message;
mod native;
mod partition;
mod plan;
mod properties;
mod publisher;
mod reach;
mod read_back;
mod refusal;
mod reports;
mod timeline;
mod topics;
mod transaction;
mod trial;

use rdkafka::consumer::BaseConsumer;
use rdkafka::error::{KafkaError, KafkaResult};

pub use ability::{Lack, Refusal, lacks, message_limits, missing_rights, refused_topics, unwritable};
pub use checkpoint::{Checkpoint, Extent, last_checkpoint};
pub use config::{Config, CreateTopics, Delivery};
pub use context::Context;
pub use diagnosis::{absent, creates_topics};
pub use directory::Unready;
pub use ends::{ask_leaders, read_to_ends};
pub use hidden::{hidden, lag_time};
pub use message::{
    CONTENT_TYPE_HEADER, LATE_HEADER, Message, Position, RECEIVED_AT_HEADER, Receipt, SEQ_HEADER, SPOOL_HEADER, Slot,
};
pub use partition::partition_of;
pub use plan::{Drift, TopicPlan, create, plan};
pub use properties::Properties;
pub use publisher::{FinalReports, Publisher, Sent};
pub use reach::{connect, unreachable_brokers, why_silent};
pub use read_back::{Present, read_back};
pub use refusal::{Failure, Kind, TopicRefused};
pub use timeline::Timeline;
pub use topics::{Finding, checkpoint_topic, command_topic, dead_letter_topic, unknown_topic};
pub use trial::{Trial, try_transaction};

/// How many of librdkafka's events are examined for the reason why a cluster does not answer.
const EVENTS_MAX: usize = 100;

/// Why there is no producer yet.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// librdkafka's error.
    #[error("Kafka: {0}")]
    Kafka(KafkaError),
    /// What is wrong and what to do.
    #[error("{0}")]
    Unreached(String),
    /// A broker answers, but `kafka.properties` does not match its security settings.
    #[error("{advice} in kafka.properties ({cause})")]
    Refused {
        /// What to do.
        advice: &'static str,
        /// librdkafka's error message.
        cause: String,
    },
    /// The checkpoint that names the producer of this spool id cannot be read.
    #[error("cannot read which producer publishes this spool id now: {0}")]
    Claim(Fault),
    /// A topic could not be created.
    #[error("cannot create the topic {topic}: {cause}")]
    Create {
        /// Its name.
        topic: String,
        /// The broker's error message.
        cause: String,
    },
    /// A topic that publishing needs cannot be written to.
    #[error(transparent)]
    Topic(#[from] Unready),
}

/// The producer's session is over: drop the producer, and start over from the spool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {text}")]
pub struct Fault {
    /// A label for metrics.
    pub reason: &'static str,
    /// What happened.
    pub text: String,
}

impl Fault {
    /// A fault of this kind.
    pub fn new(reason: &'static str, text: impl Into<String>) -> Fault {
        Fault {
            reason,
            text: text.into(),
        }
    }
}

/// A consumer of the same cluster that joins no group; `more` are its additional properties.
///
/// # Errors
/// librdkafka's, when it does not accept the properties.
pub fn consumer(config: &Config, client_id: &str, more: &[(&str, &str)]) -> KafkaResult<BaseConsumer<Context>> {
    let mut client = config.client(client_id);
    for (name, value) in more {
        client.set(*name, *value);
    }
    client.create_with_context(Context)
}
