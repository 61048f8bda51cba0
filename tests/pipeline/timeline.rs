//! The timeline: one topic with the events of all commands of both servers, in the order of the spool, in both modes of
//! delivery and after crashes. It is read with independent code.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use crate::support::bridge::{APP, Bridge, Home};
use crate::support::client::Connection;
use crate::support::kafka;
use crate::support::reader::{Consumed, consume, timeline};
use crate::support::registry::{Client, read, shared};

/// What happens in a Tencent group and in an OpenIM group: one command after another. The last one of each has no
/// schema.
const TENCENT: [&str; 5] = [
    "Group.CallbackAfterCreateGroup",
    "Group.CallbackAfterNewMemberJoin",
    "Group.CallbackAfterChangeGroupOwner",
    "Group.CallbackAfterSendMsg",
    "Group.CallbackAfterUnheardOf",
];
const OPENIM: [&str; 5] = [
    "callbackAfterCreateGroupCommand",
    "callbackAfterJoinGroupCommand",
    "callbackAfterTransferGroupOwnerCommand",
    "callbackAfterSetGroupInfoCommand",
    "callbackAfterUnheardOf",
];
const GROUPS: usize = 8;
/// The number of events of each group, and the number between two crashes.
const EVENTS: usize = 40;
const BETWEEN_KILLS: usize = 75;

/// The target and the body of a group's event with this number, which stands in a field that no schema has.
fn event(group: usize, number: usize) -> (String, String) {
    let kind = number % TENCENT.len();
    match group % 2 {
        0 => (
            format!(
                "/tencent?SdkAppid={APP}&CallbackCommand={}&contenttype=json",
                TENCENT[kind]
            ),
            format!(r#"{{"GroupId":"t{group}","Operator_Account":"a","number":{number}}}"#),
        ),
        _ => (
            format!("/openim/{}", OPENIM[kind]),
            format!(r#"{{"groupID":"o{group}","number":{number}}}"#),
        ),
    }
}

fn name(group: usize) -> String {
    format!("{}{group}", ["t", "o"][group % 2])
}

/// Posts it; returns whether it was acknowledged.
fn post(connection: &mut Connection, group: usize, number: usize) -> bool {
    let (target, body) = event(group, number);
    connection
        .post(&target, &body)
        .is_some_and(|answer| answer.status == 200)
}

/// Posts the events of some groups while the bridge is killed again and again; returns the acknowledged numbers by
/// group.
fn post_over_crashes(home: &Home) -> (Bridge, BTreeMap<String, BTreeSet<u64>>) {
    let mut acknowledged: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    let mut bridge = home.start();
    let mut connection = bridge.connect();
    for at in 0..GROUPS * EVENTS {
        if at % BETWEEN_KILLS == BETWEEN_KILLS - 1 {
            bridge.kill();
            bridge = home.start();
            connection = bridge.connect();
        }
        let (group, number) = (at % GROUPS, at / GROUPS);
        if post(&mut connection, group, number) {
            acknowledged.entry(name(group)).or_default().insert(number as u64);
        }
    }
    bridge.settle();
    (bridge, acknowledged)
}

fn field<'a>(message: &'a Consumed, name: &str) -> &'a Value {
    &message.value.as_ref().expect("a record of a known schema")[name]
}

/// A message's key, position in the spool, and event id.
fn place(message: &Consumed) -> (i32, u64, u64, String, String) {
    let (seq, part) = message.header("imbridge-seq").split_once('.').expect("a position");
    let number = |text: &str| text.parse().expect("a number");
    let key = message.key.clone().expect("a key");
    (
        message.partition,
        number(seq),
        number(part),
        key,
        message.header("ce_id").to_owned(),
    )
}

