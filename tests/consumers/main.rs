//! Stock readers over everything that the bridge can write, by its own registry: what takes too long for each run of the tests,
//! run by `make consumers`. `tests/pipeline/consumers.rs` is its short form.

#[allow(dead_code, reason = "each test program uses its part of what they share")]
#[path = "../support/mod.rs"]
mod support;

use std::process::Command;

use crate::support::bridge::Home;
use crate::support::registry::{Client, read};
use crate::support::{kafka, run, samples};

#[test]
fn every_commands_sample_is_the_same_to_all_stock_readers() {
    let commands = samples::all();
    assert!(commands.len() > 100, "{}", commands.len());
    let mut home = Home::new("all");
    home.without_timeline();
    home.set("SCHEMAS__DIR", "schemas");
    home.set("KAFKA__PARTITIONS", "1");
    // Two commands of OpenIM's versions can have one body.
    home.set("HISTORY__WINDOW_S", "0");
    let bridge = home.start();
    samples::post(&bridge, &commands);
    bridge.settle();
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

#[test]
fn flink_runs_the_documents_sql_over_the_event() {
    let mut home = Home::new("flink");
    home.without_timeline();
    let bridge = home.start();
    samples::post(&bridge, &["tencent/Group.CallbackAfterCreateGroup"]);
    bridge.settle();
    let document = std::fs::read_to_string("docs/consumers.md").expect("it is there");
    let block = document
        .split_once("```sql\n")
        .and_then(|(_, rest)| rest.split_once("```"));
    let mut sql = block.expect("a block").0.to_owned();
    for (documented, own) in [
        ("'im.tencent.", format!("'{}.tencent.", home.prefix)),
        ("'localhost:9092'", format!("'{}'", kafka::shared())),
        ("'http://localhost:8081'", format!("'{}'", home.registry())),
    ] {
        assert_eq!(sql.matches(documented).count(), 1, "{documented}");
        sql = sql.replace(documented, &own);
    }
    let path = home.path().join("reader.sql");
    std::fs::write(&path, sql).expect("a temporary folder is writable");
    let jars = std::env::var("IMBRIDGE_TEST_FLINK").expect("run by make consumers");
    let mut flink = Command::new("java");
    flink.args([
        "-XX:TieredStopAtLevel=1",
        "-cp",
        &format!("{jars}/*"),
        "tests/readers/flink/Sql.java",
    ]);
    let (code, rows, error) = run(flink.arg(&path));
    assert_eq!(code, Some(0), "{error}");
    assert!(rows.starts_with("+I[@TGS#2J4SZEAEL, MyFirstGroup, 2, "), "{rows}");
}
