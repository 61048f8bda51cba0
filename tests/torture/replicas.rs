//! Three bridges and three brokers, with `server.answer_after = "kafka"`. The load posts each group's events one after
//! the other to any of the bridges. A bridge with its disk fails, a broker, the network between them, or all of Kafka.
//! Every answered event must be in Kafka once, behind those that were answered before it, unless it is marked as late.

mod drill;
mod faults;
mod trial;

use drill::Drill;
use faults::Short;

use crate::size::{full, size};
use crate::support::kafka::{Kafka, one_cluster_at_a_time};

/// A follower leaves the in-sync replicas after 1.5 times this at most. So a bridge that was killed settles for 8 s and
/// not for 50 s.
const LAG_SETTING: &str = "replica.lag.time.max.ms=2000";
/// For the short form: a bit longer than a follower takes to leave the in-sync replicas.
const SETTLE_MS: &str = "3500";

#[test]
fn what_replicas_have_answered_is_in_kafka_once_and_in_order_whatever_fails() {
    let _alone = one_cluster_at_a_time();
    let (kafka, detour) = Kafka::with_detour("replicas", 3, &[LAG_SETTING]);
    let mut cluster = drill::Cluster::new(kafka, detour);
    let modes = [
        (size("IDEMPOTENT", 1, 1), None, Short::Idempotent),
        (size("TRANSACTIONAL", 1, 1), Some("transactional"), Short::Transactional),
    ];
    for (_, delivery, short) in modes.into_iter().filter(|(wanted, ..)| *wanted > 0) {
        let mut drill = Drill::begin(&mut cluster, delivery);
        let mut random = fastrand::Rng::with_seed(23);
        for _ in 0..size("REPLICA_ROUNDS", 1, 10) {
            let mut round = faults::ALL.to_vec();
            if full() {
                random.shuffle(&mut round);
            } else {
                round.retain(|(.., forms)| [Short::Both, short].contains(forms));
            }
            for (name, fault, _) in round {
                drill.fault(name, random.usize(0..drill::BRIDGES), fault);
            }
        }
        drill.end();
    }
}