fn assert_timeline_is_in_order_after_crashes(delivery: &str) {
    let mut home = Home::new(delivery);
    home.set("KAFKA__DELIVERY", delivery);
    home.set("KAFKA__SETTLE_MS", "500");
    home.set("SCHEMAS__DIR", "schemas");
    let (_bridge, acknowledged) = post_over_crashes(&home);
    let events = timeline(&kafka::shared(), &home.prefix, Path::new("schemas"));

    let mut places: Vec<_> = events.iter().map(place).collect();
    for partition in 0..4 {
        let own: Vec<_> = places.iter().filter(|place| place.0 == partition).collect();
        assert!(
            own.is_sorted(),
            "partition {partition} is in the order of the spool: {own:?}"
        );
    }
    // Each event once, with the same position as in its command's topic.
    let mut own: Vec<_> = consume(&kafka::shared(), &home.prefix, Path::new("schemas"))
        .iter()
        .filter(|message| !message.topic.ends_with(".checkpoints"))
        .map(place)
        .collect();
    places.sort();
    own.sort();
    assert_eq!(places, own);
    assert!(
        places.windows(2).all(|pair| pair[0] != pair[1]),
        "nothing is there twice"
    );

    for (group, acknowledged) in &acknowledged {
        let own: Vec<&Consumed> = events
            .iter()
            .filter(|message| field(message, "group_id") == group)
            .collect();
        let numbers: Vec<u64> = own
            .iter()
            .map(|message| {
                let body = field(message, "body").as_str().expect("a body");
                let body: Value = serde_json::from_str(body).expect("JSON");
                body["number"].as_u64().expect("the number that was posted")
            })
            .collect();
        assert!(numbers.is_sorted(), "{group}: {numbers:?}");
        assert!(
            acknowledged.iter().all(|number| numbers.contains(number)),
            "{group}: {numbers:?}"
        );
        let commands: BTreeSet<&str> = own
            .iter()
            .map(|message| field(message, "command").as_str().expect("text"))
            .collect();
        assert_eq!(commands.len(), TENCENT.len(), "{group} has events of every command");
    }
    for message in &events {
        let (_, seq, part, key, id) = place(message);
        assert_eq!(field(message, "ordering_key"), &key);
        assert_eq!(field(message, "event_id"), &id);
        assert_eq!(
            (field(message, "seq"), field(message, "part")),
            (&json!(seq), &json!(part))
        );
        assert_eq!(field(message, "spool"), message.header("imbridge-spool"));
    }
}

#[test]
fn the_timeline_has_a_groups_events_of_both_servers_once_and_in_order_after_crashes() {
    assert_timeline_is_in_order_after_crashes("idempotent");
}

#[test]
fn the_timeline_has_a_groups_events_once_and_in_order_with_transactions_too() {
    assert_timeline_is_in_order_after_crashes("transactional");
}

#[test]
fn both_servers_have_one_vocabulary_in_the_timeline() {
    let mut home = Home::new("vocabulary");
    home.set("SCHEMAS__DIR", "schemas");
    let bridge = home.start();
    let mut connection = bridge.connect();
    (0..4).for_each(|number| assert!(post(&mut connection, number % 2, number / 2)));
    bridge.settle();
    let events = timeline(&kafka::shared(), &home.prefix, Path::new("schemas"));
    let mut kinds: Vec<_> = events
        .iter()
        .map(|message| (field(message, "provider").as_str(), field(message, "kind").as_str()))
        .collect();
    kinds.sort();
    let (tencent, openim) = (Some("tencent"), Some("openim"));
    let (created, joined) = (Some("group.created"), Some("members.joined"));
    assert_eq!(
        kinds,
        [
            (openim, created),
            (openim, joined),
            (tencent, created),
            (tencent, joined)
        ]
    );
}

