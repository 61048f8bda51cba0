//! A message is visible to readers only when every in-sync replica has it. Here a follower is paused, the leader
//! appends, and the bridge is killed and started again. A read-back before the follower leaves the in-sync replicas
//! would not see these messages, and they would be sent a second time. The settle time prevents it and follows the
//! brokers' setting.

use std::time::Duration;

use crate::campaign::{TOPICS, home_on_three, pass};
use crate::size::{full, report, size};
use crate::support::admin::Admin;
use crate::support::bridge::{Bridge, Home};
use crate::support::kafka::{Kafka, one_cluster_at_a_time};
use crate::support::oracle::{Plan, Verdict};
use crate::support::{eventually, within};

/// So long that the paused follower is not noticed by its heartbeats, but only by `replica.lag.time.max.ms`.
const LONG_SESSION: &str = "broker.session.timeout.ms=120000";
/// For the short form. A leader checks every half of it, so a follower leaves after 1.5 times this at most.
const SHORT_LAG: &str = "replica.lag.time.max.ms=2000";
/// 1.5 times the lag, and 5 s.
const SETTLE: Duration = Duration::from_secs(50);
const SHORT_SETTLE: Duration = Duration::from_secs(8);
const HIDDEN: f64 = 100.0;

#[test]
fn what_a_lagging_follower_hides_is_not_sent_again_after_the_settle_time() {
    let _alone = one_cluster_at_a_time();
    let settings: &[&str] = if full() {
        &[LONG_SESSION]
    } else {
        &[LONG_SESSION, SHORT_LAG]
    };
    let kafka = Kafka::create("lagging", 3, settings);
    let by_the_brokers = Some(if full() { SETTLE } else { SHORT_SETTLE });
    for _ in 0..size("LAGGING", 1, 5) {
        let home = home_on_three("lagging", &kafka.brokers, None);
        let verdict = killed_while_a_follower_lags(&kafka, home, Until::Settled, by_the_brokers);
        report("lagging", &format!("with the settle time: {}", verdict.summary()));
        verdict.assert_kept();
    }
    let home = home_on_three("refusing", &kafka.brokers, None);
    let verdict = killed_while_a_follower_lags(&kafka, home, Until::Seen, by_the_brokers);
    report("lagging", &format!("below what is demanded: {}", verdict.summary()));
    verdict.assert_kept();
    if full() {
        let home = home_on_three("lagging", &kafka.brokers, Some("transactional"));
        let verdict = killed_while_a_follower_lags(&kafka, home, Until::Settled, None);
        report("lagging", &format!("with transactions: {}", verdict.summary()));
        verdict.assert_kept();
        // This shows why the settle time is needed. Doubles are not asserted, since they depend on the moment.
        let mut home = home_on_three("unsettled", &kafka.brokers, None);
        home.set("KAFKA__SETTLE_MS", "0");
        let verdict = killed_while_a_follower_lags(&kafka, home, Until::Settled, None);
        report("lagging", &format!("without a settle time: {}", verdict.summary()));
        assert_eq!(verdict.acknowledged_and_missing, 0, "{verdict:#?}");
    }
}

/// How long the follower is paused.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Until {
    /// Until everything is in Kafka without it.
    Settled,
    /// Until it has left the in-sync replicas and the bridge waits for it, since the topic demands all three replicas.
    Seen,
}

/// `settle` is the settle time that follows from the brokers' setting.
fn killed_while_a_follower_lags(kafka: &Kafka, mut home: Home, until: Until, settle: Option<Duration>) -> Verdict {
    // One group in one partition has one leader and two followers, of which one can be paused.
    home.set("KAFKA__PARTITIONS", "1");
    home.without_timeline();
    // With some events in each batch, a batch is in flight when the follower stops.
    home.set("KAFKA__PROPERTIES__LINGER_MS", "50");
    let bridge = home.start();
    let plan = Plan::new(&home).with("connections", 1).with("groups", 1);
    let load = plan.with("rate", 200).start();
    let delivered = |bridge: &Bridge| bridge.metric(&["imbridge_messages_published_total"]);
    eventually("some events in Kafka", || (delivered(&bridge) > 100.0).then_some(()));

    let admin = Admin::of(&kafka.brokers);
    let topics = TOPICS.map(|topic| format!("{}.{topic}", home.prefix));
    let leader = admin.leaders(&topics[0])[0];
    if until == Until::Seen {
        topics.iter().for_each(|topic| admin.demand(topic, "3"));
    }
    let controller = kafka.controller();
    let follower = (1..=3).find(|node| *node != leader && *node != controller);
    let follower = follower.expect("one of three is neither");
    kafka.node("pause", follower);
    eventually("events that Kafka does not confirm", || {
        let accepted = bridge.metric(&["imbridge_requests_total", "status=\"200\""]);
        (accepted - delivered(&bridge) > HIDDEN).then_some(())
    });
    bridge.kill();
    let bridge = home.start();
    let ledger = load.stop();
    if until == Until::Seen {
        within(Duration::from_secs(150), "the bridge to wait for replicas", || {
            bridge.log().contains("publishing waits for replicas").then_some(())
        });
        // The settle time alone is not enough here.
        pass(SHORT_SETTLE);
        kafka.node("resume", follower);
    }
    bridge.settle_within(Duration::from_secs(240));
    if let Some(settle) = settle {
        bridge.logged(&format!("settle_ms={}", settle.as_millis()));
    }
    kafka.node("resume", follower);
    assert!(bridge.terminate().success());
    let verdict = ledger.judge(&kafka.brokers, &home);
    eventually("all replicas in sync again", || {
        let topic = format!("{}.{}", home.prefix, TOPICS[0]);
        (Admin::of(&kafka.brokers).in_sync(&topic, 3) == 1).then_some(())
    });
    verdict
}
