//! `imbridge topics`: missing topics are created. Differences are reported and not changed.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::admin::Admin;
use crate::support::bridge::{APP, Home};
use crate::support::oracle::Plan;
use crate::support::{eventually, kafka, run};

#[test]
fn topics_are_planned_created_and_compared_and_existing_ones_are_not_changed() {
    let mut home = Home::new("topics");
    home.set("KAFKA__CREATE_TOPICS", "never");
    home.configure("[kafka.topic_config]\n\"retention.ms\" = \"3600000\"");
    let (code, lines, _) = run(&mut home.command("topics plan"));
    assert_eq!(code, Some(1), "{lines}");
    let created = format!(
        "create  {}.dead-letter: 4 partitions, 1 replicas, max.message.bytes=8388608, message.timestamp.type=LogAppendTime, retention.ms=3600000",
        home.prefix
    );
    assert!(
        lines.contains(&created) && lines.contains("8 topics: 8 missing"),
        "{lines}"
    );

    let (code, lines, error) = run(&mut home.command("topics apply"));
    assert_eq!(code, Some(0), "{lines}{error}");
    assert!(
        lines.contains("8 topics created") && lines.contains(": 4 partitions, 1 replicas"),
        "{lines}"
    );
    let (code, lines, _) = run(&mut home.command("topics plan"));
    assert_eq!(
        (code, lines.matches("ok  ").count()),
        (Some(0), 8),
        "nothing differs: {lines}"
    );

    // Transactional delivery needs one more topic. The existing topics do not fit the new configuration.
    home.set("KAFKA__DELIVERY", "transactional");
    home.set("KAFKA__MAX_MESSAGE_BYTES", "20971520");
    home.set("KAFKA__PARTITIONS", "5");
    let (code, lines, _) = run(&mut home.command("topics plan"));
    assert_eq!(code, Some(1), "{lines}");
    let checkpoints = format!(
        "create  {}.checkpoints: 5 partitions, 1 replicas, cleanup.policy=compact, max.message.bytes=20971520, message.timestamp.type=LogAppendTime\n",
        home.prefix
    );
    assert!(lines.contains(&checkpoints), "{lines}");
    for part in [
        "4 partitions, kafka.partitions is 5: nothing is published",
        "max.message.bytes is 8388608, 20971520 is wanted: a larger event becomes a dead letter",
        "--add-config max.message.bytes=20971520",
        "9 topics: 1 missing, 8 with another configuration",
    ] {
        assert!(lines.contains(part), "{part}: {lines}");
    }
    let (code, lines, _) = run(&mut home.command("topics apply"));
    assert_eq!(
        code,
        Some(1),
        "topics with too few partitions are of no use and not changed: {lines}"
    );
    assert!(lines.contains("1 topics created"), "{lines}");

    let (code, text, _) = run(&mut home.command("topics plan --json"));
    assert_eq!(code, Some(1));
    let plan: Value = serde_json::from_str(&text).expect("JSON");
    let states: Vec<_> = plan["topics"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|topic| (topic["state"].as_str().expect("text"), topic["partitions"].as_u64()))
        .collect();
    assert_eq!(
        states
            .iter()
            .filter(|state| **state == ("too_few_partitions", Some(4)))
            .count(),
        8,
        "{text}"
    );
    assert_eq!(
        states.iter().filter(|state| **state == ("fits", Some(5))).count(),
        1,
        "{text}"
    );
}

#[test]
fn check_names_what_differs_and_measures_the_disk() {
    let mut home = Home::new("doctor");
    run(&mut home.command("topics apply"));
    home.set("KAFKA__MAX_MESSAGE_BYTES", "20971520");
    let (code, lines, _) = run(&mut home.command("check"));
    assert_eq!(code, Some(0), "differences are warnings: {lines}");
    assert!(
        lines.contains("dead-letter: max.message.bytes is 8388608, 20971520 is wanted"),
        "{lines}"
    );
    let disk = lines
        .lines()
        .find(|line| line.starts_with("ok    disk: "))
        .unwrap_or_else(|| panic!("{lines}"));
    assert!(
        ["GiB free", "100 syncs of 4096 bytes: p50 ", " ms, p99 ", ", longest "]
            .iter()
            .all(|part| disk.contains(part)),
        "{disk}"
    );
    assert!(
        !home.path().join("spool/check.tmp").exists(),
        "the measuring leaves nothing behind"
    );
}

#[test]
fn a_topic_is_created_within_a_second_of_its_first_event_while_others_are_busy() {
    for delivery in ["idempotent", "transactional"] {
        let mut home = Home::new("on-demand");
        home.set("KAFKA__DELIVERY", delivery);
        let bridge = home.start();
        let admin = Admin::of(&kafka::shared());
        let there = |command: &str| !admin.leaders(&format!("{}.tencent.{command}", home.prefix)).is_empty();
        // This topic is under load. The other two have no event yet.
        let load = Plan::new(&home).with("rate", 500).start();
        let published = |command: &str| bridge.metric(&["imbridge_messages_published_total", command]);
        eventually("the load to be in Kafka", || {
            (published("Group.CallbackAfterCreateGroup") > 200.0).then_some(())
        });
        let new = "Group.CallbackAfterChangeGroupOwner";
        assert!(
            !there(new) && !there("Group.CallbackAfterGroupAttrChanged"),
            "{delivery}: nobody needs it"
        );
        let answer = bridge.post(new, r#"{"GroupId":"g"}"#);
        let answered = Instant::now();
        assert_eq!(answer.status, 200);
        eventually("the first event of the new topic", || {
            (published(new) == 1.0).then_some(())
        });
        let took = answered.elapsed();
        let ledger = load.stop();
        bridge.settle();
        ledger.judge(&kafka::shared(), &home).assert_kept();
        assert!(took < Duration::from_secs(1), "{delivery}: {took:?}\n{}", bridge.log());
        assert!(there(new) && !there("Group.CallbackAfterGroupAttrChanged"));
        assert_eq!(
            bridge.metric(&["imbridge_producer_rebuilds_total"]),
            0.0,
            "no producer was given up"
        );
    }
}

#[test]
fn only_topics_of_chosen_commands_and_configured_providers_are_created_ahead() {
    let mut home = Home::new("ahead");
    let command = "--command Group.CallbackAfterCreateGroup";
    let (code, lines, error) = run(&mut home.command(&format!("topics apply {command}")));
    assert_eq!(code, Some(0), "{lines}{error}");
    assert!(lines.contains("1 topics created"), "{lines}");
    let (code, _, error) = run(&mut home.command("topics apply --command Group.NoSuchCommand"));
    assert_eq!(code, Some(1));
    assert!(error.contains("--command Group.NoSuchCommand: no schema"), "{error}");

    // Without an OpenIM server, none of OpenIM's topics is wanted.
    std::fs::write(
        home.config(),
        format!("[[tencent]]\nsdk_app_id = {APP}\n\n[kafka]\npartitions = 4\nreplication_factor = 1\n"),
    )
    .expect("a temporary folder is writable");
    home.set("KAFKA__CREATE_TOPICS", "all");
    let bridge = home.start();
    eventually("the topics", || {
        bridge
            .log()
            .contains("created the topics that were missing")
            .then_some(())
    });
    let (code, lines, _) = run(&mut home.command("topics plan"));
    assert_eq!(code, Some(0), "{lines}");
    assert!(
        lines.contains("6 topics: 0 missing") && !lines.contains("openim"),
        "{lines}"
    );
}
