//! The oracle as tests use it: the load of `examples/oracle` as a separate process, its ledger, and the verdict of
//! `tests/readers/judge.py` on the messages in Kafka.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde::Deserialize;

use super::bridge::{Home, PROGRAM};
use super::python;

/// The options of a load. Everything except the bridge has a default.
pub struct Plan {
    folder: PathBuf,
    arguments: Vec<String>,
}

/// A running load; killed when dropped.
pub struct Load {
    child: Child,
    folder: PathBuf,
    name: String,
}

/// The files and counts of a load.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// The file of the ledger.
    pub path: PathBuf,
    /// The file of the answers' times.
    pub report: PathBuf,
    /// Events that got the provider's success answer.
    pub acknowledged: u64,
    /// Events that got another answer or none.
    pub unanswered: u64,
}

/// One interval of the load's report.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Interval {
    /// CLOCK_MONOTONIC at its end.
    pub ended_at_ns: u64,
    /// Its length in seconds.
    pub seconds: f64,
    pub acknowledged: u64,
    pub unanswered: u64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

/// The numbers of the judge. `tests/readers/judge.py` documents what each one counts.
#[derive(Debug, Clone, Deserialize)]
pub struct Verdict {
    pub acknowledged: u64,
    pub found: u64,
    pub messages: u64,
    pub acknowledged_and_missing: u64,
    pub twice: u64,
    pub out_of_order: u64,
    pub several_partitions: u64,
    pub wrong_key: u64,
    pub wrong_position: u64,
    pub never_posted: u64,
    pub timeline_missing: u64,
    pub timeline_twice: u64,
    pub timeline_out_of_order: u64,
    pub timeline_wrong: u64,
    pub unacknowledged_yet_present: u64,
    pub late_by_header: u64,
    pub late_by_time: u64,
    pub ordered: u64,
    pub foreign: u64,
    pub dead_lettered: BTreeMap<String, u64>,
    pub partitions: u64,
    pub examples: Vec<String>,
}

impl Plan {
    /// A load on a home's bridge, which need not run yet: 64 groups over 16 connections, as fast as possible, until
    /// stopped.
    pub fn new(home: &Home) -> Plan {
        let plan = Plan {
            folder: home.path().to_owned(),
            arguments: vec!["load".into()],
        };
        plan.with("port", home.port)
    }

    /// Sets an option of `oracle load` (see `oracle load --help`): `with("groups", 200)`.
    pub fn with(mut self, option: &str, value: impl ToString) -> Plan {
        self.arguments.extend([format!("--{option}"), value.to_string()]);
        self
    }

    /// Starts it. Each load on a home has its own groups and files, also if several run one after another.
    pub fn start(self) -> Load {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("l{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let program = Path::new(PROGRAM).with_file_name("examples").join("oracle");
        let child = Command::new(&program)
            .args(&self.arguments)
            .args(["--name", &name, "--ledger"])
            .arg(self.folder.join(format!("{name}.ledger")))
            .arg("--report")
            .arg(self.folder.join(format!("{name}.report")))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|cause| panic!("{}: {cause}; `scripts/test` builds it", program.display()));
        Load {
            child,
            folder: self.folder,
            name,
        }
    }
}

impl Load {
    /// Stops the load now.
    pub fn stop(self) -> Ledger {
        let pid = self.child.id().to_string();
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .expect("kill is there");
        self.finish()
    }

    /// Waits until the load ends.
    pub fn finish(mut self) -> Ledger {
        #[derive(Deserialize)]
        struct Totals {
            acknowledged: u64,
            unanswered: u64,
        }
        let status = self.child.wait().expect("a child can be waited for");
        let stdout = self.child.stdout.take().expect("piped");
        let text = std::io::read_to_string(stdout).expect("the load prints text");
        assert!(status.success(), "the load ended with {status}: {text}");
        let totals: Totals = serde_json::from_str(&text).expect("the load prints its totals");
        Ledger {
            path: self.folder.join(format!("{}.ledger", self.name)),
            report: self.report(),
            acknowledged: totals.acknowledged,
            unanswered: totals.unanswered,
        }
    }

    /// The intervals so far, while the load runs.
    pub fn intervals(&self) -> Vec<Interval> {
        intervals(&self.report())
    }

    fn report(&self) -> PathBuf {
        self.folder.join(format!("{}.report", self.name))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Ledger {
    /// The intervals of the load's report.
    pub fn intervals(&self) -> Vec<Interval> {
        intervals(&self.report)
    }

    /// Judges only this load, as a consumer that reads committed messages sees it. Everything must be delivered before.
    pub fn judge(&self, brokers: &str, home: &Home) -> Verdict {
        judge(brokers, home, &[&self.path], "read_committed")
    }
}

fn intervals(report: &Path) -> Vec<Interval> {
    // The file does not exist before the load has begun, and its last line may be incomplete.
    let text = std::fs::read_to_string(report).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// Compares everything in a home's topics with ledgers.
pub fn judge(brokers: &str, home: &Home, ledgers: &[&Path], isolation: &str) -> Verdict {
    judge_with(brokers, home, ledgers, &["--isolation", isolation])
}

/// The same with these options of the judge.
pub fn judge_with(brokers: &str, home: &Home, ledgers: &[&Path], options: &[&str]) -> Verdict {
    let output = python("IMBRIDGE_TEST_PYTHON", "tests/readers/judge.py")
        .args(["--brokers", brokers, "--topic-prefix", &home.prefix])
        .args(options)
        .args(home.has_timeline().then_some("--timeline"))
        .arg("--schemas")
        .arg(home.schemas())
        .args(ledgers.iter().flat_map(|path| [Path::new("--ledger"), path]))
        .output()
        .expect("python starts");
    let verdict: Verdict = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|cause| panic!("no verdict ({cause}): {}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(
        output.status.code(),
        Some(i32::from(!verdict.is_kept())),
        "{verdict:#?}"
    );
    verdict
}

impl Verdict {
    /// Whether the promise was kept.
    pub fn is_kept(&self) -> bool {
        let faults = [
            self.acknowledged_and_missing,
            self.twice,
            self.out_of_order,
            self.several_partitions,
            self.wrong_key,
            self.wrong_position,
            self.never_posted,
            self.timeline_missing,
            self.timeline_twice,
            self.timeline_out_of_order,
            self.timeline_wrong,
        ];
        faults.iter().all(|count| *count == 0)
    }

    /// Fails the test unless the promise was kept.
    pub fn assert_kept(&self) {
        assert!(self.is_kept(), "the promise is broken: {self:#?}");
    }

    /// The numbers in the form of a campaign's report.
    pub fn summary(&self) -> String {
        format!(
            "{} acknowledged, {} in Kafka ({} of them not acknowledged), {} missing, {} twice, {} out of order, {} dead letters",
            self.acknowledged,
            self.found,
            self.unacknowledged_yet_present,
            self.acknowledged_and_missing,
            self.twice,
            self.out_of_order,
            self.dead_lettered.values().sum::<u64>()
        )
    }
}
