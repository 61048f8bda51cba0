//! Three real brokers that are killed, stopped, paused and restarted under load; topics that are deleted or limited;
//! and an outage with its catch-up. Callers are not affected. Afterwards Kafka has everything once and in order.

use std::time::{Duration, Instant};

use crate::campaign::{Campaign, TOPICS, home_on_three, monotonic_ns, pass, rate};
use crate::size::{report, size};
use crate::support::admin::Admin;
use crate::support::bridge::APP;
use crate::support::kafka::{Kafka, one_cluster_at_a_time};
use crate::support::within;

/// A bit longer than `broker.session.timeout.ms` of `scripts/kafka`: by then the others know of a dead or paused
/// broker.
const NOTICED: Duration = Duration::from_secs(5);
const NODES: [i32; 3] = [1, 2, 3];
/// In this cluster a follower leaves the in-sync replicas after 1.5 times this at most. With the default, each start
/// would settle for 50 s.
const LAG_SETTING: &str = "replica.lag.time.max.ms=2000";
const SETTLE_MS: &str = "3500";
const PARTITIONS: usize = 4;
/// The command of a message that is too large for its topic.
const LARGE: &str = "Group.CallbackAfterCreateGroup";

/// The cluster and an admin client.
struct Operator {
    kafka: Kafka,
    admin: Admin,
}

#[test]
fn faults_of_three_brokers_lose_nothing_repeat_nothing_and_slow_no_answer() {
    let _alone = one_cluster_at_a_time();
    let kafka = Kafka::create("brokers", 3, &[LAG_SETTING]);
    let admin = Admin::of(&kafka.brokers);
    let mut operator = Operator { kafka, admin };
    // The same test for each mode of delivery.
    let modes = [
        (size("IDEMPOTENT", 1, 1), None),
        (size("TRANSACTIONAL", 0, 1), Some("transactional")),
    ];
    for (_, delivery) in modes.into_iter().filter(|(wanted, _)| *wanted > 0) {
        for _ in 0..size("BROKERS", 1, 5) {
            operator.one_fault_after_the_other(delivery);
        }
        let restarts = size("RESTARTS", 0, 60);
        if restarts > 0 {
            operator.restarts(delivery, restarts);
        }
        let outage_s = size("OUTAGE_S", 0, 3600);
        if outage_s > 0 {
            operator.outage(delivery, Duration::from_secs(outage_s));
        }
    }
}

impl Operator {
    fn begin(&self, name: &str, delivery: Option<&str>) -> Campaign {
        let mut home = home_on_three(name, &self.kafka.brokers, delivery);
        home.set("KAFKA__SETTLE_MS", SETTLE_MS);
        let name = delivery.map_or(name.to_owned(), |mode| format!("{name}, {mode}"));
        Campaign::begin(&name, &self.kafka.brokers, home)
    }

    fn one_fault_after_the_other(&mut self, delivery: Option<&str>) {
        let mut campaign = self.begin("brokers", delivery);
        let topics = TOPICS.map(|topic| format!("{}.{topic}", campaign.home.prefix));
        let topic = &topics[0];

        let leader = self.admin.leaders(topic)[0];
        campaign.fault("a leader is killed and comes back", |_| {
            self.kafka.node("kill", leader);
            pass(NOTICED);
            self.kafka.node("up", leader);
        });
        self.whole(&topics);

        campaign.fault("all brokers are killed and come back", |_| {
            self.kafka.kill();
            pass(Duration::from_secs(size("AWAY_S", 2, 20)));
            self.kafka.up();
        });
        self.whole(&topics);

        let controller = self.kafka.controller();
        campaign.fault("the controller stands still past its session", |_| {
            self.kafka.node("pause", controller);
            pass(Duration::from_secs(size("PAUSE_S", 6, 20)));
            self.kafka.node("resume", controller);
        });
        self.whole(&topics);

        let leader = self.admin.leaders(topic)[0];
        campaign.fault("two of three are stopped", |_| {
            let others = || NODES.into_iter().filter(|node| *node != leader);
            others().for_each(|node| self.kafka.node("stop", node));
            pass(NOTICED);
            self.kafka.up();
        });
        self.whole(&topics);

        self.message_too_large(&mut campaign, &topics[0]);
        if size("TOO_FEW", 0, 1) > 0 {
            self.too_few_in_sync(&mut campaign, &topics);
            self.whole(&topics);
        }
        // This takes half a minute, in which librdkafka expects that the topic may come back.
        if size("TOPIC_DELETED", 0, 1) > 0 {
            self.topic_deleted(&mut campaign, &topics[1]);
        }
        campaign.end();
    }

