//! From a record to its messages, without Kafka: nothing that was spooled fails to become at least one message, but for copies.

mod timeline;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use prometheus::Registry;
use serde_json::Value;

use super::{Composer, Metrics};
use crate::callback::{Answer, Callback, CommandRule, CommandTable, Head, Phase, Provider};
use crate::publish::{self, CONTENT_TYPE_HEADER, Message};
use crate::schema::Catalogue;
use crate::spool::Record;

fn composer() -> Composer {
    composer_of(&publish::Config::default())
}

fn composer_of(config: &publish::Config) -> Composer {
    let catalogue = Catalogue::load(Path::new("schemas")).unwrap();
    let mut commands = CommandTable::default();
    for command in catalogue.commands().filter(|command| command.provider() == "tencent") {
        let expand = command.rule().expand.clone();
        let rule = CommandRule {
            phase: Phase::After,
            answer: Answer::Neutral,
            expand,
        };
        commands.insert(Provider::Tencent, command.name(), rule);
    }
    let metrics = Metrics::new(&Registry::new()).unwrap();
    Composer::new(Arc::new(catalogue), Arc::new(commands), config, "s.1", metrics)
}

fn head(command: &str) -> Head {
    Head {
        provider: Provider::Tencent,
        app: "1400000000".into(),
        command: Some(command.into()),
        received_at_ms: 1_700_000_000_000,
        client_ip: None,
        platform: None,
        request_id: None,
        trace: None,
        unreadable: false,
    }
}

fn record(command: &str, body: &str) -> Record {
    let callback = Callback {
        head: head(command),
        body: Bytes::copy_from_slice(body.as_bytes()),
    };
    Record {
        seq: 7,
        appended_at_ms: 1_700_000_000_001,
        data: callback.to_record().into(),
        intact: true,
    }
}

fn compose(record: &Record) -> Vec<Message> {
    compose_within(record, usize::MAX)
}

/// For topics that take so many bytes.
fn compose_within(record: &Record, limit: usize) -> Vec<Message> {
    let messages = composer().compose(record, &|_| limit);
    messages.expect("no registry, no wait")
}

fn header<'a>(message: &'a Message, name: &str) -> &'a str {
    if name == CONTENT_TYPE_HEADER {
        return message.content_type;
    }
    let found = message.headers.iter().find(|(found, _)| *found == name);
    found.map_or("", |(_, value)| &**value)
}

fn decoded(message: &Message) -> Value {
    let catalogue = Catalogue::load(Path::new("schemas")).unwrap();
    catalogue.decode(&message.payload).expect("a record").record
}

fn positions(messages: &[Message]) -> Vec<String> {
    messages.iter().map(|message| message.position.to_string()).collect()
}

