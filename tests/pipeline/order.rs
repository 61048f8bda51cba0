//! Order within each group, under concurrent load.

use std::collections::HashSet;

use crate::support::bridge::Home;
use crate::support::kafka;
use crate::support::load::Load;
use crate::support::reader::consume;

#[test]
fn two_hundred_groups_over_64_connections_arrive_in_order_and_once() {
    let home = Home::new("order");
    let bridge = home.start();
    let ledger = Load::start(home.port, 64, 200, 50).finish();
    assert_eq!(ledger.count(), 200 * 50, "every post is acknowledged");
    bridge.settle();
    let consumed = consume(&kafka::shared(), &home.prefix, &home.schemas());
    assert_eq!(ledger.judge(&consumed), 0);
    assert_eq!(consumed.len(), 200 * 50);
    let partitions: HashSet<i32> = consumed.iter().map(|message| message.partition).collect();
    assert_eq!(partitions.len(), 4, "the groups are spread over all partitions");
}
