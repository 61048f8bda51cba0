//! Callbacks that an IM server sends again: a copy is dropped and counted if the body has an identity of its own, and
//! not otherwise. Also the sequence numbers of a group's messages.

use serde_json::{Value, json};

use crate::support::bridge::{APP, Bridge, Home};
use crate::support::eventually;
use crate::support::kafka;
use crate::support::reader::{Consumed, consume};
use crate::support::schemas;

const CREATED: &str = "Group.CallbackAfterCreateGroup";
const SENT: &str = "Group.CallbackAfterSendMsg";
const DROPPED: &str = "imbridge_duplicates_dropped_total";

fn home(name: &str) -> Home {
    let mut home = Home::new(name);
    home.set("KAFKA__PARTITIONS", "1");
    schemas::copy(&["tencent/Group.CallbackAfterSendMsg"], &home.schemas());
    home
}

/// Posts as Tencent does. What differs between two deliveries of one callback is different each time.
fn post(bridge: &Bridge, command: &str, body: &str, delivery: usize) {
    let target = format!(
        "/tencent?SdkAppid={APP}&CallbackCommand={command}&contenttype=json&ClientIP=10.0.0.{delivery}&OptPlatform=iOS&RequestID=r{delivery}"
    );
    let answer = bridge.connect().post(&target, body).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.body);
}

fn created(group: &str, time_ms: u64, name: &str) -> String {
    json!({"CallbackCommand": CREATED, "GroupId": group, "Name": name, "EventTime": time_ms.to_string()}).to_string()
}

/// The events in Kafka, in the order of arrival.
fn consumed(home: &Home) -> Vec<Consumed> {
    let mut consumed = consume(&kafka::shared(), &home.prefix, &home.schemas());
    consumed.sort_by_key(number);
    consumed
}

fn number(message: &Consumed) -> u64 {
    let (seq, _) = message.header("imbridge-seq").split_once('.').expect("seq.index");
    seq.parse().expect("a number")
}

fn numbers(consumed: &[Consumed]) -> Vec<u64> {
    consumed.iter().map(number).collect()
}

#[test]
fn a_callback_that_is_sent_again_is_one_event_where_its_body_has_an_identity_and_else_two() {
    let home = home("copies");
    let bridge = home.start();
    let identified = created("g", 1_670_574_414_123, "first");
    let other_body = created("g", 1_670_574_414_123, "second");
    let whole_second = created("g", 1_670_574_414_000, "third");
    let without = json!({"CallbackCommand": CREATED, "GroupId": "g"}).to_string();
    let bodies = [
        &identified,
        &identified,
        &other_body,
        &whole_second,
        &whole_second,
        &without,
        &without,
        &identified,
    ];
    for (delivery, body) in bodies.into_iter().enumerate() {
        post(&bridge, CREATED, body, delivery);
    }
    bridge.settle();
    assert_eq!(bridge.metric(&[DROPPED, "tencent", CREATED]), 2.0);
    let consumed = consumed(&home);
    assert_eq!(numbers(&consumed), [1, 3, 4, 5, 6, 7]);
    for message in &consumed {
        let value = message.value.as_ref().expect("a record");
        assert_eq!(message.header("ce_id"), value["meta"]["event_id"], "{message:?}");
        let (id, position) = (
            message.header("ce_id"),
            format!(
                "{}.{}",
                message.header("imbridge-spool"),
                message.header("imbridge-seq")
            ),
        );
        assert_eq!(id == position, number(message) > 3, "{message:?}");
    }
    assert_ne!(consumed[0].header("ce_id"), consumed[1].header("ce_id"));
}

#[test]
fn after_a_kill_between_two_copies_there_is_still_one_event() {
    let home = home("killed");
    let bridge = home.start();
    post(&bridge, CREATED, &created("g", 1_670_574_414_123, "first"), 1);
    bridge.settle();
    post(
        &bridge,
        CREATED,
        &created("h", 1_670_574_414_456, "undelivered, perhaps"),
        2,
    );
    bridge.kill();
    let bridge = home.start();
    post(&bridge, CREATED, &created("g", 1_670_574_414_123, "first"), 3);
    post(
        &bridge,
        CREATED,
        &created("h", 1_670_574_414_456, "undelivered, perhaps"),
        4,
    );
    post(&bridge, CREATED, &created("g", 1_670_574_414_789, "later"), 5);
    bridge.settle();
    assert_eq!(bridge.metric(&[DROPPED, "tencent", CREATED]), 2.0);
    assert_eq!(numbers(&consumed(&home)), [1, 2, 5]);
    // Copies of copies, also after a clean stop.
    assert!(bridge.terminate().success());
    let bridge = home.start();
    post(&bridge, CREATED, &created("g", 1_670_574_414_123, "first"), 6);
    bridge.settle();
    assert_eq!(bridge.metric(&[DROPPED, "tencent", CREATED]), 1.0);
    assert_eq!(numbers(&consumed(&home)), [1, 2, 5]);
}

