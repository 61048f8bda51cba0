//! Memory depends on the number of callbacks, not on the size of the names in them.

use serde_json::Value;

use crate::support::bridge::{APP, Bridge, Home};
use crate::support::{eventually, schemas};

/// A name of this length is within `server.max_body_bytes`.
const NAME_BYTES: usize = 4 << 20;
const GROUPS: usize = 30;
/// Beyond what the process had before: kept buffers, and memory that the allocator has not returned yet.
const MORE_BYTES: u64 = 32 << 20;
/// The largest `/status.json`, whatever happened.
const STATUS_BYTES: usize = 256 << 10;

fn status(bridge: &Bridge) -> (usize, Value) {
    let (code, body) = bridge.admin("/status.json").expect("the admin port answers");
    assert_eq!(code, 200);
    (body.len(), serde_json::from_str(&body).expect("JSON"))
}

#[test]
fn names_of_any_length_are_not_kept_and_the_status_stays_small() {
    let mut home = Home::new("names");
    home.set("LOG__LEVEL", "info,imbridge::forward=debug");
    schemas::copy(&["tencent/Group.CallbackAfterSendMsg"], &home.schemas());
    let bridge = home.start();
    let mut connection = bridge.connect();
    let mut post = |group: &str, number: u32| {
        let target = format!("/tencent?SdkAppid={APP}&CallbackCommand=Group.CallbackAfterSendMsg&contenttype=json");
        let body = format!(r#"{{"GroupId":"{group}","MsgSeq":{number},"{group}":1}}"#);
        assert_eq!(connection.post(&target, body).expect("an answer").status, 200);
    };
    // Now the bridge has everything that it allocates once.
    for number in [1, 3] {
        post("short", number);
    }
    bridge.settle();
    let before = bridge.resident_memory_bytes();

    for group in 0..GROUPS {
        // Each leaves a gap. Half of the body is a field that no schema has. Some are too large for Kafka, others
        // consist of escapes.
        let letter = if group % 3 == 0 { "x" } else { "\\u0001" };
        let name = format!("{group}-{}", letter.repeat((NAME_BYTES - 1024) / letter.len()));
        for number in [1, 5] {
            post(&name, number);
        }
    }
    bridge.settle();
    eventually("the memory to be given back", || {
        // The allocator returns memory only when something happens.
        post("short", 4);
        let now = bridge.resident_memory_bytes();
        (now < before + MORE_BYTES).then_some(())
    });
    let (bytes, status) = status(&bridge);
    assert!(bytes <= STATUS_BYTES, "/status.json has {bytes} bytes");
    let groups = status["groups"].as_array().expect("a list");
    assert_eq!(groups.len(), GROUPS + 1);
    let oldest = &groups[GROUPS];
    assert_eq!((&oldest["group"], &oldest["got"]), (&"short".into(), &3.into()));
    for (row, group) in groups[..GROUPS].iter().zip((0..GROUPS).rev()) {
        let shown = row["group"].as_str().expect("a text");
        assert!(
            shown.starts_with(&format!("{group}-")) && shown.ends_with('…'),
            "{shown}"
        );
        assert_eq!((&row["expected"], &row["got"]), (&2.into(), &5.into()));
    }
    let letters = status["latest_dead_letters"].as_array().expect("a list");
    assert!(!letters.is_empty() && letters.iter().all(|letter| letter["reason"] == "too_large"));
    let longest = bridge.log().lines().map(str::len).max();
    assert!(longest < Some(8 << 10), "a line of {longest:?} bytes");
}
