//! What imbridge is deployed and watched with, judged by the real tools: helm, Kubernetes' schemas, Prometheus and its promtool, the
//! reference loader of compose files. `scripts/test` says where they are; no container is started.

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