#[test]
fn a_stock_reader_decodes_the_timeline_by_the_registry_alone() {
    let mut home = Home::new("stock-timeline");
    home.set("SCHEMAS__REGISTRY_URL", shared());
    home.set("SCHEMAS__AUTO_REGISTER", "true");
    let bridge = home.start();
    assert!(post(&mut bridge.connect(), 0, 0));
    bridge.settle();
    let messages = read(Client::Python, &shared(), &kafka::shared(), &home.prefix, 2);
    let topic = format!("{}.timeline", home.prefix);
    let event = messages
        .iter()
        .find(|message| message.topic == topic)
        .expect("it is there");
    assert_eq!((&event.key, &event.value["group_id"]), (&"t0".to_owned(), &json!("t0")));
    let verify = home.command("schemas verify").output().expect("the program was built");
    let lines = String::from_utf8(verify.stdout).expect("text");
    assert!(lines.contains(&format!("ok    {topic}-value v1")), "{lines}");
}

#[test]
fn stock_readers_decode_the_timeline_by_the_bridge_itself() {
    let home = Home::new("own-timeline");
    let bridge = home.start();
    assert!(post(&mut bridge.connect(), 0, 0));
    bridge.settle();
    let topic = format!("{}.timeline", home.prefix);
    for client in [
        Client::Python,
        Client::JavaScript,
        Client::Confluent,
        Client::ClickHouse,
    ] {
        let messages = read(client, &home.registry(), &kafka::shared(), &home.prefix, 2);
        let event = messages.iter().find(|message| message.topic == topic);
        let event = event.unwrap_or_else(|| panic!("{client:?}: {messages:?}"));
        assert_eq!(
            (&event.key, &event.value["group_id"]),
            (&"t0".to_owned(), &json!("t0")),
            "{client:?}"
        );
    }
}

#[test]
fn without_a_timeline_there_is_no_topic_of_it_and_with_some_commands_only_theirs() {
    let mut home = Home::new("some-timeline");
    home.without_timeline();
    let bridge = home.start();
    assert!(post(&mut bridge.connect(), 0, 0));
    bridge.settle();
    assert_eq!(consume(&kafka::shared(), &home.prefix, &home.schemas()).len(), 1);
    let plan = |home: &Home| {
        let output = home.command("topics plan").output().expect("the program was built");
        String::from_utf8(output.stdout).expect("text")
    };
    assert!(!plan(&home).contains(".timeline"), "{}", plan(&home));
    home.set("TIMELINE__ENABLED", "true");
    assert!(
        plan(&home).contains(&format!("create  {}.timeline", home.prefix)),
        "it was not made"
    );
    assert!(bridge.terminate().success());

    home.configure("[timeline]\ncommands = [\"Group.CallbackAfterChangeGroupOwner\"]\ntopic_config = { \"retention.ms\" = \"-1\" }");
    let bridge = home.start();
    let mut connection = bridge.connect();
    (0..5).for_each(|number| assert!(post(&mut connection, 0, number)));
    bridge.settle();
    let events = timeline(&kafka::shared(), &home.prefix, &home.schemas());
    assert_eq!(events.len(), 1);
    assert_eq!(field(&events[0], "command"), "Group.CallbackAfterChangeGroupOwner");
    let lines = plan(&home);
    assert!(lines.contains(&format!("ok      {}.timeline", home.prefix)), "{lines}");
}

#[test]
fn a_timeline_that_refuses_is_left_out_and_events_are_in_their_own_topics() {
    let mut home = Home::new("refusing");
    home.set("KAFKA__REFUSAL_GRACE_S", "0");
    // Less than the bridge needs.
    home.configure("[timeline]\ntopic_config = { \"max.message.bytes\" = \"1000\" }");
    let bridge = home.start();
    let mut connection = bridge.connect();
    (0..5).for_each(|number| assert!(post(&mut connection, 0, number)));
    bridge.settle();
    bridge.logged("the timeline refuses: events are left out of it");
    assert_eq!(bridge.metric(&["imbridge_timeline_left_out_total"]), 5.0);
    assert_eq!(bridge.metric(&["imbridge_dead_letters_total"]), 0.0);
    assert_eq!(consume(&kafka::shared(), &home.prefix, &home.schemas()).len(), 5);
    assert!(timeline(&kafka::shared(), &home.prefix, &home.schemas()).is_empty());
}
