//! Kafka stopped under load, and unavailable at the start: answers stay as fast, and everything arrives in order.

use std::time::Duration;

use crate::support::bridge::Home;
use crate::support::eventually;
use crate::support::kafka::{Kafka, one_cluster_at_a_time};
use crate::support::oracle::{Interval, Plan};

const OUTAGE: Duration = Duration::from_secs(30);

#[test]
fn callers_do_not_notice_that_kafka_is_stopped_for_thirty_seconds() {
    let _alone = one_cluster_at_a_time();
    let mut kafka = Kafka::start("outage");
    let home = Home::with_brokers("outage", &kafka.brokers);
    let bridge = home.start();
    let load = Plan::new(&home).with("rate", 2000).start();
    eventually("some events in Kafka", || {
        (bridge.metric(&["imbridge_messages_published_total"]) > 500.0).then_some(())
    });
    eventually("answers to compare with", || (load.intervals().len() > 3).then_some(()));
    let before = load.intervals().len();
    kafka.stop();
    let stopped = load.intervals().len();
    let connected = |wanted: f64| (bridge.metric(&["imbridge_kafka_connected "]) == wanted).then_some(());
    eventually("the bridge to report that Kafka is unavailable", || connected(0.0));
    std::thread::sleep(OUTAGE);
    let back = load.intervals().len();
    kafka.up();
    eventually("events in Kafka again", || {
        (bridge.metric(&["imbridge_spool_oldest_age_seconds"]) < 5.0).then_some(())
    });
    eventually("the bridge to report that Kafka is available", || connected(1.0));
    let ledger = load.stop();
    bridge.settle();
    ledger.judge(&kafka.brokers, &home).assert_kept();
    let intervals = ledger.intervals();
    let (before, during) = (
        median_ms(&intervals[..before]),
        median_ms(&intervals[stopped + 1..back]),
    );
    println!(
        "{} acknowledged; median answer {before} ms before, {during} ms during the outage",
        ledger.acknowledged
    );
    assert!(
        during < before * 3.0 + 5.0,
        "answers took {during} ms in the outage, {before} ms before"
    );
    assert!(bridge.terminate().success());
}

#[test]
fn a_kafka_that_starts_after_the_bridge_gets_everything() {
    let mut kafka = Kafka::start("late");
    kafka.stop();
    let home = Home::with_brokers("late", &kafka.brokers);
    let bridge = home.start();
    let plan = Plan::new(&home).with("groups", 32).with("each", 20);
    let ledger = plan.start().finish();
    assert_eq!(ledger.acknowledged, 32 * 20);
    assert_eq!(bridge.metric(&["imbridge_kafka_connected "]), 0.0);
    let stalled_s = || bridge.metric(&["imbridge_delivery_stalled_seconds "]);
    eventually("the bridge to report that nothing is delivered", || {
        (stalled_s() > 1.0).then_some(())
    });
    kafka.up();
    bridge.settle();
    assert_eq!(stalled_s(), 0.0);
    let verdict = ledger.judge(&kafka.brokers, &home);
    verdict.assert_kept();
    assert_eq!(verdict.found, 32 * 20);
}

/// The median of the intervals' medians.
fn median_ms(intervals: &[Interval]) -> f64 {
    let mut times: Vec<_> = intervals.iter().map(|interval| interval.p50_ms).collect();
    times.sort_by(f64::total_cmp);
    *times.get(times.len() / 2).expect("there were answers in that time")
}
