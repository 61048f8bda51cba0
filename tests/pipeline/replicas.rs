//! Several bridges on the same topics: they start together, grow in number, and leave spools behind that others bring home.

use std::collections::BTreeMap;
use std::sync::Barrier;
use std::thread::scope;

use crate::support::bridge::{Bridge, Home};
use crate::support::kafka::{self, Kafka};
use crate::support::reader::consume;

const COMMANDS: [&str; 3] = [
    "Group.CallbackAfterCreateGroup",
    "Group.CallbackAfterChangeGroupOwner",
    "Group.CallbackAfterGroupAttrChanged",
];

/// Posts the next event of each command to each of the bridges, to all of them at once.
fn post_at_once(bridges: &[Bridge], round: u64) {
    let together = Barrier::new(bridges.len());
    scope(|scope| {
        for (number, bridge) in bridges.iter().enumerate() {
            let together = &together;
            scope.spawn(move || {
                let mut connections = COMMANDS.map(|command| (command, bridge.connect()));
                together.wait();
                for (command, connection) in &mut connections {
                    let target = format!("/tencent?SdkAppid=1400000000&CallbackCommand={command}&contenttype=json");
                    let body = format!(r#"{{"GroupId":"g{number}","EventTime":{round}}}"#);
                    let answer = connection.post(&target, body).expect("an answer");
                    assert_eq!(answer.status, 200, "{}", answer.body);
                }
            });
        }
    });
}

/// Fails unless each round's event of each command and bridge is there once, in order, and nobody was disturbed.
fn assert_undisturbed(brokers: &str, homes: &[Home], bridges: &[Bridge], expected: &[Vec<u64>]) {
    for bridge in bridges {
        bridge.settle();
        assert_eq!(
            bridge.metric(&["imbridge_producer_rebuilds_total"]),
            0.0,
            "{}",
            bridge.log()
        );
        let log = bridge.log();
        for word in ["starts over", "already exists", "TOPIC_ALREADY_EXISTS", "ERROR"] {
            assert!(!log.contains(word), "{word}: {log}");
        }
    }
    let mut found: BTreeMap<(String, String), Vec<u64>> = BTreeMap::new();
    for message in consume(brokers, &homes[0].prefix, &homes[0].schemas()) {
        if message.topic.ends_with(".checkpoints") {
            continue;
        }
        let round = message.value.as_ref().and_then(|value| value["EventTime"].as_u64());
        let round = round.unwrap_or_else(|| panic!("no event: {message:?}"));
        let place = (message.topic, message.key.expect("a group"));
        found.entry(place).or_default().push(round);
    }
    for command in COMMANDS {
        for (number, rounds) in expected.iter().enumerate() {
            let topic = format!("{}.tencent.{command}", homes[0].prefix);
            assert_eq!(
                found.remove(&(topic, format!("g{number}"))).as_ref(),
                Some(rounds),
                "{command}"
            );
        }
    }
    assert_eq!(found, BTreeMap::new(), "and nothing else");
}

#[test]
fn three_bridges_that_begin_at_once_on_an_empty_kafka_do_not_disturb_each_other() {
    let _alone = kafka::one_cluster_at_a_time();
    let kafka = Kafka::create("at-once", 3, &[]);
    for (create, delivery) in [
        ("on_demand", "idempotent"),
        ("all", "idempotent"),
        ("on_demand", "transactional"),
    ] {
        let mut homes: [Home; 3] = Home::replicas("at-once", &kafka.brokers);
        for home in &mut homes {
            home.set("KAFKA__CREATE_TOPICS", create);
            home.set("KAFKA__DELIVERY", delivery);
            home.set("KAFKA__REPLICATION_FACTOR", "3");
        }
        // All processes are there before one of them is ready.
        let spawned = homes.each_ref().map(Home::spawn);
        let bridges = spawned.map(Bridge::ready);
        for round in 1..=2 {
            post_at_once(&bridges, round);
        }
        println!("{create}, {delivery}");
        assert_undisturbed(&kafka.brokers, &homes, &bridges, &[vec![1, 2], vec![1, 2], vec![1, 2]]);
    }
}

#[test]
fn one_bridge_becomes_three_without_noticing() {
    let homes: [Home; 3] = Home::replicas("grows", &kafka::shared());
    let mut bridges = vec![homes[0].start()];
    post_at_once(&bridges, 1);
    bridges.extend(homes[1..].iter().map(Home::start));
    post_at_once(&bridges, 2);
    assert_undisturbed(&kafka::shared(), &homes, &bridges, &[vec![1, 2], vec![2], vec![2]]);
}
