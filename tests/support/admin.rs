//! What an operator does to a cluster from outside: finds leaders, deletes a topic, changes its limits.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::within;

const TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to a cluster.
pub struct Admin(AdminClient<DefaultClientContext>);

impl Admin {
    /// To these brokers.
    pub fn of(brokers: &str) -> Admin {
        let client = ClientConfig::new().set("bootstrap.servers", brokers).create();
        Admin(client.expect("the properties are right"))
    }

    /// The leaders of a topic's partitions in order, -1 for a partition without one; empty if the cluster does not
    /// answer.
    pub fn leaders(&self, topic: &str) -> Vec<i32> {
        let Ok(metadata) = self.0.inner().fetch_metadata(Some(topic), TIMEOUT) else {
            return Vec::new();
        };
        let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
        let mut leaders: Vec<_> = partitions
            .map(|partition| (partition.id(), partition.leader()))
            .collect();
        leaders.sort_unstable();
        leaders.into_iter().map(|(_, leader)| leader).collect()
    }

    /// The number of a topic's partitions with this number of in-sync replicas.
    pub fn in_sync(&self, topic: &str, replicas: usize) -> usize {
        let Ok(metadata) = self.0.inner().fetch_metadata(Some(topic), TIMEOUT) else {
            return 0;
        };
        let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
        partitions.filter(|partition| partition.isr().len() == replicas).count()
    }

    /// Deletes a topic. Returns after the cluster has agreed to it.
    pub fn delete(&self, topic: &str) {
        let deleted = block_on(self.0.delete_topics(&[topic], &options())).expect("the cluster answers");
        deleted
            .into_iter()
            .for_each(|outcome| drop(outcome.expect("the topic is there")));
    }

    /// Sets the number of in-sync replicas that a topic needs, and the bridge's own message limit again.
    pub fn demand(&self, topic: &str, replicas: &str) {
        self.configure(
            topic,
            &[
                ("min.insync.replicas", replicas),
                ("max.message.bytes", "8388608"),
                ("message.timestamp.type", "LogAppendTime"),
            ],
        );
    }

    /// Deletes a topic. Returns when all brokers know it.
    pub fn delete_for_all(&self, topic: &str) {
        self.delete(topic);
        within(TIMEOUT, "the topic to be gone", || {
            self.leaders(topic).is_empty().then_some(())
        });
    }

    /// Replaces the whole configuration of a topic.
    pub fn configure(&self, topic: &str, entries: &[(&str, &str)]) {
        let mut config = AlterConfig::new(ResourceSpecifier::Topic(topic));
        for (name, value) in entries {
            config = config.set(name, value);
        }
        // The first broker that is asked may be a hung one.
        let altered = within(TIMEOUT * 6, "the cluster to answer", || {
            block_on(self.0.alter_configs([&config], &options())).ok()
        });
        altered
            .into_iter()
            .for_each(|outcome| drop(outcome.expect("the configuration is valid")));
    }
}

/// Writes a message to partition 0, as another user of the cluster could: with these headers, and this time as Kafka's
/// timestamp.
pub fn produce(brokers: &str, topic: &str, headers: &[(&str, &str)], timestamp_ms: i64, body: &str) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .create()
        .expect("the properties are right");
    let owned = headers.iter().fold(OwnedHeaders::new(), |owned, (key, value)| {
        owned.insert(Header {
            key,
            value: Some(*value),
        })
    });
    let record = BaseRecord::<(), str>::to(topic)
        .partition(0)
        .timestamp(timestamp_ms)
        .headers(owned)
        .payload(body);
    producer
        .send(record)
        .map_err(|(cause, _)| cause)
        .expect("the queue is empty");
    producer.flush(TIMEOUT).expect("the cluster takes it");
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(TIMEOUT))
        .operation_timeout(Some(TIMEOUT))
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime
        .expect("the operating system gives an event queue")
        .block_on(future)
}