#[test]
fn an_event_has_the_same_bytes_however_often_its_record_goes_through() {
    let record = record("Group.CallbackAfterCreateGroup", r#"{"GroupId":"g","Name":"n"}"#);
    let messages = compose(&record);
    assert_eq!(messages, compose(&record));
    assert_eq!(
        messages[0].slot.topic.as_ref(),
        "im.tencent.Group.CallbackAfterCreateGroup"
    );
    assert_eq!(
        (messages[0].key.as_str(), header(&messages[0], "ce_id")),
        ("g", "s.1.7.0")
    );
}

/// Composes bodies of one command as records 1, 2, ..., each a second after the one before.
fn compose_all(composer: &mut Composer, command: &str, bodies: &[&str]) -> Vec<Vec<Message>> {
    let compose = |(seq, body): (u64, &&str)| {
        let mut head = head(command);
        head.received_at_ms += seq as i64 * 1000;
        let body = Bytes::copy_from_slice(body.as_bytes());
        let record = Record {
            seq,
            appended_at_ms: head.received_at_ms,
            data: Callback { head, body }.to_record().into(),
            intact: true,
        };
        composer
            .compose(&record, &|_| usize::MAX)
            .expect("no registry, no wait")
    };
    (1..).zip(bodies).map(compose).collect()
}

#[test]
fn a_copy_of_an_event_with_an_identity_becomes_no_message_however_often_it_is_gone_through() {
    let sent = r#"{"GroupId":"g","EventTime":"1670574414123"}"#;
    let other = r#"{"GroupId":"g","EventTime":"1670574414123","Name":"n"}"#;
    let mut composer = composer();
    for _ in 0..3 {
        let composed = compose_all(
            &mut composer,
            "Group.CallbackAfterCreateGroup",
            &[sent, other, sent, sent],
        );
        let counts: Vec<usize> = composed.iter().map(Vec::len).collect();
        assert_eq!(counts, [1, 1, 0, 0]);
        let ids: Vec<&str> = composed[..2]
            .iter()
            .map(|messages| header(&messages[0], "ce_id"))
            .collect();
        assert_eq!(
            ids,
            ["9f96feb84b5593027c94be8121a61f8f", "baa987031e65f37e517f3a9bf1520c5c"]
        );
    }
    let dropped = composer
        .history
        .metrics
        .duplicates
        .with_label_values(&["tencent", "Group.CallbackAfterCreateGroup"])
        .get();
    assert_eq!(dropped, 2, "going through them again counts nothing");
}

#[test]
fn equal_bodies_without_an_identity_are_events_of_their_own() {
    let body = r#"{"GroupId":"g","EventTime":"1670574414000"}"#;
    let composed = compose_all(&mut composer(), "Group.CallbackAfterCreateGroup", &[body, body]);
    let ids: Vec<&str> = composed.iter().map(|messages| header(&messages[0], "ce_id")).collect();
    assert_eq!(ids, ["s.1.1.0", "s.1.2.0"]);
}

#[test]
fn outside_of_the_window_a_copy_is_sent_under_the_same_id() {
    let body = r#"{"GroupId":"g","EventTime":"1670574414123"}"#;
    let config = super::Config {
        window_s: 1,
        ..super::Config::default()
    };
    let filler = r#"{"GroupId":"h"}"#;
    let mut composer = composer().with_history(&config);
    let composed = compose_all(
        &mut composer,
        "Group.CallbackAfterCreateGroup",
        &[body, filler, body, body],
    );
    assert_eq!(composed.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1, 0]);
    assert_eq!(header(&composed[0][0], "ce_id"), header(&composed[2][0], "ce_id"));
}

