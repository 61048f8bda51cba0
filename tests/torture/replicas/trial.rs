//! A test of the judge of the replicas. Bridges that answer before Kafka has an event, and mark none as late, break the
//! promise of replicas. `server.answer_after = "disk"` does so. The judge must report each violation.

use std::time::Duration;

use crate::campaign::pass;
use crate::size::report;
use crate::support::bridge::{Bridge, Home};
use crate::support::eventually;
use crate::support::fleet::Fleet;
use crate::support::kafka::Kafka;
use crate::support::oracle::{Ledger, judge_with};
use crate::support::proxy::CutOff;

/// Longer than the slow network to Kafka takes beside other tests, and shorter than the time for which it is cut off.
const HOLD_MS: &str = "1000";
/// With this hold time, no event counts as late by its time in Kafka.
const NEVER_LATE_MS: &str = "3600000";
/// The delay to Kafka in each direction. An answer takes about a hundredth of it.
const DELAY: Duration = Duration::from_millis(40);

#[test]
fn answers_before_kafka_without_marks_are_reported_as_disorder_and_with_a_lost_disk_as_loss() {
    let (kafka, detour) = Kafka::with_detour("trial", 1, &[]);
    let homes = [&kafka.brokers, &detour.brokers].map(|brokers| Home::with_brokers("trial", brokers));
    let mut fleet = Fleet::new(homes.into());
    fleet.start_all();
    let load = fleet.plan().with("rate", 400).start();
    eventually("some events in Kafka", || {
        let published = |bridge: &Bridge| bridge.metric(&["imbridge_messages_published_total"]);
        fleet.running().all(|bridge| published(bridge) > 100.0).then_some(())
    });
    // Events of this time are not late by any clock, but come behind what was posted after their answer.
    detour.slow(DELAY);
    pass(Duration::from_secs(2));
    detour.slow(Duration::ZERO);
    detour.cut_off(CutOff::Resets);
    pass(Duration::from_secs(2));
    detour.restore();
    let ledger = load.stop();
    fleet.settle();
    let judge = |ledger: &Ledger, hold: &str| {
        judge_with(
            &kafka.brokers,
            &fleet.homes[0],
            &[&ledger.path],
            &["--answer-hold-ms", hold],
        )
    };
    let [verdict, strict] = [HOLD_MS, NEVER_LATE_MS].map(|hold| judge(&ledger, hold));
    report(
        "trial",
        &format!(
            "a slow way and one that was cut off: {}; {} late by their time, without them {} out of order",
            verdict.summary(),
            verdict.late_by_time,
            strict.out_of_order
        ),
    );
    assert_eq!(verdict.acknowledged_and_missing + verdict.twice, 0, "{verdict:#?}");
    assert!(verdict.out_of_order > 0 && verdict.late_by_time > 0, "{verdict:#?}");
    assert!(strict.out_of_order > verdict.out_of_order, "{verdict:#?}\n{strict:#?}");
    assert_eq!(verdict.late_by_header, 0, "{verdict:#?}");

    detour.cut_off(CutOff::Resets);
    let load = fleet.plan().with("groups", 16).with("each", 20).start();
    let ledger = load.finish();
    fleet.kill(1);
    fleet.lose_spool(1);
    detour.restore();
    fleet.start(1);
    fleet.settle();
    let verdict = judge_with(
        &kafka.brokers,
        &fleet.homes[0],
        &[&ledger.path],
        &["--answer-hold-ms", HOLD_MS],
    );
    report("trial", &format!("a lost disk: {}", verdict.summary()));
    assert!(verdict.acknowledged_and_missing > 0, "{verdict:#?}");
    assert_eq!(verdict.twice, 0, "{verdict:#?}");
}
