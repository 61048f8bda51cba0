//! The clients. Each has some groups and at most one connection to each bridge. It posts events of its groups in turn, one
//! event at a time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::Options;
use crate::bridges::Bridges;
use crate::event::{Protocol, Provider};
use crate::ledger::{Entry, Ledger, Totals, monotonic_ns};

/// The maximum delay that a client makes up for, so that no burst follows an outage.
const BEHIND_MAX: Duration = Duration::from_secs(1);

/// Runs the whole load and returns its totals. The ledger is then complete.
pub fn run(options: &Options, stop: &AtomicBool) -> Result<Totals> {
    ensure!(
        options.groups >= 1 && options.connections >= 1,
        "at least one group and one connection"
    );
    let connections = options.connections.min(options.groups);
    let ledger = Ledger::create(&options.ledger, options.report.as_deref())?;
    let protocol = Protocol::new(options);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let client = |first: usize| {
            let groups = (first..options.groups).step_by(connections).map(|group| {
                (
                    format!("{}-{group}", options.name),
                    [Provider::Tencent, Provider::OpenIm][group % 2],
                )
            });
            let client = Client {
                options,
                stop,
                protocol: &protocol,
                ledger: &ledger,
                groups: groups.collect(),
                pace: Pace::new(options.rate, connections, first),
                bridges: Bridges::new(options),
            };
            scope.spawn(move || client.run())
        };
        let clients: Vec<_> = (0..connections).map(client).collect();
        let clock = scope.spawn(|| keep_time(options, stop, &over, &ledger));
        let ended = clients
            .into_iter()
            .map(|client| client.join().expect("a client does not panic"));
        let ended = ended.collect::<Vec<_>>();
        over.store(true, Ordering::Relaxed);
        clock.thread().unpark();
        clock.join().expect("the clock does not panic")?;
        ended.into_iter().collect::<std::io::Result<()>>()
    })?;
    Ok(ledger.end_interval()?)
}

/// Ends each interval, and ends the load after its time.
fn keep_time(options: &Options, stop: &AtomicBool, over: &AtomicBool, ledger: &Ledger) -> std::io::Result<()> {
    let started = Instant::now();
    let end = options
        .seconds
        .map(|seconds| started + Duration::from_secs_f64(seconds));
    let mut next = started + Duration::from_millis(options.interval_ms);
    while !over.load(Ordering::Relaxed) {
        let now = Instant::now();
        if end.is_some_and(|end| now >= end) {
            stop.store(true, Ordering::Relaxed);
            return Ok(());
        }
        if now >= next {
            ledger.end_interval()?;
            next = now + Duration::from_millis(options.interval_ms);
        }
        let wake = end.map_or(next, |end| end.min(next));
        std::thread::park_timeout(wake.saturating_duration_since(now));
    }
    Ok(())
}

struct Client<'a> {
    options: &'a Options,
    stop: &'a AtomicBool,
    protocol: &'a Protocol,
    ledger: &'a Ledger,
    groups: Vec<(String, Provider)>,
    pace: Pace,
    bridges: Bridges,
}

impl Client<'_> {
    fn run(mut self) -> std::io::Result<()> {
        let groups = std::mem::take(&mut self.groups);
        for number in 0..self.options.each {
            for (group, provider) in &groups {
                self.pace.wait(self.stop);
                let Some(mut lent) = self.bridges.any(self.stop) else {
                    return Ok(());
                };
                let started = Instant::now();
                let answer = self.protocol.post(&mut lent.connection, *provider, group, number);
                let (took, answered_at_ns) = (started.elapsed(), monotonic_ns());
                let entry = Entry {
                    group,
                    number,
                    provider: provider.as_str(),
                    port: lent.port,
                    acknowledged: answer.as_ref().is_some_and(|answer| provider.acknowledges(answer)),
                    answered_at_ns,
                };
                self.ledger.note(&entry, took)?;
                match answer {
                    Some(_) => self.bridges.keep(lent),
                    None => self.bridges.give_up(lent, took),
                }
            }
        }
        Ok(())
    }
}

/// When a client may post its next event.
struct Pace {
    every: Option<Duration>,
    next: Instant,
}

impl Pace {
    /// One client's share of a rate. The starts of the clients are spread evenly.
    fn new(rate: Option<f64>, clients: usize, client: usize) -> Pace {
        let every = rate.map(|rate| Duration::from_secs_f64(clients as f64 / rate));
        Pace {
            every,
            next: Instant::now() + every.map_or(Duration::ZERO, |every| every.mul_f64(client as f64 / clients as f64)),
        }
    }

    fn wait(&mut self, stop: &AtomicBool) {
        let Some(every) = self.every else { return };
        loop {
            let now = Instant::now();
            if now >= self.next || stop.load(Ordering::Relaxed) {
                let earliest = now.checked_sub(BEHIND_MAX).unwrap_or(now);
                self.next = self.next.max(earliest) + every;
                return;
            }
            // A slow rate must not delay the end.
            std::thread::sleep((self.next - now).min(Duration::from_millis(100)));
        }
    }
}
