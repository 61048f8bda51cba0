//! The campaigns that try to break the promise: nothing acknowledged is lost, nothing arrives twice or out of order.
//! Each campaign has a short form, which `make test` runs, and a full form, which `make torture` runs. The results are
//! in docs/explain/reliability.md.

#[allow(dead_code, reason = "each test program uses its part of what they share")]
#[path = "../support/mod.rs"]
mod support;

mod brokers;
mod campaign;
mod checkpoint;
mod damage;
mod dev;
mod disk;
mod endurance;
mod faults;
mod fencing;
mod forger;
mod group_lives;
mod hanging;
mod hostile;
mod judge;
mod kill;
mod lagging;
mod marks;
mod moments;
mod network;
mod power;
mod refusals;
mod refused;
mod reload;
mod replicas;
mod size;
mod spoiled;
mod strangers;
mod two_bridges;
mod watchdog;
