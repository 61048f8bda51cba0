//! Order within each group under concurrent load.

use crate::support::bridge::Home;
use crate::support::kafka;
use crate::support::oracle::Plan;

#[test]
fn two_hundred_groups_over_64_connections_arrive_in_order_and_once() {
    let home = Home::new("order");
    let bridge = home.start();
    let plan = Plan::new(&home).with("connections", 64).with("groups", 200);
    let ledger = plan.with("each", 50).start().finish();
    assert_eq!(ledger.acknowledged, 200 * 50, "every post is acknowledged");
    bridge.settle();
    let verdict = ledger.judge(&kafka::shared(), &home);
    verdict.assert_kept();
    assert_eq!((verdict.found, verdict.unacknowledged_yet_present), (200 * 50, 0));
    assert_eq!(
        verdict.partitions, 8,
        "the groups are spread over all partitions of both topics"
    );
}
