//! A steady load of numbered events in two topics, the ledger of what was acknowledged and how soon, and the judgement of
//! what an independent reader finds. It knows nothing of faults.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::size::full;
use crate::support::bridge::APP;
use crate::support::client::Connection;
use crate::support::reader::consume_each;

/// The commands of the load; even connections post the first, odd ones the second.
pub const COMMANDS: [&str; 2] = ["Group.CallbackAfterCreateGroup", "Group.CallbackAfterChangeGroupOwner"];
/// An event's number is its time, counted from here.
const EPOCH_MS: u64 = 1_670_574_414_000;
/// A connection that is further behind its pace leaves the rest out.
const BEHIND_MAX: Duration = Duration::from_secs(1);

/// Events of one order: a command's topic and a group.
pub type Stream = (&'static str, String);

/// What was acknowledged: number and the instant of the answer, by stream; and how long answers took, from the instant at
/// which the pace wanted the event sent.
#[derive(Default)]
pub struct Ledger {
    acknowledged: HashMap<Stream, Vec<(u64, Instant)>>,
    answers: Vec<(Instant, Duration)>,
    refused: usize,
}

/// A running load.
pub struct Steady {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Ledger>>,
}

impl Steady {
    /// Starts `connections` clients that together post `per_s` events a second to `groups` groups, each in one stream.
    pub fn start(port: u16, connections: usize, groups: usize, per_s: u64) -> Steady {
        let stop = Arc::new(AtomicBool::new(false));
        let interval = Duration::from_secs_f64(connections as f64 / per_s as f64);
        let client = |connection: usize| {
            let command = COMMANDS[connection % COMMANDS.len()];
            let own = (connection..groups).step_by(connections);
            let own: Vec<Stream> = own.map(|group| (command, format!("g{group}"))).collect();
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || run(port, &own, interval, &stop))
        };
        let threads = (0..connections).map(client).collect();
        Steady { stop, threads }
    }

    /// Ends the load.
    pub fn stop(self) -> Ledger {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Ledger::default();
        for thread in self.threads {
            let ledger = thread.join().expect("a client does not panic");
            all.acknowledged.extend(ledger.acknowledged);
            all.answers.extend(ledger.answers);
            all.refused += ledger.refused;
        }
        all
    }
}

fn run(port: u16, streams: &[Stream], interval: Duration, stop: &AtomicBool) -> Ledger {
    let mut ledger = Ledger::default();
    let mut connection: Option<Connection> = None;
    let mut due = Instant::now();
    for number in 0.. {
        for stream in streams {
            if due.elapsed() > BEHIND_MAX {
                due = Instant::now();
            }
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            while connection.is_none() && !stop.load(Ordering::Relaxed) {
                connection = Connection::open(port);
                if connection.is_none() {
                    // Nobody listens: the bridge is being restarted.
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            let Some(open) = connection.as_mut().filter(|_| !stop.load(Ordering::Relaxed)) else {
                return ledger;
            };
            let (target, body) = request(stream.0, &stream.1, number, "");
            match open.post(&target, body) {
                Some(answer) if answer.status == 200 => {
                    ledger.answers.push((due, due.elapsed()));
                    let stream = ledger.acknowledged.entry(stream.clone()).or_default();
                    stream.push((number, Instant::now()));
                }
                Some(_) => ledger.refused += 1,
                None => connection = None,
            }
            due += interval;
        }
    }
    ledger
}

/// Target and body of an event, with `padding` in a field that no schema has.
pub fn request(command: &str, group: &str, number: u64, padding: &str) -> (String, String) {
    let target = format!(
        "/tencent?SdkAppid={APP}&CallbackCommand={command}&contenttype=json&ClientIP=127.0.0.1&OptPlatform=RESTAPI"
    );
    let time = EPOCH_MS + number;
    let body = serde_json::json!({"CallbackCommand": command, "GroupId": group, "EventTime": time, "Padding": padding});
    (target, body.to_string())
}

/// How fast answers were.
#[derive(Debug, Clone, Copy)]
pub struct Speed {
    count: usize,
    median: Duration,
    p99: Duration,
}

impl fmt::Display for Speed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Speed { count, median, p99 } = self;
        write!(formatter, "{count} answers, median {median:.1?}, p99 {p99:.1?}")
    }
}

