//! SIGTERM: no new callbacks, those in progress answered, the spool delivered, exit 0.

use crate::support::bridge::Home;
use crate::support::kafka;
use crate::support::load::Load;
use crate::support::reader::consume;

#[test]
fn sigterm_under_load_drains_and_exits_with_zero() {
    let home = Home::new("drain");
    let bridge = home.start();
    let load = Load::start(home.port, 16, 64, u64::MAX);
    crate::support::eventually("some load", || {
        (bridge.metric(&["imbridge_requests_total"]) > 500.0).then_some(())
    });
    let status = bridge.terminate();
    let ledger = load.stop();
    assert!(status.success(), "{status}");
    // Read before anything could be delivered by another start: the drain itself has delivered everything.
    let consumed = consume(&kafka::shared(), &home.prefix, &home.schemas());
    assert_eq!(ledger.judge(&consumed), 0, "whatever was accepted was answered");
    assert!(ledger.count() >= 500);
}

#[test]
fn what_cannot_be_delivered_in_time_stays_for_the_next_start() {
    let mut home = Home::with_brokers("stay", "127.0.0.1:1");
    home.set("SHUTDOWN__DRAIN_TIMEOUT_S", "1");
    let bridge = home.start();
    let ledger = Load::start(home.port, 4, 8, 10).finish();
    assert!(bridge.terminate().success());
    home.set("KAFKA__BROKERS", kafka::shared());
    let bridge = home.start();
    bridge.settle();
    assert_eq!(
        ledger.judge(&consume(&kafka::shared(), &home.prefix, &home.schemas())),
        0
    );
    assert_eq!(ledger.count(), 80);
}
