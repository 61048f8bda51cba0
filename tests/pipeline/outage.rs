//! Kafka stopped under load, and absent at the start: answers go on at the same speed, everything arrives in order.

use std::time::{Duration, Instant};

use crate::support::bridge::Home;
use crate::support::eventually;
use crate::support::kafka::Kafka;
use crate::support::load::{Ledger, Load};
use crate::support::reader::consume;

const OUTAGE: Duration = Duration::from_secs(30);

#[test]
fn kafka_stopped_for_thirty_seconds_is_not_seen_by_callers() {
    let mut kafka = Kafka::start("outage");
    let home = Home::with_brokers("outage", &kafka.brokers);
    let bridge = home.start();
    let load = Load::start(home.port, 8, 64, u64::MAX);
    eventually("some events in Kafka", || {
        (bridge.metric(&["imbridge_messages_published_total"]) > 500.0).then_some(())
    });
    kafka.stop();
    let stopped_at = Instant::now();
    std::thread::sleep(OUTAGE);
    let back_at = Instant::now();
    kafka.up();
    eventually("events in Kafka again", || {
        (bridge.metric(&["imbridge_spool_oldest_age_seconds"]) < 5.0).then_some(())
    });
    let ledger = load.stop();
    bridge.settle();
    let consumed = consume(&kafka.brokers, &home.prefix, &home.schemas());
    ledger.judge(&consumed);
    let (before, during) = (
        median(&ledger, |at| at < stopped_at),
        median(&ledger, |at| at > stopped_at && at < back_at),
    );
    println!(
        "{} acknowledged; median answer {before:?} before, {during:?} during the outage",
        ledger.count()
    );
    assert!(
        during < before * 3 + Duration::from_millis(5),
        "answers took {during:?} in the outage, {before:?} before"
    );
    assert!(bridge.terminate().success());
}

#[test]
fn a_kafka_that_comes_after_the_bridge_gets_everything() {
    let mut kafka = Kafka::start("late");
    kafka.stop();
    let home = Home::with_brokers("late", &kafka.brokers);
    let bridge = home.start();
    let ledger = Load::start(home.port, 8, 32, 20).finish();
    assert_eq!(ledger.count(), 32 * 20);
    assert_eq!(bridge.metric(&["imbridge_kafka_connected "]), 0.0);
    kafka.up();
    bridge.settle();
    assert_eq!(ledger.judge(&consume(&kafka.brokers, &home.prefix, &home.schemas())), 0);
}

fn median(ledger: &Ledger, within: impl Fn(Instant) -> bool) -> Duration {
    let mut times: Vec<_> = ledger
        .answer_times
        .iter()
        .filter(|(at, _)| within(*at))
        .map(|(_, time)| *time)
        .collect();
    times.sort();
    *times.get(times.len() / 2).expect("there were answers in that time")
}
