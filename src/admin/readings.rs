//! The metrics as numbers, by name and labels, for the status page: the same values that Prometheus reads.

use std::collections::BTreeMap;

use prometheus::Registry;
use prometheus::proto::MetricType;

/// Every counter and gauge at one moment. For a histogram, its number of observations, as `<name>_count`.
#[derive(Debug, Clone, Default)]
pub(super) struct Readings(Vec<Reading>);

#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Readings {
    pub fn of(registry: &Registry) -> Readings {
        let mut readings = Vec::new();
        for family in registry.gather() {
            for metric in family.get_metric() {
                let (suffix, value) = match family.get_field_type() {
                    MetricType::COUNTER => ("", metric.get_counter().get_value()),
                    MetricType::GAUGE => ("", metric.get_gauge().get_value()),
                    MetricType::HISTOGRAM => ("_count", metric.get_histogram().get_sample_count() as f64),
                    _ => continue,
                };
                let pairs = metric.get_label().iter();
                readings.push(Reading {
                    name: format!("{}{suffix}", family.name()),
                    labels: pairs
                        .map(|pair| (pair.name().to_owned(), pair.value().to_owned()))
                        .collect(),
                    value,
                });
            }
        }
        Readings(readings)
    }

    /// The readings of one name.
    pub fn named(&self, name: &str) -> impl Iterator<Item = &Reading> {
        self.0.iter().filter(move |reading| reading.name == name)
    }

    /// Their sum.
    pub fn sum(&self, name: &str) -> f64 {
        // `Iterator::sum` of no floats is -0.
        self.named(name).fold(0.0, |sum, reading| sum + reading.value)
    }

    /// Their sum by the value of one label.
    pub fn by(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for reading in self.named(name) {
            *sums.entry(reading.label(label).to_owned()).or_default() += reading.value;
        }
        sums
    }
}

impl Reading {
    /// A label's value, or an empty string.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}
