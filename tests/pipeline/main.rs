//! The program from the outside: the built binary, a real Kafka, HTTP as an IM server sends it, and readers that are not
//! ours. `scripts/test` starts the Kafka and says where it is; see `support::kafka`.

mod support;

mod bad_input;
mod before;
mod command_line;
mod commands;
mod crash;
mod evolution;
mod order;
mod outage;
mod registry;
mod samples;
mod shutdown;
