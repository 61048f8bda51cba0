//! Three bridges before three brokers, with `server.answer_after = "kafka"`, and a load that posts each group's events one
//! after the other through any of them. Whatever fails - a bridge with its disk, a broker, the way between them, all of
//! Kafka - what was answered is in Kafka, once, and behind what was answered before it, but for what is marked late.

mod drill;
mod faults;
mod trial;

use drill::Drill;
use faults::Short;

use crate::size::{full, size};
use crate::support::kafka::{Kafka, one_cluster_at_a_time};

/// A follower is given up after 1.5 times this at most. By it a bridge that was killed settles for 8 s, and not for 50.
const LAG_SETTING: &str = "replica.lag.time.max.ms=2000";
/// For the short form: just longer than it takes to give up a follower.
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
