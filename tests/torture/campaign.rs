//! The base of the campaigns against Kafka: a bridge under a steady load, without faults first, then with one fault
//! after the other. At the end everything is judged, and the answers' speed during each fault is compared with the
//! speed before.

use std::fmt;
use std::io::Write;
use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::size::{report, size};
use crate::support::bridge::{Bridge, Home};
use crate::support::oracle::{Interval, Ledger, Load, Plan, judge_with};
use crate::support::{eventually, within};

/// The topics of the load, without their prefix; half of the events go to each.
pub const TOPICS: [&str; 2] = [
    "tencent.Group.CallbackAfterCreateGroup",
    "openim.callbackAfterTransferGroupOwnerCommand",
];
const CALM: Duration = Duration::from_secs(4);
const INTERVAL_MS: u64 = 500;
/// The longest time for the backlog of a fault.
const RECOVERY_MAX: Duration = Duration::from_secs(600);

/// A home on three brokers. `delivery` is the value of `kafka.delivery`; `None` is the default.
pub fn home_on_three(name: &str, brokers: &str, delivery: Option<&str>) -> Home {
    let mut home = Home::with_brokers(name, brokers);
    home.set("KAFKA__REPLICATION_FACTOR", "3");
    if let Some(delivery) = delivery {
        home.set("KAFKA__DELIVERY", delivery);
    }
    home.configure("[kafka.topic_config]\n\"min.insync.replicas\" = \"2\"");
    home
}

/// Events a second of the load.
pub fn rate() -> u64 {
    size("RATE", 200, 1000)
}

/// A bridge under load.
pub struct Campaign {
    name: String,
    brokers: String,
    // Dropped before the folder of its log.
    pub bridge: Bridge,
    pub home: Home,
    load: Load,
    calm: Range<usize>,
    faults: Vec<Fault>,
    deleted: Option<Deleted>,
    refused_count: bool,
}

/// A fault that is over.
struct Fault {
    name: String,
    intervals: Range<usize>,
    recovered_after: Duration,
}

/// A topic that was deleted with its earlier events.
struct Deleted {
    provider: &'static str,
    at_ns: u64,
}

impl Campaign {
    /// Starts the bridge and its load. When events arrive in Kafka, it runs without faults for [`CALM`].
    pub fn begin(name: &str, brokers: &str, home: Home) -> Campaign {
        Campaign::begin_with(name, brokers, home, rate())
    }

    /// Like [`Campaign::begin`], with so many events a second.
    pub fn begin_with(name: &str, brokers: &str, home: Home, rate: u64) -> Campaign {
        let bridge = home.start();
        let plan = Plan::new(&home).with("connections", 8).with("groups", 32);
        let load = plan.with("rate", rate).with("interval-ms", INTERVAL_MS).start();
        eventually("some events in Kafka", || {
            (bridge.metric(&["imbridge_messages_published_total"]) > 100.0).then_some(())
        });
        let calm_from = load.intervals().len();
        pass(CALM);
        Campaign {
            name: name.to_owned(),
            brokers: brokers.to_owned(),
            calm: calm_from..load.intervals().len(),
            home,
            bridge,
            load,
            faults: Vec::new(),
            deleted: None,
            refused_count: false,
        }
    }

    /// Runs a fault. Returns when Kafka has everything that was acknowledged until its end, and how long that took.
    pub fn fault(&mut self, name: &str, fault: impl FnOnce(&Campaign)) -> Duration {
        let from = self.load.intervals().len();
        fault(self);
        let over = Instant::now();
        let accepted = self.accepted();
        within(
            RECOVERY_MAX,
            &format!("everything from {name:?} to be in Kafka"),
            || (self.arrived() >= accepted).then_some(()),
        );
        let recovered_after = over.elapsed();
        self.faults.push(Fault {
            name: name.to_owned(),
            intervals: from..self.load.intervals().len().max(from + 1),
            recovered_after,
        });
        recovered_after
    }

    /// A topic of this provider was deleted at this instant of [`monotonic_ns`]. Its events may be missing.
    pub fn forgive(&mut self, provider: &'static str, at_ns: u64) {
        self.deleted = Some(Deleted { provider, at_ns });
    }

    /// Counts an event that Kafka refuses for good as present if there is a dead letter for it.
    pub fn accept_refused(&mut self) {
        self.refused_count = true;
    }

    /// Callbacks that this bridge has acknowledged.
    pub fn accepted(&self) -> f64 {
        self.bridge.metric(&["imbridge_requests_total", "status=\"200\""])
    }

