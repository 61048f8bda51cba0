//! A drill: a fleet under load, without faults first, then with one fault after the other. Each fault begins when the
//! fleet has recovered from the one before. At the end everything is judged. It does not know what the faults are.

use std::time::{Duration, Instant};

use crate::campaign::{Speed, TOPICS, home_on_three, pass};
use crate::disk::Disk;
use crate::size::{full, report, size};
use crate::support::admin::Admin;
use crate::support::bridge::Bridge;
use crate::support::fleet::Fleet;
use crate::support::kafka::Kafka;
use crate::support::oracle::{Load, judge_with};
use crate::support::proxy::Detour;
use crate::support::{eventually, within};

/// How many bridges. The last one reaches Kafka through a proxy, which can cut it off.
pub const BRIDGES: usize = 3;
pub const BEHIND_THE_DETOUR: usize = BRIDGES - 1;
const PARTITIONS: usize = 4;
const CALM: Duration = Duration::from_secs(1);
const INTERVAL_MS: u64 = 250;
/// The longest time in which a fleet may recover.
const RECOVERY_MAX: Duration = Duration::from_secs(120);

/// The median of answers that wait for a disk alone is always below this, also beside other tests.
const DISK_MS: f64 = 50.0;

/// `server.answer_hold_ms`. A breaker closes only if confirmations take less than a third of it. In the short form
/// other tests on the same processors delay the confirmations of a debug build, and most of all the commits.
fn hold_ms(delivery: Option<&str>) -> u64 {
    size("HOLD_MS", if delivery.is_some() { 3000 } else { 1000 }, 300)
}

/// What the bridges share.
pub struct Cluster {
    pub kafka: Kafka,
    pub admin: Admin,
    pub detour: Detour,
}

impl Cluster {
    pub fn new(kafka: Kafka, detour: Detour) -> Cluster {
        let admin = Admin::of(&kafka.brokers);
        Cluster { kafka, admin, detour }
    }
}

/// A fleet, its disks and its load.
pub struct Drill<'a> {
    pub cluster: &'a mut Cluster,
    pub fleet: Fleet,
    pub disks: Vec<Disk>,
    name: String,
    /// [`hold_ms`].
    pub hold_ms: u64,
    load: Load,
    faults: u64,
    /// Callbacks that were answered before Kafka had them, in faults that kill no bridge.
    early: f64,
}

