//! What Kafka refuses for good, single records and whole topics, does not stop anything else.

use std::time::Duration;

use crate::support::admin::Admin;
use crate::support::bridge::{Bridge, Home};
use crate::support::clock::Clock;
use crate::support::reader::{Consumed, consume};
use crate::support::{eventually, kafka, run, schemas, within};

const REFUSED: &str = "Group.CallbackAfterCreateGroup";
const OTHER: &str = "Group.CallbackAfterGroupAttrChanged";

fn post(bridge: &Bridge, command: &str, number: u32) {
    let answer = bridge.post(command, &event(number));
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// A body with a field that no schema declares.
fn event(number: u32) -> String {
    format!(r#"{{"GroupId":"g","Name":"{number}","Undeclared":1}}"#)
}

fn consumed(home: &Home) -> Vec<Consumed> {
    consume(&kafka::shared(), &home.prefix, &home.schemas())
}

/// The events of a command's topic, by the names in their headers.
fn count(all: &[Consumed], topic: &str) -> usize {
    all.iter().filter(|message| message.topic.ends_with(topic)).count()
}

#[test]
fn a_topic_that_refuses_is_retried_then_left_out_and_used_again_after_it_recovers() {
    for delivery in ["idempotent", "transactional"] {
        let mut home = Home::new("left-out");
        home.set("KAFKA__DELIVERY", delivery);
        home.set("KAFKA__REFUSAL_GRACE_S", "2");
        run(&mut home.command("topics apply"));
        let admin = Admin::of(&kafka::shared());
        let topic = format!("{}.tencent.{REFUSED}", home.prefix);
        // Somebody deletes a topic that the bridge may not create again.
        admin.delete_for_all(&topic);
        home.set("KAFKA__CREATE_TOPICS", "never");
        let bridge = home.start();
        for number in 0..3 {
            post(&bridge, REFUSED, number);
            post(&bridge, OTHER, number);
        }
        bridge.settle();
        let all = consumed(&home);
        assert_eq!(count(&all, OTHER), 3, "{delivery}: the others go on\n{}", bridge.log());
        let letters: Vec<_> = all
            .iter()
            .filter(|message| message.topic.ends_with("dead-letter"))
            .collect();
        let names: Vec<_> = letters
            .iter()
            .map(|letter| {
                assert_eq!(letter.header("imbridge-reason"), "topic_refused");
                assert!(
                    letter.header("imbridge-error").contains("kafka.create_topics"),
                    "{:?}",
                    letter.headers
                );
                assert_eq!(letter.key.as_deref(), Some("g"));
                String::from_utf8(letter.raw()).expect("text")
            })
            .collect();
        let expected: Vec<_> = (0..3).map(event).collect();
        assert_eq!(names, expected, "{delivery}: in order, once");
        assert_eq!(bridge.metric(&["imbridge_refused_total", REFUSED]), 3.0);
        // However many sessions of a producer they went through.
        let letters = bridge.metric(&["imbridge_dead_letters_total", "topic_refused"]);
        let undeclared = bridge.metric(&["imbridge_unmapped_fields_total", OTHER, "Undeclared"]);
        assert_eq!((letters, undeclared), (3.0, 3.0), "each is counted once");

        // The topic is created. The next attempt, within a minute, finds it.
        run(&mut home.command("topics apply"));
        within(Duration::from_secs(90), "the topic to be used again", || {
            post(&bridge, REFUSED, 7);
            bridge.settle();
            (bridge.metric(&["imbridge_messages_published_total", REFUSED]) > 0.0).then_some(())
        });
        bridge.logged("takes messages again");

        // Its dead letters are replayed.
        let replay = ["--reason", "topic_refused", "--go"];
        let (code, lines, error) = run(home.command("replay").args(replay));
        assert_eq!(code, Some(0), "{lines}{error}");
        bridge.settle();
        let all = consumed(&home);
        for number in 0..3 {
            let name = number.to_string();
            let found = all.iter().filter(|message| message.topic == topic);
            let found = found.filter(|message| message.value.as_ref().is_some_and(|value| value["Name"] == *name));
            assert_eq!(found.count(), 1, "{delivery} {number}");
        }
    }
}

#[test]
fn a_message_that_librdkafkas_queue_never_takes_becomes_a_dead_letter() {
    let home = Home::new("queue");
    home.configure("[kafka.properties]\n\"queue.buffering.max.kbytes\" = \"256\"");
    let bridge = home.start();
    let large = format!(r#"{{"GroupId":"g","Name":"{}"}}"#, "x".repeat(300_000));
    assert_eq!(bridge.post(REFUSED, &large).status, 200);
    post(&bridge, REFUSED, 1);
    bridge.settle();
    let all = consumed(&home);
    assert_eq!(count(&all, REFUSED), 1);
    let parts: Vec<_> = all
        .iter()
        .filter(|message| message.topic.ends_with("dead-letter"))
        .collect();
    assert_eq!(parts.len(), 2, "in parts that the queue takes");
    assert!(parts.iter().all(|part| part.header("imbridge-reason") == "too_large"));
    assert_eq!(parts.iter().map(|part| part.raw().len()).sum::<usize>(), large.len());
}

#[test]
fn every_dead_letter_has_a_key_and_a_compacted_topic_takes_it() {
    let mut home = Home::new("compacted");
    run(&mut home.command("topics apply"));
    let compacted = [
        ("cleanup.policy", "compact,delete"),
        ("message.timestamp.type", "LogAppendTime"),
    ];
    Admin::of(&kafka::shared()).configure(&format!("{}.dead-letter", home.prefix), &compacted);
    let bridge = home.start();
    assert_eq!(bridge.post("", "").status, 400);
    post(&bridge, REFUSED, 1);
    bridge.settle();
    let all = consumed(&home);
    let letter = all.iter().find(|message| message.topic.ends_with("dead-letter"));
    assert_eq!(letter.expect("a dead letter").key.as_deref(), Some("1400000000"));
    assert_eq!(count(&all, REFUSED), 1);
    bridge.logged("compaction keeps only the last event");
    drop(bridge);

    let (_, lines, _) = run(&mut home.command("check"));
    assert!(
        lines.contains("dead-letter: cleanup.policy is compact,delete"),
        "{lines}"
    );
    home.configure("[kafka.topic_config]\n\"cleanup.policy\" = \"compact,delete\"");
    home.set("LOG__LEVEL", "info");
    let (code, _, error) = run(&mut home.command("check"));
    assert_eq!(code, Some(64), "{error}");
    assert!(
        error.contains("topic_config.\"cleanup.policy\"") && error.contains("only \"delete\""),
        "{error}"
    );
}

#[test]
fn the_first_event_of_a_callback_whose_second_one_is_refused_arrives_once() {
    for delivery in ["idempotent", "transactional"] {
        let mut home = Home::new("second");
        home.set("KAFKA__DELIVERY", delivery);
        schemas::copy(&["tencent/Push.OfflinePush"], &home.schemas());
        run(&mut home.command("topics apply"));
        // Kafka refuses timestamps more than an hour ahead in this topic. In other topics it sets them itself.
        let topic = format!("{}.tencent.{REFUSED}", home.prefix);
        Admin::of(&kafka::shared()).configure(&topic, &[("message.timestamp.type", "CreateTime")]);
        Clock::of(&mut home).set(2 * 3600);
        let bridge = home.start();
        let events =
            [OTHER, REFUSED, OTHER].map(|command| format!(r#"{{"CallbackCommand":"{command}","GroupId":"g"}}"#));
        let body = format!(r#"{{"Events":[{}]}}"#, events.join(","));
        assert_eq!(bridge.post("Push.OfflinePush", &body).status, 200);
        bridge.settle();
        let all = consumed(&home);
        assert_eq!(
            (count(&all, OTHER), count(&all, REFUSED), count(&all, "dead-letter")),
            (2, 0, 1),
            "{delivery}\n{}",
            bridge.log()
        );
        let letter = all.iter().find(|message| message.topic.ends_with("dead-letter"));
        assert_eq!(letter.expect("it was counted").header("imbridge-seq"), "1.1");
    }
}

#[test]
fn if_the_dead_letter_topic_refuses_publishing_waits_reports_it_and_loses_nothing() {
    for delivery in ["idempotent", "transactional"] {
        let mut home = Home::new("no-letters");
        home.set("KAFKA__DELIVERY", delivery);
        home.set("KAFKA__REFUSAL_GRACE_S", "0");
        run(&mut home.command("topics apply"));
        Admin::of(&kafka::shared()).delete_for_all(&format!("{}.dead-letter", home.prefix));
        home.set("KAFKA__CREATE_TOPICS", "never");
        let bridge = home.start();
        assert_eq!(bridge.post("", "").status, 400);
        post(&bridge, OTHER, 1);
        eventually("the bridge to report what it waits for", || {
            let message = "the dead-letter topic refuses";
            bridge.log().contains(message).then_some(())
        });
        eventually("the time without delivery to be reported", || {
            (bridge.metric(&["imbridge_delivery_stalled_seconds "]) > 1.0).then_some(())
        });
        assert_eq!(
            bridge.metric(&["imbridge_spool_records "]),
            2.0,
            "{delivery}: both wait"
        );
        let (code, lines, error) = run(&mut home.command("topics apply"));
        assert_eq!(code, Some(0), "{lines}{error}");
        bridge.settle();
        let all = consumed(&home);
        assert_eq!((count(&all, "dead-letter"), count(&all, OTHER)), (1, 1), "{delivery}");
    }
}

#[test]
fn a_topic_whose_limit_is_too_small_is_left_out_and_used_after_it_is_raised() {
    let mut home = Home::new("mended");
    home.set("KAFKA__REFUSAL_GRACE_S", "0");
    run(&mut home.command("topics apply"));
    let admin = Admin::of(&kafka::shared());
    let topic = format!("{}.tencent.{REFUSED}", home.prefix);
    admin.configure(&topic, &[("max.message.bytes", "1000")]);
    let bridge = home.start();
    post(&bridge, REFUSED, 1);
    post(&bridge, OTHER, 1);
    bridge.settle();
    let all = consumed(&home);
    assert_eq!((count(&all, REFUSED), count(&all, OTHER)), (0, 1), "{}", bridge.log());
    let letter = all.iter().find(|message| message.topic.ends_with("dead-letter"));
    let error = letter.expect("a dead letter").header("imbridge-error");
    assert!(error.contains("max.message.bytes") && error.contains(&topic), "{error}");
    admin.configure(&topic, &[("max.message.bytes", "8388608")]);
    within(Duration::from_secs(90), "the topic to be used again", || {
        post(&bridge, REFUSED, 2);
        bridge.settle();
        (bridge.metric(&["imbridge_messages_published_total", REFUSED]) > 0.0).then_some(())
    });
}