#[test]
fn copies_outside_of_the_window_are_sent_under_one_id_and_without_a_window_all_are() {
    for (key, value) in [("HISTORY__MAX_CALLBACKS", "2"), ("HISTORY__WINDOW_S", "0")] {
        let mut home = home("outside");
        home.set(key, value);
        let bridge = home.start();
        let body = created("g", 1_670_574_414_123, "first");
        post(&bridge, CREATED, &body, 1);
        (2..=3).for_each(|delivery| {
            post(
                &bridge,
                CREATED,
                &created("h", 1_670_574_414_123, &delivery.to_string()),
                delivery,
            )
        });
        post(&bridge, CREATED, &body, 4);
        bridge.settle();
        let consumed = consumed(&home);
        assert_eq!(numbers(&consumed), [1, 2, 3, 4], "{key}");
        assert_eq!(consumed[0].header("ce_id"), consumed[3].header("ce_id"), "{key}");
        assert_eq!(bridge.metric(&[DROPPED]), 0.0, "{key}");
    }
}

#[test]
fn delivered_callbacks_are_kept_for_copies_and_do_not_keep_a_spool_full() {
    let mut home = home("kept");
    home.set("SPOOL__MAX_BYTES", "4000000");
    let bridge = home.start();
    let filler = "x".repeat(100_000);
    // Three times what the spool holds. All are accepted, because delivered records make room.
    for delivery in 0..120 {
        let body = created("g", 1_670_574_414_001 + delivery as u64 * 7, &filler);
        let target = format!("/tencent?SdkAppid={APP}&CallbackCommand={CREATED}");
        eventually("the callback to be taken", || {
            let answer = bridge.connect().post(&target, &body).expect("an answer");
            (answer.status == 200).then_some(())
        });
    }
    bridge.settle();
    let used = eventually("the spool to be small", || {
        Some(bridge.metric(&["imbridge_spool_bytes "])).filter(|used| *used < 1_000_000.0)
    });
    assert!(used > 0.0);
    let last = created("g", 1_670_574_414_001 + 119 * 7, &filler);
    post(&bridge, CREATED, &last, 7);
    bridge.settle();
    let taken = consumed(&home);
    assert_eq!(numbers(&taken), (1..=120).collect::<Vec<_>>());
    assert_eq!(bridge.metric(&[DROPPED, CREATED]), 1.0);
}

#[test]
fn missing_and_late_numbers_of_a_groups_messages_are_counted() {
    let home = home("numbers");
    let bridge = home.start();
    let message = |group: &str, topic: Option<&str>, number: u64| {
        let mut body: Value = json!({"CallbackCommand": SENT, "GroupId": group, "MsgSeq": number, "Random": number, "MsgTime": 1_490_686_222});
        if let Some(topic) = topic {
            body["TopicId"] = topic.into();
        }
        body.to_string()
    };
    let sent = [
        message("g", None, 7),
        message("g", Some("t"), 100),
        message("h", None, 1),
        message("g", None, 8),
        message("g", Some("t"), 101),
        message("g", None, 12),
        message("g", None, 12),
        message("g", None, 10),
        message("h", None, 2),
    ];
    for (delivery, body) in sent.iter().enumerate() {
        post(&bridge, SENT, body, delivery);
    }
    bridge.settle();
    assert_eq!(bridge.metric(&["imbridge_sequence_gaps_total", "tencent"]), 3.0);
    assert_eq!(bridge.metric(&["imbridge_sequence_disorder_total", "tencent"]), 1.0);
    assert_eq!(bridge.metric(&["imbridge_sequence_groups "]), 3.0);
    assert_eq!(bridge.metric(&[DROPPED, SENT]), 1.0);
    assert_eq!(numbers(&consumed(&home)), [1, 2, 3, 4, 5, 6, 8, 9]);
}