impl Speed {
    /// Asserts that answers do not wait for Kafka. What would wait for it would wait for a request's time-out or an election,
    /// seconds in each case. The slack is for brokers that start on the processors which the bridge and the load run on, and in the short
    /// form for the other tests there.
    pub fn keeps_up_with(self, before: Speed, during: &str) {
        let (median, p99) = if full() { (10, 250) } else { (40, 750) };
        let (median, p99) = (Duration::from_millis(median), Duration::from_millis(p99));
        assert!(
            self.median <= before.median * 3 + median && self.p99 <= before.p99 * 3 + p99,
            "answers lost their speed while {during}: {self}; before: {before}"
        );
    }
}

impl Ledger {
    /// How many events were acknowledged.
    pub fn count(&self) -> usize {
        self.acknowledged.values().map(Vec::len).sum()
    }

    /// How many were answered with anything but 200.
    pub fn refused(&self) -> usize {
        self.refused
    }

    /// The speed of the answers to what was due in a span of time.
    pub fn speed(&self, (from, to): (Instant, Instant)) -> Speed {
        let within = self.answers.iter().filter(|(at, _)| *at >= from && *at < to);
        let mut times: Vec<_> = within.map(|(_, time)| *time).collect();
        times.sort_unstable();
        assert!(!times.is_empty(), "nothing was answered in {:?}", to - from);
        Speed {
            count: times.len(),
            median: times[times.len() / 2],
            p99: times[times.len() * 99 / 100],
        }
    }

    /// Compares with what a reader finds now under `prefix`.
    pub fn judge(&self, brokers: &str, prefix: &str, schemas: &Path) -> Verdict {
        let mut found: HashMap<Stream, Vec<u64>> = HashMap::new();
        let mut places: HashMap<Stream, HashSet<i32>> = HashMap::new();
        consume_each(brokers, prefix, schemas, |message| {
            let topic = message.topic.trim_start_matches(prefix);
            let Some(command) = COMMANDS.into_iter().find(|command| topic.ends_with(command)) else {
                return;
            };
            let group = message.key.expect("events have a key");
            let value = message.value.expect("a record of a known schema");
            assert_eq!(value["GroupId"], group.as_str());
            let number = value["EventTime"].as_u64().expect("an instant") - EPOCH_MS;
            let stream = (command, group);
            places.entry(stream.clone()).or_default().insert(message.partition);
            found.entry(stream).or_default().push(number);
        });
        let mut verdict = Verdict {
            found: found.values().map(Vec::len).sum(),
            ..Verdict::default()
        };
        for (stream, numbers) in &found {
            let (mut seen, mut last) = (HashSet::new(), None);
            for number in numbers {
                if !seen.insert(number) {
                    verdict.doubles += 1;
                } else if last.replace(number) > Some(number) {
                    verdict.disorder.push(format!("{stream:?}: {number}"));
                }
            }
            if places[stream].len() > 1 {
                verdict.disorder.push(format!("{stream:?} is in several partitions"));
            }
        }
        for (stream, events) in &self.acknowledged {
            let there: HashSet<_> = found.get(stream).into_iter().flatten().collect();
            let missing = events.iter().filter(|(number, _)| !there.contains(number));
            let missing: Vec<_> = missing.copied().collect();
            if !missing.is_empty() {
                verdict.missing.insert(stream.clone(), missing);
            }
        }
        verdict
    }
}

/// What is wrong with what was found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Events of the load in Kafka, doubles included.
    pub found: usize,
    /// Events that are there more than once, each repetition counted.
    pub doubles: usize,
    /// Acknowledged events that are not there, with the instants of their answers.
    pub missing: BTreeMap<Stream, Vec<(u64, Instant)>>,
    disorder: Vec<String>,
}

impl Verdict {
    /// Asserts the promise; `deleted_at` is when a topic was deleted that may have taken events with it.
    pub fn is_kept(&self, deleted: Option<(&str, Instant)>) {
        assert_eq!(self.doubles, 0, "events are there twice");
        assert!(
            self.disorder.is_empty(),
            "{} are out of order: {:?}",
            self.disorder.len(),
            self.disorder.first()
        );
        for ((command, group), missing) in &self.missing {
            for (number, answered_at) in missing {
                let gone = deleted.is_some_and(|(topic, at)| topic == *command && *answered_at < at);
                assert!(
                    gone,
                    "{command} {group} lacks {number}, one of {} missing",
                    missing.len()
                );
            }
        }
    }

    /// How many acknowledged events are missing.
    pub fn lost(&self) -> usize {
        self.missing.values().map(Vec::len).sum()
    }
}
