//! The last hour of what the status page plots, and the readings of a moment ago that rates are taken from. Bounded: one
//! point every ten seconds.

use std::collections::VecDeque;
use std::time::Duration;

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

/// What was read, and when; the last two readings in full.
#[derive(Debug, Default)]
pub(super) struct History {
    points: VecDeque<(i64, [f64; COLUMNS.len()])>,
    before: Option<(i64, Readings)>,
    last: Option<(i64, Readings)>,
}

impl History {
    /// Adds a point.
    pub fn add(&mut self, at_ms: i64, readings: Readings) {
        if self.points.len() == POINTS {
            self.points.pop_front();
        }
        let sums = COLUMNS.map(|(_, metric, _)| readings.sum(metric));
        self.points.push_back((at_ms, sums));
        self.before = self.last.replace((at_ms, readings));
    }

    /// Readings that are ten to twenty seconds old, younger just after the start, to take rates from.
    pub fn earlier(&self) -> Option<(i64, &Readings)> {
        let (at_ms, readings) = self.before.as_ref().or(self.last.as_ref())?;
        Some((*at_ms, readings))
    }

    /// The points, column by column; of counters, what was added a second since the point before.
    pub fn columns(&self) -> Value {
        let mut columns = json!({"at_ms": Value::from_iter(self.points.iter().map(|(at_ms, _)| *at_ms))});
        for (index, (name, _, is_rate)) in (0..).zip(COLUMNS) {
            let gained = self.points.iter().zip(self.points.iter().skip(1)).map(|(a, b)| {
                let seconds = (b.0 - a.0).max(1) as f64 / 1000.0;
                (b.1[index] - a.1[index]).max(0.0) / seconds
            });
            columns[name] = if is_rate {
                std::iter::once(0.0).chain(gained).collect()
            } else {
                self.points.iter().map(|(_, sums)| sums[index]).collect()
            };
        }
        columns
    }
}
