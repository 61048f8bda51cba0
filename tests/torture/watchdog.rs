//! A Kafka that answers but accepts no message: the watchdog replaces the producer repeatedly. When Kafka accepts
//! messages again, everything arrives once and in order.

use std::time::Duration;

use crate::campaign::Campaign;
use crate::support::bridge::Home;
use crate::support::proxy::behind_a_proxy;
use crate::support::proxy::{Loss, Request};
use crate::support::within;

const STALLED: [&str; 2] = ["imbridge_producer_rebuilds_total", "reason=\"stalled\""];

#[test]
fn a_kafka_that_accepts_nothing_is_detected_and_nothing_is_lost_or_sent_twice() {
    let (kafka, proxy) = behind_a_proxy("watchdog");
    let mut home = Home::with_brokers("watchdog", &kafka.brokers);
    home.set("KAFKA__STALL_TIMEOUT_S", "3");
    let mut campaign = Campaign::begin("watchdog", &kafka.brokers, home);
    assert_eq!(campaign.bridge.metric(&STALLED), 0.0, "{}", campaign.bridge.log());
    campaign.fault("Produce requests vanish", |campaign| {
        proxy.lose(Request::Produce, Loss::Request);
        within(Duration::from_secs(60), "the producer to be given up twice", || {
            (campaign.bridge.metric(&STALLED) >= 2.0).then_some(())
        });
        assert!(proxy.lost() > 0, "the producer was given up although nothing vanished");
        proxy.lose_nothing();
    });
    // Again, but too short for the watchdog: the producer itself retries what vanished.
    campaign.fault("Produce requests vanish for a second", |_| {
        let before = proxy.lost();
        proxy.lose(Request::Produce, Loss::Request);
        within(Duration::from_secs(10), "a request to vanish", || {
            (proxy.lost() > before).then_some(())
        });
        proxy.lose_nothing();
    });
    campaign.end();
}
