//! Several bridges on the same topics: they start together, more are added, and spools that are left behind are
//! delivered by others.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Barrier;
use std::thread::scope;

use crate::support::bridge::{Bridge, Home};
use crate::support::kafka::{self, Kafka};
use crate::support::reader::consume;
use crate::support::run;

const COMMANDS: [&str; 3] = [
    "Group.CallbackAfterCreateGroup",
    "Group.CallbackAfterChangeGroupOwner",
    "Group.CallbackAfterGroupAttrChanged",
];

/// Posts the next event of each command to all bridges at the same time.
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

/// Fails unless Kafka has the event of each round, command and bridge once, in order, and no bridge was disturbed.
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
        // All processes are started before one of them is ready.
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
fn one_bridge_becomes_three_without_disturbance() {
    let homes: [Home; 3] = Home::replicas("grows", &kafka::shared());
    let mut bridges = vec![homes[0].start()];
    post_at_once(&bridges, 1);
    bridges.extend(homes[1..].iter().map(Home::start));
    post_at_once(&bridges, 2);
    assert_undisturbed(&kafka::shared(), &homes, &bridges, &[vec![1, 2], vec![2], vec![2]]);
}

/// Kills a bridge with five delivered events and five waiting ones, because it was cut off from Kafka.
fn leave_behind(home: &mut Home, group: &str) {
    let bridge = home.start();
    let post = |bridge: &Bridge, numbers: Range<u64>| {
        for number in numbers {
            let body = format!(r#"{{"GroupId":"{group}","EventTime":{number}}}"#);
            assert_eq!(bridge.post(COMMANDS[0], &body).status, 200);
        }
    };
    post(&bridge, 1..6);
    bridge.settle();
    assert!(bridge.terminate().success());
    home.set("KAFKA__BROKERS", "127.0.0.1:1");
    let bridge = home.start();
    post(&bridge, 6..11);
    bridge.kill();
}

#[test]
fn a_spool_left_behind_is_delivered_by_another_bridge_or_by_an_export() {
    let mut homes: [Home; 3] = Home::replicas("left", &kafka::shared());
    leave_behind(&mut homes[1], "moved");
    leave_behind(&mut homes[2], "exported");
    let running = homes[0].start();

    // Another process with its own configuration, on the folder of the first: only under the first one's spool name.
    let [mut elsewhere] = Home::replicas("elsewhere", &kafka::shared());
    elsewhere.set("KAFKA__TOPIC_PREFIX", &homes[0].prefix);
    elsewhere.set("SPOOL__DIR", homes[1].path().join("spool").display().to_string());
    let (code, _, error) = run(&mut elsewhere.command("serve"));
    assert_eq!(code, Some(1), "{error}");
    assert!(
        error.contains(r#"the file belongs to the spool `imbridge-1`, not `imbridge-0`: set spool.id = "imbridge-1""#),
        "{error}"
    );
    elsewhere.set("SPOOL__ID", "imbridge-1");
    let (code, text, error) = run(&mut elsewhere.command("spool stat"));
    assert!(
        code == Some(0) && text.contains("waiting    5 records"),
        "{text}{error}"
    );
    let bridge = elsewhere.start();
    bridge.settle();
    assert!(bridge.terminate().success());
    let (_, text, _) = run(&mut elsewhere.command("spool stat"));
    assert!(text.contains("waiting    0 records"), "{text}");

    // The callbacks of the other folder are sent through a running replica.
    let (code, exported, error) = run(&mut homes[2].command("spool export --undelivered"));
    assert_eq!((code, exported.lines().count()), (Some(0), 5), "{error}");
    let file = homes[2].path().join("left.jsonl");
    std::fs::write(&file, exported).expect("a temporary folder is writable");
    let (code, text, error) = run(&mut homes[0].command(&format!("replay --from {} --go", file.display())));
    assert_eq!(code, Some(0), "{text}{error}");
    assert!(text.contains("5 accepted, 0 left out"), "{text}");
    running.settle();

    let mut found: BTreeMap<String, Vec<(u64, String, u64)>> = BTreeMap::new();
    for message in consume(&kafka::shared(), &homes[0].prefix, &homes[0].schemas()) {
        let number = message.value.as_ref().expect("an event")["EventTime"]
            .as_u64()
            .expect("a number");
        let (spool, _) = message
            .header("imbridge-spool")
            .split_once('.')
            .expect("id and incarnation");
        let (record, _) = message
            .header("imbridge-seq")
            .split_once('.')
            .expect("record and event");
        let place = (number, spool.to_owned(), record.parse().expect("a number"));
        found.entry(message.key.expect("a group")).or_default().push(place);
    }
    let of = |numbers: Range<u64>, spool: &str| {
        numbers
            .map(|number| (number, spool.to_owned(), number))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        found["moved"],
        of(1..11, "imbridge-1"),
        "as the old spool's own, in order and once"
    );
    let (before, after) = found["exported"].split_at(5);
    assert_eq!(before, of(1..6, "imbridge-2"));
    let after: Vec<_> = after
        .iter()
        .map(|(number, spool, _)| (*number, spool.as_str()))
        .collect();
    assert_eq!(
        after,
        (6..11).map(|number| (number, "imbridge-0")).collect::<Vec<_>>(),
        "as the running bridge's, in order and once"
    );
}
