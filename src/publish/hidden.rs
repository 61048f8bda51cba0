//! Partitions that keep from consumers what their leaders may have taken, for as long as it lasts: without a leader, or with
//! fewer replicas in sync than `min.insync.replicas` demands. They take nothing new either.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rdkafka::client::Client;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::metadata::MetadataTopic;
use rdkafka::types::RDKafkaErrorCode;

use super::native::{self, Owners};
use super::{Config, Context, Fault, Slot, topics};

const TIMEOUT: Duration = Duration::from_secs(5);
/// `replica.lag.time.max.ms` of Kafka 2.5 and later.
const DEFAULT_LAG: Duration = Duration::from_secs(30);

/// One of these partitions that is so, in words; `None` when there is none. A topic that is not there hides nothing. Waits up to half a
/// minute for the cluster's answers.
///
/// # Errors
/// A [`Fault`] when the cluster does not answer.
pub fn hidden(config: &Config, slots: &HashSet<Slot>) -> Result<Option<String>, Fault> {
    // On a connection of its own: one that has a produce request in flight carries no other question, and a broker answers
    // each connection in order.
    let client = super::consumer(config, "imbridge-watchdog", &[]).map_err(fault)?;
    let metadata = client.fetch_metadata(None, TIMEOUT).map_err(fault)?;
    let topics: HashMap<_, _> = metadata.topics().iter().map(|topic| (topic.name(), topic)).collect();
    // What each partition has in sync, where that is not all.
    let mut lacking = Vec::new();
    for slot in slots {
        let topic = topics.get(&*slot.topic);
        let found = topic.and_then(|topic| topic.partitions().iter().find(|found| found.id() == slot.partition));
        let Some(partition) = found else { continue };
        if partition.leader() < 0 {
            return Ok(Some(format!(
                "{} partition {} has no leader",
                slot.topic, slot.partition
            )));
        }
        if partition.isr().len() < partition.replicas().len() {
            lacking.push((slot, partition.isr().len()));
        }
    }
    refusing(config, client.client(), &lacking)
}

/// How long a follower of these partitions may lag before their leaders look for it: the longest `replica.lag.time.max.ms` of these
/// leaders; Kafka's default for one that does not tell, as without the right to describe the cluster's configuration. Waits up to 5 seconds
/// for each of them.
pub fn lag_time(config: &Config, slots: &HashSet<Slot>) -> Duration {
    let told = || -> KafkaResult<Option<Duration>> {
        let client = super::consumer(config, "imbridge-watchdog", &[])?;
        let metadata = client.fetch_metadata(None, TIMEOUT)?;
        let leaders_of = |topic: &MetadataTopic| {
            let is_meant = |id| {
                slots
                    .iter()
                    .any(|slot| slot.partition == id && &*slot.topic == topic.name())
            };
            let partitions = topic.partitions().iter().filter(|partition| is_meant(partition.id()));
            partitions.map(|partition| partition.leader()).collect::<Vec<_>>()
        };
        let leaders: HashSet<i32> = metadata.topics().iter().flat_map(leaders_of).collect();
        let lag_of = |leader| {
            let settings = native::settings(client.client(), Owners::Broker(leader), TIMEOUT).ok()?;
            let mut settings = settings.values();
            settings.find_map(|settings| settings.get("replica.lag.time.max.ms")?.parse().ok())
        };
        let lags = leaders
            .into_iter()
            .map(|leader| lag_of(leader).map_or(DEFAULT_LAG, Duration::from_millis));
        Ok(lags.max())
    };
    told().ok().flatten().unwrap_or(DEFAULT_LAG)
}

/// One of these partitions whose topic demands more replicas in sync than it has.
fn refusing(config: &Config, client: &Client<Context>, lacking: &[(&Slot, usize)]) -> Result<Option<String>, Fault> {
    if lacking.is_empty() || config.mock {
        return Ok(None);
    }
    let names: HashSet<String> = lacking.iter().map(|(slot, _)| slot.topic.to_string()).collect();
    let settings = match topics::describe(client, &Vec::from_iter(names)) {
        Ok(settings) => settings,
        // The broker that was asked may be the one that stands still; the next time it is another.
        Err(cause) if is_silence(&cause) => {
            return Ok(Some(format!(
                "replicas are not in sync, and min.insync.replicas is not told ({cause})"
            )));
        }
        Err(cause) => {
            tracing::warn!(%cause, "the cluster does not tell min.insync.replicas; one replica is taken to be enough");
            HashMap::new()
        }
    };
    let refuses = |(slot, found): &(&Slot, usize)| {
        let demanded: usize = settings.get(&*slot.topic)?.get("min.insync.replicas")?.parse().ok()?;
        let (topic, partition) = (&slot.topic, slot.partition);
        let words =
            || format!("{topic} partition {partition} has {found} replicas in sync, min.insync.replicas is {demanded}");
        (*found < demanded).then(words)
    };
    Ok(lacking.iter().find_map(refuses))
}

fn is_silence(cause: &KafkaError) -> bool {
    use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure, OperationTimedOut, RequestTimedOut};
    let (KafkaError::AdminOp(code) | KafkaError::MetadataFetch(code)) = cause else {
        return false;
    };
    matches!(
        code,
        AllBrokersDown | BrokerTransportFailure | OperationTimedOut | RequestTimedOut
    )
}

fn fault(cause: KafkaError) -> Fault {
    Fault::new("metadata", cause.to_string())
}
