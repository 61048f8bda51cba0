//! What an operator does to a cluster from outside: asks who leads, deletes a topic, changes its limits.

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

    /// Leaders of a topic's partitions in order, -1 where there is none; empty when the cluster does not tell.
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

    /// How many partitions of a topic have so many replicas in sync.
    pub fn in_sync(&self, topic: &str, replicas: usize) -> usize {
        let Ok(metadata) = self.0.inner().fetch_metadata(Some(topic), TIMEOUT) else {
            return 0;
        };
        let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
        partitions.filter(|partition| partition.isr().len() == replicas).count()
    }

    /// Deletes a topic; the cluster has agreed to it when this returns.
    pub fn delete(&self, topic: &str) {
        let deleted = block_on(self.0.delete_topics(&[topic], &options())).expect("the cluster answers");
        deleted
            .into_iter()
            .for_each(|outcome| drop(outcome.expect("the topic is there")));
    }

    /// Sets how many replicas a topic demands to be in sync, and the bridge's own limit of a message again.
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

    /// Deletes a topic; the brokers know when this returns.
    pub fn delete_for_all(&self, topic: &str) {
        self.delete(topic);
        within(TIMEOUT, "the topic to be gone", || {
            self.leaders(topic).is_empty().then_some(())
        });
    }

    /// Sets the whole of a topic's own configuration.
    pub fn configure(&self, topic: &str, entries: &[(&str, &str)]) {
        let mut config = AlterConfig::new(ResourceSpecifier::Topic(topic));
        for (name, value) in entries {
            config = config.set(name, value);
        }
        // The first broker that is asked may be one that stands still.
        let altered = within(TIMEOUT * 6, "the cluster to answer", || {
            block_on(self.0.alter_configs([&config], &options())).ok()
        });
        altered
            .into_iter()
            .for_each(|outcome| drop(outcome.expect("the configuration is valid")));
    }
}

/// Puts a message into a partition 0, as whoever shares the cluster could: with these headers and this time as Kafka's.
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
