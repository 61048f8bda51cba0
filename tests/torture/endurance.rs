//! Memory, disk and time: hours under half of the maximum load, with Kafka down for half of them. Memory stays flat,
//! the spool's space is used again, answers do not become slower, and the backlog is delivered.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::size::{report, size};
use crate::support::bridge::{Bridge, Home};
use crate::support::kafka::Kafka;
use crate::support::oracle::{Interval, Ledger, Plan, judge};

/// The length of the short form. The outage takes half of it.
const SHORT: Duration = Duration::from_secs(20);
/// Resident memory, MB. A debug build has larger code and stacks.
const MEMORY_MAX_MB: f64 = if cfg!(debug_assertions) { 200.0 } else { 150.0 };
/// How much memory may grow from the outage's first third to its last: slack of the allocator, but no growing queue.
const GROWTH_MAX_MB: f64 = 16.0;
/// In the short form, the page caches of three connections to the spool, 8 MiB each, are not full before the outage.
const GROWTH_MAX_SHORT_MB: f64 = 40.0;
/// The writer starts a new WAL at 64 MiB, which one commit may exceed.
const WAL_MAX_MB: f64 = 80.0;
/// Bytes of the file for each event of the largest backlog: more than twice a body of the load with its head.
const FILE_MAX_BYTES_PER_EVENT: f64 = 1000.0;
/// How much the file may still grow when nothing waits any more: pages that were only in the WAL.
const FILE_SLACK_MB: f64 = 16.0;
/// How much slower answers may be in the outage than before it, by the medians of p50 and p99 over the intervals. This
/// allows for the broker that stops and starts on the same machine.
const SLOWER_MAX: f64 = 2.0;
const P50_P99_SLACK_MS: [f64; 2] = [2.0, 20.0];
/// For the short form, which shares the machine with all other tests.
const P50_P99_SLACK_SHORT_MS: [f64; 2] = [20.0, 100.0];
/// So many records may be in flight at any time and are no backlog.
const CAUGHT_UP: f64 = 2000.0;

/// One observation of the bridge from outside.
#[derive(Debug, Clone, Copy)]
struct Observation {
    at: Instant,
    memory_mb: f64,
    file_mb: f64,
    wal_mb: f64,
    waiting: f64,
    published: f64,
}

struct Watch<'a> {
    bridge: &'a Bridge,
    spool: PathBuf,
    every: Duration,
}

impl Watch<'_> {
    /// Observes the bridge for a while.
    fn over(&self, time: Duration) -> Vec<Observation> {
        self.until(time, |_| false)
    }

    /// Observes the bridge until a condition holds, for so long at most.
    fn until(&self, most: Duration, holds: impl Fn(&Observation) -> bool) -> Vec<Observation> {
        let (mut samples, end) = (Vec::new(), Instant::now() + most);
        loop {
            let sample = self.observe();
            samples.push(sample);
            if Instant::now() >= end || holds(&sample) {
                return samples;
            }
            std::thread::sleep(self.every.min(end.saturating_duration_since(Instant::now())));
        }
    }

    fn observe(&self) -> Observation {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.bridge.pid())).expect("the bridge runs");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("Linux");
        let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        let size_mb = |name: &str| {
            let file = std::fs::metadata(self.spool.join(name));
            file.map_or(0.0, |file| file.len() as f64 / 1e6)
        };
        Observation {
            at: Instant::now(),
            memory_mb: kilobytes * 1024.0 / 1e6,
            file_mb: size_mb("spool.db"),
            wal_mb: size_mb("spool.db-wal"),
            waiting: self.bridge.metric(&["imbridge_spool_records "]),
            published: self.bridge.metric(&["imbridge_messages_published_total"]),
        }
    }
}

fn most(samples: &[Observation], of: impl Fn(&Observation) -> f64) -> f64 {
    samples.iter().map(of).fold(0.0, f64::max)
}

/// The median over intervals.
fn median(intervals: &[Interval], of: impl Fn(&Interval) -> f64) -> f64 {
    let mut values: Vec<_> = intervals.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    *values.get(values.len() / 2).expect("there were answers in that time")
}

/// Runs a load at full speed. Returns the ledgers and how many events a second came to Kafka. Events that are only in
/// the spool do not count.
fn calibrate(home: &Home, bridge: &Bridge, seconds: u64) -> ([Ledger; 2], u64) {
    // The first events create topics and resume offsets, which must not be measured.
    let first = Plan::new(home).with("each", 1).start().finish();
    bridge.settle();
    let before = bridge.metric(&["imbridge_messages_published_total"]);
    let fast = Plan::new(home).with("seconds", seconds).start().finish();
    let published = bridge.metric(&["imbridge_messages_published_total"]) - before;
    bridge.settle();
    ([first, fast], published as u64 / seconds)
}

/// The observations of a run.
struct Run {
    rate: u64,
    before: Vec<Observation>,
    outage: Vec<Observation>,
    caught_up: Vec<Observation>,
    after: Vec<Observation>,
    /// The load's intervals before and in the outage.
    calm: Vec<Interval>,
    away: Vec<Interval>,
}

