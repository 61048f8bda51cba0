//! How soon transactions are committed: whoever waits for Kafka's word waits for that.

use crate::support::bridge::Home;
use crate::support::kafka;
use crate::support::oracle::Plan;

/// A machine that is busy may slow one measurement. What makes each transaction wait for a tenth of a second slows them all.
const ROUNDS: usize = 3;
const SOON_S: f64 = 0.064;

#[test]
fn few_events_are_committed_as_soon_as_they_come() {
    let mut seen = Vec::new();
    let soon = (0..ROUNDS).any(|_| {
        let [reference, transactional] = ["idempotent", "transactional"].map(median_s);
        seen.push((reference, transactional));
        transactional <= SOON_S.max(4.0 * reference)
    });
    assert!(soon, "seconds from arrival to Kafka, idempotent and transactional: {seen:?}");
}

/// From arrival to Kafka's word under a light load: the median, by the upper ends of a histogram's buckets.
fn median_s(delivery: &str) -> f64 {
    let mut home = Home::new(delivery);
    home.set("KAFKA__DELIVERY", delivery);
    let bridge = home.start();
    let plan = Plan::new(&home).with("groups", 8).with("rate", 50).with("seconds", 4);
    let ledger = plan.start().finish();
    bridge.settle();
    ledger.judge(&kafka::shared(), &home).assert_kept();
    let half = bridge.metric(&["imbridge_publish_seconds_count"]) / 2.0;
    assert!(half > 50.0, "only {} events", half * 2.0);
    let mut bounds = (0..20).map(|doubled| 0.001 * f64::from(1 << doubled));
    let median = bounds.find(|bound| {
        let bucket = format!("le=\"{bound}\"");
        bridge.metric(&["imbridge_publish_seconds_bucket", &bucket]) >= half
    });
    median.unwrap_or(f64::INFINITY)
}
