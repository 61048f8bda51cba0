//! The registry's metrics.

use prometheus::{IntCounterVec, IntGauge};

use crate::lifecycle::metrics;

metrics! {
    /// Handles on them; cheap to clone.
    pub struct Metrics {
        /// Look-ups in the schema registry that failed, by what went wrong.
        pub(super) errors: IntCounterVec["reason"] = "imbridge_registry_errors_total";
        /// 1 while publishing waits for a schema's id, else 0.
        pub(super) waiting: IntGauge = "imbridge_registry_waiting";
    }
}
