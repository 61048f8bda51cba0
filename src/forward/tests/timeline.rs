//! The timeline's message of an event: what it says, and where there is none.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Composer, composer_of, decoded, header, record};
use crate::provider::Privacy;
use crate::publish::{self, Message, Present, TopicRefused};
use crate::spool::Record;

const CREATED: &str = "Group.CallbackAfterCreateGroup";

fn composer() -> Composer {
    composer_of(&publish::Config {
        timeline: Some(publish::Timeline::default()),
        refusal_grace_s: 0,
        ..publish::Config::default()
    })
}

fn compose(composer: &mut Composer, record: &Record, limit: usize) -> Vec<Message> {
    let limit = |topic: &str| if topic == "im.timeline" { limit } else { usize::MAX };
    composer.compose(record, &limit).expect("no registry, no wait")
}

#[test]
fn an_event_of_any_command_is_there_once_more_with_its_key_its_place_and_what_it_means() {
    let body = r#"{"GroupId":"g","Operator_Account":"a","Owner_Account":"b","EventTime":"1670574414123","MemberList":[{"Member_Account":"c"}]}"#;
    let messages = compose(&mut composer(), &record(CREATED, body), usize::MAX);
    let [own, copy] = messages.as_slice() else {
        panic!("{messages:?}")
    };
    assert_eq!(&*copy.slot.topic, "im.timeline");
    assert_eq!(
        (&own.key, own.slot.partition, own.position),
        (&copy.key, copy.slot.partition, copy.position)
    );
    assert_eq!(own.headers, copy.headers);
    assert_eq!(
        decoded(copy),
        json!({
            "ordering_key": "g", "group_id": "g", "app": "1400000000", "provider": "tencent", "command": CREATED,
            "phase": "after", "kind": "group.created", "actor": "a", "targets": ["b", "c"], "event_id": header(own, "ce_id"),
            "spool": "s.1", "seq": 7, "part": 0, "event_time": 1_670_574_414_123_i64,
            "received_at": 1_700_000_000_000_i64, "body": body,
        })
    );
}

