//! The registry's metrics.

use prometheus::{IntCounterVec, IntGauge};

use crate::lifecycle::metrics;

metrics! {
    /// Handles of the metrics. They are cheap to clone.
    pub struct Metrics {
        /// Failed look-ups in the schema registry, by reason.
        pub(super) errors: IntCounterVec["reason"] = "imbridge_registry_errors_total";
        /// 1 while publishing waits for a schema id from the registry, else 0.
        pub(super) waiting: IntGauge = "imbridge_registry_waiting";
    }
}
