//! SIGTERM: no new callbacks, those in progress answered, the spool delivered, exit 0.

use crate::support::bridge::Home;
use crate::support::kafka;
use crate::support::oracle::Plan;

#[test]
fn sigterm_under_load_drains_and_exits_with_zero() {
    let home = Home::new("drain");
    let bridge = home.start();
    let load = Plan::new(&home).start();
    crate::support::eventually("some load", || {
        (bridge.metric(&["imbridge_requests_total"]) > 500.0).then_some(())
    });
    let status = bridge.terminate();
    let ledger = load.stop();
    assert!(status.success(), "{status}");
    // Read before anything could be delivered by another start: the drain itself has delivered everything.
    let verdict = ledger.judge(&kafka::shared(), &home);
    verdict.assert_kept();
    assert_eq!(
        verdict.unacknowledged_yet_present, 0,
        "whatever was accepted was answered"
    );
    assert!(ledger.acknowledged >= 500);
}

#[test]
fn what_cannot_be_delivered_in_time_stays_for_the_next_start() {
    let mut home = Home::with_brokers("stay", "127.0.0.1:1");
    home.set("SHUTDOWN__DRAIN_TIMEOUT_S", "1");
    let bridge = home.start();
    let ledger = Plan::new(&home).with("groups", 8).with("each", 10).start().finish();
    assert!(bridge.terminate().success());
    home.set("KAFKA__BROKERS", kafka::shared());
    let bridge = home.start();
    bridge.settle();
    let verdict = ledger.judge(&kafka::shared(), &home);
    verdict.assert_kept();
    assert_eq!((verdict.found, verdict.unacknowledged_yet_present), (80, 0));
}
