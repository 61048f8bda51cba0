//! Kafka with SASL and TLS: everything that the bridge does there works through `kafka.properties`. Wrong properties
//! delay no callback, and no secret is printed.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::bridge::{Bridge, Home};
use crate::support::eventually;
use crate::support::kafka::{Doors, Kafka, PASSWORD, one_cluster_at_a_time};
use crate::support::oracle::Plan;
use crate::support::reader::consume;

const UNKNOWN: &str = "Nobody.KnowsIt";
const KNOWN: &str = "Group.CallbackAfterCreateGroup";

/// A home whose bridge connects to one of the secured listeners.
fn home(name: &str, door: &str, properties: &[(&str, &str)]) -> Home {
    let mut home = Home::with_brokers(name, door);
    home.environment("KAFKA_PASSWORD", PASSWORD);
    let lines = properties.iter().map(|(name, value)| format!("{name:?} = {value:?}\n"));
    home.configure(&format!("[kafka.properties]\n{}", lines.collect::<String>()));
    home
}

fn sasl<'a>(mechanism: &'a str, ca: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut properties = vec![
        ("security.protocol", "SASL_SSL"),
        ("ssl.ca.location", ca),
        ("sasl.mechanism", mechanism),
    ];
    properties.extend(match mechanism {
        "OAUTHBEARER" => [
            ("enable.sasl.oauthbearer.unsecure.jwt", "true"),
            ("sasl.oauthbearer.config", "principal=imbridge"),
        ],
        _ => [("sasl.username", "imbridge"), ("sasl.password", "env:KAFKA_PASSWORD")],
    });
    properties
}

fn file(doors: &Doors, name: &str) -> String {
    doors.certificates.join(name).display().to_string()
}

