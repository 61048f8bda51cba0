//! `imbridge topics`: what is missing is created, what differs is told and left alone.

use serde_json::Value;

use crate::support::bridge::Home;
use crate::support::run;

#[test]
fn topics_are_planned_created_and_compared_and_none_that_is_there_is_changed() {
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
        lines.contains(&created) && lines.contains("7 topics: 7 missing"),
        "{lines}"
    );

    let (code, lines, error) = run(&mut home.command("topics apply"));
    assert_eq!(code, Some(0), "{lines}{error}");
    assert!(
        lines.contains("7 topics created") && lines.contains(": 4 partitions, 1 replicas"),
        "{lines}"
    );
    let (code, lines, _) = run(&mut home.command("topics plan"));
    assert_eq!(
        (code, lines.matches("ok  ").count()),
        (Some(0), 7),
        "nothing differs: {lines}"
    );

    // Transactional delivery needs one more; what there is does not fit what is now wanted.
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
        "8 topics: 1 missing, 7 with another configuration",
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
        7,
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
