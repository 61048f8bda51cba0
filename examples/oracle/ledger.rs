//! The outcome of each posted event, and how long answers took: two files of JSON lines, and the totals.

use std::fs::File;
use std::io::{BufWriter, Result, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use serde_json::json;

/// One event's line.
#[derive(Serialize)]
pub struct Entry<'a> {
    pub group: &'a str,
    pub number: u64,
    pub provider: &'static str,
    /// The port of the bridge to which it was posted.
    pub port: u16,
    pub acknowledged: bool,
    /// CLOCK_MONOTONIC, which is the same in every process of this machine.
    pub answered_at_ns: u64,
}

/// The totals of a load.
#[derive(Default, Clone, Copy, Serialize)]
pub struct Totals {
    /// Events with a success answer.
    pub acknowledged: u64,
    /// Events with another answer or none.
    pub unanswered: u64,
}

/// Both files. All clients write to them.
pub struct Ledger(Mutex<Inner>);

struct Inner {
    lines: BufWriter<File>,
    report: Option<File>,
    totals: Totals,
    /// The totals at the last line of the report.
    reported: Totals,
    reported_at: Instant,
    times_us: Vec<u32>,
}

impl Ledger {
    pub fn create(ledger: &Path, report: Option<&Path>) -> Result<Ledger> {
        Ok(Ledger(Mutex::new(Inner {
            lines: BufWriter::with_capacity(1 << 16, File::create(ledger)?),
            report: report.map(File::create).transpose()?,
            totals: Totals::default(),
            reported: Totals::default(),
            reported_at: Instant::now(),
            times_us: Vec::new(),
        })))
    }

    /// Records the outcome of an event.
    pub fn note(&self, entry: &Entry<'_>, took: Duration) -> Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entry.acknowledged {
            inner.totals.acknowledged += 1;
            inner.times_us.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        } else {
            inner.totals.unanswered += 1;
        }
        inner.lines.write_all(&line)
    }

    /// Ends an interval: flushes the ledger and adds a line to the report.
    pub fn end_interval(&self) -> Result<Totals> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.lines.flush()?;
        let mut times_us = std::mem::take(&mut inner.times_us);
        let (totals, seconds) = (inner.totals, inner.reported_at.elapsed().as_secs_f64());
        let line = |p50: f64, p99: f64, max: f64| {
            json!({"ended_at_ns": monotonic_ns(), "seconds": seconds,
                "acknowledged": totals.acknowledged - inner.reported.acknowledged,
                "unanswered": totals.unanswered - inner.reported.unanswered,
                "p50_ms": p50, "p99_ms": p99, "max_ms": max})
        };
        times_us.sort_unstable();
        let quantile_ms = |of: f64| {
            let at = (times_us.len() as f64 * of) as usize;
            times_us
                .get(at)
                .or(times_us.last())
                .map_or(0.0, |us| f64::from(*us) / 1000.0)
        };
        let line = line(quantile_ms(0.5), quantile_ms(0.99), quantile_ms(1.0));
        if let Some(report) = &mut inner.report {
            writeln!(report, "{line}")?;
        }
        (inner.reported, inner.reported_at) = (totals, Instant::now());
        Ok(totals)
    }
}

/// CLOCK_MONOTONIC, in nanoseconds.
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
