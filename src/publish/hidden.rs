//! Partitions that temporarily hide messages from consumers although their leaders may have appended them: partitions without a
//! leader, or with fewer in-sync replicas than `min.insync.replicas`. Such partitions accept no new messages either.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rdkafka::client::Client;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaErrorCode;

use super::native::{self, Owners};
use super::{Config, Context, Fault, Slot, topics};

const TIMEOUT: Duration = Duration::from_secs(5);
/// `replica.lag.time.max.ms` of Kafka 2.5 and later.
const DEFAULT_LAG: Duration = Duration::from_secs(30);

/// A sentence about one of these partitions that hides messages; `None` if there is none. A topic that does not exist hides nothing.
/// Waits up to half a minute for the cluster's answers.
///
/// # Errors
/// A [`Fault`] when the cluster does not answer.
pub fn hidden(config: &Config, slots: &HashSet<Slot>) -> Result<Option<String>, Fault> {
    // A separate connection: a connection with a produce request in flight carries no other request, and a broker answers each
    // connection's requests in order.
    let client = super::consumer(config, "imbridge-watchdog", &[]).map_err(fault)?;
    let metadata = client.fetch_metadata(None, TIMEOUT).map_err(fault)?;
    // Each partition with a replica that is not in sync, and its number of in-sync replicas.
    let mut lagging = Vec::new();
    for (slot, partition) in slots
        .iter()
        .filter_map(|slot| Some((slot, topics::find_partition(&metadata, slot)?)))
    {
        if partition.leader() < 0 {
            return Ok(Some(format!(
                "{} partition {} has no leader",
                slot.topic, slot.partition
            )));
        }
        if partition.isr().len() < partition.replicas().len() {
            lagging.push((slot, partition.isr().len()));
        }
    }
    refusing(config, client.client(), &lagging)
}

/// How long a follower of these partitions may lag before its leader removes it: the longest `replica.lag.time.max.ms` of the leaders.
/// A leader that does not report it counts with Kafka's default, for example if the bridge may not describe the cluster's configuration.
/// Waits up to 5 seconds for each leader.
pub fn lag_time(config: &Config, slots: &HashSet<Slot>) -> Duration {
    let reported = || -> KafkaResult<Option<Duration>> {
        let client = super::consumer(config, "imbridge-watchdog", &[])?;
        let metadata = client.fetch_metadata(None, TIMEOUT)?;
        let partitions = slots.iter().filter_map(|slot| topics::find_partition(&metadata, slot));
        let leaders: HashSet<i32> = partitions.map(|partition| partition.leader()).collect();
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
    reported().ok().flatten().unwrap_or(DEFAULT_LAG)
}

/// A sentence about one of these partitions that has fewer in-sync replicas than its topic demands.
fn refusing(config: &Config, client: &Client<Context>, lagging: &[(&Slot, usize)]) -> Result<Option<String>, Fault> {
    if lagging.is_empty() || config.mock {
        return Ok(None);
    }
    let names: HashSet<String> = lagging.iter().map(|(slot, _)| slot.topic.to_string()).collect();
    let settings = match topics::describe(client, &Vec::from_iter(names)) {
        Ok(settings) => settings,
        // The broker that was asked may be the one that hangs. The next request goes to another broker.
        Err(cause) if is_silence(&cause) => {
            return Ok(Some(format!(
                "replicas are not in sync, and min.insync.replicas is unknown ({cause})"
            )));
        }
        Err(cause) => {
            tracing::warn!(%cause, "the cluster does not report min.insync.replicas; one replica is assumed to be enough");
            HashMap::new()
        }
    };
    let refuses = |(slot, found): &(&Slot, usize)| {
        let demanded: usize = settings.get(&*slot.topic)?.get("min.insync.replicas")?.parse().ok()?;
        let (topic, partition) = (&slot.topic, slot.partition);
        let sentence =
            || format!("{topic} partition {partition} has {found} replicas in sync, min.insync.replicas is {demanded}");
        (*found < demanded).then(sentence)
    };
    Ok(lagging.iter().find_map(refuses))
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
