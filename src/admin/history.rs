//! The last hour of what the status page plots, and the readings of a moment ago that rates are taken from. Bounded: one
//! point every ten seconds.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::readings::Readings;

/// Between two points.
pub(super) const STEP: Duration = Duration::from_secs(10);
/// Points of an hour.
const POINTS: usize = 360;

/// What is plotted: its name on the page, its metric, and whether it is what that gained in a second.
const COLUMNS: [(&str, &str, bool); 4] = [
    ("spool_records", "imbridge_spool_records", false),
    ("oldest_age_s", "imbridge_spool_oldest_age_seconds", false),
    ("accepted_per_s", "imbridge_requests_total", true),
    ("published_per_s", "imbridge_messages_published_total", true),
];

#[derive(Debug)]
struct Point {
    at_ms: i64,
    /// For rates, which no change of the machine's clock may bend.
    at: Instant,
    sums: [f64; COLUMNS.len()],
}

/// What was read, and when; the last two readings in full.
#[derive(Debug, Default)]
pub(super) struct History {
    points: VecDeque<Point>,
    before: Option<(Instant, Readings)>,
    last: Option<(Instant, Readings)>,
}

impl History {
    /// Adds a point. After the machine's clock was set back, it takes the place of what seems to be later: `at_ms` ascends.
    pub fn add(&mut self, at_ms: i64, at: Instant, readings: Readings) {
        while self.points.back().is_some_and(|point| point.at_ms >= at_ms) {
            self.points.pop_back();
        }
        if self.points.len() == POINTS {
            self.points.pop_front();
        }
        let sums = COLUMNS.map(|(_, metric, _)| readings.sum(metric));
        self.points.push_back(Point { at_ms, at, sums });
        self.before = self.last.replace((at, readings));
    }

    /// Readings that are ten to twenty seconds old, younger just after the start, to take rates from.
    pub fn earlier(&self) -> Option<(Instant, &Readings)> {
        let (at, readings) = self.before.as_ref().or(self.last.as_ref())?;
        Some((*at, readings))
    }

    /// The points, column by column; of counters, what was added a second since the point before.
    pub fn columns(&self) -> Value {
        let mut columns = json!({"at_ms": Value::from_iter(self.points.iter().map(|point| point.at_ms))});
        for (index, (name, _, is_rate)) in (0..).zip(COLUMNS) {
            let gained = self.points.iter().zip(self.points.iter().skip(1)).map(|(a, b)| {
                let seconds = (b.at - a.at).as_secs_f64().max(0.001);
                (b.sums[index] - a.sums[index]).max(0.0) / seconds
            });
            columns[name] = if is_rate {
                std::iter::once(0.0).chain(gained).collect()
            } else {
                self.points.iter().map(|point| point.sums[index]).collect()
            };
        }
        columns
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{Registry, register_int_counter_with_registry};

    use super::*;

    #[test]
    fn a_clock_that_is_set_back_leaves_times_that_ascend_and_true_rates() {
        let registry = Registry::new();
        let accepted = register_int_counter_with_registry!("imbridge_requests_total", "help", registry).unwrap();
        let (mut history, start) = (History::default(), Instant::now());
        for (at_s, clock_s) in [(0, 100), (10, 110), (20, 120), (30, 105), (40, 115)] {
            accepted.inc_by(50);
            history.add(
                clock_s * 1000,
                start + Duration::from_secs(at_s),
                Readings::of(&registry),
            );
        }
        let columns = history.columns();
        assert_eq!(columns["at_ms"], json!([100_000, 105_000, 115_000]));
        assert_eq!(columns["accepted_per_s"], json!([0.0, 5.0, 5.0]));
    }
}
