//! Kafka: topics, partitions, a producer for one life, its delivery reports, and what of ours a partition holds already.
//! It knows no JSON, no Avro, no spool and no HTTP; order and repetition are its caller's.

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

/// Of what came of the attempts to reach a cluster, how much is looked at.
const EVENTS_MAX: usize = 100;

/// Why there is no producer yet.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// librdkafka's words.
    #[error("Kafka: {0}")]
    Kafka(KafkaError),
    /// What is wrong and what to do.
    #[error("{0}")]
    Unreached(String),
    /// There is a broker, and its security and `kafka.properties` do not fit.
    #[error("{advice} in kafka.properties ({cause})")]
    Refused {
        /// What to do.
        advice: &'static str,
        /// librdkafka's words.
        cause: String,
    },
    /// Who publishes a spool id now cannot be read.
    #[error("cannot read who publishes this spool id now: {0}")]
    Claim(Fault),
    /// A topic could not be created.
    #[error("cannot create the topic {topic}: {cause}")]
    Create {
        /// Its name.
        topic: String,
        /// The broker's words.
        cause: String,
    },
    /// A topic without which nothing can be published cannot be written to.
    #[error(transparent)]
    Topic(#[from] Unready),
}

/// A producer's life is over: drop it, and start over from the spool.
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

/// A consumer of the same cluster, without a group; `more` are its own properties.
///
/// # Errors
/// librdkafka's, when the properties do not fit.
pub fn consumer(config: &Config, client_id: &str, more: &[(&str, &str)]) -> KafkaResult<BaseConsumer<Context>> {
    let mut client = config.client(client_id);
    for (name, value) in more {
        client.set(*name, *value);
    }
    client.create_with_context(Context)
}