#[test]
fn gaps_and_disorder_of_a_groups_numbers_are_counted_once_and_named() {
    let message = |group: &str, seq: u32, time: u32| {
        format!(r#"{{"GroupId":"{group}","MsgSeq":{seq},"EventTime":"1670574414{time}"}}"#)
    };
    let bodies = [
        message("g", 5, 101),
        message("h", 1, 102),
        message("g", 9, 103),
        message("g", 9, 103),
        message("g", 7, 104),
        message("g", 10, 105),
    ];
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    let mut composer = composer();
    for _ in 0..2 {
        compose_all(&mut composer, "Group.CallbackAfterSendMsg", &bodies);
    }
    let metrics = &composer.history.metrics;
    let of = |counter: &prometheus::IntCounterVec| counter.with_label_values(&["tencent"]).get();
    assert_eq!((of(&metrics.sequence_gaps), of(&metrics.sequence_disorder)), (3, 1));
    assert_eq!(metrics.sequence_groups.get(), 2);
    let named = composer.irregularities().list();
    assert_eq!(named.len(), 1);
    assert_eq!((named[0].group.as_str(), named[0].expected, named[0].got), ("g", 10, 7));
}

#[test]
fn events_of_one_batch_have_positions_of_their_own() {
    let event = |to: &str| format!(r#"{{"CallbackCommand":"Push.OfflinePush","To_Account":"{to}"}}"#);
    let batch = format!(r#"{{"Events":[{},{},{}]}}"#, event("a"), event("b"), event("c"));
    let messages = compose(&record("Push.OfflinePush", &batch));
    assert_eq!(positions(&messages), ["7.0", "7.1", "7.2"]);
    for message in &messages {
        let record = decoded(message);
        let said = format!("{}.{}", record["spool_seq"], record["spool_part"]);
        assert_eq!((&record["spool"], said), (&"s.1".into(), message.position.to_string()));
    }
    let keys: Vec<_> = messages.iter().map(|message| message.key.as_str()).collect();
    assert_eq!(keys, ["a", "b", "c"]);
    assert!(
        messages
            .iter()
            .all(|message| message.slot.topic.ends_with("Push.OfflinePush"))
    );
}

#[test]
fn the_older_flat_form_of_a_batch_is_one_event() {
    let messages = compose(&record("Push.OfflinePush", r#"{"To_Account":"a"}"#));
    assert_eq!((messages.len(), messages[0].key.as_str()), (1, "a"));
}

#[test]
fn one_event_of_a_batch_that_cannot_be_encoded_does_not_take_the_others_with_it() {
    let broken = format!(r#"{{"To_Account":{}}}"#, "7".repeat(4400));
    let batch = format!(r#"{{"Events":[{{"To_Account":"a"}},{broken},{{"To_Account":"c"}}]}}"#);
    let messages = compose(&record("Push.OfflinePush", &batch));
    assert_eq!(positions(&messages), ["7.0", "7.1", "7.2"]);
    assert_eq!(messages[1].slot.topic.as_ref(), "im.dead-letter");
    assert_eq!(messages[1].payload, broken.as_bytes());
}

#[test]
fn what_is_no_event_becomes_a_dead_letter_with_its_bytes_and_a_reason() {
    let empty = record("Push.OfflinePush", r#"{"Events":[]}"#);
    let list = record("Push.OfflinePush", r#"{"Events":{}}"#);
    let array = record("Group.CallbackAfterCreateGroup", "[1]");
    for (record, reason) in [(&empty, "empty_batch"), (&list, "no_batch"), (&array, "not_an_object")] {
        let messages = compose(record);
        assert_eq!(messages.len(), 1, "{reason}");
        assert_eq!(messages[0].slot.topic.as_ref(), "im.dead-letter");
        assert_eq!(header(&messages[0], "imbridge-reason"), reason);
        assert!(record.data.ends_with(&messages[0].payload));
    }
}

#[test]
fn a_damaged_record_becomes_a_dead_letter_as_a_whole() {
    let good = record("Group.CallbackAfterCreateGroup", r#"{"GroupId":"g"}"#);
    let damaged = Record {
        intact: false,
        ..good.clone()
    };
    let foreign = Record {
        data: Bytes::from_static(b"no head"),
        ..good
    };
    for (record, reason) in [(&damaged, "corrupt_record"), (&foreign, "unknown_record")] {
        let messages = compose(record);
        assert_eq!(
            (header(&messages[0], "imbridge-reason"), messages[0].payload.as_slice()),
            (reason, record.data.as_ref())
        );
        assert_eq!(messages[0].received_at_ms, record.appended_at_ms);
    }
}

#[test]
fn an_event_too_large_for_its_topic_becomes_dead_letters_whose_parts_make_the_whole() {
    let body = format!(r#"{{"GroupId":"g","Name":"{}"}}"#, "x".repeat(100_000));
    let messages = compose_within(&record("Group.CallbackAfterCreateGroup", &body), 50_000);
    assert_eq!(positions(&messages), ["7.0", "7.0.1", "7.0.2"]);
    assert_eq!(whole(&messages), body.as_bytes());
    assert_eq!(header(&messages[2], "imbridge-part"), "3/3");
    for message in &messages {
        assert!(message.size() <= 50_000);
        assert_eq!(
            (message.key.as_str(), header(message, "imbridge-reason")),
            ("g", "too_large")
        );
    }
}

fn whole(parts: &[Message]) -> Vec<u8> {
    parts.iter().flat_map(|message| message.payload.clone()).collect()
}

#[test]
fn an_unknown_command_without_a_group_is_keyed_by_its_name() {
    let messages = compose(&record("Group.CallbackOfTomorrow", r#"{"a":1}"#));
    assert_eq!(messages[0].slot.topic.as_ref(), "im.tencent.unknown");
    assert_eq!(messages[0].key, "Group.CallbackOfTomorrow");
}

#[test]
fn a_key_or_a_command_of_any_length_fits_into_a_dead_letter() {
    let long = "k".repeat(3_000_000);
    let by_key = record("Group.CallbackAfterCreateGroup", &format!(r#"{{"GroupId":"{long}"}}"#));
    let by_command = record(&long, "{}");
    for record in [by_key, by_command] {
        let messages = compose_within(&record, 1_000_000);
        assert!(
            messages
                .iter()
                .all(|message| message.size() <= 1_000_000 && message.slot.topic.ends_with("dead-letter"))
        );
        assert!(record.data.ends_with(&whole(&messages)));
    }
}
