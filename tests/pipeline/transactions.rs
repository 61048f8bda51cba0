//! How soon transactions are committed: answers that wait for Kafka wait for the commit.

use crate::support::bridge::Home;
use crate::support::kafka;
use crate::support::oracle::Plan;

/// Shorter than each wait of librdkafka, so no event would be as fast with one of them.
const SOON: &str = "le=\"0.064\"";

#[test]
fn few_events_are_committed_as_soon_as_they_arrive() {
    let mut home = Home::new("soon");
    home.set("KAFKA__DELIVERY", "transactional");
    let bridge = home.start();
    let plan = Plan::new(&home).with("groups", 8).with("rate", 50).with("seconds", 4);
    let ledger = plan.start().finish();
    bridge.settle();
    ledger.judge(&kafka::shared(), &home).assert_kept();
    let all = bridge.metric(&["imbridge_publish_seconds_count"]);
    let soon = bridge.metric(&["imbridge_publish_seconds_bucket", SOON]);
    let mean_ms = bridge.metric(&["imbridge_publish_seconds_sum"]) / all * 1000.0;
    println!("{soon} of {all} soon, {mean_ms:.0} ms from arrival to Kafka on average");
    assert!(all > 100.0, "only {all} events");
    // On an idle machine all but the first are fast. A busy machine slows some.
    assert!(
        soon >= all / 4.0,
        "{soon} of {all} were soon: {mean_ms:.0} ms on average"
    );
}
