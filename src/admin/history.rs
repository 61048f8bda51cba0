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

/// What was read, and when.
#[derive(Debug, Clone)]
struct Point {
    at_ms: i64,
    records: f64,
    oldest_age_s: f64,
    accepted: f64,
    published: f64,
}

/// The points, and the last two readings in full.
#[derive(Debug, Default)]
pub(super) struct History {
    points: VecDeque<Point>,
    before: Option<(i64, Readings)>,
    last: Option<(i64, Readings)>,
}

impl History {
    /// Adds a point.
    pub fn add(&mut self, at_ms: i64, readings: Readings) {
        if self.points.len() == POINTS {
            self.points.pop_front();
        }
        self.points.push_back(Point {
            at_ms,
            records: readings.sum("imbridge_spool_records"),
            oldest_age_s: readings.sum("imbridge_spool_oldest_age_seconds"),
            accepted: readings.sum("imbridge_requests_total"),
            published: readings.sum("imbridge_messages_published_total"),
        });
        self.before = self.last.replace((at_ms, readings));
    }

    /// Readings that are ten to twenty seconds old, younger just after the start, to take rates from.
    pub fn earlier(&self) -> Option<(i64, &Readings)> {
        let (at_ms, readings) = self.before.as_ref().or(self.last.as_ref())?;
        Some((*at_ms, readings))
    }

    /// The points, column by column; of counters, what was added a second since the point before.
    pub fn columns(&self) -> Value {
        let column = |read: fn(&Point) -> f64| self.points.iter().map(read).collect::<Vec<_>>();
        let rate = |read: fn(&Point) -> f64| {
            let pairs = self.points.iter().zip(self.points.iter().skip(1));
            let rates = pairs.map(|(a, b)| {
                let seconds = (b.at_ms - a.at_ms).max(1) as f64 / 1000.0;
                (read(b) - read(a)).max(0.0) / seconds
            });
            std::iter::once(0.0).chain(rates).collect::<Vec<_>>()
        };
        json!({
            "at_ms": self.points.iter().map(|point| point.at_ms).collect::<Vec<_>>(),
            "spool_records": column(|point| point.records),
            "oldest_age_s": column(|point| point.oldest_age_s),
            "accepted_per_s": rate(|point| point.accepted),
            "published_per_s": rate(|point| point.published),
        })
    }
}
