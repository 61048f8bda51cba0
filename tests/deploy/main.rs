//! The files for deployment and monitoring, checked by the real tools: helm, Kubernetes' schemas, Prometheus with
//! promtool, and the reference loader of compose files. `scripts/test` passes their paths. Starts no container.

#[allow(dead_code, reason = "each test program uses its part of what they share")]
#[path = "../support/mod.rs"]
mod support;

mod alerts;
mod balancer;
mod chart;
mod compose;
mod dashboard;
mod image;
mod install;
mod openim;
mod prometheus;
mod tools;
mod unit;
