//! A broker that is paused keeps its connections and the requests that it has received. With transactions, publishing
//! must go on with the other brokers while it is paused.

use std::time::Duration;

use crate::campaign::{Campaign, TOPICS, home_on_three, pass};
use crate::support::admin::Admin;
use crate::support::kafka::{Kafka, one_cluster_at_a_time};
use crate::support::within;

/// A bit longer than `broker.session.timeout.ms` of `scripts/kafka`: by then other brokers lead its partitions.
const NOTICED: Duration = Duration::from_secs(5);
/// A transaction's time-out of 10 s instead of 15 s, since what follows it takes long on busy processors.
const TRANSACTION: &str =
    "[kafka.properties]\n\"transaction.timeout.ms\" = \"10000\"\n\"socket.timeout.ms\" = \"9000\"";
/// About 5 s of the transaction's 10 s are left when the others lead. A commit alone would time out after 30 s.
const GOES_ON: Duration = Duration::from_secs(24);

#[test]
fn with_transactions_publishing_goes_on_while_a_broker_still_hangs() {
    let _alone = one_cluster_at_a_time();
    let kafka = Kafka::create("hanging", 3, &[]);
    let admin = Admin::of(&kafka.brokers);
    let home = home_on_three("hanging", &kafka.brokers, Some("transactional"));
    home.configure(TRANSACTION);
    let mut campaign = Campaign::begin("hanging, transactional", &kafka.brokers, home);
    let leader = admin.leaders(&format!("{}.{}", campaign.home.prefix, TOPICS[0]))[0];
    let took = campaign.fault("a leader stands still", |campaign| {
        kafka.node("pause", leader);
        pass(NOTICED);
        let accepted = campaign.accepted();
        within(GOES_ON, "events of that time in Kafka", || {
            (campaign.arrived() >= accepted).then_some(())
        });
        kafka.node("resume", leader);
    });
    campaign.end();
    assert!(
        took < Duration::from_secs(10),
        "everything was in Kafka {took:?} after it"
    );
}