#[test]
fn an_event_without_a_schema_is_there_and_a_dead_letter_is_not() {
    for (body, key, group) in [
        (r#"{"GroupId":"g"}"#, "g", json!("g")),
        ("{}", "Group.Unheard", Value::Null),
    ] {
        let messages = compose(&mut composer(), &record("Group.Unheard", body), usize::MAX);
        let [own, copy] = messages.as_slice() else {
            panic!("{messages:?}")
        };
        assert_eq!(header(own, "content-type"), "application/json");
        assert_eq!(header(copy, "content-type"), "application/avro");
        let event = decoded(copy);
        assert_eq!((&event["ordering_key"], &event["group_id"]), (&json!(key), &group));
        assert_eq!((&event["phase"], &event["kind"]), (&Value::Null, &Value::Null));
        assert_eq!(event["body"], body);
    }
    let letter = compose(&mut composer(), &record(CREATED, "[1]"), usize::MAX);
    assert_eq!((letter.len(), &*letter[0].slot.topic), (1, "im.dead-letter"));
}

#[test]
fn what_is_too_large_for_the_timeline_is_there_without_its_body() {
    let body = format!(r#"{{"GroupId":"g","Name":"{}"}}"#, "n".repeat(5000));
    let messages = compose(&mut composer(), &record(CREATED, &body), 4000);
    let event = decoded(&messages[1]);
    assert_eq!((&event["body"], &event["group_id"]), (&Value::Null, &json!("g")));
    assert!(messages[1].size() <= 4000);
}

#[test]
fn an_event_that_the_timeline_refuses_is_in_its_own_topic_and_counted_once() {
    let mut composer = composer();
    let refused = TopicRefused {
        topic: "im.timeline".into(),
        error: "TopicAuthorizationFailed".into(),
        text: "no WRITE".into(),
    };
    composer.refusals.learn_topic(&refused, true, Instant::now());
    let record = record(CREATED, r#"{"GroupId":"g"}"#);
    for _ in 0..3 {
        let messages = compose(&mut composer, &record, usize::MAX);
        assert_eq!(messages.len(), 1);
        assert_eq!(&*messages[0].slot.topic, &format!("im.tencent.{CREATED}"));
    }
    let left_out = composer
        .metrics
        .timeline_left_out
        .with_label_values(&["TopicAuthorizationFailed"]);
    assert_eq!(left_out.get(), 1);
    composer.refusals.tick(Instant::now() + Duration::from_secs(61));
    assert_eq!(
        compose(&mut composer, &record, usize::MAX).len(),
        2,
        "it is tried again"
    );
}

#[test]
fn an_event_that_its_own_topic_refuses_is_a_dead_letter_and_comes_in_when_that_is_replayed() {
    let mut composer = composer();
    let refused = TopicRefused {
        topic: format!("im.tencent.{CREATED}"),
        error: "TopicAuthorizationFailed".into(),
        text: "no WRITE".into(),
    };
    composer.refusals.learn_topic(&refused, false, Instant::now());
    let record = record(CREATED, r#"{"GroupId":"g"}"#);
    let messages = compose(&mut composer, &record, usize::MAX);
    assert_eq!((messages.len(), &*messages[0].slot.topic), (1, "im.dead-letter"));
    // Gone through again, it may have been sent before its topic refused: then its copy is owed.
    let again = compose(&mut composer, &record, usize::MAX);
    let [letter, copy] = again.as_slice() else {
        panic!("{again:?}")
    };
    assert_eq!(letter, &messages[0]);
    assert_eq!((&*copy.slot.topic, &copy.twin), ("im.timeline", &letter.twin));
    let own = copy.twin.clone().expect("it is set");
    let mut present = Present::default();
    assert!(!present.has_event(copy, &own));
    present.note(own.clone(), copy.position, copy.received_at_ms);
    assert!(present.has_event(copy, &own) && !present.has(copy, None));
    assert_eq!(composer.other_place(copy), None);
    // And the other way round: its topic takes messages again, and the dead letter is there already.
    composer.refusals.tick(Instant::now() + Duration::from_secs(61));
    let again = compose(&mut composer, &record, usize::MAX);
    let mut present = Present::default();
    present.note(letter.slot.clone(), letter.position, letter.received_at_ms);
    for message in &again {
        assert!(
            present.has(message, composer.other_place(message).as_ref()),
            "{message:?}"
        );
    }
    assert_eq!(again.len(), 2);
}

#[test]
fn with_transactions_an_event_that_is_a_dead_letter_was_never_sent() {
    let mut config = publish::Config {
        timeline: Some(publish::Timeline::default()),
        refusal_grace_s: 0,
        ..publish::Config::default()
    };
    config.delivery = publish::Delivery::Transactional;
    let mut composer = composer_of(&config);
    let refused = TopicRefused {
        topic: format!("im.tencent.{CREATED}"),
        error: "TopicAuthorizationFailed".into(),
        text: "no WRITE".into(),
    };
    composer.refusals.learn_topic(&refused, false, Instant::now());
    for _ in 0..2 {
        let messages = compose(&mut composer, &record(CREATED, r#"{"GroupId":"g"}"#), usize::MAX);
        assert_eq!(messages.len(), 1);
    }
}

#[test]
fn only_the_commands_that_are_named_are_there() {
    let mut config = publish::Config {
        timeline: Some(publish::Timeline::default()),
        ..publish::Config::default()
    };
    config.timeline.as_mut().expect("it was set").commands = vec!["Group.Other".into()];
    let messages = compose(
        &mut composer_of(&config),
        &record(CREATED, r#"{"GroupId":"g"}"#),
        usize::MAX,
    );
    assert_eq!(messages.len(), 1);
}

#[test]
fn what_a_privacy_rule_keeps_back_is_not_there_either() {
    let rule = "commands = [\"*\"]\npaths = [\"Name\", \"Operator_Account\"]\naction = \"drop\"";
    let mut composer = composer().with_privacy(Privacy::new(&[toml::from_str(rule).unwrap()]));
    let body = r#"{"GroupId":"g","Operator_Account":"Wilhelmina","Name":"Wilhelmina"}"#;
    let messages = compose(&mut composer, &record(CREATED, body), usize::MAX);
    let event = decoded(&messages[1]);
    assert_eq!(event["actor"], Value::Null);
    assert!(!event.to_string().contains("Wilhelmina"), "{event}");
}
