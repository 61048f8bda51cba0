//! Brokers that answer a message late with an error, although they have stored it, while they refuse and accept others
//! in turn. If librdkafka numbered such a message anew, Kafka would store it a second time.

use std::time::Duration;

use crate::campaign::{Campaign, TOPICS, home_on_three, pass};
use crate::size::size;
use crate::support::admin::Admin;
use crate::support::kafka::{Kafka, one_cluster_at_a_time};
use crate::support::within;

const LAG_SETTING: &str = "replica.lag.time.max.ms=2000";
/// A bit longer than `broker.session.timeout.ms` of `scripts/kafka` and `request.timeout.ms` below.
const NOTICED: Duration = Duration::from_secs(6);
/// A broker's error if fewer replicas are in sync than demanded, and if not all of them stored a message in time.
const REFUSED: &str = "Not enough in-sync replicas";
const LATE: &str = "Request timed out";
/// The watchdog logs this and keeps the producer.
const PATIENT: &str = "Kafka takes no messages until more replicas are in sync";

#[test]
fn messages_that_are_refused_after_they_were_stored_are_not_in_kafka_twice() {
    let _alone = one_cluster_at_a_time();
    let kafka = Kafka::create("refusals", 3, &[LAG_SETTING]);
    let mut home = home_on_three("refusals", &kafka.brokers, None);
    // As many requests as possible, each of which its broker ends after a second. The debug log has their answers.
    home.configure("[kafka.properties]\n\"linger.ms\" = \"0\"\n\"request.timeout.ms\" = \"1000\"\n\"debug\" = \"msg\"");
    home.set("LOG__LEVEL", "info,librdkafka=debug");
    // Nothing is delivered for longer than this, but a new producer would not help. It is not shorter, since a new
    // cluster may need some seconds to give the first producer its id.
    home.set("KAFKA__STALL_TIMEOUT_S", "8");
    let mut campaign = Campaign::begin_with("refusals", &kafka.brokers, home, 1500);
    let [flickering, patient] = TOPICS.map(|topic| format!("{}.{topic}", campaign.home.prefix));
    let controller = kafka.controller();
    let follower = (1..=3).find(|node| *node != controller).expect("one of three is not");
    // When the follower stops, messages that the leaders have stored get no answer in time, and later ones are refused.
    Admin::of(&kafka.brokers).demand(&patient, "3");
    let mut random = fastrand::Rng::with_seed(13);
    let times = size("REFUSALS", 40, 1000);
    let before = campaign.bridge.metric(&["imbridge_producer_rebuilds_total"]);
    campaign.fault(&format!("{times} times refused and taken"), |campaign| {
        kafka.node("pause", follower);
        pass(NOTICED);
        // A new client, which does not ask the follower that is paused.
        let admin = Admin::of(&kafka.brokers);
        for _ in 0..times {
            for replicas in ["3", "2"] {
                admin.demand(&flickering, replicas);
                pass(Duration::from_millis(random.u64(5..100)));
            }
        }
        // The watchdog asks the brokers first, which may take some seconds.
        for line in [REFUSED, LATE, PATIENT] {
            within(Duration::from_secs(60), line, || {
                campaign.bridge.log().contains(line).then_some(())
            });
        }
        kafka.node("resume", follower);
        admin.demand(&patient, "2");
        let rebuilds = campaign.bridge.metric(&["imbridge_producer_rebuilds_total"]);
        let log = campaign.bridge.log();
        let why: Vec<_> = log
            .lines()
            .filter(|line| line.contains("publishing starts over"))
            .collect();
        assert_eq!(rebuilds, before, "a producer was given up: {why:#?}");
    });
    let admin = Admin::of(&kafka.brokers);
    within(Duration::from_secs(90), "all replicas to be in sync", || {
        (admin.in_sync(&patient, 3) + admin.in_sync(&flickering, 3) == 8).then_some(())
    });
    campaign.end();
}
