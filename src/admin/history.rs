//! The last hour of the metrics that the status page plots, one point every ten seconds. Of the last two points it keeps all metrics, from
//! which other rates are computed.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::readings::MetricValues;

/// The time between two points.
pub(super) const STEP: Duration = Duration::from_secs(10);
/// The points of an hour.
const POINTS: usize = 360;

/// The plotted gauges, by their names in `/status.json`.
const GAUGES: [(&str, &str); 2] = [
    ("spool_records", "imbridge_spool_records"),
    ("oldest_age_s", "imbridge_spool_oldest_age_seconds"),
];
/// The counters of which the increase a second is plotted.
const RATES: [(&str, &str); 2] = [
    ("accepted_per_s", "imbridge_requests_total"),
    ("published_per_s", "imbridge_messages_published_total"),
];

#[derive(Debug)]
struct Point {
    at_ms: i64,
    /// For rates: a change of the machine's clock must not change them.
    at: Instant,
    /// The values of `GAUGES`, then of `RATES`.
    sums: Vec<f64>,
}

/// The points of the plots, and all metrics at the last two.
#[derive(Debug, Default)]
pub(super) struct PlotHistory {
    points: VecDeque<Point>,
    before: Option<(Instant, MetricValues)>,
    last: Option<(Instant, MetricValues)>,
}

impl PlotHistory {
    /// Adds a point. If the machine's clock was set back, the point replaces those that seem to be later, so that `at_ms` ascends.
    pub fn add(&mut self, at_ms: i64, at: Instant, values: MetricValues) {
        while self.points.back().is_some_and(|point| point.at_ms >= at_ms) {
            self.points.pop_back();
        }
        if self.points.len() == POINTS {
            self.points.pop_front();
        }
        let metrics = GAUGES.iter().chain(&RATES);
        let sums = metrics.map(|(_, metric)| values.sum(metric)).collect();
        self.points.push_back(Point { at_ms, at, sums });
        self.before = self.last.replace((at, values));
    }

    /// MetricValues to compute rates from. They are ten to twenty seconds old, or younger just after the start.
    pub fn earlier(&self) -> Option<(Instant, &MetricValues)> {
        let (at, values) = self.before.as_ref().or(self.last.as_ref())?;
        Some((*at, values))
    }

    /// The points, column by column. For counters, the increase a second since the previous point.
    pub fn columns(&self) -> Value {
        let mut columns = json!({"at_ms": Value::from_iter(self.points.iter().map(|point| point.at_ms))});
        for (index, (name, _)) in GAUGES.iter().chain(&RATES).enumerate() {
            let rates = self.points.iter().zip(self.points.iter().skip(1)).map(|(a, b)| {
                let seconds = (b.at - a.at).as_secs_f64().max(0.001);
                (b.sums[index] - a.sums[index]).max(0.0) / seconds
            });
            columns[name] = if index >= GAUGES.len() {
                std::iter::once(0.0).chain(rates).collect()
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
    fn after_the_clock_is_set_back_times_ascend_and_rates_are_true() {
        let registry = Registry::new();
        let accepted = register_int_counter_with_registry!("imbridge_requests_total", "help", registry).unwrap();
        let (mut history, start) = (PlotHistory::default(), Instant::now());
        for (at_s, clock_s) in [(0, 100), (10, 110), (20, 120), (30, 105), (40, 115)] {
            accepted.inc_by(50);
            history.add(
                clock_s * 1000,
                start + Duration::from_secs(at_s),
                MetricValues::of(&registry),
            );
        }
        let columns = history.columns();
        assert_eq!(columns["at_ms"], json!([100_000, 105_000, 115_000]));
        assert_eq!(columns["accepted_per_s"], json!([0.0, 5.0, 5.0]));
    }
}
