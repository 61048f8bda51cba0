//! What the campaigns against Kafka share: a bridge under a steady load, a calm time first, then faults, each with its span
//! of time; at the end the judgement, and the speed of the answers during each fault against the calm.

use std::time::{Duration, Instant};

use crate::size::{report, size};
use crate::steady::{Ledger, Steady, Verdict};
use crate::support::bridge::{Bridge, Home};
use crate::support::{eventually, within};

const CALM: Duration = Duration::from_secs(4);
/// The longest that a fault's backlog may take: long outages in the whole form are bounded by their own figures.
const RECOVERY_MAX: Duration = Duration::from_secs(240);

/// A home on three brokers; `delivery` is the value of `kafka.delivery`, where another than the default is to be tried.
pub fn home_on_three(name: &str, brokers: &str, delivery: Option<&str>) -> Home {
    let mut home = Home::with_brokers(name, brokers);
    home.set("KAFKA__REPLICATION_FACTOR", "3");
    if let Some(delivery) = delivery {
        home.set("KAFKA__DELIVERY", delivery);
    }
    home.configure("[kafka.topic_config]\n\"min.insync.replicas\" = \"2\"");
    home
}

/// A bridge under load.
pub struct Campaign {
    name: String,
    brokers: String,
    pub home: Home,
    pub bridge: Bridge,
    load: Steady,
    calm: (Instant, Instant),
    spans: Vec<Fault>,
    deleted: Option<(&'static str, Instant)>,
}

/// A fault that is over.
struct Fault {
    name: String,
    span: (Instant, Instant),
    recovered_after: Duration,
}

impl Campaign {
    /// Starts the bridge and its load, and lets a calm time pass once events arrive in Kafka.
    pub fn begin(name: &str, brokers: &str, home: Home) -> Campaign {
        let bridge = home.start();
        let load = Steady::start(home.port, 8, 32, size("RATE", 200, 1000));
        eventually("some events in Kafka", || {
            (bridge.metric(&["imbridge_messages_published_total"]) > 100.0).then_some(())
        });
        let calm_from = Instant::now();
        pass(CALM);
        Campaign {
            name: name.to_owned(),
            brokers: brokers.to_owned(),
            home,
            bridge,
            load,
            calm: (calm_from, Instant::now()),
            spans: Vec::new(),
            deleted: None,
        }
    }

    /// A fault and its end; returns when Kafka has everything that was acknowledged until then, and says how long that took.
    pub fn fault(&mut self, name: &str, fault: impl FnOnce(&Campaign)) -> Duration {
        let from = Instant::now();
        fault(self);
        let to = Instant::now();
        let accepted = self.accepted();
        within(
            RECOVERY_MAX,
            &format!("everything from {name} to be in Kafka; the log:\n{}", self.bridge.log()),
            || (self.arrived() >= accepted).then_some(()),
        );
        self.spans.push(Fault {
            name: name.to_owned(),
            span: (from, to),
            recovered_after: to.elapsed(),
        });
        to.elapsed()
    }

    /// From now on a topic may lack what was acknowledged before.
    pub fn forgive_before(&mut self, command: &'static str, at: Instant) {
        self.deleted = Some((command, at));
    }

    /// Callbacks that this bridge has acknowledged.
    pub fn accepted(&self) -> f64 {
        self.bridge.metric(&["imbridge_requests_total", "status=\"200\""])
    }

    /// Messages of which this bridge knows that Kafka has them.
    pub fn arrived(&self) -> f64 {
        self.bridge.metric(&["imbridge_messages_published_total"])
            + self.bridge.metric(&["imbridge_messages_skipped_total "])
    }

    /// Ends the load, and asserts that everything is in Kafka, once, in order, and that no fault slowed the answers down.
    pub fn end(self) {
        let ledger = self.load.stop();
        self.bridge.settle();
        let rebuilds = self.bridge.metric(&["imbridge_producer_rebuilds_total"]) as u64;
        let verdict = ledger.judge(&self.brokers, &self.home.prefix, &self.home.schemas());
        let calm = ledger.speed(self.calm);
        report(&self.name, &format!("calm: {calm}"));
        for fault in &self.spans {
            let (name, speed) = (&fault.name, ledger.speed(fault.span));
            let (took, after) = (fault.span.1 - fault.span.0, fault.recovered_after);
            report(
                &self.name,
                &format!("{name}, {took:.1?}: {speed}; everything in Kafka after {after:.1?} more"),
            );
        }
        report(&self.name, &summary(&ledger, &verdict, rebuilds));
        verdict.is_kept(self.deleted);
        for fault in &self.spans {
            ledger.speed(fault.span).keeps_up_with(calm, &fault.name);
        }
        assert_eq!(ledger.refused(), 0, "callbacks were refused");
        assert!(self.bridge.terminate().success());
    }
}

/// A line of what was found.
pub fn summary(ledger: &Ledger, verdict: &Verdict, rebuilds: u64) -> String {
    format!(
        "{} acknowledged, {} found, {} missing, {} doubles; {} refused, {rebuilds} producers given up",
        ledger.count(),
        verdict.found,
        verdict.lost(),
        verdict.doubles,
        ledger.refused()
    )
}

/// Lets the time of a fault pass: its length is what is varied.
pub fn pass(time: Duration) {
    std::thread::sleep(time);
}
