//! New schemas while the outcome of sent messages is unknown. The read-back must look for the messages that the old
//! schemas made.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::support::bridge::{APP, Bridge, Home};
use crate::support::proxy::behind_a_proxy;
use crate::support::reader::consume;
use crate::support::within;

const COMMAND: &str = "Group.CallbackAfterCreateGroup";
const EVENTS: usize = 50;
const STALLED: [&str; 2] = ["imbridge_producer_rebuilds_total", "reason=\"stalled\""];

fn post(bridge: &Bridge, kind: &str) {
    let target = format!("/tencent?SdkAppid={APP}&CallbackCommand={COMMAND}");
    let mut connection = bridge.connect();
    for number in 0..EVENTS {
        let body = format!(r#"{{"GroupId":"{kind}-{number}","Owner_Account":"owner-{kind}-{number}"}}"#);
        assert_eq!(connection.post(&target, body).expect("an answer").status, 200);
    }
}

#[test]
fn a_reload_that_changes_keys_while_delivery_reports_are_missing_sends_nothing_twice() {
    let (kafka, proxy) = behind_a_proxy("reload");
    let mut home = Home::with_brokers("reload", &kafka.brokers);
    home.set("KAFKA__STALL_TIMEOUT_S", "1");
    home.set("HISTORY__WINDOW_S", "0");
    let bridge = home.start();
    post(&bridge, "first");
    bridge.settle();

    // Kafka stores everything, and the bridge gives the producer up before it gets the delivery reports.
    proxy.slow(Duration::from_millis(700), 0);
    let mut posted: Vec<(Instant, String)> = Vec::new();
    within(Duration::from_secs(120), "the producer to be given up", || {
        // Either the watchdog or the delivery report may come first, so this is repeated.
        if posted
            .last()
            .is_none_or(|(at, _)| at.elapsed() > Duration::from_secs(6))
        {
            let kind = format!("old-{}", posted.len());
            post(&bridge, &kind);
            posted.push((Instant::now(), kind));
        }
        (bridge.metric(&STALLED) >= 1.0).then_some(())
    });
    let schema = home.schemas().join("tencent").join(COMMAND).join("v1.avsc");
    let text = std::fs::read_to_string(&schema).expect("it is there");
    let other = text.replace("\"key\": \"GroupId\"", "\"key\": \"Owner_Account\"");
    assert_ne!(text, other);
    std::fs::write(&schema, other).expect("a temporary folder is writable");
    bridge.signal("HUP");
    within(Duration::from_secs(60), "the reload", || {
        (bridge.metric(&["imbridge_reloads_total", "outcome=\"ok\""]) >= 1.0).then_some(())
    });
    post(&bridge, "new");
    proxy.slow(Duration::ZERO, 0);
    bridge.settle();

    // The events that were posted last, while the producer was given up, may be encoded by either schema, but not by
    // both.
    let last = posted.last().map_or("", |(_, kind)| kind);
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for message in consume(&kafka.brokers, &home.prefix, &home.schemas()) {
        let key = message.key.expect("each has one");
        let event = key
            .strip_prefix("owner-")
            .filter(|event| event.starts_with(last))
            .unwrap_or(&key);
        *found.entry(event.to_owned()).or_default() += 1;
    }
    let keys = |kind: &str| (0..EVENTS).map(|number| format!("{kind}-{number}")).collect::<Vec<_>>();
    let kinds = posted.iter().map(|(_, kind)| kind.as_str());
    let expected: BTreeMap<String, usize> = kinds
        .chain(["first", "owner-new"])
        .flat_map(keys)
        .map(|key| (key, 1))
        .collect();
    assert_eq!(found, expected, "{}", bridge.log());
    let skipped = bridge.metric(&["imbridge_messages_skipped_total "]);
    assert!(skipped > 0.0, "none was in Kafka already: {}", bridge.log());
    assert!(bridge.terminate().success());
}
