//! The registry's metrics.

use prometheus::{
    IntCounterVec, IntGauge, Registry, register_int_counter_vec_with_registry, register_int_gauge_with_registry,
};

/// Handles on them; cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    pub(super) errors: IntCounterVec,
    pub(super) waiting: IntGauge,
}

impl Metrics {
    /// Registers them.
    ///
    /// # Errors
    /// When the registry has one of these names already.
    pub fn new(registry: &Registry) -> prometheus::Result<Metrics> {
        Ok(Metrics {
            errors: register_int_counter_vec_with_registry!(
                "imbridge_registry_errors_total",
                "Look-ups in the schema registry that failed, by what went wrong.",
                &["reason"],
                registry
            )?,
            waiting: register_int_gauge_with_registry!(
                "imbridge_registry_waiting",
                "1 while publishing waits for a schema's id, else 0.",
                registry
            )?,
        })
    }
}