    /// Messages that are in Kafka, as far as this bridge knows.
    pub fn arrived(&self) -> f64 {
        self.bridge.metric(&["imbridge_messages_published_total"])
            + self.bridge.metric(&["imbridge_messages_skipped_total "])
    }

    /// Ends the load. Asserts that everything is in Kafka once and in order, and that no fault slowed the answers down.
    pub fn end(self) {
        let ledger = self.load.stop();
        self.bridge.settle();
        let rebuilds = self.bridge.metric(&["imbridge_producer_rebuilds_total"]) as u64;
        let path = match &self.deleted {
            None => ledger.path.clone(),
            Some(deleted) => without_deleted(&ledger, deleted),
        };
        let refused = self.refused_count.then_some("--refused-count");
        let options: Vec<&str> = ["--isolation", "read_committed"].into_iter().chain(refused).collect();
        let verdict = judge_with(&self.brokers, &self.home, &[&path], &options);
        let intervals = ledger.intervals();
        let calm = Speed::of(&intervals[self.calm.clone()]);
        let say = |line: &str| report(&self.name, line);
        say(&format!("calm: {calm}"));
        let speed_in = |fault: &Fault| {
            let last = intervals.len() - 1;
            Speed::of(&intervals[fault.intervals.start.min(last)..fault.intervals.end.min(last + 1)])
        };
        for fault in &self.faults {
            let (name, speed, after) = (&fault.name, speed_in(fault), fault.recovered_after);
            say(&format!(
                "{name}: {speed}; everything in Kafka {after:.1?} after its end"
            ));
        }
        let unanswered = ledger.unanswered;
        say(&format!(
            "{}; {unanswered} refused or unanswered; {rebuilds} producers given up",
            verdict.summary()
        ));
        verdict.assert_kept();
        assert_eq!(unanswered, 0, "callbacks were refused");
        for fault in &self.faults {
            speed_in(fault).keeps_up_with(calm, &fault.name);
        }
        assert!(self.bridge.terminate().success());
    }
}

/// The clock of the load's ledger and of the shim.
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// A copy of the ledger in which the events that may have been in the deleted topic are not acknowledged.
fn without_deleted(ledger: &Ledger, deleted: &Deleted) -> PathBuf {
    let text = std::fs::read_to_string(&ledger.path).expect("the load has written it");
    let path = ledger.path.with_extension("without-deleted");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).expect("a temporary folder is writable"));
    for line in text.lines() {
        let mut entry: serde_json::Value = serde_json::from_str(line).expect("the load writes JSON");
        let earlier = entry["answered_at_ns"].as_u64().expect("an instant") < deleted.at_ns;
        if entry["provider"] == deleted.provider && earlier {
            entry["acknowledged"] = false.into();
        }
        writeln!(file, "{entry}").expect("a temporary folder is writable");
    }
    file.flush().expect("a temporary folder is writable");
    path
}

/// The speed of answers.
#[derive(Debug, Clone, Copy)]
pub struct Speed {
    seconds: f64,
    pub median_ms: f64,
    pub p99_ms: f64,
}

impl fmt::Display for Speed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Speed {
            seconds,
            median_ms,
            p99_ms,
        } = self;
        write!(
            formatter,
            "answers over {seconds:.1} s: median {median_ms:.1} ms, p99 {p99_ms:.1} ms"
        )
    }
}

impl Speed {
    /// The median of the intervals' medians, and the ninth decile of their 99th percentiles.
    pub fn of(intervals: &[Interval]) -> Speed {
        assert!(!intervals.is_empty(), "nothing was answered");
        let rank = |share: f64, value: fn(&Interval) -> f64| {
            let mut values: Vec<_> = intervals.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            values[((values.len() - 1) as f64 * share).round() as usize]
        };
        Speed {
            seconds: intervals.iter().map(|interval| interval.seconds).sum(),
            median_ms: rank(0.5, |interval| interval.p50_ms),
            p99_ms: rank(0.9, |interval| interval.p99_ms),
        }
    }

    /// Asserts that answers do not wait for Kafka. An answer that did would take as long as an election or a request's
    /// time-out, which are seconds. The slack is for brokers that start on the same processors as the bridge and the
    /// load, and for other tests there.
    fn keeps_up_with(self, calm: Speed, fault: &str) {
        assert!(
            self.median_ms <= calm.median_ms * 3.0 + 50.0 && self.p99_ms <= calm.p99_ms * 3.0 + 1000.0,
            "answers lost their speed during {fault:?}: {self}; before: {calm}"
        );
    }
}

/// Lets the time of a fault pass.
pub fn pass(time: Duration) {
    std::thread::sleep(time);
}
