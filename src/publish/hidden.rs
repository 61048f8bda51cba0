//! Partitions that keep from consumers what their leaders may have taken, for as long as it lasts: without a leader, or with
//! fewer replicas in sync than `min.insync.replicas` demands. They take nothing new either.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;

use super::{Config, Fault, Slot, topics};

const TIMEOUT: Duration = Duration::from_secs(5);

/// One of these partitions that is so, in words; `None` when there is none. A topic that is not there hides nothing.
pub(super) fn hidden(config: &Config, slots: &HashSet<Slot>) -> Result<Option<String>, Fault> {
    let client = super::consumer(config, "imbridge-watchdog", &[]).map_err(fault)?;
    let metadata = client.fetch_metadata(None, TIMEOUT).map_err(fault)?;
    let demands = demands(config, slots);
    for topic in metadata.topics() {
        for partition in topic.partitions() {
            let slot = Slot {
                topic: topic.name().into(),
                partition: partition.id(),
            };
            if !slots.contains(&slot) {
                continue;
            }
            let (found, replicas) = (partition.isr().len(), partition.replicas().len());
            let demanded = demands.get(topic.name()).copied().unwrap_or(1).min(replicas);
            let place = format!("{} partition {}", slot.topic, slot.partition);
            if partition.leader() < 0 {
                return Ok(Some(format!("{place} has no leader")));
            }
            if found < demanded {
                return Ok(Some(format!(
                    "{place} has {found} replicas in sync, min.insync.replicas is {demanded}"
                )));
            }
        }
    }
    Ok(None)
}

/// `min.insync.replicas` of each topic, where the cluster tells it.
fn demands(config: &Config, slots: &HashSet<Slot>) -> HashMap<String, usize> {
    if config.mock {
        return HashMap::new();
    }
    let names: HashSet<String> = slots.iter().map(|slot| slot.topic.to_string()).collect();
    let settings = topics::describe(config, &Vec::from_iter(names)).unwrap_or_else(|cause| {
        tracing::warn!(%cause, "the cluster does not tell min.insync.replicas; one replica is taken to be enough");
        HashMap::new()
    });
    let demand = |(topic, settings): (String, HashMap<String, String>)| {
        Some((topic, settings.get("min.insync.replicas")?.parse().ok()?))
    };
    settings.into_iter().filter_map(demand).collect()
}

fn fault(cause: KafkaError) -> Fault {
    Fault::new("metadata", cause.to_string())
}
