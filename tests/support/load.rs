//! A load of numbered events in many groups, and the ledger of what was acknowledged. Each group's events are posted one
//! after the other, groups run beside one another; an event that got no answer is not posted again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

use super::bridge::APP;
use super::client::Connection;
use super::reader::Consumed;

const COMMAND: &str = "Group.CallbackAfterCreateGroup";

/// The numbers that were acknowledged, by group, and how long answers took.
#[derive(Default)]
pub struct Ledger {
    pub acknowledged: BTreeMap<String, Vec<u64>>,
    pub answer_times: Vec<(Instant, Duration)>,
}

/// A running load.
pub struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Ledger>>,
}

impl Load {
    /// Starts `connections` clients that post to `groups` groups until the load is stopped, or until each group has `most` events.
    pub fn start(port: u16, connections: usize, groups: usize, most: u64) -> Load {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |connection: usize| {
            let own: Vec<String> = (connection..groups)
                .step_by(connections)
                .map(|group| format!("g{group}"))
                .collect();
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || run(port, &own, most, &stop))
        };
        let threads = (0..connections).map(client).collect();
        Load { stop, threads }
    }

    /// Waits until every group has its events.
    pub fn finish(self) -> Ledger {
        self.threads
            .into_iter()
            .map(|thread| thread.join().expect("a client does not panic"))
            .fold(Ledger::default(), Ledger::merge)
    }

    /// Ends the load now.
    pub fn stop(self) -> Ledger {
        self.stop.store(true, Ordering::Relaxed);
        self.finish()
    }
}

fn run(port: u16, groups: &[String], most: u64, stop: &AtomicBool) -> Ledger {
    let target = format!(
        "/tencent?SdkAppid={APP}&CallbackCommand={COMMAND}&contenttype=json&ClientIP=127.0.0.1&OptPlatform=RESTAPI"
    );
    let mut ledger = Ledger::default();
    let mut connection: Option<Connection> = None;
    for number in 0..most {
        for group in groups {
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
            let body = json!({"CallbackCommand": COMMAND, "GroupId": group, "Name": number.to_string(), "EventTime": 1670574414123u64 + number});
            let started = Instant::now();
            let answer = open.post(&target, body.to_string());
            match answer {
                Some(answer) if answer.status == 200 => {
                    ledger.answer_times.push((started, started.elapsed()));
                    ledger.acknowledged.entry(group.clone()).or_default().push(number);
                }
                Some(_) => {}
                None => connection = None,
            }
        }
    }
    ledger
}

impl Ledger {
    fn merge(mut self, other: Ledger) -> Ledger {
        self.acknowledged.extend(other.acknowledged);
        self.answer_times.extend(other.answer_times);
        self
    }

    /// How many events were acknowledged.
    pub fn count(&self) -> usize {
        self.acknowledged.values().map(Vec::len).sum()
    }

    /// Judges what a reader found: nothing acknowledged is missing, nothing is there twice, every group is in order and in
    /// one partition. Gives the events that are there without having been acknowledged, which is allowed.
    pub fn judge(&self, consumed: &[Consumed]) -> usize {
        let mut found: HashMap<&str, Vec<u64>> = HashMap::new();
        let mut partitions: HashMap<&str, HashSet<i32>> = HashMap::new();
        for message in consumed.iter().filter(|message| message.topic.ends_with(COMMAND)) {
            let group = message.key.as_deref().expect("events have a key");
            let value = message.value.as_ref().expect("a record of a known schema");
            assert_eq!(value["GroupId"], group);
            found
                .entry(group)
                .or_default()
                .push(value["Name"].as_str().expect("a number").parse().expect("a number"));
            partitions.entry(group).or_default().insert(message.partition);
        }
        let mut unacknowledged = 0;
        for (group, numbers) in &found {
            let disorder: Vec<_> = numbers.windows(2).filter(|pair| pair[0] >= pair[1]).collect();
            assert!(
                disorder.is_empty(),
                "{group} is out of order or has events twice: {disorder:?}"
            );
            assert_eq!(partitions[group].len(), 1, "{group} is in several partitions");
            let known: HashSet<_> = self.acknowledged.get(*group).into_iter().flatten().collect();
            unacknowledged += numbers.iter().filter(|number| !known.contains(number)).count();
        }
        for (group, numbers) in &self.acknowledged {
            let there: HashSet<_> = found.get(group.as_str()).into_iter().flatten().collect();
            let missing: Vec<_> = numbers.iter().filter(|number| !there.contains(number)).collect();
            assert!(missing.is_empty(), "{group} lacks acknowledged events: {missing:?}");
        }
        unacknowledged
    }
}