    /// The cluster is up, but refuses messages: fewer replicas are in sync than the topics demand.
    fn too_few_in_sync(&self, campaign: &mut Campaign, topics: &[String]) {
        let demand = |least: &str| {
            for topic in topics {
                self.admin.demand(topic, least);
            }
        };
        campaign.fault("fewer in sync than demanded", |_| {
            demand("3");
            self.kafka.node("stop", 3);
            pass(NOTICED * 2);
            self.kafka.node("up", 3);
            demand("2");
        });
    }

    /// A limit is lowered while the bridge runs. A message above it becomes a dead letter and delays nothing else.
    fn message_too_large(&self, campaign: &mut Campaign, topic: &str) {
        let mut random = fastrand::Rng::with_seed(7);
        let padding: String = std::iter::repeat_with(|| random.alphanumeric()).take(200_000).collect();
        let target = format!("/tencent?SdkAppid={APP}&CallbackCommand={LARGE}");
        let body = serde_json::json!({"CallbackCommand": LARGE, "GroupId": "large", "Padding": padding}).to_string();
        campaign.fault("a message above a limit that was lowered", |campaign| {
            self.admin
                .configure(topic, &[("max.message.bytes", "100000"), ("min.insync.replicas", "2")]);
            let answer = campaign.bridge.connect().post(&target, &body).expect("an answer");
            assert_eq!(answer.status, 200, "{}", answer.body);
            within(Duration::from_secs(60), "the message to become a dead letter", || {
                // Either the bridge has read the new limit, or Kafka has refused the message, which was alone in its
                // batch.
                let letters = ["too_large", "refused"].map(|reason| {
                    let reason = format!("reason=\"{reason}\"");
                    campaign.bridge.metric(&["imbridge_dead_letters_total", &reason])
                });
                (letters.iter().sum::<f64>() > 0.0).then_some(())
            });
        });
        self.admin.demand(topic, "2");
    }

    /// The events of a deleted topic are lost with it. All others arrive, in the topic that the bridge creates again.
    fn topic_deleted(&self, campaign: &mut Campaign, topic: &str) {
        let mut gone_ns = 0;
        campaign.fault("a topic is deleted", |campaign| {
            self.admin.delete(topic);
            let led = |leaders: Vec<i32>| leaders.len() == PARTITIONS && leaders.iter().all(|leader| *leader > 0);
            // A broker may still have it, and confirm messages to it, for a moment.
            within(Duration::from_secs(20), "the topic to be gone", || {
                (!led(self.admin.leaders(topic))).then_some(())
            });
            gone_ns = monotonic_ns() + 2_000_000_000;
            within(Duration::from_secs(120), "the topic to be created again", || {
                led(self.admin.leaders(topic)).then_some(())
            });
            let log = campaign.bridge.log();
            assert!(log.contains(topic), "the log does not name {topic}:\n{log}");
        });
        campaign.forgive("openim", gone_ns);
    }

    /// Waits until every partition has all its replicas in sync again, so that two faults never overlap.
    fn whole(&self, topics: &[String]) {
        for topic in topics {
            within(Duration::from_secs(90), "all replicas to be in sync", || {
                (self.admin.in_sync(topic, NODES.len()) == PARTITIONS).then_some(())
            });
        }
    }

    fn restarts(&self, delivery: Option<&str>, times: u64) {
        let mut campaign = self.begin("restarts", delivery);
        campaign.fault(&format!("{times} restarts, one every 10 s"), |_| {
            for time in 0..times {
                let next = Instant::now() + Duration::from_secs(10);
                let node = NODES[time as usize % NODES.len()];
                self.kafka.node(if time % 2 == 0 { "stop" } else { "kill" }, node);
                self.kafka.node("up", node);
                pass(next.saturating_duration_since(Instant::now()));
            }
        });
        campaign.end();
    }

    fn outage(&mut self, delivery: Option<&str>, length: Duration) {
        let mut campaign = self.begin("outage", delivery);
        let (mut accepted, mut arrived) = (0.0, 0.0);
        let took = campaign.fault(&format!("an outage of {length:?}"), |campaign| {
            self.kafka.stop();
            pass(length);
            self.kafka.up();
            // Events that arrived while the last brokers started do not count.
            arrived = campaign.arrived();
            accepted = campaign.accepted();
        });
        let caught_up = (accepted - arrived) / took.as_secs_f64();
        let ingest = rate() as f64;
        report(
            "outage",
            &format!(
                "caught up with {:.0} events in {took:.1?} from the moment at which all brokers answered: {caught_up:.0} a second, {:.1} times the {ingest} that came in",
                accepted - arrived,
                caught_up / ingest
            ),
        );
        campaign.end();
        assert!(
            caught_up >= 3.0 * ingest,
            "{caught_up:.0} a second is less than three times {ingest}"
        );
    }
}
