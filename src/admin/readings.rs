//! The metrics as numbers, by name and labels, for the status page: the same values that Prometheus reads.

use std::collections::BTreeMap;

use prometheus::Registry;
use prometheus::proto::MetricType;

/// Every counter and gauge at one moment. For a histogram, its number of observations, as `<name>_count`.
#[derive(Debug, Clone, Default)]
pub(super) struct MetricValues(Vec<MetricValue>);

#[derive(Debug, Clone)]
pub(super) struct MetricValue {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

impl MetricValues {
    pub fn of(registry: &Registry) -> MetricValues {
        let mut values = Vec::new();
        for family in registry.gather() {
            for metric in family.get_metric() {
                let (suffix, value) = match family.get_field_type() {
                    MetricType::COUNTER => ("", metric.get_counter().get_value()),
                    MetricType::GAUGE => ("", metric.get_gauge().get_value()),
                    MetricType::HISTOGRAM => ("_count", metric.get_histogram().get_sample_count() as f64),
                    _ => continue,
                };
                let pairs = metric.get_label().iter();
                values.push(MetricValue {
                    name: format!("{}{suffix}", family.name()),
                    labels: pairs
                        .map(|pair| (pair.name().to_owned(), pair.value().to_owned()))
                        .collect(),
                    value,
                });
            }
        }
        MetricValues(values)
    }

    /// The values of one name.
    pub fn named(&self, name: &str) -> impl Iterator<Item = &MetricValue> {
        self.0.iter().filter(move |metric| metric.name == name)
    }

    /// Their sum.
    pub fn sum(&self, name: &str) -> f64 {
        // `Iterator::sum` of no floats is -0.
        self.named(name).fold(0.0, |sum, metric| sum + metric.value)
    }

    /// Their sum by the value of one label.
    pub fn by(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for metric in self.named(name) {
            *sums.entry(metric.label(label).to_owned()).or_default() += metric.value;
        }
        sums
    }
}

impl MetricValue {
    /// The labels `provider` and `command`.
    pub fn command(&self) -> (&str, &str) {
        (self.label("provider"), self.label("command"))
    }

    /// A label's value, or an empty string.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}
