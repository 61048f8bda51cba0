//! Stock readers over everything that the bridge can write, with its own registry. `make consumers` runs them, because
//! they take too long for each test run. `tests/pipeline/consumers.rs` is the short form.

#[allow(dead_code, reason = "each test program uses its part of what they share")]
#[path = "../support/mod.rs"]
mod support;

mod connect;
mod flink;
mod go;
mod spark;

use crate::support::registry::{Client, read};
use crate::support::{kafka, samples};

#[test]
fn every_commands_sample_is_the_same_to_all_stock_readers() {
    let (home, _bridge, commands) = samples::posted("all", false);
    let seen = |client| {
        let read = read(
            client,
            &home.registry(),
            &kafka::shared(),
            &home.prefix,
            samples::events(&commands),
        );
        samples::by_topic(&home.prefix, read)
    };
    let python = seen(Client::Python);
    assert!(python.len() > 100, "{}", python.len());
    for client in [Client::JavaScript, Client::Confluent, Client::ClickHouse] {
        let other = seen(client);
        for (topic, event) in &python {
            assert_eq!(other.get(topic), Some(event), "{client:?} of {topic}");
        }
    }
}