#[test]
fn an_outage_costs_disk_and_nothing_else() {
    let minutes = size("MINUTES", 0, 120);
    let whole = if minutes == 0 {
        SHORT
    } else {
        Duration::from_secs(minutes * 60)
    };
    let mut kafka = Kafka::start("endurance");
    let mut home = Home::with_brokers("endurance", &kafka.brokers);
    home.set("SPOOL__MAX_BYTES", (64u64 << 30).to_string());
    let bridge = home.start();
    let ([first, fast], most) = calibrate(&home, &bridge, if minutes == 0 { 3 } else { 20 });
    let rate = size("RATE", most / 2, most / 2);
    let watch = Watch {
        bridge: &bridge,
        spool: home.path().join("spool"),
        every: (whole / 240).clamp(Duration::from_millis(200), Duration::from_secs(10)),
    };
    let interval_ms = (whole.as_millis() / 60).max(500);
    let load = Plan::new(&home).with("rate", rate).with("interval-ms", interval_ms);
    let load = load.start();
    let before = watch.over(whole / 4);
    let calm = load.intervals();
    kafka.stop();
    let stopped = load.intervals().len();
    let outage = watch.over(whole / 2);
    let away = load.intervals().split_off(stopped + 1);
    kafka.up();
    let caught_up = watch.until(whole.max(Duration::from_secs(60)), |sample| sample.waiting < CAUGHT_UP);
    let after = watch.over(whole / 8);
    let ledger = load.stop();
    bridge.settle();
    assert!(bridge.terminate().success());
    let verdict = judge(
        &kafka.brokers,
        &home,
        &[&first.path, &fast.path, &ledger.path],
        "read_committed",
    );
    report(
        "endurance",
        &format!("{:.0} s: {}", whole.as_secs_f64(), verdict.summary()),
    );
    Run {
        rate,
        before,
        outage,
        caught_up,
        after,
        calm,
        away,
    }
    .report_and_assert();
    verdict.assert_kept();
    assert_eq!(ledger.unanswered, 0, "nothing was refused");
}

impl Run {
    fn report_and_assert(&self) {
        let memory = |samples: &[Observation]| most(samples, |sample| sample.memory_mb);
        let file = |samples: &[Observation]| most(samples, |sample| sample.file_mb);
        let third = self.outage.len() / 3;
        let (early, late) = (memory(&self.outage[..third]), memory(&self.outage[2 * third..]));
        let all = [&self.before[..], &self.outage, &self.caught_up, &self.after].concat();
        let (peak, wal) = (memory(&all), most(&all, |sample| sample.wal_mb));
        let (full, grown) = (file(&self.outage), file(&all));
        let behind = most(&all, |sample| sample.waiting);
        let [calm_p50, away_p50] = [&self.calm, &self.away].map(|of| median(of, |interval| interval.p50_ms));
        let [calm_p99, away_p99] = [&self.calm, &self.away].map(|of| median(of, |interval| interval.p99_ms));
        let rate = self.rate as f64;
        let times = self.catch_up_rate() / rate;
        let last = self.caught_up.last().expect("there were samples");
        report(
            "endurance",
            &format!(
                "{rate} events/s; memory {:.0} MB before, {early:.0} and {late:.0} in the outage's first and last third, {peak:.0} at most; \
                 {behind:.0} events waited; file {full:.0} MB in the outage, {grown:.0} at most, WAL {wal:.0} MB at most; \
                 answers p50 {calm_p50:.2} -> {away_p50:.2} ms, p99 {calm_p99:.2} -> {away_p99:.2} ms; \
                 caught up at {times:.1} times the load, behind for {:.0} s",
                memory(&self.before),
                last.at.duration_since(self.caught_up[0].at).as_secs_f64()
            ),
        );
        let growth_max = if crate::size::full() {
            GROWTH_MAX_MB
        } else {
            GROWTH_MAX_SHORT_MB
        };
        assert!(
            late <= early + growth_max,
            "memory grew from {early:.0} to {late:.0} MB in the outage"
        );
        assert!(peak <= MEMORY_MAX_MB, "{peak:.0} MB of memory");
        assert!(wal <= WAL_MAX_MB, "the WAL grew to {wal:.0} MB");
        assert!(last.waiting < CAUGHT_UP, "{} events still waited", last.waiting);
        let [p50_slack, p99_slack] = if crate::size::full() {
            P50_P99_SLACK_MS
        } else {
            P50_P99_SLACK_SHORT_MS
        };
        let file_max = behind * FILE_MAX_BYTES_PER_EVENT / 1e6 + FILE_SLACK_MB;
        assert!(grown <= file_max, "{grown:.0} MB of file for {behind} events");
        let (there, later) = (file(&self.caught_up), file(&self.after));
        assert!(
            later <= there + FILE_SLACK_MB,
            "the file grew from {there:.0} to {later:.0} MB with nothing waiting"
        );
        assert!(
            away_p50 <= calm_p50 * SLOWER_MAX + p50_slack,
            "p50 {calm_p50} -> {away_p50} ms"
        );
        assert!(
            away_p99 <= calm_p99 * SLOWER_MAX + p99_slack,
            "p99 {calm_p99} -> {away_p99} ms"
        );
    }

    /// Events a second that Kafka stored, from the last observation before the first of them until nothing waited.
    fn catch_up_rate(&self) -> f64 {
        let before = self.outage.last().expect("there were samples");
        let idle = self
            .caught_up
            .iter()
            .rfind(|sample| sample.published == before.published);
        let last = self.caught_up.last().expect("there were samples");
        let seconds = last.at.duration_since(idle.unwrap_or(before).at).as_secs_f64();
        (last.published - before.published) / seconds
    }
}
