//! Tests of the built program from outside: with a real Kafka, HTTP as IM servers send it, and independent readers.
//! `scripts/test` starts Kafka and passes its address; see `support::kafka`.

#[allow(dead_code, reason = "each test program uses its part of what they share")]
#[path = "../support/mod.rs"]
mod support;

mod ability;
mod bad_input;
mod before;
mod clocks;
mod command_line;
mod commands;
mod consumers;
mod ddl;
mod echo;
mod evolution;
mod guides;
mod held;
mod logs;
mod memory;
mod neighbours;
mod new_topics;
mod order;
mod outage;
mod panic;
mod privacy;
mod refusals;
mod registry;
mod reload;
mod repeats;
mod replay;
mod replicas;
mod samples;
mod secrets;
mod security;
mod senders;
mod service;
mod shutdown;
mod simulate;
mod spool;
mod status;
mod tail;
mod timeline;
mod tls;
mod topics;
mod trace;
mod transactions;
mod values;