fn post(bridge: &Bridge, command: &str, group: &str) {
    let body = json!({"CallbackCommand": command, "GroupId": group, "Name": "n"}).to_string();
    let answer = bridge.post(command, &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// The log and all metrics; neither contains the password.
fn log_without_password(bridge: &Bridge) -> String {
    let (_, metrics) = bridge.admin("/metrics").expect("the admin port answers");
    let log = bridge.log();
    assert!(
        !log.contains(PASSWORD) && !metrics.contains(PASSWORD),
        "the password is printed:\n{log}\n{metrics}"
    );
    log
}

fn run_verb(home: &Home, verb: &str, more: &[&str]) -> (bool, String) {
    let output = home.command(verb).args(more).output().expect("the program was built");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(!text.concat().contains(PASSWORD), "the password is printed: {text:?}");
    (output.status.success(), text.concat())
}

/// Checks, creates the topics, publishes, is killed under load, reads back what is there, and publishes the rest.
/// Independent readers use a listener without security.
fn publishes(kafka: &Kafka, mut home: Home, delivery: &str) {
    home.set("KAFKA__DELIVERY", delivery);
    let (well, text) = run_verb(&home, "check", &[]);
    assert!(well && text.contains("1 brokers answer"), "{text}");
    let bridge = home.start();
    post(&bridge, UNKNOWN, "g");
    let load = Plan::new(&home).with("groups", 16).start();
    eventually("some events in Kafka", || {
        (bridge.metric(&["imbridge_messages_published_total"]) > 200.0).then_some(())
    });
    bridge.kill();
    let bridge = home.start();
    let ledger = load.stop();
    bridge.settle();
    let log = log_without_password(&bridge);
    let recovered = ["looked up what Kafka has", "took over publishing"];
    assert!(recovered.iter().any(|text| log.contains(text)), "{log}");
    assert_eq!(bridge.metric(&["imbridge_kafka_connected "]), 1.0, "{log}");
    assert!(bridge.terminate().success());
    ledger.judge(&kafka.brokers, &home).assert_kept();
    assert!(ledger.acknowledged > 200, "{ledger:?}");
}

#[test]
fn each_way_of_authentication_works_for_everything_that_the_bridge_does() {
    let _alone = one_cluster_at_a_time();
    let (kafka, doors) = Kafka::secure("secure");
    let ca = file(&doors, "ca.crt");
    for mechanism in ["PLAIN", "OAUTHBEARER", "SCRAM-SHA-512"] {
        let name = mechanism.to_lowercase();
        publishes(&kafka, home(&name, &doors.sasl, &sasl(mechanism, &ca)), "idempotent");
    }
    let (certificate, key) = (file(&doors, "client.crt"), file(&doors, "client.key"));
    let tls = [
        ("security.protocol", "SSL"),
        ("ssl.ca.location", ca.as_str()),
        ("ssl.certificate.location", &certificate),
        ("ssl.key.location", &key),
    ];
    publishes(&kafka, home("certificate", &doors.tls, &tls), "idempotent");
    publishes(
        &kafka,
        home("transactions", &doors.sasl, &sasl("SCRAM-SHA-512", &ca)),
        "transactional",
    );
    drafted_from_a_topic(&doors, &ca);
}

/// `imbridge schemas new` reads a topic of unknown commands with the same configuration.
fn drafted_from_a_topic(doors: &Doors, ca: &str) {
    let home = home("drafted", &doors.sasl, &sasl("SCRAM-SHA-512", ca));
    let bridge = home.start();
    post(&bridge, UNKNOWN, "g");
    bridge.settle();
    let topic = format!("{}.tencent.unknown", home.prefix);
    let folder = home.schemas().display().to_string();
    let what = ["--provider", "tencent", "--command", UNKNOWN, "--key", "GroupId"];
    let from = ["--from-topic", &topic, "--dir", &folder];
    let (well, text) = run_verb(&home, "schemas new", &[&what[..], &from].concat());
    assert!(well && text.contains("wrote"), "{text}");
}

#[test]
fn wrong_kafka_properties_delay_no_callback_and_are_reported_with_a_remedy() {
    let _alone = one_cluster_at_a_time();
    let (kafka, doors) = Kafka::secure("refused");
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let trusted = folder.path().join("trusted.crt").display().to_string();
    let ca = file(&doors, "ca.crt");

    let mut wrong = home("wrong", &doors.sasl, &sasl("SCRAM-SHA-512", &ca));
    wrong.environment("KAFKA_PASSWORD", "Wr0ngPassw0rdOfTheTest");
    refused(&wrong, "sasl.password");
    wrong.environment("KAFKA_PASSWORD", PASSWORD);
    let bridge = wrong.start();
    arrives(&kafka, &wrong, bridge);

    std::fs::copy(file(&doors, "other.crt"), &trusted).expect("writable");
    let distrusted = home("distrusted", &doors.sasl, &sasl("PLAIN", &trusted));
    let bridge = refused(&distrusted, "ssl.ca.location");
    // The file is corrected while the bridge runs.
    std::fs::copy(&ca, &trusted).expect("writable");
    arrives(&kafka, &distrusted, bridge);
}

/// A bridge that Kafka rejects, or that does not trust Kafka, accepts callbacks and reports why it does not publish.
fn refused(home: &Home, advice: &str) -> Bridge {
    let bridge = home.start();
    (0..5).for_each(|group| post(&bridge, KNOWN, &group.to_string()));
    let line = eventually("a line with the remedy", || {
        let log = log_without_password(&bridge);
        log.lines()
            .find(|line| line.contains("Kafka is not ready") && line.contains(advice))
            .map(str::to_owned)
    });
    assert!(line.contains("kafka.properties"), "{line}");
    (5..10).for_each(|group| post(&bridge, KNOWN, &group.to_string()));
    assert_eq!(bridge.metric(&["imbridge_kafka_connected "]), 0.0);
    assert_eq!(bridge.metric(&["imbridge_messages_published_total"]), 0.0);
    let (well, text) = run_verb(home, "check", &[]);
    assert!(
        !well && text.contains(advice) && text.contains("kafka.properties"),
        "{text}"
    );
    bridge
}

fn arrives(kafka: &Kafka, home: &Home, bridge: Bridge) {
    bridge.settle();
    log_without_password(&bridge);
    let consumed = consume(&kafka.brokers, &home.prefix, &home.schemas());
    let groups: BTreeSet<_> = consumed.iter().filter_map(|message| message.key.clone()).collect();
    assert_eq!((consumed.len(), groups.len()), (10, 10), "{consumed:?}");
    assert!(bridge.terminate().success());
}