/// A fault. The number selects the bridge, if the fault is one of a bridge.
pub type Fault = fn(&mut Drill<'_>, usize);

impl<'a> Drill<'a> {
    /// Starts the fleet and its load. When events of every bridge arrive in Kafka, it runs without faults for [`CALM`].
    pub fn begin(cluster: &'a mut Cluster, delivery: Option<&str>) -> Drill<'a> {
        let hold_ms = hold_ms(delivery);
        let homes = (0..BRIDGES).map(|number| {
            let brokers = match number {
                BEHIND_THE_DETOUR => &cluster.detour.brokers,
                _ => &cluster.kafka.brokers,
            };
            let mut home = home_on_three("replicas", brokers, delivery);
            if !full() {
                home.set("KAFKA__SETTLE_MS", super::SETTLE_MS);
            }
            home.set("SERVER__ANSWER_AFTER", "kafka");
            home.set("SERVER__ANSWER_HOLD_MS", hold_ms.to_string());
            home
        });
        let mut fleet = Fleet::new(homes.collect());
        let disks = fleet.homes.iter_mut().map(|home| Disk::under(home, false)).collect();
        fleet.start_all();
        let load = fleet
            .plan()
            .with("connections", 16)
            .with("groups", 48)
            .with("rate", size("RATE", 100, 300))
            .with("timeout-ms", size("TIMEOUT_MS", hold_ms + 500, 5000))
            .with("interval-ms", INTERVAL_MS)
            .start();
        eventually("some events in Kafka by each bridge", || {
            let published = |bridge: &Bridge| bridge.metric(&["imbridge_messages_published_total"]);
            fleet.running().all(|bridge| published(bridge) > 30.0).then_some(())
        });
        let drill = Drill {
            cluster,
            fleet,
            disks,
            hold_ms,
            name: delivery.map_or("replicas".to_owned(), |mode| format!("replicas, {mode}")),
            load,
            faults: 0,
            early: 0.0,
        };
        drill.recovered("the start");
        let from = drill.intervals();
        pass(CALM);
        drill.say(&format!("calm: {}", drill.speed_since(from)));
        drill
    }

    /// Runs a fault. Returns when the fleet has recovered.
    pub fn fault(&mut self, name: &str, number: usize, fault: Fault) {
        let (from, began) = (self.intervals(), Instant::now());
        fault(self, number);
        let lasted = began.elapsed();
        let after = self.recovered(name);
        let intervals = self.load.intervals();
        let unanswered: u64 = intervals[from..].iter().map(|interval| interval.unanswered).sum();
        self.faults += 1;
        self.say(&format!(
            "{name}: {}, {unanswered} without a success; {lasted:.1?} long, recovered {after:.1?} after its end",
            self.speed_since(from)
        ));
    }

    /// Waits until no breaker is open, nothing waits for long and all replicas are in sync, so that two faults never
    /// overlap: an event that was answered early is on one disk only until it is delivered.
    fn recovered(&self, from: &str) -> Duration {
        let began = Instant::now();
        let published = |bridge: &Bridge| bridge.metric(&["imbridge_messages_published_total"]);
        let before: Vec<_> = self.fleet.running().map(published).collect();
        within(RECOVERY_MAX, &format!("the fleet to recover from {from:?}"), || {
            // A new event is published after all that waited.
            let goes_on = |(bridge, before): (&Bridge, &f64)| {
                published(bridge) > *before && bridge.metric(&["imbridge_spool_oldest_age_seconds "]) < 1.0
            };
            let go_on = self.fleet.running().zip(&before).all(goes_on);
            (go_on && !self.any_breaker_open()).then_some(())
        });
        let took = began.elapsed();
        for topic in self.topics() {
            within(RECOVERY_MAX, "all replicas to be in sync", || {
                (self.cluster.admin.in_sync(&topic, 3) == PARTITIONS).then_some(())
            });
        }
        took
    }

    /// Waits until each partition has a leader.
    pub fn has_leaders(&self) {
        for topic in self.topics() {
            within(RECOVERY_MAX, "a leader of each partition", || {
                let leaders = self.cluster.admin.leaders(&topic);
                (leaders.len() == PARTITIONS && leaders.iter().all(|leader| *leader > 0)).then_some(())
            });
        }
    }

    /// Whether a breaker is open at any bridge.
    pub fn any_breaker_open(&self) -> bool {
        self.fleet.metric(&["imbridge_answer_breaker_open "]) > 0.0
    }

    /// Runs something that kills no bridge. Returns how many callbacks this bridge answered before Kafka had them. In
    /// the end, their events must be late.
    pub fn answered_early(&mut self, number: usize, meanwhile: impl FnOnce(&mut Self)) -> f64 {
        let count = |drill: &Self| drill.fleet.bridge(number).metric(&["imbridge_answered_early_total"]);
        let before = count(self);
        meanwhile(self);
        let early = count(self) - before;
        self.early += early;
        early
    }

    /// The topics of the load.
    pub fn topics(&self) -> [String; 2] {
        TOPICS.map(|topic| format!("{}.{topic}", self.fleet.homes[0].prefix))
    }

    /// How many intervals the load has reported.
    pub fn intervals(&self) -> usize {
        self.load.intervals().len()
    }

    /// The speed of the answers since an interval.
    pub fn speed_since(&self, from: usize) -> Speed {
        let all = self.load.intervals();
        Speed::of(&all[from.min(all.len() - 1)..])
    }

    /// Asserts that answers waited for the disk only. An answer that waited for Kafka would take the whole hold time.
    pub fn assert_fast_since(&self, from: usize, when: &str) {
        let speed = self.speed_since(from);
        self.say(&format!("{when}: {speed}"));
        assert!(
            speed.median_ms < DISK_MS && speed.p99_ms < self.hold_ms as f64,
            "{when}: {speed}"
        );
    }

    pub fn say(&self, line: &str) {
        report(&self.name, line);
    }

    /// Ends the load, and asserts the promise of replicas.
    pub fn end(mut self) {
        let plan = self.load.stop();
        self.fleet.settle();
        for number in self.fleet.numbers() {
            self.fleet.terminate(number);
        }
        let hold_ms = self.hold_ms.to_string();
        let verdict = judge_with(
            &self.cluster.kafka.brokers,
            &self.fleet.homes[0],
            &[&plan.path],
            &["--answer-hold-ms", &hold_ms],
        );
        report(
            &self.name,
            &format!(
                "{} faults: {}; {} without a success; late: {} by their mark, {} by their time; {} judged for their order",
                self.faults,
                verdict.summary(),
                plan.unanswered,
                verdict.late_by_header,
                verdict.late_by_time,
                verdict.ordered
            ),
        );
        verdict.assert_kept();
        let late = verdict.late_by_header + verdict.late_by_time;
        assert!(verdict.late_by_header > 0 && late as f64 >= self.early, "{verdict:#?}");
        // If everything were marked as late, no order would be checked. On busy processors breakers are open half of
        // the time.
        assert!(verdict.ordered * 10 > verdict.acknowledged, "{verdict:#?}");
    }
}
